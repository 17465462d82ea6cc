//! Where bytes are within a node.

use crate::{TierRank, fleet::Shard, view::View};

use super::Ledger;

impl Ledger {
    /// On which tiers of a node a copy would be, with the bytes on each; `None` where it does not fit. A tier that is
    /// full, degraded or missing sends what is meant for it to the next slower one.
    pub fn fit(&self, view: &View<'_>, place: usize, shard: &Shard) -> Option<Vec<(usize, u64)>> {
        let node = &view.fleet.nodes()[place];
        let highest = view.policy_of_node(place).triggers.disk_usage_percent;
        let mut placed: Vec<(usize, u64)> = Vec::with_capacity(shard.bytes.len());
        for (rank, bytes) in shard.bytes.iter().filter(|(_, bytes)| *bytes > 0) {
            let number = node.tiers.iter().enumerate().position(|(number, tier)| {
                let so_far: u64 = placed.iter().filter(|(at, _)| *at == number).map(|(_, bytes)| bytes).sum();
                let after = self.accounts[place].tiers[number].saturating_add(so_far).saturating_add(*bytes);
                tier.rank >= *rank && !tier.degraded && tier.percent(after) <= tier.high_percent.min(highest)
            })?;
            placed.push((number, *bytes));
        }
        Some(placed)
    }

    pub(super) fn change_tier(
        &mut self,
        view: &View<'_>,
        place: Option<usize>,
        (from, to): (TierRank, TierRank),
        bytes: u64,
    ) {
        let Some(place) = place else {
            return;
        };
        let tiers = &view.fleet.nodes()[place].tiers;
        let number = |rank| tiers.iter().position(|tier| tier.rank == rank);
        if let (Some(from), Some(to)) = (number(from), number(to)) {
            let account = &mut self.accounts[place].tiers;
            account[from] = account[from].saturating_sub(bytes);
            account[to] = account[to].saturating_add(bytes);
        }
    }

    pub(super) fn receive(&mut self, view: &View<'_>, place: Option<usize>, shard: &Shard) {
        let Some(place) = place else {
            return;
        };
        let slowest = self.accounts[place].tiers.len() - 1;
        for (tier, bytes) in self.fit(view, place, shard).unwrap_or_else(|| vec![(slowest, shard.size())]) {
            let used = &mut self.accounts[place].tiers[tier];
            *used = used.saturating_add(bytes);
        }
    }

    pub(super) fn give(&mut self, view: &View<'_>, place: Option<usize>, shard: &Shard) {
        let Some(place) = place else {
            return;
        };
        let tiers = &view.fleet.nodes()[place].tiers;
        for (rank, bytes) in &shard.bytes {
            let number = tiers.iter().position(|tier| tier.rank >= *rank).unwrap_or(tiers.len() - 1);
            let used = &mut self.accounts[place].tiers[number];
            *used = used.saturating_sub(*bytes);
        }
    }
}
