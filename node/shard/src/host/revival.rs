//! Replicas that stopped by themselves are opened anew: a failure of storage ends one group, not the node, and what passes (a full
//! device, an export that could not be written) passes without a person. Each attempt waits longer than the one before.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use tokio::time::Instant;

use super::{Host, Residence, chain};
use crate::ReplicaId;
use crate::machine::ShardStore;
use crate::raft::Transport;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Before the first attempt, doubled with each that fails ...
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// ... up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A replica that has run for so long begins with the first pause again.
const SETTLED: Duration = Duration::from_secs(120);

/// Attempts at one replica.
struct Attempts {
    last: Instant,
    pause: Duration,
}

/// Looks after the replicas until the host is gone.
pub(super) async fn revive<S: ShardStore, T: Transport>(host: Weak<Host<S, T>>) {
    let mut attempts: BTreeMap<ReplicaId, Attempts> = BTreeMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(host) = host.upgrade() else { return };
        attempts.retain(|_, known| known.last.elapsed() < SETTLED + known.pause);
        for (replica, residence) in host.stopped() {
            let now = Instant::now();
            let known = attempts.entry(replica).or_insert(Attempts { last: now, pause: FIRST_PAUSE });
            if known.last.elapsed() < known.pause {
                continue;
            }
            (known.last, known.pause) = (now, (known.pause * 2).min(LONGEST_PAUSE));
            if residence.leaving {
                if let Err(error) = host.remove(replica).await {
                    tracing::warn!(replica = replica.0, error = chain(&error), "a replica that is to go is still here");
                }
            } else {
                host.open_anew(replica, residence).await;
            }
        }
    }
}

impl<S: ShardStore, T: Transport> Host<S, T> {
    /// Replicas that are on this node and do not run.
    fn stopped(&self) -> Vec<(ReplicaId, Residence)> {
        let residents = self.residents.read();
        let failed = residents.failed.iter().map(|(replica, (residence, _))| (*replica, *residence));
        let ended = residents.by_id.values().filter(|resident| resident.replica().group().failed).map(|resident| {
            let residence = Residence::of(resident.shard(), resident.replica().role());
            (resident.replica().id(), residence)
        });
        failed.chain(ended).collect()
    }

    async fn open_anew(&self, replica: ReplicaId, residence: Residence) {
        let _alone = self.changing.lock().await;
        let running = {
            let mut residents = self.residents.write();
            let known = residents.failed.contains_key(&replica) || residents.by_id.contains_key(&replica);
            if !known {
                // Removed meanwhile.
                return;
            }
            residents.by_id.remove(&replica)
        };
        if let Some(resident) = running {
            tracing::warn!(replica = replica.0, shard = residence.shard.0, "a replica has stopped; it is opened anew");
            // What is read by the new one is counted anew.
            resident.replica().replaced().begin();
            resident.replica().stop().await;
        }
        self.start(replica, residence).await;
        self.index();
    }
}
