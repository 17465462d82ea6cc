//! A MigrationPolicy as a node is told it. Pure.

use std::time::Duration;

use thermocline_crds::v1alpha1::{Tiering, ValidatedPolicy};
use thermocline_node_config::defaults;
use thermocline_proto::v1;

/// The message for a node whose tiers, all but the slowest, are `faster`, fastest first. Temperatures of other tiers are
/// left out. Zero and none leave a field to the node's defaults, and so does no policy at all.
#[must_use]
pub fn policy_message<'a>(
    policy: Option<&ValidatedPolicy>,
    faster: impl IntoIterator<Item = &'a str>,
    generation: u64,
) -> v1::Policy {
    let Some(policy) = policy else {
        // The one that a message cannot leave out.
        return v1::Policy { generation, min_residency_ms: millis(defaults::MIN_RESIDENCY), ..v1::Policy::default() };
    };
    let temperatures = faster.into_iter().filter_map(|name| {
        let (tier, stated) = policy.temperatures.iter().find(|(tier, _)| tier.as_str() == name)?;
        Some(v1::Temperature {
            tier: tier.to_string(),
            reads: stated.reads,
            per_ms: millis(stated.per.as_duration()),
            read_within_ms: millis(stated.read_within.as_duration()),
        })
    });
    v1::Policy {
        generation,
        tiering_paused: policy.tiering == Tiering::Paused,
        temperatures: temperatures.collect(),
        evaluation_interval_ms: millis(policy.evaluation_interval.as_duration()),
        promote_over_demote: policy.hysteresis,
        min_residency_ms: millis(policy.min_residency.as_duration()),
        bytes_per_second: policy.bytes_per_second.map_or(0, |rate| rate.bytes()),
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
