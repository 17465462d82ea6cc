//! A leader's signs of life.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::{MissedTickBehavior, interval};

use super::Handle;
use crate::machine::ShardStore;
use crate::raft::group_view::GroupView;
use crate::raft::pace::Pace;

/// Tells the others that it leads, as long as it does, and notes while no quorum answers: then `unheard` holds back entries.
///
/// openraft's own interval is also how long it waits for an answer, so it is longer than that between two signs of life
/// (`Pace::answer`). While no quorum answers openraft sends none for a time, so that those who hear this leader without being
/// heard choose another one. Entries would count as signs of life as well.
pub(super) async fn beat<S: ShardStore>(raft: Handle<S>, pace: Pace, unheard: Arc<AtomicBool>) {
    use openraft::async_runtime::WatchReceiver;
    let mut ticks = interval(pace.heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (leads, runs, is_unheard) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            let leads = metrics.current_leader == Some(metrics.id);
            (leads, metrics.running_state.is_ok(), leads && no_quorum_answers(&GroupView::of(&metrics), pace))
        };
        unheard.store(is_unheard, Ordering::Relaxed);
        if !runs || (leads && raft.trigger().heartbeat().await.is_err()) {
            return;
        }
    }
}

/// Whether a leader was answered once and is not any more. One that has just begun has nothing to hold back yet.
fn no_quorum_answers(group: &GroupView, pace: Pace) -> bool {
    let alone = group.voters.iter().all(|voters| voters.iter().all(|voter| *voter == group.replica));
    !alone && group.acknowledged_ago.is_some_and(|ago| ago > pace.lease())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ReplicaId;

    const ONE: ReplicaId = ReplicaId(1);
    const TWO: ReplicaId = ReplicaId(2);

    fn led(voters: &[ReplicaId], acknowledged_ago: Option<Duration>) -> GroupView {
        let voters = vec![voters.iter().copied().collect()];
        GroupView { replica: ONE, leader: Some(ONE), voters, acknowledged_ago, ..GroupView::default() }
    }

    #[test]
    fn a_leader_holds_back_entries_once_its_lease_has_ended_and_one_that_votes_alone_never() {
        let pace = Pace::default();
        let long = Some(pace.lease() * 2);
        assert!(no_quorum_answers(&led(&[ONE, TWO], long), pace));
        assert!(!no_quorum_answers(&led(&[ONE, TWO], Some(Duration::ZERO)), pace));
        assert!(!no_quorum_answers(&led(&[ONE, TWO], None), pace));
        assert!(!no_quorum_answers(&led(&[ONE], long), pace));
    }
}
