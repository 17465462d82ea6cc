//! What the tiers of nodes hold, as it was last told in the StorageNode objects. Pure.
//!
//! A node that is silent or does not run says nothing itself; what it said last still holds, for nobody else takes its records
//! away.

use std::collections::BTreeMap;

use thermocline_crds::Object;
use thermocline_crds::v1alpha1::{StorageNode, ValidatedPool};

/// Per node, the tiers that hold records and how many keys.
pub type HeldTiers = BTreeMap<String, BTreeMap<String, u64>>;

/// What the nodes told last.
#[must_use]
pub fn held_tiers(objects: &[Object]) -> HeldTiers {
    nodes(objects).map(|node| (node.metadata.name.clone().unwrap_or_default(), held(node))).collect()
}

/// Why a pool cannot have these tiers and no others: its nodes hold records in one that it does not name.
#[must_use]
pub fn refusals(pool: &ValidatedPool, objects: &[Object]) -> Vec<String> {
    let named = |tier: &String| pool.tiers.iter().any(|(name, _)| name.as_str() == tier);
    let of_pool = nodes(objects).filter(|node| node.spec.pool == pool.name.as_str());
    let lost = of_pool.flat_map(|node| {
        let held = held(node).into_iter().filter(|(tier, _)| !named(tier));
        held.map(|(tier, keys)| (node.metadata.name.clone().unwrap_or_default(), tier, keys))
    });
    lost.map(|(node, tier, keys)| {
        format!(
            "StoragePool/{}: the tier {tier} cannot be taken away: on {node} it holds {keys} keys; move them with a Migration to another tier first",
            pool.name
        )
    })
    .collect()
}

fn nodes(objects: &[Object]) -> impl Iterator<Item = &StorageNode> {
    objects.iter().filter_map(|object| match object {
        Object::StorageNode(node) => Some(node),
        _ => None,
    })
}

fn held(node: &StorageNode) -> BTreeMap<String, u64> {
    let tiers = node.status.iter().flat_map(|status| &status.tiers);
    let counted = tiers.map(|tier| (tier.name.clone(), u64::try_from(tier.keys).unwrap_or(0)));
    counted.filter(|(_, keys)| *keys > 0).collect()
}
