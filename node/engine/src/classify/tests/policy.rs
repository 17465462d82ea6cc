use proptest::prelude::*;
use std::time::Duration;

use super::{NAMES, hours};
use crate::classify::{Policy, Temperature};

fn refused(change: impl FnOnce(&mut Policy)) -> String {
    let mut policy = Policy::default();
    change(&mut policy);
    policy.validate(&NAMES).unwrap_err().to_string()
}

#[test]
fn the_default_is_the_designs() {
    let policy = Policy::default();
    assert_eq!(
        policy.temperatures,
        [
            Temperature { tier: "hot".to_owned(), reads: 1000.0, per: hours(24), read_within: hours(1) },
            Temperature { tier: "warm".to_owned(), reads: 100.0, per: hours(24), read_within: hours(24) },
        ]
    );
    assert_eq!((policy.evaluation_interval, policy.hysteresis, policy.paused), (hours(1), 2.0, false));
    assert!(policy.validate(&NAMES).is_ok());
}

#[test]
fn defaults_fit_one_to_four_tiers_of_any_name() {
    for count in 1..=4 {
        let names = &["a", "b", "c", "d"][..count];
        let policy = Policy::for_tiers(names).validate(names).unwrap();
        assert_eq!(policy.temperatures.len(), count - 1);
    }
}

#[test]
fn a_refused_field_is_named_with_what_is_allowed() {
    assert_eq!(
        refused(|policy| policy.temperatures[1].tier = "tepid".to_owned()),
        "policy.temperatures[1].tier is \"tepid\"; allowed is one of hot, warm (the slowest tier takes the rest)"
    );
    assert!(refused(|policy| policy.temperatures[1].tier = "cold".to_owned()).contains("slowest tier takes the rest"));
    assert!(refused(|policy| policy.temperatures[1].tier = "hot".to_owned()).contains("each tier once"));
    assert!(refused(|policy| policy.temperatures.swap(0, 1)).contains("fastest first"));
    assert!(refused(|policy| policy.temperatures[0].reads = f64::NAN).contains("policy.temperatures[0].reads is NaN"));
    assert!(refused(|policy| policy.temperatures[1].reads = 1001.0).contains("at most the rate of \"hot\""));
    assert!(refused(|policy| policy.temperatures[0].per = Duration::ZERO).contains("temperatures[0].per"));
    assert!(refused(|policy| policy.temperatures[1].read_within = Duration::from_secs(1)).contains("readWithin"));
    assert!(refused(|policy| policy.evaluation_interval = Duration::from_millis(99)).contains("at least 100ms"));
    assert!(refused(|policy| policy.hysteresis = 0.9).contains("1 to 1000"));
    assert!(refused(|policy| policy.hysteresis = f64::INFINITY).contains("1 to 1000"));
    assert!(refused(|policy| policy.bytes_per_second = Some(0)).contains("bytesPerSecond"));
}

#[test]
fn rates_are_measured_over_what_the_policy_asks() {
    let mut policy = Policy::default();
    assert!(policy.validate(&NAMES).unwrap().half_life() > hours(12));
    policy.temperatures[0].per = Duration::from_secs(10);
    policy.temperatures[0].reads = 5.0;
    let valid = policy.validate(&NAMES).unwrap();
    assert!((valid.half_life().as_secs_f64() - 6.93).abs() < 0.01);
    assert!((valid.temperatures[0].reads_per_day - 43_200.0).abs() < 1e-6);
}

proptest! {
    #[test]
    fn whatever_is_stated_validation_answers(
        reads in any::<f64>(), per in any::<u64>(), within in any::<u64>(), hysteresis in any::<f64>(), tier in "hot|warm|cold|x",
    ) {
        let mut policy = Policy { hysteresis, ..Policy::default() };
        policy.temperatures[0] = Temperature { tier, reads, per: Duration::from_millis(per), read_within: Duration::from_millis(within) };
        if let Ok(valid) = policy.validate(&NAMES) {
            prop_assert!(valid.half_life() >= Duration::from_secs(1));
        }
    }
}
