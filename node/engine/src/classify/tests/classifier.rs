use proptest::prelude::*;

use super::*;
use crate::classify::{Classification, ClassifierInput, MoveChoice, MoveReason, classify};

const ROOMY: [u64; 3] = [100 * MIB, 100 * MIB, 1000 * MIB];

fn decide(tiers: &[TierState], ranges: &[RangeInput], keys: &[KeyInput]) -> Classification {
    decide_by(&policy(), tiers, ranges, keys)
}

fn decide_by(policy: &ValidPolicy, tiers: &[TierState], ranges: &[RangeInput], keys: &[KeyInput]) -> Classification {
    classify(&ClassifierInput { tiers, policy, ranges, keys })
}

/// (from, to, reason) of all demotions.
fn demotions(decision: &Classification) -> Vec<(usize, usize, MoveReason)> {
    decision
        .moves
        .iter()
        .filter_map(|choice| match choice {
            MoveChoice::DemoteRange { from, to, reason, .. } => Some((*from, *to, *reason)),
            _ => None,
        })
        .collect()
}

#[test]
fn data_that_was_never_read_goes_to_the_slowest_tier_after_its_grace() {
    let tiers = tiers(ROOMY, [MIB, 0, 0]);
    let mut unread = range("", "", 0, 0.0, None);
    assert_eq!(demotions(&decide(&tiers, &[unread.clone()], &[])), [(0, 2, MoveReason::Cold)]);
    unread.heat.written_mean_ago = Some(minutes(59));
    assert_eq!(demotions(&decide(&tiers, &[unread], &[])), []);
}

#[test]
fn a_new_store_that_knows_nothing_moves_nothing() {
    let tiers = tiers(ROOMY, [80 * MIB, 0, 0]);
    let mut fresh = range("", "", 0, 0.0, None);
    fresh.bytes[0] = 80 * MIB;
    fresh.heat.written_mean_ago = None;
    fresh.heat.watched_for = minutes(9);
    assert_eq!(decide(&tiers, &[fresh], &[]).moves, []);
}

#[test]
fn a_range_between_the_thresholds_goes_to_the_middle_and_its_hot_keys_stay() {
    let tiers = tiers(ROOMY, [2 * MIB, 0, 0]);
    // 300 reads per day for each key: warm. The other range carries most reads, so the load is not even.
    let ranges = [range("", "m", 0, 300_000.0 + 5000.0, Some(minutes(1))), range("m", "", 0, 9e6, Some(minutes(1)))];
    let decision = decide(&tiers, &ranges, &[key("hot one", 0, 5000.0, minutes(1))]);
    let [MoveChoice::DemoteRange { range, from: 0, to: 1, keep, reason: MoveReason::Cold, bytes }] =
        &decision.moves[..]
    else {
        panic!("{decision:?}");
    };
    assert_eq!(range.end(), Some(&b"m"[..]));
    assert_eq!(keep, &[b"hot one".to_vec()]);
    assert_eq!(*bytes, MIB - 1024);
}

#[test]
fn data_stays_between_the_threshold_and_half_of_it() {
    let tiers = tiers(ROOMY, [2 * MIB, 0, 0]);
    let other = range("m", "", 0, 9e7, Some(minutes(1)));
    for (per_key, leaves) in [(1001.0, false), (501.0, false), (499.0, true)] {
        let ranges = [range("", "m", 0, per_key * 1000.0, Some(minutes(1))), other.clone()];
        assert_eq!(!demotions(&decide(&tiers, &ranges, &[])).is_empty(), leaves, "{per_key}");
    }
    // The age of the last read has the same slack: 1 h to be hot, 2 h to stay so.
    for (ago, leaves) in [(minutes(119), false), (minutes(121), true)] {
        let ranges = [range("", "m", 0, 2e6, Some(ago)), other.clone()];
        assert_eq!(!demotions(&decide(&tiers, &ranges, &[])).is_empty(), leaves, "{ago:?}");
    }
}

#[test]
fn a_hot_key_is_copied_up_and_a_recently_moved_one_is_not() {
    let tiers = tiers(ROOMY, [0, 0, 200 * MIB]);
    let ranges = [range("", "m", 2, 6000.0, Some(minutes(1))), range("m", "", 2, 0.0, None)];
    let hot = key("a", 2, 5000.0, minutes(1));
    let expected = MoveChoice::Promote { keys: vec![b"a".to_vec()], to: 0, bytes: 1024 };
    assert_eq!(decide(&tiers, &ranges, std::slice::from_ref(&hot)).moves, [expected]);
    let moved = KeyInput { moved_ago: Some(minutes(9)), ..hot.clone() };
    assert_eq!(decide(&tiers, &ranges, &[moved]).moves, []);
    let mut resting = ranges;
    resting[0].heat.moved_ago = Some(minutes(9));
    assert_eq!(decide(&tiers, &resting, &[hot]).moves, []);
}

