//! The configuration of a node, from validated objects. Pure.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use thermocline_crds::v1alpha1::{
    Durability, Tiering, ValidatedCluster, ValidatedPolicy, ValidatedPool, ValidatedProfile, ValidatedTier,
};
use thermocline_node_config::{
    DefaultDurability, Listen, NodeConfig, OwnedRange, PolicyConfig, ProfileConfig, ShardsConfig, TemperatureConfig,
    TierConfig,
};

/// The objects that a node is made of, and where it is.
#[derive(Debug, Clone)]
pub struct NodeSource<'a> {
    /// Its cluster.
    pub cluster: &'a ValidatedCluster,
    /// Its pool.
    pub pool: &'a ValidatedPool,
    /// The tiers of its pool, fastest first, with the size that holds in the pool.
    pub tiers: &'a [ValidatedTier],
    /// The policy that governs its pool, and its generation.
    pub policy: &'a PolicyConfig,
    /// Its name.
    pub name: &'a str,
    /// The keys it owns, where it stands alone.
    pub range: &'a (String, String),
    /// What it is told of the cluster's shards, where there are some.
    pub shards: Option<ShardsConfig>,
    /// The address of all its listeners.
    pub address: Ipv4Addr,
    /// Where its data is.
    pub folder: &'a Path,
}

/// The file that the node is started with.
#[must_use]
pub fn node_config(source: &NodeSource<'_>) -> NodeConfig {
    let at = |port| SocketAddr::from((source.address, port));
    NodeConfig {
        node: source.name.to_owned(),
        cluster: source.pool.cluster.to_string(),
        listen: Listen {
            kv: at(source.cluster.kv_port),
            admin: at(source.cluster.admin_port),
            http: at(source.cluster.http_port),
            peer: source.shards.is_some().then(|| at(source.cluster.peer_port)),
        },
        shards: source.shards.clone(),
        range: OwnedRange { start: source.range.0.clone(), end: source.range.1.clone() },
        // Stated, so that a faster tier that is added later does not move it.
        root: Some(source.folder.join("root")),
        durability: match source.cluster.durability {
            Durability::Sync => DefaultDurability::Sync,
            Durability::Wal => DefaultDurability::Wal,
            Durability::Buffered => DefaultDurability::Buffered,
        },
        memory_limit: source.pool.memory_limit.map(|limit| limit.to_string()),
        tiers: source.tiers.iter().map(|tier| tier_config(tier, source.folder)).collect(),
        policy: Some(source.policy.clone()),
    }
}

fn tier_config(tier: &ValidatedTier, folder: &Path) -> TierConfig {
    TierConfig {
        name: tier.name.to_string(),
        rank: tier.rank,
        medium: tier.medium.as_str().to_owned(),
        path: folder.join("tiers").join(tier.name.as_str()),
        size: tier.size.to_string(),
        reserve: tier.reserve.map(|reserve| reserve.to_string()),
        high_watermark_percent: Some(tier.high_percent),
        low_watermark_percent: Some(tier.low_percent),
        throttle: tier.throttle.map(|throttle| throttle.to_string()),
        profile: profile_config(&tier.profile),
    }
}

fn profile_config(profile: &ValidatedProfile) -> ProfileConfig {
    let levels = profile.compression_per_level.iter();
    let levels: BTreeMap<String, String> =
        levels.map(|one| (one.level.to_string(), one.compression.as_config().to_owned())).collect();
    ProfileConfig {
        cache: profile.cache.map(|size| size.to_string()),
        write_buffer: profile.write_buffer.map(|size| size.to_string()),
        filter_bits: profile.filter_bits,
        compression: profile.compression.map(|kind| kind.as_config().to_owned()),
        compression_level: profile.compression_level,
        compression_dictionary: profile.compression_dictionary.map(|size| size.to_string()),
        compression_per_level: levels,
        block_size: profile.block_size.map(|size| size.to_string()),
        open_files: profile.open_files,
    }
}

/// The policy for a pool with these tiers, fastest first; `None` gives the defaults. Its generation is still 0.
///
/// Temperatures of tiers that the pool does not have, and of its slowest, which takes the rest, are left out.
#[must_use]
pub fn policy_config(policy: Option<&ValidatedPolicy>, tiers: &[ValidatedTier]) -> PolicyConfig {
    let Some(policy) = policy else {
        return PolicyConfig {
            generation: 0,
            paused: false,
            temperatures: Vec::new(),
            evaluation_interval: None,
            hysteresis: None,
            min_residency: None,
            bytes_per_second: None,
        };
    };
    let upper = tiers.iter().take(tiers.len().saturating_sub(1));
    let temperatures = upper.filter_map(|tier| {
        policy.temperatures.get(&tier.name).map(|temperature| TemperatureConfig {
            tier: tier.name.to_string(),
            reads: temperature.reads,
            per: temperature.per.to_string(),
            read_within: temperature.read_within.to_string(),
        })
    });
    PolicyConfig {
        generation: 0,
        paused: policy.tiering == Tiering::Paused,
        temperatures: temperatures.collect(),
        evaluation_interval: Some(policy.evaluation_interval.to_string()),
        hysteresis: Some(policy.hysteresis),
        min_residency: Some(policy.min_residency.to_string()),
        bytes_per_second: policy.bytes_per_second.map(|rate| rate.to_string()),
    }
}

/// The part of a configuration that only a start can change: everything but the policy and what SetTiers changes.
#[must_use]
pub fn fixed_part(config: &NodeConfig) -> NodeConfig {
    let mut fixed = config.clone();
    fixed.policy = None;
    // A node that runs has found the others.
    if let Some(shards) = &mut fixed.shards {
        shards.seeds.clear();
    }
    for tier in &mut fixed.tiers {
        tier.size = String::new();
        tier.high_watermark_percent = None;
        tier.low_watermark_percent = None;
        tier.throttle = None;
    }
    fixed
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "render_test.rs"]
mod tests;
