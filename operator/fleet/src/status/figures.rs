//! What of a status is a figure, and when a status is worth writing.

use thermocline_crds::Object;
use thermocline_crds::v1alpha1::TierInPool;

/// Whether a change of status is told at once: conditions, states and everything else that is no figure.
#[must_use]
pub fn is_urgent(old: &Object, new: &Object) -> bool {
    without_figures(old) != without_figures(new)
}

/// Whether a figure moved by 5 % or more.
#[must_use]
pub fn is_material(old: &Object, new: &Object) -> bool {
    let (old, new) = (figures(old), figures(new));
    old.len() != new.len() || old.iter().zip(&new).any(|(old, new)| (old - new).abs() > 0.05 * old.abs().max(new.abs()))
}

fn figures(object: &Object) -> Vec<f64> {
    let count = |number: i64| number as f64;
    match object {
        Object::StorageNode(node) => node
            .status
            .iter()
            .flat_map(|status| &status.tiers)
            .flat_map(|tier| [count(tier.capacity_bytes), count(tier.used_bytes), count(tier.keys)])
            .collect(),
        Object::StorageTier(tier) => tier
            .status
            .iter()
            .flat_map(|status| &status.pools)
            .flat_map(|pool| {
                [
                    count(pool.capacity_bytes),
                    count(pool.used_bytes),
                    count(pool.keys),
                    pool.read_share_percent.unwrap_or(0.0),
                    pool.read_p99_microseconds.map_or(0.0, count),
                ]
            })
            .collect(),
        Object::Migration(migration) => {
            migration.status.iter().filter_map(|status| status.bytes_moved).map(count).collect()
        }
        _ => Vec::new(),
    }
}

fn without_figures(object: &Object) -> Object {
    let mut object = object.clone();
    match &mut object {
        Object::StorageNode(node) => {
            for tier in node.status.iter_mut().flat_map(|status| &mut status.tiers) {
                // Whether a tier holds anything is more than a figure: one that does cannot be taken away.
                (tier.capacity_bytes, tier.used_bytes, tier.keys) = (0, 0, tier.keys.min(1));
            }
        }
        Object::StorageTier(tier) => {
            for pool in tier.status.iter_mut().flat_map(|status| &mut status.pools) {
                *pool = TierInPool {
                    pool: pool.pool.clone(),
                    capacity_bytes: 0,
                    used_bytes: 0,
                    keys: 0,
                    read_share_percent: None,
                    read_p99_microseconds: None,
                    cost_per_month: None,
                };
            }
        }
        Object::Migration(migration) => {
            if let Some(status) = &mut migration.status {
                status.bytes_moved = None;
            }
        }
        _ => {}
    }
    object
}