#[test]
fn nothing_is_promoted_into_a_tier_over_its_watermark() {
    let ranges = [range("", "m", 2, 6000.0, Some(minutes(1))), range("m", "", 2, 0.0, None)];
    let hot = [key("a", 2, 5000.0, minutes(1))];
    let full = tiers(ROOMY, [86 * MIB, 0, 200 * MIB]);
    let decision = decide(&full, &ranges, &hot);
    assert_eq!((decision.moves.len(), decision.refused), (0, 1));
    let mut stalled = tiers(ROOMY, [0, 0, 200 * MIB]);
    stalled[0].accepts_moves = false;
    assert_eq!(decide(&stalled, &ranges, &hot).moves, []);
}

#[test]
fn a_range_that_is_hot_throughout_is_copied_up_once() {
    let tiers = tiers(ROOMY, [0, 0, 200 * MIB]);
    let mut ranges = vec![range("", "m", 2, 2e6, Some(minutes(1))), range("m", "", 2, 0.0, None)];
    let decision = decide(&tiers, &ranges, &[]);
    assert!(
        matches!(&decision.moves[..], [MoveChoice::PromoteRange { from: 2, to: 0, bytes: MIB, .. }]),
        "{decision:?}"
    );
    // The copy below stays; it is no reason to copy again.
    ranges[0].bytes[0] = MIB;
    ranges[0].clean_bytes = vec![MIB, 0, 0];
    assert_eq!(decide(&tiers, &ranges, &[]).moves, []);
}

#[test]
fn pressure_moves_the_coldest_down_to_the_low_watermark() {
    let tiers = tiers([100 * MIB, 1000 * MIB, 1000 * MIB], [90 * MIB, 0, 0]);
    // All of it is hot; the later, the hotter.
    let ranges: Vec<RangeInput> = (0..90)
        .map(|number| {
            let end = if number == 89 { String::new() } else { format!("{:02}", number + 1) };
            let start = if number == 0 { String::new() } else { format!("{number:02}") };
            range(&start, &end, 0, 1000.0 * 2000.0 * f64::powi(2.0, number), Some(minutes(1)))
        })
        .collect();
    let decision = decide(&tiers, &ranges, &[]);
    assert_eq!(decision.moves.len(), 15, "90 MiB down to 75");
    assert!(demotions(&decision).iter().all(|demotion| *demotion == (0, 1, MoveReason::Pressure)));
    for choice in &decision.moves {
        let MoveChoice::DemoteRange { range, .. } = choice else { panic!("{choice:?}") };
        assert!(range.start() < &b"15"[..], "{range:?}");
    }
}

#[test]
fn clean_copies_leave_before_equally_cold_data_that_must_be_written() {
    let tiers = tiers([10 * MIB, 1000 * MIB, 1000 * MIB], [9 * MIB, 0, 9 * MIB]);
    let mut ranges: Vec<RangeInput> = ('a'..='i')
        .map(|letter| range(&letter.to_string(), &char::from(letter as u8 + 1).to_string(), 0, 2e6, Some(minutes(1))))
        .collect();
    ranges[6].clean_bytes = vec![MIB, 0, 0];
    let decision = decide(&tiers, &ranges, &[]);
    assert_eq!(decision.moves.len(), 2);
    let MoveChoice::DemoteRange { range, .. } = &decision.moves[0] else { panic!("{decision:?}") };
    assert_eq!(range.start(), b"g");
}

#[test]
fn young_data_leaves_under_critical_pressure_alone() {
    let mut ranges = vec![range("", "m", 0, 0.0, None), range("m", "", 0, 0.0, None)];
    for young in &mut ranges {
        young.heat.written_mean_ago = Some(minutes(1));
        young.bytes[0] = 45 * MIB;
    }
    assert_eq!(decide(&tiers(ROOMY, [90 * MIB, 0, 0]), &ranges, &[]).moves, []);
    let decision = decide(&tiers(ROOMY, [95 * MIB, 0, 0]), &ranges, &[]);
    assert_eq!(
        demotions(&decision),
        [(0, 2, MoveReason::Pressure)],
        "one range is enough to be under the high watermark"
    );
}

