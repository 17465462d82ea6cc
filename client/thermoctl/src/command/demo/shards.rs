//! How the shards lie over the nodes, from what the nodes say. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use thermocline_fleet::rebalance::disk_imbalance;
use thermocline_proto::v1::{MemberStatus, NodeStatus, ShardStatus};

use crate::output::{Printer, bytes, count};

/// What one node has of the shards.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeLine {
    pub(super) node: String,
    /// Shards that it leads.
    pub(super) leads: u64,
    /// Replicas with data.
    pub(super) data: u64,
    pub(super) witnesses: u64,
    pub(super) stored_bytes: u64,
}

/// How the shards lie over the nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spread {
    pub(super) shards: u64,
    pub(super) nodes: Vec<NodeLine>,
    /// By bytes, as docs/planner.md defines it.
    pub(super) imbalance_percent: f64,
}

/// How many shards have all their copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copies {
    pub(super) whole: usize,
    pub(super) shards: usize,
}

impl Copies {
    /// Counts the shards that have `voters` sound members, on nodes that are there.
    pub(super) fn of(statuses: &[NodeStatus], voters: usize) -> Self {
        let there: BTreeSet<u64> = statuses.iter().map(|status| status.node_id).collect();
        let told = || statuses.iter().flat_map(|status| &status.shards);
        let shards: BTreeSet<u64> = told().map(|shard| shard.shard).collect();
        let sound = |member: &&MemberStatus| member.votes && there.contains(&member.node);
        let is_whole = |shard: &&ShardStatus| {
            let members = &shard.members;
            shard.leads && shard.job.is_none() && members.len() == voters && members.iter().all(|one| sound(&one))
        };
        let whole: BTreeSet<u64> = told().filter(is_whole).map(|shard| shard.shard).collect();
        Self { whole: whole.len(), shards: shards.len() }
    }

    pub(super) const fn all(self) -> bool {
        self.shards > 0 && self.whole == self.shards
    }
}

impl Spread {
    pub(super) fn of(statuses: &[NodeStatus]) -> Self {
        let shards: BTreeSet<u64> =
            statuses.iter().flat_map(|status| &status.shards).map(|shard| shard.shard).collect();
        let line = |status: &NodeStatus| {
            let number = |wanted: fn(&&ShardStatus) -> bool| status.shards.iter().filter(wanted).count() as u64;
            NodeLine {
                node: status.node.clone(),
                leads: number(|shard| shard.leads),
                data: number(|shard| !shard.witness),
                witnesses: number(|shard| shard.witness),
                stored_bytes: status.tiers.iter().map(|tier| tier.used_bytes).sum(),
            }
        };
        let lines: BTreeMap<String, NodeLine> =
            statuses.iter().map(|status| (status.node.clone(), line(status))).collect();
        Self {
            shards: shards.len() as u64,
            nodes: lines.into_values().collect(),
            imbalance_percent: disk_imbalance(statuses),
        }
    }

    /// The node that holds most copies: the one whose loss is felt most.
    pub(super) fn fullest(&self) -> Option<&NodeLine> {
        self.nodes.iter().max_by_key(|line| (line.data, line.leads))
    }

    /// For people.
    pub(super) fn text(&self, printer: &Printer) -> String {
        let rows = self.nodes.iter().map(|line| {
            let NodeLine { node, leads, data, witnesses, stored_bytes } = line;
            vec![node.clone(), count(*leads), count(*data), count(*witnesses), bytes(*stored_bytes)]
        });
        let table = printer.table(&["NODE", "LEADS", "DATA", "WITNESSES", "STORED"], rows.collect());
        format!("{table}{} shards, imbalance by bytes {:.0} %\n", self.shards, self.imbalance_percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: u64) -> MemberStatus {
        MemberStatus { replica: node, node, votes: true, ..MemberStatus::default() }
    }

    fn leading(shard: u64, nodes: &[u64]) -> ShardStatus {
        ShardStatus {
            shard,
            leads: true,
            members: nodes.iter().map(|node| member(*node)).collect(),
            ..ShardStatus::default()
        }
    }

    fn node(number: u64, shards: Vec<ShardStatus>) -> NodeStatus {
        NodeStatus { node: format!("main-{number}"), node_id: number, shards, ..NodeStatus::default() }
    }

    #[test]
    fn a_shard_with_a_member_on_a_node_that_is_gone_is_not_whole() {
        let others = |shards: Vec<ShardStatus>| vec![node(1, shards), node(2, vec![]), node(3, vec![])];
        let told = others(vec![leading(1, &[1, 2, 3]), leading(2, &[1, 2, 9]), leading(3, &[1, 2])]);
        let copies = Copies::of(&told, 3);
        assert_eq!((copies.whole, copies.shards, copies.all()), (1, 3, false));
        assert!(Copies::of(&others(vec![leading(1, &[1, 2, 3])]), 3).all());
    }

    #[test]
    fn a_shard_that_nobody_leads_is_not_whole_and_no_shards_are_not_all() {
        let led_elsewhere = ShardStatus { leads: false, ..leading(1, &[1, 2, 3]) };
        assert_eq!(Copies::of(&[node(1, vec![led_elsewhere])], 3), Copies { whole: 0, shards: 1 });
        assert!(!Copies::of(&[], 3).all());
    }

    #[test]
    fn the_fullest_node_has_most_copies_and_of_equal_ones_leads_most() {
        let follows = |shard| ShardStatus { shard, ..ShardStatus::default() };
        let spread = Spread::of(&[node(1, vec![follows(1), follows(2)]), node(2, vec![leading(1, &[]), follows(2)])]);
        assert_eq!(spread.fullest().map(|line| line.node.as_str()), Some("main-2"));
        assert_eq!(spread.shards, 2);
    }
}
