//! SetTiers: what a running tier can change. All of the request is checked before any of it is applied.

use std::sync::atomic::Ordering;

use thermocline_engine::{TierReport, TierSettings};
use thermocline_proto::v1;
use tokio::time::Instant;
use tonic::Status;

use super::AdminService;
use crate::service::Rejection;

/// Applies the settings of the tiers that are open; says which are not.
pub(super) async fn set(
    service: &AdminService,
    deadline: Option<Instant>,
    request: v1::SetTiersRequest,
) -> Result<v1::SetTiersResponse, Status> {
    let in_force = service.facade.tiers_generation.load(Ordering::Relaxed);
    if request.generation < in_force {
        return Err(Status::failed_precondition(format!(
            "tiers generation {} is older than {in_force}, which is in force",
            request.generation
        )));
    }
    let generation = request.generation;
    let tiers = service.call(deadline, |engine| Ok(engine.stats().tiers)).await?;
    let plan = plan(&tiers, &request.tiers)?;
    let changes = plan.changes;
    service
        .call(deadline, move |engine| {
            changes.into_iter().try_for_each(|(name, settings)| engine.set_tier_settings(&name, settings))
        })
        .await?;
    service.facade.tiers_generation.fetch_max(generation, Ordering::Relaxed);
    service.facade.changed();
    tracing::info!(generation, "new tier settings are in force");
    Ok(v1::SetTiersResponse { generation, needs_restart: plan.needs_restart })
}

/// What to change, and what only a restart can.
#[derive(Debug, PartialEq)]
struct Plan {
    changes: Vec<(String, TierSettings)>,
    needs_restart: Vec<String>,
}

fn plan(open: &[TierReport], wanted: &[v1::TierSetting]) -> Result<Plan, Rejection> {
    let mut plan = Plan { changes: Vec::new(), needs_restart: Vec::new() };
    for (index, setting) in wanted.iter().enumerate() {
        check(&format!("tiers[{index}]"), setting)?;
        match open.iter().find(|tier| tier.name == setting.name) {
            Some(tier) => {
                let settings = settings(&tier.settings, setting);
                plan.changes.push((tier.name.clone(), settings));
            }
            None => plan.needs_restart.push(format!("tiers[{index}]: the tier {} is not open", setting.name)),
        }
    }
    Ok(plan)
}

fn check(field: &str, setting: &v1::TierSetting) -> Result<(), Rejection> {
    let unknown = |name: &str, actual: String, allowed: &str| {
        Err(Rejection::Unknown { field: format!("{field}.{name}"), actual, allowed: allowed.to_owned() })
    };
    if setting.name.is_empty() {
        return Err(Rejection::Missing { field: format!("{field}.name"), allowed: "name the tier" });
    }
    if setting.size_bytes < 1 << 20 {
        return unknown("size_bytes", setting.size_bytes.to_string(), "at least 1 MiB");
    }
    let (low, high) = (setting.low_watermark, setting.high_watermark);
    if !(high > 0.0 && high <= 1.0) {
        return unknown("high_watermark", high.to_string(), "more than 0, at most 1");
    }
    if !(low > 0.0 && low < high) {
        return unknown("low_watermark", low.to_string(), "more than 0, less than high_watermark");
    }
    Ok(())
}

/// A reserve that was never stated goes with the size, as at the start; one that was stated stays.
fn settings(now: &TierSettings, setting: &v1::TierSetting) -> TierSettings {
    let default_of = |size| TierSettings::of_size(size).reserve_bytes;
    let stated = now.reserve_bytes != default_of(now.size_bytes);
    let throttle = setting.throttle_bytes_per_second;
    TierSettings {
        size_bytes: setting.size_bytes,
        reserve_bytes: if stated { now.reserve_bytes } else { default_of(setting.size_bytes) },
        high_watermark: setting.high_watermark,
        low_watermark: setting.low_watermark,
        throttle_bytes_per_second: (throttle > 0).then_some(throttle),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn setting() -> v1::TierSetting {
        v1::TierSetting {
            name: "hot".to_owned(),
            size_bytes: 2 << 30,
            high_watermark: 0.9,
            low_watermark: 0.5,
            throttle_bytes_per_second: 0,
        }
    }

    #[test]
    fn a_reserve_follows_the_size_unless_it_was_stated() {
        let now = TierSettings::of_size(1 << 30);
        assert_eq!(settings(&now, &setting()).reserve_bytes, (2 << 30) / 20);
        let stated = TierSettings { reserve_bytes: 7 << 20, ..now };
        assert_eq!(settings(&stated, &setting()).reserve_bytes, 7 << 20);
    }

    #[test]
    fn numbers_that_contradict_themselves_are_refused_by_field() {
        let corpus = [
            (v1::TierSetting { name: String::new(), ..setting() }, "tiers[0].name"),
            (v1::TierSetting { size_bytes: 0, ..setting() }, "tiers[0].size_bytes"),
            (v1::TierSetting { high_watermark: 1.1, ..setting() }, "tiers[0].high_watermark"),
            (v1::TierSetting { high_watermark: f64::NAN, ..setting() }, "tiers[0].high_watermark"),
            (v1::TierSetting { low_watermark: 0.9, ..setting() }, "tiers[0].low_watermark"),
        ];
        for (bad, field) in corpus {
            let message = plan(&[], &[bad]).unwrap_err().to_string();
            assert!(message.starts_with(field), "{field}: {message}");
        }
    }

    #[test]
    fn a_tier_that_is_not_open_needs_a_restart() {
        let plan = plan(&[], &[setting()]).unwrap();
        assert!(plan.changes.is_empty());
        assert!(plan.needs_restart[0].contains("hot"));
    }
}
