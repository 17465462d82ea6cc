//! How far the copies are that this node sends to new replicas.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use thermocline_shard::ReplicaId;

/// How much of a copy has been sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes that were sent.
    pub bytes: u64,
    /// Of so many.
    pub of: u64,
}

/// The copies that are being sent, by the receiving replica.
#[derive(Debug, Default)]
pub struct Copies(Mutex<BTreeMap<ReplicaId, Copied>>);

impl Copies {
    /// How far the copy for a replica is; 0 of 0 where none is being sent.
    pub fn of(&self, replica: ReplicaId) -> Copied {
        self.0.lock().get(&replica).copied().unwrap_or_default()
    }

    /// Begins to count the copy for a replica, for as long as what it gives is there.
    pub fn begin(&self, replica: ReplicaId, of: u64) -> Counting<'_> {
        self.0.lock().insert(replica, Copied { bytes: 0, of });
        Counting { copies: self, replica }
    }
}

/// The count of one copy.
#[derive(Debug)]
pub struct Counting<'a> {
    copies: &'a Copies,
    replica: ReplicaId,
}

impl Counting<'_> {
    /// So many bytes have arrived in all.
    pub fn have(&self, bytes: u64) {
        if let Some(copied) = self.copies.0.lock().get_mut(&self.replica) {
            copied.bytes = bytes.min(copied.of);
        }
    }

    /// So many more were sent.
    pub fn sent(&self, bytes: u64) {
        if let Some(copied) = self.copies.0.lock().get_mut(&self.replica) {
            copied.bytes = copied.bytes.saturating_add(bytes).min(copied.of);
        }
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.copies.0.lock().remove(&self.replica);
    }
}
