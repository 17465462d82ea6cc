//! Tests of the table of routes: newer epochs, gaps, leaders, and that no key has two owners.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use thermocline_proto::v1;
use tokio::time::Instant;

use super::*;

fn route(shard: u64, epoch: u64, start: &str, end: &str, leader: u64) -> ShardRoute {
    let replicas = (1..=3)
        .map(|node| v1::ReplicaRoute {
            node,
            kv: format!("h:{node}"),
            witness: node == 3,
            replica: node,
            zone: String::new(),
        })
        .collect();
    let (start, end) = (Bytes::copy_from_slice(start.as_bytes()), Bytes::copy_from_slice(end.as_bytes()));
    ShardRoute::of(v1::ShardRoute { shard, epoch, start, end, replicas, leader }, Instant::now()).unwrap()
}

fn table(routes: impl IntoIterator<Item = ShardRoute>) -> RouteTable {
    let mut table = RouteTable::default();
    for route in routes {
        table.learn(route, None);
    }
    table
}

fn shard(table: &RouteTable, key: &str) -> Option<u64> {
    table.owner(key.as_bytes()).map(|route| route.shard)
}

#[test]
fn a_key_in_a_gap_has_no_owner_and_its_neighbours_have_theirs() {
    let table = table([route(1, 1, "b", "d", 1), route(2, 1, "f", "", 1)]);
    let owners = ["a", "b", "czz", "d", "e", "f", "zzz"].map(|key| shard(&table, key));
    assert_eq!(owners, [None, Some(1), Some(1), None, None, Some(2), Some(2)]);
}

#[test]
fn the_halves_of_a_split_replace_the_whole_and_the_whole_does_not_come_back() {
    let mut table = table([route(1, 1, "", "", 1)]);
    table.learn(route(2, 2, "m", "", 1), None);
    assert_eq!((shard(&table, "a"), shard(&table, "m")), (None, Some(2)), "of the other half nothing is known");
    table.learn(route(1, 2, "", "m", 1), None);
    table.learn(route(1, 1, "", "", 3), None);
    assert_eq!((shard(&table, "a"), shard(&table, "m")), (Some(1), Some(2)));
}

#[test]
fn a_leader_stays_known_where_the_teller_knows_none_unless_it_says_so_itself() {
    let mut table = table([route(1, 1, "", "", 1)]);
    table.learn(route(1, 1, "", "", 0), None);
    assert_eq!(table.owner(b"a").unwrap().leader, Some(1));
    table.learn(route(1, 1, "", "", 0), Some(1));
    assert_eq!(table.owner(b"a").unwrap().leader, None);
    table.learn(route(1, 1, "", "", 2), Some(1));
    assert_eq!(table.owner(b"a").unwrap().leader, Some(2));
}

#[test]
fn a_wrong_route_is_forgotten_only_if_it_was_not_learned_anew_since() {
    let mut table = table([route(1, 1, "", "", 1)]);
    let wrong = Arc::clone(table.owner(b"a").unwrap());
    table.learn(route(1, 1, "", "", 2), None);
    table.forget(&wrong);
    assert_eq!(table.owner(b"a").unwrap().leader, Some(2));
    let wrong = Arc::clone(table.owner(b"a").unwrap());
    table.forget(&wrong);
    assert_eq!(table.owner(b"a"), None);
}

#[test]
fn the_leader_is_asked_first_then_the_data_replicas_in_turn_and_never_a_witness() {
    let route = route(1, 1, "", "", 2);
    let asked = |in_vain: &[u64]| route.next_replica(|node| in_vain.contains(&node)).map(|replica| replica.node);
    assert_eq!((asked(&[]), asked(&[2]), asked(&[1]), asked(&[1, 2])), (Some(2), Some(1), Some(2), None));
}

#[test]
fn the_nodes_of_all_keys_are_those_of_the_routes_and_the_first_one_in_gaps() {
    let table = table([route(1, 1, "b", "d", 1), route(2, 1, "f", "h", 2)]);
    let ranges = table.ranges(|route| route.leader.map(|leader| leader as usize));
    let owners = ["", "b", "d", "f", "h"].map(|key| ranges.owner(key.as_bytes()));
    assert_eq!(owners, [0, 1, 0, 2, 0]);
    assert_eq!(RouteTable::default().ranges(|_| None).owner(b"a"), 0);
}

proptest! {
    /// A shard that splits again and again, told of in any order and again.
    #[test]
    fn however_routes_are_learned_the_newest_one_owns_each_key(
        cuts in prop::collection::vec(1_u8..100, 0..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        key in 0_u8..100,
    ) {
        let name = |at: u8| if at == 0 { String::new() } else { format!("{at:03}") };
        // (shard, epoch, start, end), those that are gone too.
        let mut live = vec![(1_u64, 1_u64, 0_u8, 0_u8)];
        let mut all = live.clone();
        for cut in cuts {
            let inside = live.iter().position(|(_, _, start, end)| *start < cut && (*end == 0 || cut < *end));
            if let Some(at) = inside {
                let (shard, epoch, start, end) = live[at];
                let right = live.iter().map(|one| one.0).max().unwrap() + 1;
                live[at] = (shard, epoch + 1, start, cut);
                live.push((right, epoch + 1, cut, end));
                all.extend([live[at], (right, epoch + 1, cut, end)]);
            }
        }
        let told = |(shard, epoch, start, end): (u64, u64, u8, u8)| route(shard, epoch, &name(start), &name(end), 1);
        let mut table = RouteTable::default();
        for at in order {
            table.learn(told(all[at.index(all.len())]), None);
            let routes: Vec<_> = table.iter().collect();
            for pair in routes.windows(2) {
                prop_assert!(!pair[0].range.end().is_empty() && pair[0].range.end() <= pair[1].range.start());
            }
        }
        for one in &live {
            table.learn(told(*one), None);
        }
        let key = format!("{key:03}");
        let owner = table.owner(key.as_bytes()).unwrap();
        let newest = live.iter().find(|one| one.0 == owner.shard).unwrap();
        prop_assert_eq!(owner.epoch, newest.1);
        prop_assert_eq!(owner.range.start(), &Bytes::from(name(newest.2)));
    }
}
