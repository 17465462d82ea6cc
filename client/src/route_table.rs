//! Which shards own which keys, as far as it was learned: in key order, with gaps where nobody asked yet. Pure.
//!
//! Each half of a split has the epoch after the one that the whole had, so of two routes that claim a key the one with the
//! newer epoch is right.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use bytes::Bytes;

use crate::{KeyRange, RangeTable, ShardRoute, routing::smaller_end};

/// The routes, by the first key of each.
#[derive(Debug, Clone, Default)]
pub(crate) struct RouteTable {
    by_start: BTreeMap<Bytes, Arc<ShardRoute>>,
}

impl RouteTable {
    /// The shard that owns a key; `None` where that was not learned.
    pub(crate) fn owner(&self, key: &[u8]) -> Option<&Arc<ShardRoute>> {
        let (_, route) = self.by_start.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        route.range.contains(key).then_some(route)
    }

    /// Every route that was learned, in key order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ShardRoute>> {
        self.by_start.values()
    }

    /// Takes in what a node told, unless something newer is known of a part of these keys.
    ///
    /// A leader that is known stays known where the teller knows none, unless it is `not_leader`, who said so itself.
    pub(crate) fn learn(&mut self, mut route: ShardRoute, not_leader: Option<u64>) {
        let overlapping = self.overlapping(&route.range);
        if overlapping.iter().any(|known| known.epoch > route.epoch) {
            return;
        }
        for known in overlapping {
            if known.is_same_shard(&route) && route.leader.is_none() {
                route.leader = known.leader.filter(|leader| Some(*leader) != not_leader);
            }
            self.by_start.remove(known.range.start());
        }
        self.by_start.insert(route.range.start().clone(), Arc::new(route));
    }

    /// Forgets a route that proved wrong, unless it was learned anew since.
    pub(crate) fn forget(&mut self, wrong: &Arc<ShardRoute>) {
        if self.has(wrong) {
            self.by_start.remove(wrong.range.start());
        }
    }

    /// Whether nothing was learned in place of this since it was read here.
    pub(crate) fn has(&self, route: &Arc<ShardRoute>) -> bool {
        self.by_start.get(route.range.start()).is_some_and(|known| Arc::ptr_eq(known, route))
    }

    /// The nodes to ask about keys; the first one for what was not learned, and where a shard is on none of them.
    pub(crate) fn ranges(&self, node_of: impl Fn(&ShardRoute) -> Option<usize>) -> RangeTable {
        // Neighbours do not overlap, so each entry goes on to where the next one begins.
        let mut starts = vec![(Bytes::new(), 0)];
        for route in self.iter() {
            starts.pop_if(|(start, _)| start == route.range.start());
            starts.push((route.range.start().clone(), node_of(route).unwrap_or(0)));
            if !route.range.end().is_empty() {
                starts.push((route.range.end().clone(), 0));
            }
        }
        RangeTable::of_starts(starts)
    }

    fn overlapping(&self, range: &KeyRange) -> Vec<Arc<ShardRoute>> {
        let first =
            self.owner(range.start()).map_or_else(|| range.start().clone(), |route| route.range.start().clone());
        let overlaps = |route: &&Arc<ShardRoute>| {
            let end = smaller_end(range.end(), route.range.end());
            end.is_empty() || end > *range.start().max(route.range.start())
        };
        self.by_start.range(first..).map(|(_, route)| route).take_while(overlaps).cloned().collect()
    }
}

#[cfg(test)]
#[path = "route_table_test.rs"]
mod tests;
