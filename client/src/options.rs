//! What a caller may choose about a client, with defaults that suit an application near its nodes.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use thermocline_proto::v1;

use crate::Consistency;

/// 16 bytes that name this client among all clients, for recognising a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientId([u8; 16]);

impl ClientId {
    /// A new id from the operating system's randomness.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for ClientId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// How safe a write is when it is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// What the node is configured for.
    #[default]
    NodeDefault,
    /// Survives power loss.
    Sync,
    /// Survives the node's process, not the power.
    Wal,
    /// Up to 5 ms of writes may be lost with the process.
    Buffered,
}

impl Durability {
    pub(crate) const fn to_proto(self) -> i32 {
        match self {
            Self::NodeDefault => v1::Durability::Unspecified as i32,
            Self::Sync => v1::Durability::Sync as i32,
            Self::Wal => v1::Durability::Wal as i32,
            Self::Buffered => v1::Durability::Buffered as i32,
        }
    }
}

/// The choices of a client. Start from `Options::default()` and change fields.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a call may take, all its attempts together; of a scan, how long it waits for the next chunk.
    pub timeout: Duration,
    /// In a cluster with shards, how long one attempt may take while the call has more time: a leader that hangs does not use
    /// it up. It doubles each time that all replicas were asked in vain.
    pub attempt_timeout: Duration,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How often a call is sent at most to nodes that stand alone; at least 1. The deadline may end it earlier. In a cluster
    /// with shards, where a write that is sent again is applied once, the deadline alone ends it.
    pub attempts: u32,
    /// The first pause between two attempts; doubles, with jitter.
    pub min_backoff: Duration,
    /// The longest pause between two attempts, before jitter, which may double it: what a client adds to the time that a shard has
    /// no leader.
    pub max_backoff: Duration,
    /// Connections to each node. One carries hundreds of concurrent calls; more help when values are large.
    pub channels_per_node: usize,
    /// Asked of every write that does not say otherwise.
    pub durability: Durability,
    /// Which replicas may answer reads that do not say otherwise.
    pub consistency: Consistency,
    /// Where the client is: of replicas that may answer a read those of this zone are preferred. `None`: those with the shortest
    /// way.
    pub zone: Option<String>,
    /// The largest answer that is read, in bytes. A node gives up to 64 MiB of keys and values and their framing.
    pub max_message_bytes: usize,
    /// Names this client in request ids, and gives the ids of its further lanes. Never the same for two clients, nor for one
    /// that is made anew: its first writes would be taken for those of the other.
    pub client_id: ClientId,
    /// Ids that writes are numbered under, at most, in a cluster with shards. Under each up to 32 writes are under way at
    /// once; more wait. A shard remembers 4096 ids of all clients together.
    pub lanes: usize,
    /// Seeds the jitter of the pauses, so that a run can be replayed.
    pub jitter_seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(2),
            attempts: 6,
            min_backoff: Duration::from_millis(20),
            max_backoff: Duration::from_millis(250),
            channels_per_node: 1,
            durability: Durability::NodeDefault,
            consistency: Consistency::Leader,
            zone: None,
            max_message_bytes: 72 * 1024 * 1024,
            client_id: ClientId::random(),
            lanes: 32,
            jitter_seed: rand::random(),
        }
    }
}

impl Options {
    /// The pauses of one call; `call` is its sequence, so that calls of one client do not pause in step.
    pub(crate) fn backoff(&self, call: u64) -> ExponentialBackoff {
        self.growing(call).with_max_times(self.attempts.saturating_sub(1) as usize).build()
    }

    /// The pauses of a call that its deadline alone ends.
    pub(crate) fn endless_backoff(&self, call: u64) -> ExponentialBackoff {
        self.growing(call).without_max_times().build()
    }

    fn growing(&self, call: u64) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(self.min_backoff)
            .with_max_delay(self.max_backoff)
            .with_jitter()
            .with_jitter_seed(self.jitter_seed.wrapping_add(call))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_one_fewer_than_attempts_and_replayable_by_seed() {
        let options = Options { attempts: 4, jitter_seed: 11, ..Options::default() };
        let first: Vec<Duration> = options.backoff(3).collect();
        assert_eq!(first.len(), 3);
        assert_eq!(first, options.backoff(3).collect::<Vec<_>>());
        assert_ne!(first, options.backoff(4).collect::<Vec<_>>());
        assert!(first[0] >= options.min_backoff);
    }
}
