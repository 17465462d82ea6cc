//! The corners of rendering; what every field becomes is shown with the whole of a node in `desired`.

use super::*;
use thermocline_crds::{Validated, validate};

fn policy(text: &str) -> ValidatedPolicy {
    let text = format!(
        "{{apiVersion: thermocline.dev/v1alpha1, kind: MigrationPolicy, metadata: {{name: p}}, spec: {{cluster: c, temperatures: {{{text}}}}}}}"
    );
    match validate::manifest(&text).unwrap()[0].object.validated().unwrap() {
        Validated::MigrationPolicy(policy) => policy,
        other => panic!("{other:?}"),
    }
}

fn tier(name: &str, rank: u32) -> ValidatedTier {
    let text = format!(
        "{{apiVersion: thermocline.dev/v1alpha1, kind: StorageTier, metadata: {{name: {name}}}, spec: {{cluster: c, rank: {rank}, medium: SSD, size: 1Gi}}}}"
    );
    match validate::manifest(&text).unwrap()[0].object.validated().unwrap() {
        Validated::StorageTier(tier) => *tier,
        other => panic!("{other:?}"),
    }
}

#[test]
fn temperatures_come_in_the_order_of_the_tiers_without_the_slowest_of_the_pool() {
    let policy = policy("hot: {reads: 9, readWithin: 1h}, a-warm: {reads: 5, readWithin: 2h}");
    let names = |tiers: &[ValidatedTier]| {
        let rendered = policy_config(Some(&policy), tiers);
        rendered.temperatures.into_iter().map(|one| one.tier).collect::<Vec<_>>()
    };
    assert_eq!(names(&[tier("hot", 0), tier("a-warm", 10), tier("cold", 20)]), ["hot", "a-warm"]);
    assert_eq!(names(&[tier("hot", 0), tier("a-warm", 10)]), ["hot"], "in this pool a-warm takes the rest");
    assert_eq!(names(&[tier("hot", 0)]), Vec::<String>::new());
}

#[test]
fn without_a_policy_the_node_has_its_defaults() {
    let rendered = policy_config(None, &[tier("hot", 0), tier("cold", 20)]);
    assert!(!rendered.paused && rendered.temperatures.is_empty() && rendered.evaluation_interval.is_none());
}

#[test]
fn the_api_types_and_the_configuration_agree_on_every_default() {
    use thermocline_node_config::defaults;
    let tier = tier("hot", 0);
    assert_eq!(
        (tier.high_percent, tier.low_percent),
        (defaults::HIGH_WATERMARK_PERCENT, defaults::LOW_WATERMARK_PERCENT)
    );
    let policy = policy("");
    assert_eq!(policy.evaluation_interval.as_duration(), defaults::EVALUATION_INTERVAL);
    assert_eq!(policy.hysteresis, defaults::HYSTERESIS);
    assert_eq!(policy.min_residency.as_duration(), defaults::MIN_RESIDENCY);
}
