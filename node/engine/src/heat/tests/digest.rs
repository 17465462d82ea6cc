use proptest::prelude::*;

use super::{key, random, read, seconds, write};
use crate::heat::{DigestError, HeatConfig, HeatDigest, HeatTracker};
use crate::range::KeyRange;

fn config() -> HeatConfig {
    HeatConfig { sample_every: 1, ..HeatConfig::for_fast_tier(1000, 1 << 24) }
}

fn tracker() -> HeatTracker {
    HeatTracker::new(&config(), random(1), seconds(0))
}

fn heated(accesses: &[(u64, bool)]) -> HeatTracker {
    let mut tracker = tracker();
    for (step, (number, is_read)) in accesses.iter().enumerate() {
        let event = if *is_read { read(&key(*number)) } else { write(&key(*number), 5000) };
        tracker.absorb(&[event], seconds(step as u64));
    }
    tracker
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

#[test]
fn of_more_keys_than_are_kept_over_a_restart_the_hottest_are() {
    let long = |number: u64| format!("key{number:08}{}", "x".repeat(4000)).into_bytes();
    let config = HeatConfig { admitted_bytes: 64 << 20, ..config() };
    let mut before = HeatTracker::new(&config, random(1), seconds(0));
    for number in 0..3000 {
        let times = 2 + usize::from(number % 2 == 0);
        before.absorb(&vec![read(&long(number)); times], seconds(0));
    }
    assert_eq!(before.admitted_count(), 3000);
    let bytes = before.encode(seconds(1), seconds(1));
    assert!(bytes.len() < 9 << 20, "{} bytes", bytes.len());
    let after = HeatTracker::decode(&bytes, &config, random(1), seconds(2), seconds(2)).unwrap();
    assert!(after.admitted_count() > 2000, "{}", after.admitted_count());
    let lost = (0..3000).step_by(2).find(|number| after.key_heat(&long(*number), seconds(2)).is_none());
    assert_eq!(lost, None, "a hotter key went before a colder one");
    // What travels with data is whole.
    assert_eq!(before.export_digest(&KeyRange::all(), seconds(1)).counts().1, 3000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn heat_survives_a_restart_and_ages_by_the_wall_clock(
        accesses in prop::collection::vec((0u64..60, any::<bool>()), 0..1500), closed in 0u64..100_000, new_epoch in 0u64..10,
    ) {
        let before = heated(&accesses);
        let end = seconds(accesses.len() as u64);
        let bytes = before.encode(end, seconds(1_000_000));
        let now = seconds(new_epoch);
        let after = HeatTracker::decode(&bytes, &config(), random(2), now, seconds(1_000_000 + closed)).unwrap();
        let then = end + seconds(closed);
        let (old, new) = (before.ranges(then), after.ranges(now));
        prop_assert_eq!(old.len(), new.len());
        for (old, new) in old.iter().zip(&new) {
            prop_assert_eq!(&old.range, &new.range);
            prop_assert!(close(old.reads_per_day, new.reads_per_day), "{old:?} {new:?}");
            prop_assert!(close(old.writes_per_day, new.writes_per_day));
            prop_assert_eq!((old.read_ago, old.write_ago, old.watched_for), (new.read_ago, new.write_ago, new.watched_for));
            prop_assert_eq!((old.moved_ago, old.written_mean_ago, old.written_bytes), (new.moved_ago, new.written_mean_ago, new.written_bytes));
        }
        let (old, new) = (before.admitted_keys(then), after.admitted_keys(now));
        prop_assert_eq!(old.len(), new.len());
        for heat in old {
            let new = after.key_heat(&heat.key, now).unwrap();
            prop_assert!(close(heat.reads_per_day, new.reads_per_day));
            prop_assert_eq!((heat.read_ago, heat.write_ago, heat.served_by, heat.bytes), (new.read_ago, new.write_ago, new.served_by, new.bytes));
        }
    }

    #[test]
    fn a_digest_may_arrive_twice(accesses in prop::collection::vec((0u64..60, any::<bool>()), 0..600)) {
        let leader = heated(&accesses);
        let now = seconds(700);
        let digest = HeatDigest::decode(&leader.export_digest(&KeyRange::all(), now).encode()).unwrap();
        let mut follower = tracker();
        follower.merge_digest(&digest, now);
        let once = follower.encode(now, seconds(0));
        follower.merge_digest(&digest, now);
        let ranges = follower.ranges(now);
        let twice = HeatTracker::decode(&once, &config(), random(3), now, seconds(0)).unwrap().ranges(now);
        for (a, b) in ranges.iter().zip(&twice) {
            prop_assert!(close(a.reads_per_day, b.reads_per_day) && close(a.writes_per_day, b.writes_per_day));
        }
    }

    #[test]
    fn any_damage_is_an_error_and_never_a_panic(position in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
        let bytes = heated(&[(1, true), (1, true), (2, false), (3, true)]).encode(seconds(5), seconds(5));
        let mut flipped = bytes.clone();
        let place = position.index(bytes.len());
        flipped[place] ^= 1 << bit;
        prop_assert!(HeatDigest::decode(&flipped).is_err());
        prop_assert!(HeatDigest::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn noise_under_a_right_checksum_is_no_panic_either(mut noise in prop::collection::vec(any::<u8>(), 0..300), counts in (0u8..4, 0u8..4)) {
        let mut bytes = b"THEAT\x01".to_vec();
        bytes.extend([0; 8]);
        bytes.extend([counts.0, 0, 0, 0, counts.1, 0, 0, 0]);
        bytes.append(&mut noise);
        let checksum = xxhash_rust::xxh3::xxh3_64(&bytes);
        bytes.extend(checksum.to_le_bytes());
        if let Ok(digest) = HeatDigest::decode(&bytes) {
            tracker().merge_digest(&digest, seconds(1));
        }
    }
}

#[test]
fn an_export_has_the_heat_of_its_range_alone() {
    let mut leader = tracker();
    for _ in 0..10 {
        leader.absorb(&[read(b"a1"), read(b"b1"), read(b"b2"), read(b"c1")], seconds(1));
    }
    let digest = leader.export_digest(&KeyRange::prefix(b"b"), seconds(2));
    let mut receiver = tracker();
    receiver.merge_digest(&digest, seconds(2));
    assert!(receiver.key_heat(b"b1", seconds(2)).is_some());
    assert!(receiver.key_heat(b"a1", seconds(2)).is_none());
    assert_eq!(receiver.range_heat(b"a1", seconds(2)).reads_per_day, 0.0);
    assert!(receiver.range_heat(b"b1", seconds(2)).reads_per_day > 0.0);
    assert_eq!(receiver.range_heat(b"c1", seconds(2)).reads_per_day, 0.0);
}

#[test]
fn another_version_is_told_from_damage() {
    let mut bytes = heated(&[(1, true)]).encode(seconds(1), seconds(1));
    bytes[5] = 9;
    assert_eq!(HeatDigest::decode(&bytes), Err(DigestError::UnknownVersion { found: 9 }));
    assert_eq!(HeatDigest::decode(b"something else"), Err(DigestError::NotADigest));
    bytes[5] = 1;
    bytes[9] ^= 1;
    assert_eq!(HeatDigest::decode(&bytes), Err(DigestError::Damaged));
}