#[test]
fn an_even_load_freezes_thresholds_but_not_what_is_no_longer_read() {
    let tiers = tiers(ROOMY, [4 * MIB, 0, 0]);
    let mut ranges: Vec<RangeInput> = (0..4)
        .map(|number| {
            let bound = |n: usize| ["", "b", "c", "d", ""][n];
            range(bound(number), bound(number + 1), 0, 10_000.0 + number as f64 * 500.0, Some(minutes(5)))
        })
        .collect();
    let decision = decide(&tiers, &ranges, &[]);
    assert!(decision.frozen && decision.evenness > 0.9, "{decision:?}");
    assert_eq!(decision.moves, []);
    ranges[2].heat.read_ago = Some(hours(3));
    assert_eq!(demotions(&decide(&tiers, &ranges, &[])), [(0, 2, MoveReason::Cold)]);
}

#[test]
fn what_is_rewritten_all_the_time_is_not_demoted_for_being_unread() {
    let tiers = tiers(ROOMY, [MIB, 0, 0]);
    let mut journal = range("", "", 0, 0.0, None);
    journal.heat.writes_per_day = 1000.0 * 24.0;
    assert_eq!(decide(&tiers, &[journal], &[]).moves, []);
}

#[test]
fn a_paused_policy_and_a_single_tier_move_nothing() {
    let unread = [range("", "", 0, 0.0, None)];
    let paused = ValidPolicy { paused: true, ..policy() };
    let full = tiers([MIB, MIB, MIB], [MIB, 0, 0]);
    assert_eq!(decide_by(&paused, &full, &unread, &[]).moves, []);
    assert_eq!(decide(&full[..1], &unread, &[]).moves, []);
}

#[test]
fn a_budget_holds_back_what_is_not_urgent() {
    let tiers = tiers(ROOMY, [4 * MIB, 0, 0]);
    let ranges: Vec<RangeInput> =
        (0..4).map(|n| range(["", "b", "c", "d"][n], ["b", "c", "d", ""][n], 0, 0.0, None)).collect();
    assert_eq!(decide(&tiers, &ranges, &[]).moves.len(), 4);
    let slow = ValidPolicy { bytes_per_second: Some(2 * MIB / 3600), ..policy() };
    assert_eq!(decide_by(&slow, &tiers, &ranges, &[]).moves.len(), 2);
}

#[test]
fn what_is_larger_than_the_budget_of_an_interval_moves_one_at_a_time() {
    let tiers = tiers(ROOMY, [2 * MIB, 0, 0]);
    let cold = [range("", "b", 0, 0.0, None), range("b", "", 0, 0.0, None)];
    let slow = ValidPolicy { bytes_per_second: Some(1), ..policy() };
    assert_eq!(decide_by(&slow, &tiers, &cold, &[]).moves.len(), 1);
}

#[test]
fn a_full_fast_tier_swaps_only_for_what_is_hotter_by_the_hysteresis() {
    let tiers = tiers([2 * MIB, 100 * MIB, 1000 * MIB], [3 * MIB / 2, 0, 100 * MIB]);
    let mut resident = range("", "m", 0, 2e6, Some(minutes(1)));
    resident.bytes[0] = 3 * MIB / 2;
    let cold = |reads: f64| {
        let mut cold = range("m", "", 2, reads, Some(minutes(1)));
        cold.bytes[2] = 100 * MIB;
        cold.keys = 100_000;
        cold
    };
    let keys = |per_day: f64| -> Vec<KeyInput> {
        (0..1000).map(|n| key(&format!("n{n:03}"), 2, per_day, minutes(1))).collect()
    };
    // Resident keys have 2000 reads per day each.
    for (per_day, swaps) in [(2500.0, false), (9000.0, true)] {
        let decision = decide(&tiers, &[resident.clone(), cold(per_day * 1000.0)], &keys(per_day));
        assert_eq!(demotions(&decision).contains(&(0, 1, MoveReason::MakeRoom)), swaps, "{per_day}: {decision:?}");
        assert_eq!(decision.moves.iter().any(|choice| matches!(choice, MoveChoice::Promote { .. })), swaps);
    }
}

#[test]
fn a_range_rests_for_the_minimum_residency_after_a_move() {
    let tiers = tiers(ROOMY, [0, MIB, 0]);
    for (moved, leaves) in [(minutes(9), false), (minutes(11), true)] {
        let mut cooled = range("", "", 1, 10.0, Some(hours(60)));
        cooled.heat.moved_ago = Some(moved);
        assert_eq!(!decide(&tiers, &[cooled], &[]).moves.is_empty(), leaves, "{moved:?}");
    }
}

