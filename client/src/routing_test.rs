//! Tests of the range table: totality, refusals, splits and segments.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

fn range(start: &'static str, end: &'static str) -> KeyRange {
    KeyRange::new(start, end).unwrap()
}

fn three() -> RangeTable {
    RangeTable::new(vec![(range("h", "p"), 1), (range("", "h"), 0), (range("p", ""), 2)]).unwrap()
}

fn bytes(keys: &[&'static str]) -> Vec<Bytes> {
    keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect()
}

#[test]
fn bounds_belong_to_the_range_that_starts_there() {
    let table = three();
    assert_eq!(table.owner(b""), 0);
    assert_eq!(table.owner(b"gzzz"), 0);
    assert_eq!(table.owner(b"h"), 1);
    assert_eq!(table.owner(b"p"), 2);
    assert_eq!(table.owner(b"\xff\xff"), 2);
}

#[test]
fn a_gap_is_refused_and_named() {
    let hole = RangeTable::new(vec![(range("", "h"), 0), (range("i", ""), 1)]);
    assert_eq!(hole.unwrap_err(), RangeError::Gap { from: "h".into(), to: "i".into() });
    let no_begin = RangeTable::new(vec![(range("a", ""), 0)]);
    assert_eq!(no_begin.unwrap_err(), RangeError::Gap { from: "".into(), to: "a".into() });
    let no_end = RangeTable::new(vec![(range("", "x"), 0)]);
    assert_eq!(no_end.unwrap_err(), RangeError::Gap { from: "x".into(), to: "".into() });
}

#[test]
fn an_overlap_is_refused_and_named() {
    let overlap = RangeTable::new(vec![(range("", "m"), 0), (range("h", ""), 1)]);
    assert_eq!(overlap.unwrap_err(), RangeError::Overlap { key: "h".into() });
    let both_all = RangeTable::new(vec![(KeyRange::all(), 0), (KeyRange::all(), 1)]);
    assert_eq!(both_all.unwrap_err(), RangeError::Overlap { key: "".into() });
    let after_unbounded = RangeTable::new(vec![(range("", ""), 0), (range("h", ""), 1)]);
    assert_eq!(after_unbounded.unwrap_err(), RangeError::Overlap { key: "h".into() });
}

#[test]
fn no_range_and_a_reversed_range_are_refused() {
    assert_eq!(RangeTable::new(Vec::new()).unwrap_err(), RangeError::Empty);
    assert!(matches!(KeyRange::new("b", "a"), Err(RangeError::Reversed { .. })));
    assert!(matches!(KeyRange::new("a", "a"), Err(RangeError::Reversed { .. })));
}

#[test]
fn keys_of_one_node_have_no_split_point_and_keys_of_two_part_where_the_owner_changes() {
    let table = three();
    assert_eq!(table.split_point(&bytes(&["a", "g"])), None);
    assert_eq!(table.split_point(&bytes(&["z", "i"])), Some("p".into()));
    assert_eq!(table.split_point(&bytes(&["z", "a"])), Some("h".into()));
    assert_eq!(table.split_point(&bytes(&[])), None);

    let neighbours = RangeTable::new(vec![(range("", "h"), 0), (range("h", "p"), 0), (range("p", ""), 1)]).unwrap();
    assert_eq!(neighbours.split_point(&bytes(&["a", "i"])), None);
    assert_eq!(neighbours.split_point(&bytes(&["a", "q"])), Some("p".into()));
}

/// Walks segments as a scan does and returns them in the order visited.
fn walk(table: &RangeTable, start: &Bytes, end: &Bytes, reverse: bool) -> Vec<Segment> {
    let (mut start, mut end) = (start.clone(), end.clone());
    let (first, last) = (start.clone(), end.clone());
    let mut visited = Vec::new();
    loop {
        let segment = if reverse { table.last_segment(&start, &end) } else { table.first_segment(&start, &end) };
        visited.push(segment.clone());
        assert!(visited.len() <= 16, "the walk does not end: {visited:?}");
        if reverse {
            if segment.start == first {
                return visited;
            }
            end = segment.start;
        } else {
            if segment.end == last {
                return visited;
            }
            start = segment.end;
        }
    }
}

#[test]
fn a_walk_visits_the_owners_in_key_order_and_backwards_in_reverse() {
    let table = three();
    let nodes = |segments: Vec<Segment>| segments.iter().map(|s| s.node).collect::<Vec<_>>();
    assert_eq!(nodes(walk(&table, &"".into(), &"".into(), false)), [0, 1, 2]);
    assert_eq!(nodes(walk(&table, &"".into(), &"".into(), true)), [2, 1, 0]);
    assert_eq!(nodes(walk(&table, &"a".into(), &"h".into(), false)), [0]);
    assert_eq!(nodes(walk(&table, &"a".into(), &"h".into(), true)), [0]);
    assert_eq!(nodes(walk(&table, &"g".into(), &"h\0".into(), true)), [1, 0]);
}

proptest! {
    #[test]
    fn every_key_has_the_owner_whose_range_contains_it(
        cuts in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 1..4), 0..8),
        key in prop::collection::vec(any::<u8>(), 0..5),
    ) {
        let mut bounds = vec![Bytes::new()];
        bounds.extend(cuts.into_iter().map(Bytes::from));
        let entries: Vec<_> = bounds.iter().enumerate().map(|(node, start)| {
            let end = bounds.get(node + 1).cloned().unwrap_or_default();
            (KeyRange::new(start.clone(), end).unwrap(), node)
        }).collect();
        let table = RangeTable::new(entries.clone()).unwrap();
        let owner = table.owner(&key);
        prop_assert!(entries[owner].0.contains(&key));
    }

    #[test]
    fn forward_and_reverse_walks_cover_the_same_keys_once(
        low in prop::collection::vec(any::<u8>(), 0..3),
        high in prop::collection::vec(any::<u8>(), 1..3),
    ) {
        prop_assume!(low < high);
        let table = three();
        let (low, high) = (Bytes::from(low), Bytes::from(high));
        let forward = walk(&table, &low, &high, false);
        let mut reverse = walk(&table, &low, &high, true);
        reverse.reverse();
        prop_assert_eq!(&forward, &reverse);
        prop_assert_eq!(&forward[0].start, &low);
        prop_assert_eq!(&forward[forward.len() - 1].end, &high);
        for pair in forward.windows(2) {
            prop_assert_eq!(&pair[0].end, &pair[1].start);
        }
    }
}
