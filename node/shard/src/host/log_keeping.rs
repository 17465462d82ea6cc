//! Keeps the logs of a node's replicas short: leaders say what may go and slow down (`log_bounds` decides), everybody lets go of
//! what their shard's log says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::log_bounds::{Follower, LogFacts, decide};
use super::{Host, Resident};
use crate::command::{Command, Release};
use crate::machine::ShardStore;
use crate::raft::{GroupView, Transport};
use crate::{ReplicaId, Role};

/// How often the logs are looked at.
const EVERY: Duration = Duration::from_millis(200);
/// A leader that is cut off waits no longer for its group to agree.
const AGREED: Duration = Duration::from_secs(10);

/// What a leader saw of its followers.
#[derive(Default)]
struct Watch {
    /// In which term: another one begins anew.
    term: u64,
    /// Up to where each had the log, and since when it has not gone on.
    followers: BTreeMap<ReplicaId, (Option<u64>, Instant)>,
}

/// Looks after the logs until the host is gone.
pub(super) async fn keep<S: ShardStore, T: Transport>(host: Weak<Host<S, T>>) {
    let mut watches: BTreeMap<ReplicaId, Watch> = BTreeMap::new();
    let mut saying = JoinSet::new();
    let mut busy = BTreeSet::new();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Some(Ok(replica)) = saying.join_next(), if !saying.is_empty() => {
                busy.remove(&replica);
                continue;
            }
        }
        let Some(host) = host.upgrade() else { return };
        let all = host.all();
        watches.retain(|replica, _| all.iter().any(|resident| resident.replica().id() == *replica));
        for resident in all {
            let (replica, group) = (resident.replica().id(), resident.replica().group());
            let released = resident.view().released;
            let_go(&resident, released).await;
            if !group.leads() || resident.replica().role() == Role::Witness {
                watches.remove(&replica);
                resident.slow_down(false);
                continue;
            }
            let watch = watches.entry(replica).or_default();
            let followers = watch.look(&resident, &group);
            let log = LogFacts {
                released: released.max(resident.replica().purged()),
                applied: group.applied,
                bytes: resident.replica().log_bytes(),
            };
            let bounds = &host.place.log_bounds;
            let decision = decide(bounds, log, &followers, |index| resident.replica().log_bytes_behind(index));
            resident.slow_down(decision.slow);
            if decision.lets_go {
                let_go(&resident, group.applied).await;
            }
            if let Some(release) = decision.release
                && busy.insert(replica)
            {
                saying.spawn(say(resident, release));
            }
        }
    }
}

/// One replica that does not answer keeps the others waiting for a moment only.
async fn let_go<S: ShardStore>(resident: &Resident<S>, upto: u64) {
    if upto <= resident.replica().purged() {
        return;
    }
    let gone = tokio::time::timeout(EVERY, resident.replica().let_go(upto)).await;
    if !matches!(gone, Ok(Ok(()))) {
        tracing::debug!(replica = resident.replica().id().0, ?gone, "a log is not shortened");
    }
}

impl Watch {
    fn look<S: ShardStore>(&mut self, resident: &Resident<S>, group: &GroupView) -> Vec<Follower> {
        let now = Instant::now();
        if self.term != group.term {
            *self = Self { term: group.term, followers: BTreeMap::new() };
        }
        self.followers.retain(|replica, _| group.members.contains_key(replica));
        let others = group.members.keys().filter(|replica| **replica != group.replica);
        let look = |replica: &ReplicaId| {
            let matched = group.matched.get(replica).copied().flatten();
            let known = self.followers.entry(*replica).or_insert((matched, now));
            if known.0 != matched || matched >= Some(group.last) {
                *known = (matched, now);
            }
            let replica_log = resident.replica();
            Follower {
                replica: *replica,
                votes: group.votes(*replica),
                matched,
                lacks_bytes: matched
                    .map_or_else(|| replica_log.log_bytes(), |index| replica_log.log_bytes_behind(index)),
                stalled: now - known.1,
                silent: group.answered_ago.get(replica).copied().unwrap_or(Duration::MAX),
            }
        };
        others.map(look).collect()
    }
}

async fn say<S: ShardStore>(resident: Arc<Resident<S>>, release: Release) -> ReplicaId {
    let replica = resident.replica().id();
    if !release.lacking.is_empty() {
        let lacking: Vec<u64> = release.lacking.iter().map(|replica| replica.0).collect();
        let shard = resident.shard().0;
        tracing::warn!(shard, ?lacking, upto = release.upto, "the log goes on without replicas: they need a snapshot");
    }
    let said = tokio::time::timeout(AGREED, resident.replica().propose(&Command::Release(release))).await;
    if !matches!(said, Ok(Ok(_))) {
        tracing::debug!(replica = replica.0, ?said, "the group did not agree on what of its log may go");
    }
    replica
}
