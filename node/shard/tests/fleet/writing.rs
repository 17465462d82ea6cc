//! Writes of one client to the nodes' shards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use thermocline_engine::Mutation;
use thermocline_shard::command::Write;
use thermocline_shard::machine::Answer;
use thermocline_shard::session::{ClientId, RequestId};
use tokio::time::Instant;

use super::{Fleet, PATIENCE};

impl Fleet {
    /// Writes, wherever the leader is; the same request until it is acknowledged.
    pub async fn put(&self, key: &str) {
        self.put_value(key, Bytes::from_static(b"value")).await;
    }

    pub async fn put_value(&self, key: &str, value: Bytes) {
        let sequence = {
            let mut sequence = self.sequence.lock().unwrap();
            *sequence += 1;
            *sequence
        };
        let (mut retry, started) = (false, Instant::now());
        while !self.try_put(key, value.clone(), sequence, &mut retry).await {
            assert!(started.elapsed() < PATIENCE, "waited too long until {key} is acknowledged");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn try_put(&self, key: &str, value: Bytes, sequence: u64, retry: &mut bool) -> bool {
        let owner = self.reachable().into_iter().find_map(|host| {
            let owner = host.owner(key.as_bytes())?;
            owner.replica().group().leads().then_some(owner)
        });
        let Some((owner, descriptor)) = owner.and_then(|owner| Some((owner.clone(), owner.descriptor()?))) else {
            return false;
        };
        let put = Mutation::Put { key: Bytes::copy_from_slice(key.as_bytes()), value };
        let request = Some(RequestId { client: ClientId([1; 16]), sequence, retry: *retry });
        let write = Write { request, epoch: descriptor.epoch, conditions: Vec::new(), mutations: vec![put] };
        let answer = tokio::time::timeout(Duration::from_secs(2), owner.write(write)).await;
        *retry = true;
        match answer {
            Ok(Ok(Answer::Written { .. })) => true,
            Ok(Ok(Answer::WrongEpoch { .. } | Answer::OutOfRange | Answer::Frozen) | Err(_)) | Err(_) => false,
            Ok(Ok(answer)) => panic!("{key}: {answer:?}"),
        }
    }

    /// Writes keys one after the other until it is told to stop.
    pub fn write_until_told(&self, prefix: &'static str) -> Writing {
        self.write_values(prefix, Bytes::from_static(b"value"))
    }

    pub fn write_values(&self, prefix: &'static str, value: Bytes) -> Writing {
        let (wires, sequence) = (self.wires.clone(), self.sequence.clone());
        let fleet = Self { wires, nodes: BTreeMap::new(), log_bounds: self.log_bounds, sequence };
        let (told, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, count) = (told.clone(), acknowledged.clone());
        let task = tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let written = count.load(Ordering::SeqCst);
                fleet.put_value(&format!("{prefix}{written:06}"), value.clone()).await;
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Writing { told, acknowledged, task }
    }
}

/// Writes that go on beside the test.
pub struct Writing {
    told: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Writing {
    /// Ends them; how many were acknowledged.
    pub async fn stop(self) -> u64 {
        self.told.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// How many were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }
}
