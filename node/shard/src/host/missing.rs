//! Members that their node never made are made: a replica that got its state by snapshot has not seen the splits before it, so
//! nobody made its neighbours. The leader of such a one asks for it. A node refuses a number that was there before, and keys
//! that another replica there still believes to have.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{AskError, Asks, Host};
use crate::machine::ShardStore;
use crate::raft::{GroupView, Member, Transport};
use crate::{ReplicaId, Role};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// What a node may take to make a replica.
const MADE: Duration = Duration::from_secs(10);

/// Looks after the members of shards that are led here, until the host is gone.
pub(super) async fn make<S: ShardStore, T: Transport, A: Asks>(host: Weak<Host<S, T>>, asks: Arc<A>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(host) = host.upgrade() else { return };
        // One that does not answer would hold up the others for each of its replicas.
        let mut away = BTreeSet::new();
        for resident in host.all() {
            let (group, view) = (resident.replica().group(), resident.view());
            let (Some(descriptor), true) = (&view.descriptor, group.leads()) else { continue };
            for (replica, Member { node, role }) in unheard(&group) {
                if away.contains(&node) {
                    continue;
                }
                // One that joined under another leader begins with a snapshot too.
                if role == Role::Data {
                    let lost = tokio::time::timeout(MADE, resident.replica().lose_beginning()).await;
                    tracing::debug!(
                        replica = replica.0,
                        ?lost,
                        "the log loses its beginning for a member that is not heard"
                    );
                }
                let made = asks.create(node, replica, resident.shard(), role, descriptor.range.clone());
                let made = tokio::time::timeout(MADE, made).await;
                if !matches!(made, Ok(Ok(()) | Err(AskError::Refused { .. }))) {
                    away.insert(node);
                }
                tracing::debug!(replica = replica.0, node = node.0, ?made, "asked for a member that never answered");
            }
        }
    }
}

/// The members that have not answered this leader yet.
fn unheard(group: &GroupView) -> Vec<(ReplicaId, Member)> {
    let others = group.members.iter().filter(|(replica, _)| **replica != group.replica);
    let unheard = others.filter(|(replica, _)| !group.answered_ago.contains_key(replica));
    unheard.map(|(replica, member)| (*replica, *member)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;

    #[test]
    fn only_members_that_never_answered_are_asked_for() {
        let member = |node| Member { node: NodeId(node), role: Role::Data };
        let members = (1..4).map(|id| (ReplicaId(id), member(id))).collect();
        let answered_ago = [(ReplicaId(3), Duration::from_secs(90))].into();
        let group = GroupView { replica: ReplicaId(1), members, answered_ago, ..GroupView::default() };
        assert_eq!(unheard(&group), [(ReplicaId(2), member(2))]);
    }
}
