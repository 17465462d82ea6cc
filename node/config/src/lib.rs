//! The file a storage node is started with: `thermocline-node --config FILE`.
//!
//! Types alone, no I/O and no checks: the node validates (its errors name the field and say what is allowed), a home
//! such as the local fleet or the operator writes. YAML, camelCase, unknown fields refused.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The exit status of a node that refuses what it is started with (flags, configuration, a folder that is not its own):
/// starting it again changes nothing.
pub const MISUSED_EXIT: u8 = 2;

/// What holds where a field is left out. The engine and the API types have their own, and tests compare them with these.
pub mod defaults {
    use std::time::Duration;

    /// Of `highWatermarkPercent`.
    pub const HIGH_WATERMARK_PERCENT: u32 = 85;
    /// Of `lowWatermarkPercent`.
    pub const LOW_WATERMARK_PERCENT: u32 = 75;
    /// Of a policy's `evaluationInterval`.
    pub const EVALUATION_INTERVAL: Duration = Duration::from_secs(60 * 60);
    /// Of a policy's `hysteresis`.
    pub const HYSTERESIS: f64 = 2.0;
    /// Of a policy's `minResidency`.
    pub const MIN_RESIDENCY: Duration = Duration::from_secs(10 * 60);
}

/// Everything a node needs to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeConfig {
    /// The node's name, unique in its cluster.
    pub node: String,
    /// The cluster it belongs to; a data folder of another cluster is refused.
    pub cluster: String,
    /// Where it listens.
    pub listen: Listen,
    /// The keys it owns; all of them by default.
    #[serde(default)]
    pub range: OwnedRange,
    /// Where the WAL and the database's own files are; by default a folder `root` on the fastest tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// That the node is one of a cluster with shards; without it the node stands alone and owns `range`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<ShardsConfig>,
    /// What an unspecified durability means: `sync`, `wal` (default) or `buffered`. With shards every write is on a quorum's
    /// disks before it is answered.
    #[serde(default)]
    pub durability: DefaultDurability,
    /// What the process may use, e.g. `512Mi`; by default the smaller of its cgroup's limit and the machine's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<String>,
    /// One to four tiers, fastest first.
    pub tiers: Vec<TierConfig>,
    /// The policy it starts with; the default temperatures when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyConfig>,
}

/// The three listeners of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listen {
    /// gRPC `thermocline.v1.Kv`, health and reflection.
    pub kv: SocketAddr,
    /// gRPC `thermocline.v1.Admin`.
    pub admin: SocketAddr,
    /// HTTP: `/metrics`, `/healthz`, `/readyz`.
    pub http: SocketAddr,
    /// gRPC of the replicas, for the other nodes; with `shards` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
}

/// A node of a cluster with shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShardsConfig {
    /// The cluster's id, given once: a node with data of another one is refused.
    pub cluster_id: String,
    /// `host:port` of `listen.peer` of other nodes; one that answers is enough.
    #[serde(default)]
    pub seeds: Vec<String>,
    /// Where the node is; copies of a shard are put into different zones where there are some.
    #[serde(default)]
    pub zone: String,
    /// The host that others reach the node by, where it listens on an address that they cannot use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// The address that the node's connections to others leave from, where rules between nodes go by it; by default the
    /// system chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
}

/// A half-open range of keys, as text (UTF-8); empty means unbounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnedRange {
    /// The first key, inclusive.
    #[serde(default)]
    pub start: String,
    /// The end, exclusive.
    #[serde(default)]
    pub end: String,
}

/// What an unspecified durability means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DefaultDurability {
    /// Acknowledged after a group fsync.
    Sync,
    /// Acknowledged when the write-ahead log has it in the page cache.
    #[default]
    Wal,
    /// Acknowledged from memory; written within 5 ms.
    Buffered,
}

/// One tier of the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TierConfig {
    /// The tier's name, a label: its identity is in a file on its device.
    pub name: String,
    /// Its place in the order: smaller is faster. Sparse and fixed.
    pub rank: u32,
    /// `NVMe`, `SSD` or `HDD`.
    pub medium: String,
    /// The folder on its device.
    pub path: PathBuf,
    /// What it may hold, e.g. `1Gi`.
    pub size: String,
    /// Kept free on the device, e.g. `256Mi`; by default the smaller of 5 % of the size and 1 GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve: Option<String>,
    /// Over this percentage of its capacity data moves down; [`defaults::HIGH_WATERMARK_PERCENT`] by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_watermark_percent: Option<u32>,
    /// Down to this percentage; [`defaults::LOW_WATERMARK_PERCENT`] by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_watermark_percent: Option<u32>,
    /// Emulates a slower medium: reads and writes of this tier are held to so many bytes a second, e.g. `50Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<String>,
    /// Fields of the engine profile that differ from the medium's default.
    #[serde(default, skip_serializing_if = "ProfileConfig::is_default")]
    pub profile: ProfileConfig,
}

/// Overrides of the engine profile; a field that is absent keeps the medium's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileConfig {
    /// Share of the block cache, e.g. `4Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// Size of a write buffer, e.g. `128Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_buffer: Option<String>,
    /// Bits per key of the filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_bits: Option<u32>,
    /// `none`, `lz4` or `zstd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
    /// Level of `zstd`, 1 to 19.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression_level: Option<i32>,
    /// Size of the zstd dictionary, e.g. `16Ki`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression_dictionary: Option<String>,
    /// Compression of single levels (`"0": none`), over `compression`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub compression_per_level: BTreeMap<String, String>,
    /// Size of a data block, e.g. `16Ki`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_size: Option<String>,
    /// Table files kept open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
}

impl ProfileConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The policy of moves between media.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyConfig {
    /// Grows with every change; the node reports the one in force.
    #[serde(default)]
    pub generation: u64,
    /// No moves between media while set.
    #[serde(default)]
    pub paused: bool,
    /// One entry per tier but the slowest, fastest first.
    #[serde(default)]
    pub temperatures: Vec<TemperatureConfig>,
    /// How often data is classified, e.g. `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation_interval: Option<String>,
    /// A key moves up at so many times the rate at which it moves down. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hysteresis: Option<f64>,
    /// Data stays at least so long where it was moved to, e.g. `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_residency: Option<String>,
    /// Budget of moves between media, e.g. `64Mi` (a second).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<String>,
}

/// What earns a key its place in a tier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemperatureConfig {
    /// The tier.
    pub tier: String,
    /// More reads than this ...
    pub reads: f64,
    /// ... in this long, e.g. `24h` ...
    pub per: String,
    /// ... and read within this long, e.g. `1h`.
    pub read_within: String,
}
