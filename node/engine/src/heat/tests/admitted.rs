use proptest::prelude::*;
use std::time::Duration;

use super::{key, seconds};
use crate::heat::Decay;
use crate::heat::admitted::{AdmittedEntry, AdmittedKeys};
use crate::heat::moment::Moment;

fn heated(reads: f64, now: Duration, decay: &Decay) -> AdmittedEntry {
    let mut entry = AdmittedEntry::EMPTY;
    entry.reads.record(reads, now.into(), decay);
    entry
}

#[test]
fn the_coldest_leave_when_the_table_is_full() {
    let decay = Decay::from_half_life(seconds(3600));
    let mut table = AdmittedKeys::new(64 << 10);
    for number in 0..10_000 {
        table.insert(
            &key(number),
            heated((number % 1000) as f64 + 1.0, seconds(1), &decay),
            Moment::from(seconds(1)),
            &decay,
        );
    }
    assert!(table.len() > 100, "{}", table.len());
    assert!(table.memory_bytes() <= 64 << 10);
    let top = table.top(5, seconds(1).into(), &decay, 1.0);
    assert_eq!(top.len(), 5);
    assert_eq!(top[0].key, key(999), "{:?}", String::from_utf8_lossy(&top[0].key));
    assert!(top.windows(2).all(|pair| pair[0].reads_per_day >= pair[1].reads_per_day));
}

#[test]
fn what_was_hot_long_ago_leaves_before_what_is_warm_now() {
    let decay = Decay::from_half_life(seconds(60));
    let mut table = AdmittedKeys::new(16 << 10);
    table.insert(b"old", heated(1000.0, seconds(0), &decay), seconds(0).into(), &decay);
    let now = seconds(3600);
    for number in 0..1000 {
        table.insert(&key(number), heated(2.0, now, &decay), now.into(), &decay);
    }
    assert!(table.heat(b"old", now.into(), &decay, 1.0).is_none());
}

proptest! {
    #[test]
    fn memory_stays_under_its_bound_whatever_comes(operations in prop::collection::vec((0u64..500, 1usize..300, any::<bool>()), 0..2000)) {
        let decay = Decay::from_half_life(seconds(60));
        let bound = 8 << 10;
        let mut table = AdmittedKeys::new(bound);
        for (number, length, remove) in operations {
            let mut name = key(number);
            name.resize(11 + length, b'x');
            if remove {
                table.remove(&name);
            } else {
                table.insert(&name, heated(1.0, seconds(number), &decay), seconds(500).into(), &decay);
            }
            prop_assert!(table.memory_bytes() <= bound);
            prop_assert_eq!(table.is_empty(), table.memory_bytes() == 0);
        }
    }
}
