use proptest::prelude::*;
use std::time::Duration;

use crate::heat::Decay;
use crate::heat::moment::Moment;
use crate::heat::rate::DecayedRate;

const DAY: u64 = 86_400_000;

fn at(milliseconds: u64) -> Moment {
    Moment::from(Duration::from_millis(milliseconds))
}

proptest! {
    #[test]
    fn a_steady_load_converges_to_its_rate(per_day in 100u64..1_000_000, half_life_hours in 2u64..48) {
        let decay = Decay::from_half_life(Duration::from_secs(half_life_hours * 3600));
        let gap = (DAY / per_day).max(1);
        let mut rate = DecayedRate::NONE;
        let mut now = 0;
        // Batches keep the number of steps small: what counts is the sum.
        let batch = (per_day / 1000).max(1);
        while now < half_life_hours * 3_600_000 * 12 {
            now += gap * batch;
            rate.record(batch as f64, at(now), &decay);
        }
        let actual = DAY as f64 / gap as f64;
        let seen = rate.at(at(now + gap * batch / 2), &decay);
        // Twelve half lives leave 1/4096; half a batch of the rate's own jitter.
        let jitter = batch as f64 * decay.per_event();
        prop_assert!((seen - actual).abs() <= actual * 0.01 + jitter, "{seen} for {actual}");
    }

    #[test]
    fn an_idle_rate_halves_in_every_half_life(half_life in 1u64..10_000_000, weight in 1u32..1000) {
        let decay = Decay::from_half_life(Duration::from_millis(half_life));
        let mut rate = DecayedRate::NONE;
        rate.record(f64::from(weight), at(5), &decay);
        let start = rate.at(at(5), &decay);
        prop_assert!((start - f64::from(weight) * decay.per_event()).abs() < start * 1e-9);
        prop_assert!((rate.at(at(5 + half_life), &decay) / start - 0.5).abs() < 1e-9);
        prop_assert!((rate.at(at(5 + 3 * half_life), &decay) / start - 0.125).abs() < 1e-9);
    }

    #[test]
    fn taking_the_hotter_of_two_views_is_idempotent_and_has_no_order(
        a in (0u64..1000, 1u32..50), b in (0u64..1000, 1u32..50),
    ) {
        let decay = Decay::from_half_life(Duration::from_millis(100));
        let make = |(when, weight): (u64, u32)| {
            let mut rate = DecayedRate::NONE;
            rate.record(f64::from(weight), at(when), &decay);
            rate
        };
        let (a, b) = (make(a), make(b));
        let merged = a.hotter(&b, &decay);
        prop_assert_eq!(merged, b.hotter(&a, &decay));
        prop_assert_eq!(merged, merged.hotter(&a, &decay));
        prop_assert_eq!(merged, merged.hotter(&b, &decay));
    }
}

#[test]
fn a_clock_that_goes_back_neither_heats_nor_cools() {
    let decay = Decay::from_half_life(Duration::from_secs(1));
    let mut rate = DecayedRate::NONE;
    rate.record(1.0, at(10_000), &decay);
    let before = rate.at(at(10_000), &decay);
    assert_eq!(rate.at(at(1), &decay), before);
}