#[test]
fn what_is_read_like_the_average_or_hotter_by_chance_is_not_promoted() {
    let tiers = tiers([4 * MIB, 4 * MIB, 1000 * MIB], [0, 0, 10 * MIB]);
    // 2500 reads per day for every key: all of it is over the threshold.
    let mut even = range("", "", 2, 25e6, Some(minutes(1)));
    even.bytes[2] = 10 * MIB;
    even.keys = 10_000;
    let average = key("a", 2, 2500.0, minutes(1));
    let mut lucky = key("b", 2, 8000.0, minutes(1));
    lucky.heat.read_error = 2500.0;
    assert_eq!(decide(&tiers, std::slice::from_ref(&even), &[average, lucky.clone()]).moves, []);
    lucky.heat.read_error = 100.0;
    assert_eq!(decide(&tiers, &[even], &[lucky]).moves.len(), 1, "the same rate, but sure");
}

#[test]
fn a_few_hot_keys_do_not_push_a_busy_range_out() {
    let tiers = tiers([2 * MIB, 100 * MIB, 1000 * MIB], [3 * MIB / 2, 0, 100 * MIB]);
    let mut resident = range("", "m", 0, 2e6, Some(minutes(1)));
    resident.bytes[0] = 3 * MIB / 2;
    let mut cold = range("m", "", 2, 900_000.0, Some(minutes(1)));
    cold.bytes[2] = 100 * MIB;
    cold.keys = 100_000;
    let few: Vec<KeyInput> = (0..100).map(|n| key(&format!("n{n:03}"), 2, 9000.0, minutes(1))).collect();
    let decision = decide(&tiers, &[resident, cold], &few);
    assert_eq!(demotions(&decision), [], "they bring less than the range would lose");
}

proptest! {
    #[test]
    fn whatever_the_state_tiers_are_never_overfilled_by_moves(
        loads in prop::collection::vec((0.0f64..1e7, 0u64..200, 0usize..3, 0u64..100), 1..20),
        key_loads in prop::collection::vec((0.0f64..1e5, 0u64..200, 0usize..3), 0..50),
        capacity in (1u64..40, 1u64..40, 1u64..400),
    ) {
        let last = loads.len() - 1;
        let name = |number: usize| format!("{number:02}");
        let ranges: Vec<RangeInput> = loads.iter().enumerate().map(|(number, (reads, ago, tier, moved))| {
            let start = if number == 0 { String::new() } else { name(number) };
            let end = if number == last { String::new() } else { name(number + 1) };
            let mut range = range(&start, &end, *tier, *reads, Some(minutes(*ago)));
            range.heat.moved_ago = (*moved < 50).then(|| minutes(*moved));
            range
        }).collect();
        let keys: Vec<KeyInput> = key_loads.iter().enumerate()
            .map(|(number, (reads, ago, tier))| key(&format!("{:02}k{number}", number % loads.len()), *tier, *reads, minutes(*ago)))
            .collect();
        let mut used = [0; 3];
        for range in &ranges {
            for (tier, bytes) in range.bytes.iter().enumerate() {
                used[tier] += bytes;
            }
        }
        let tiers = tiers([capacity.0 * MIB, capacity.1 * MIB, capacity.2 * MIB], used);
        let decision = decide(&tiers, &ranges, &keys);
        let mut level = used;
        let mut left = std::collections::HashSet::new();
        for choice in &decision.moves {
            match choice {
                MoveChoice::DemoteRange { range, from, to, bytes, keep, .. } => {
                    prop_assert!(to > from);
                    prop_assert!(keep.iter().all(|key| range.contains(key)));
                    prop_assert!(left.insert((range.start().to_vec(), *from)), "one range leaves a tier once");
                    level[*from] -= *bytes;
                    level[*to] += *bytes;
                    prop_assert!(level[*to] <= tiers[*to].capacity_bytes);
                }
                MoveChoice::Promote { keys: chosen, to, bytes } => {
                    prop_assert!(chosen.iter().all(|name| keys.iter().any(|key| key.heat.key == *name && key.tier > *to)));
                    level[*to] += *bytes;
                    prop_assert!(level[*to] <= (tiers[*to].capacity_bytes as f64 * 0.75) as u64);
                }
                MoveChoice::PromoteRange { from, to, bytes, .. } => {
                    prop_assert!(to < from);
                    level[*to] += *bytes;
                    prop_assert!(level[*to] <= (tiers[*to].capacity_bytes as f64 * 0.75) as u64);
                }
            }
        }
        prop_assert_eq!(decision, decide(&tiers, &ranges, &keys));
    }
}
