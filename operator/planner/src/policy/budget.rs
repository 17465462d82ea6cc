//! What moves may use.

use super::defaults;

/// Bounds of what is open at a time, and of bytes. Critical moves have places of their own: what is less urgent never
/// holds them up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes a second of one move.
    pub bytes_per_second: u64,
    /// Moves into a node.
    pub moves_in: u32,
    /// Moves out of a node.
    pub moves_out: u32,
    /// Moves between nodes of the cluster.
    pub moves_per_cluster: u32,
    /// Leaders that leave a node, and that come to it.
    pub leader_moves: u32,
    /// Splits and merges of the cluster.
    pub range_changes: u32,
    /// Read replicas of one shard.
    pub read_replicas: u32,
    /// Bytes of a day that moves which are not for safety may take; no bound if absent.
    pub bytes_per_day: Option<u64>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            bytes_per_second: defaults::BYTES_PER_SECOND,
            moves_in: defaults::MOVES_IN,
            moves_out: defaults::MOVES_OUT,
            moves_per_cluster: defaults::MOVES_PER_CLUSTER,
            leader_moves: defaults::LEADER_MOVES,
            range_changes: defaults::RANGE_CHANGES,
            read_replicas: defaults::READ_REPLICAS,
            bytes_per_day: None,
        }
    }
}
