//! SetPolicy: from the message to the engine's policy.

use std::time::Duration;

use parking_lot::Mutex;
use thermocline_engine::classify::{Policy, Temperature};
use thermocline_engine::{Engine, EngineError};
use thermocline_proto::v1;
use tonic::Status;

use crate::service::Rejection;

/// The policy that the message states; the engine checks it against its tiers. Zero means the default where zero would
/// make no sense.
pub(super) fn parse(policy: Option<v1::Policy>) -> Result<Policy, Rejection> {
    let policy =
        policy.ok_or_else(|| Rejection::Missing { field: "policy".to_owned(), allowed: "give the whole policy" })?;
    let defaults = Policy::default();
    let temperatures = policy.temperatures.into_iter().map(temperature).collect();
    let or_default = |milliseconds: u64, default: Duration| match milliseconds {
        0 => default,
        stated => Duration::from_millis(stated),
    };
    Ok(Policy {
        generation: policy.generation,
        paused: policy.tiering_paused,
        temperatures,
        evaluation_interval: or_default(policy.evaluation_interval_ms, defaults.evaluation_interval),
        hysteresis: if policy.promote_over_demote == 0.0 { defaults.hysteresis } else { policy.promote_over_demote },
        min_residency: Duration::from_millis(policy.min_residency_ms),
        bytes_per_second: (policy.bytes_per_second > 0).then_some(policy.bytes_per_second),
    })
}

fn temperature(stated: v1::Temperature) -> Temperature {
    Temperature {
        tier: stated.tier,
        reads: stated.reads,
        per: Duration::from_millis(stated.per_ms),
        read_within: Duration::from_millis(stated.read_within_ms),
    }
}

/// Puts it in force, unless a newer one is: of two that were sent at once, the older must not win by coming last.
///
/// A policy without temperatures takes the default thresholds for the node's tiers.
pub(super) fn apply(
    engine: &Engine,
    in_force: &Mutex<Policy>,
    mut policy: Policy,
) -> Result<Result<(), Status>, EngineError> {
    let mut in_force = in_force.lock();
    if policy.generation < in_force.generation {
        return Ok(Err(Status::failed_precondition(format!(
            "policy generation {} is older than {}, which is in force",
            policy.generation, in_force.generation
        ))));
    }
    if policy.temperatures.is_empty() {
        let tiers = engine.stats().tiers;
        let names: Vec<&str> = tiers.iter().map(|tier| tier.name.as_str()).collect();
        policy.temperatures = Policy::for_tiers(&names).temperatures;
    }
    engine.set_policy(&policy)?;
    *in_force = policy;
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn zero_means_the_default_where_zero_makes_no_sense() {
        assert!(parse(None).is_err());
        let policy = parse(Some(v1::Policy::default())).unwrap();
        let defaults = Policy::default();
        assert_eq!(policy.evaluation_interval, defaults.evaluation_interval);
        assert!((policy.hysteresis - defaults.hysteresis).abs() < f64::EPSILON);
        assert_eq!(policy.min_residency, Duration::ZERO, "no residency can be meant");
        assert_eq!(policy.bytes_per_second, None);
    }
}
