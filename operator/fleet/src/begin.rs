//! Beginning a cluster with shards: once, on one node. Pure.
//!
//! Which node that is stands on the cluster object, written by a compare-and-set before any node is told to begin: whoever
//! supervises, and however often it is begun anew, no second node is ever told. The nodes' data says too that there is a
//! cluster, so that one whose object was lost and written again is not begun a second time over it.

use std::collections::BTreeMap;

use thermocline_proto::v1;

use crate::reconcile::serves;

/// What is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// Nothing: it has begun, or no node serves yet.
    Nothing,
    /// Write on the cluster object that this node begins it.
    Claim(String),
    /// Have this node begin it.
    Initialize(String),
}

/// What is next for the nodes of a pool; `begun_by` stands on the cluster object.
#[must_use]
pub fn next(nodes: &[&str], begun_by: Option<&str>, statuses: &BTreeMap<String, v1::NodeStatus>) -> Begin {
    let of_pool = || nodes.iter().filter_map(|name| statuses.get(*name));
    let shards = || of_pool().flat_map(|status| &status.shards);
    // The meta group and a shard of the users' first keys: both, or it was begun by half.
    if shards().any(|shard| shard.shard == 0) && shards().any(|shard| shard.shard != 0) {
        return Begin::Nothing;
    }
    match begun_by {
        Some(node) if serves(statuses.get(node)) => Begin::Initialize(node.to_owned()),
        Some(_) => Begin::Nothing,
        // Somebody has data: which cluster that is must be found out before anything is begun.
        None if shards().next().is_some() => Begin::Nothing,
        None => {
            // All of them: one that is away could have the data.
            let all = nodes.iter().all(|name| serves(statuses.get(*name)));
            nodes.first().filter(|_| all).map_or(Begin::Nothing, |first| Begin::Claim((*first).to_owned()))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NODES: [&str; 3] = ["main-0", "main-1", "main-2"];

    fn status(shards: &[u64]) -> v1::NodeStatus {
        let shard = |shard: &u64| v1::ShardStatus { shard: *shard, ..v1::ShardStatus::default() };
        let health = v1::Health::Serving.into();
        v1::NodeStatus { health, shards: shards.iter().map(shard).collect(), ..v1::NodeStatus::default() }
    }

    fn told(nodes: &[(&str, &[u64])]) -> BTreeMap<String, v1::NodeStatus> {
        nodes.iter().map(|(name, shards)| ((*name).to_owned(), status(shards))).collect()
    }

    #[test]
    fn a_cluster_begins_on_one_node_once_all_of_them_were_heard() {
        let two = told(&[("main-0", &[]), ("main-1", &[])]);
        assert_eq!(next(&NODES, None, &two), Begin::Nothing, "the third could have data");
        let all = told(&[("main-0", &[]), ("main-1", &[]), ("main-2", &[])]);
        assert_eq!(next(&NODES, None, &all), Begin::Claim("main-0".to_owned()));
        assert_eq!(next(&NODES, Some("main-1"), &all), Begin::Initialize("main-1".to_owned()));
    }

    #[test]
    fn one_that_was_begun_by_half_is_begun_to_the_end_by_the_same_node() {
        let half = told(&[("main-0", &[0]), ("main-1", &[]), ("main-2", &[])]);
        assert_eq!(next(&NODES, Some("main-0"), &half), Begin::Initialize("main-0".to_owned()));
        let whole = told(&[("main-0", &[0, 1]), ("main-1", &[]), ("main-2", &[])]);
        assert_eq!(next(&NODES, Some("main-0"), &whole), Begin::Nothing);
    }

    #[test]
    fn where_the_object_knows_of_no_beginning_and_a_node_has_data_nothing_is_begun() {
        let data = told(&[("main-0", &[]), ("main-1", &[0]), ("main-2", &[])]);
        assert_eq!(next(&NODES, None, &data), Begin::Nothing);
    }

    #[test]
    fn the_node_that_begins_is_waited_for_and_never_replaced_by_another() {
        let others = told(&[("main-1", &[]), ("main-2", &[])]);
        assert_eq!(next(&NODES, Some("main-0"), &others), Begin::Nothing);
    }
}
