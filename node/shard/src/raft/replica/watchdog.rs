//! What a witness does where no data replica can lead.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Handle;
use crate::machine::ShardStore;
use crate::raft::pace::Pace;
use crate::raft::types::TypeConfig;
use crate::{ReplicaId, Role};

/// A witness asks for votes where nobody has led for so long that no data replica can: the last entries are on it alone. It
/// hands the group over as soon as a data replica has them.
pub(super) async fn watch_over<S: ShardStore>(raft: Handle<S>, heard: Arc<Mutex<Instant>>, pace: Pace) {
    use openraft::async_runtime::WatchReceiver;
    // 2.2 of the longest election: data replicas go first.
    let patience = pace.election * 33 / 10;
    // Not `heard`: by that one is found that nobody speaks to it any more, however often it asks for votes.
    let mut asked: Option<Instant> = None;
    loop {
        tokio::time::sleep(pace.heartbeat).await;
        let metrics = raft.metrics().borrow_watched().clone();
        if metrics.running_state.is_err() {
            return;
        }
        if metrics.current_leader == Some(metrics.id) {
            *heard.lock() = Instant::now();
            if let Some(to) = caught_up(&metrics) {
                drop(raft.trigger().transfer_leader(to).await);
            }
        } else if heard.lock().elapsed() > patience && asked.is_none_or(|asked| asked.elapsed() > patience) {
            asked = Some(Instant::now());
            drop(raft.trigger().elect(true).await);
        }
    }
}

/// A data replica that votes and has all of the log.
fn caught_up(metrics: &openraft::RaftMetrics<TypeConfig>) -> Option<ReplicaId> {
    let membership = metrics.membership_config.membership();
    let voters: std::collections::BTreeSet<ReplicaId> = membership.voter_ids().collect();
    metrics.replication.as_ref()?.iter().find_map(|(id, matched)| {
        let stores = membership.get_node(id).is_some_and(|member| member.role == Role::Data);
        let whole = matched.as_ref().map(|matched| matched.index) >= metrics.last_log_index;
        (stores && whole && voters.contains(id)).then_some(*id)
    })
}
