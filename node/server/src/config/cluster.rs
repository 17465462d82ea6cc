//! The part of a configuration that makes a node one of a cluster with shards.

use std::net::IpAddr;

use thermocline_node_config::{NodeConfig, OwnedRange, ShardsConfig};

use super::error::Problems;
use crate::cluster::ClusterSettings;

const ID_ALLOWED: &str = "1 to 63 letters, digits or `-`";
const ADDRESS_ALLOWED: &str = "host:port of the `listen.peer` of another node";
const SOURCE_ALLOWED: &str = "one of the machine's own addresses; leave it out where the system may choose";

/// What the node is told of its cluster; `None` after a problem.
pub fn check(problems: &mut Problems, shards: &ShardsConfig, config: &NodeConfig) -> Option<ClusterSettings> {
    let ShardsConfig { cluster_id, seeds, zone, advertise, source } = shards;
    let before = problems.count();
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if cluster_id.is_empty() || cluster_id.len() > 63 || !plain(cluster_id) {
        problems.add("shards.clusterId", format!("is {cluster_id:?}"), ID_ALLOWED);
    }
    for (index, seed) in seeds.iter().enumerate() {
        let port = seed.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) {
            problems.add(format!("shards.seeds[{index}]"), format!("is {seed:?}"), ADDRESS_ALLOWED);
        }
    }
    if let Some(source) = source.filter(IpAddr::is_unspecified) {
        problems.add("shards.source", format!("is {source}"), SOURCE_ALLOWED);
    }
    if config.listen.peer.is_none() {
        problems.add("listen.peer", "is missing".to_owned(), "an address for the other nodes, since `shards` is there");
    }
    if config.range != OwnedRange::default() {
        problems.add(
            "range",
            "is stated".to_owned(),
            "with `shards` the shards say which keys are where: leave it out",
        );
    }
    (problems.count() == before).then(|| ClusterSettings {
        id: cluster_id.clone(),
        seeds: seeds.clone(),
        zone: zone.clone(),
        advertise: advertise.clone(),
        source: *source,
    })
}
