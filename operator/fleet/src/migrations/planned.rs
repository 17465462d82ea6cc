//! The Migrations as the planner has to know them: those that are open, one a shard, and those that have ended.

use thermocline_crds::v1alpha1::Mode;
use thermocline_planner::ShardId;
use thermocline_planner::fleet::{MoveRecord, OpenMove, OpenPhase};

use super::{Item, change};
use crate::rebalance::{Known, Moves, one_a_shard};

/// The Migrations for the planner; `mode` is that of a shard's pool.
#[must_use]
pub fn moves(items: &[Item], known: &Known, mode: impl Fn(ShardId) -> Mode) -> Moves {
    let mut open: Vec<OpenMove> = Vec::new();
    let mut moves = Moves::default();
    for item in items {
        let bytes = item.status.forecast.as_ref().map_or(0, |forecast| forecast.bytes.unsigned_abs());
        if item.is_over() {
            let (Some(ended), true) = (item.ended(), item.has_begun()) else { continue };
            let bytes = item.status.bytes_moved.map_or(bytes, i64::unsigned_abs);
            let (change, reason, completed) = (change(item, known), item.reason(), item.completed());
            moves.ended.push((item.job(), MoveRecord { ended, change, reason, bytes, completed }));
            continue;
        }
        let phase = if item.has_begun() {
            OpenPhase::Running
        } else if item.needs_approval(mode(item.shard)) {
            OpenPhase::Proposed
        } else {
            OpenPhase::Approved
        };
        let of_item =
            OpenMove { change: change(item, known), reason: item.reason(), priority: item.priority(), phase, bytes };
        open.push(of_item);
    }
    // What runs holds its shards; of those that wait, the most urgent does.
    open.sort_by_key(|open| (open.phase != OpenPhase::Running, open.priority, open.change.shard()));
    moves.open = one_a_shard(open);
    moves
}
