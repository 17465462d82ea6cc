//! Asking nodes where shards are.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use thermocline_proto::{MAX_KEY_BYTES, v1};
use tokio::time::Instant;
use tonic::Status;

use super::ShardRouting;
use crate::{ShardRoute, client::call::with_deadline};

/// A node that does not say within this where a shard is is passed over for now.
const PATIENCE: Duration = Duration::from_secs(1);
/// Shards that are asked for at once: who wants one soon wants its neighbours.
const NEIGHBOURS: u32 = 64;

impl ShardRouting {
    /// Learns which shard owns a key, and its neighbours, from any node that answers; asks none where somebody learned
    /// something in place of `known` meanwhile.
    pub(super) async fn ask(
        &self,
        key: &[u8],
        known: Option<&Arc<ShardRoute>>,
        deadline: Instant,
    ) -> Result<(), Status> {
        let asked = async {
            let _one_at_a_time = self.asking.lock().await;
            let is_told = {
                let routes = self.routes.read();
                known.map_or_else(|| routes.owner(key).is_some(), |known| !routes.has(known))
            };
            if is_told { Ok(()) } else { self.ask_each(key, known).await }
        };
        let late = |_elapsed| Err(Status::deadline_exceeded("no node said in time which shard owns the key"));
        tokio::time::timeout_at(deadline, asked).await.unwrap_or_else(late)
    }

    async fn ask_each(&self, key: &[u8], known: Option<&Arc<ShardRoute>>) -> Result<(), Status> {
        if let Some(known) = known {
            // Those that have a replica know best; the one that is believed to lead is in doubt, and asked last.
            let mut replicas: Vec<_> = known.data_replicas().collect();
            replicas.sort_by_key(|replica| Some(replica.node) == known.leader);
            for replica in replicas {
                if self.ask_one(&replica.kv, key, 1).await.is_ok() {
                    return Ok(());
                }
            }
        }
        let mut last = Status::unavailable("no node is known that could be asked");
        // What a node has replicas of it knows also while nobody tells it of the neighbours.
        for limit in if known.is_some() { &[1][..] } else { &[NEIGHBOURS, 1] } {
            let first = self.seed.load(Ordering::Relaxed);
            for seed in (0..self.seeds.len()).map(|turn| (first + turn) % self.seeds.len()) {
                match self.ask_one(&self.seeds[seed], key, *limit).await {
                    Ok(()) => {
                        self.seed.store(seed, Ordering::Relaxed);
                        return Ok(());
                    }
                    Err(status) => last = status,
                }
            }
        }
        for address in self.other_addresses() {
            match self.ask_one(&address, key, 1).await {
                Ok(()) => return Ok(()),
                Err(status) => last = status,
            }
        }
        Err(last)
    }

    /// Nodes that routes name and the endpoints do not.
    fn other_addresses(&self) -> BTreeSet<String> {
        let routes = self.routes.read();
        let replicas = routes.iter().flat_map(|route| route.data_replicas());
        replicas.map(|replica| &replica.kv).filter(|address| !self.seeds.contains(address)).cloned().collect()
    }

    async fn ask_one(&self, address: &str, key: &[u8], limit: u32) -> Result<(), Status> {
        let line = self.lines.to(address).map_err(|error| Status::unavailable(error.to_string()))?;
        // Nothing that a node takes lies between a longer key and this one.
        let key = Bytes::copy_from_slice(&key[..key.len().min(MAX_KEY_BYTES)]);
        let request = with_deadline(v1::RouteRequest { key: key.clone(), limit }, PATIENCE);
        let answer = tokio::time::timeout(PATIENCE, async { line.kv().route(request).await }).await;
        let answer = answer.unwrap_or_else(|_elapsed| Err(Status::deadline_exceeded("no answer in time")));
        let told = answer?.into_inner().shards;
        let owns = |route: &v1::ShardRoute| route.start <= key && (route.end.is_empty() || key < route.end);
        if !told.first().is_some_and(owns) {
            return Err(Status::internal("the routes do not begin at the key that was asked for"));
        }
        self.learn(told, None);
        Ok(())
    }
}
