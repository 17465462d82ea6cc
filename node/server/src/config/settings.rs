//! The configuration after it was checked: parsed types, nothing left to go wrong.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thermocline_node_config::DefaultDurability;

use super::byte_size::ByteSize;
use crate::cluster::ClusterSettings;
use crate::owned_range::OwnedRange;

/// Everything a node needs to start.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The node's name.
    pub node: String,
    /// The cluster it belongs to.
    pub cluster: String,
    /// The gRPC data plane.
    pub listen_kv: SocketAddr,
    /// The gRPC control plane.
    pub listen_admin: SocketAddr,
    /// Metrics and probes.
    pub listen_http: SocketAddr,
    /// The replicas, for the other nodes.
    pub listen_peer: Option<SocketAddr>,
    /// The keys it owns, where it stands alone.
    pub range: OwnedRange,
    /// What it is told of its cluster, where that has shards.
    pub shards: Option<ClusterSettings>,
    /// The WAL and the database's own files.
    pub root: PathBuf,
    /// What an unspecified durability means.
    pub durability: DefaultDurability,
    /// What the process may use, if stated.
    pub memory_limit: Option<ByteSize>,
    /// One to four, fastest first.
    pub tiers: Vec<TierSettings>,
    /// The policy to start with, if stated.
    pub policy: Option<PolicySettings>,
}

/// The kinds of media a tier can be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A local NVMe drive.
    Nvme,
    /// A solid-state drive.
    Ssd,
    /// A spinning disk.
    Hdd,
}

impl Medium {
    /// Every medium, fastest first.
    pub const ALL: [Self; 3] = [Self::Nvme, Self::Ssd, Self::Hdd];

    /// As the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nvme => "NVMe",
            Self::Ssd => "SSD",
            Self::Hdd => "HDD",
        }
    }
}

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::None, Self::Lz4, Self::Zstd];

    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// One tier.
#[derive(Debug, Clone, PartialEq)]
pub struct TierSettings {
    /// Its name, a label.
    pub name: String,
    /// Its place in the order.
    pub rank: u32,
    /// What it is on.
    pub medium: Medium,
    /// The folder on its device.
    pub path: PathBuf,
    /// What it may hold.
    pub size: ByteSize,
    /// Kept free on the device.
    pub reserve: ByteSize,
    /// Over this share of its capacity data moves down; 0 to 1.
    pub high_watermark: f64,
    /// Down to this share.
    pub low_watermark: f64,
    /// Bytes a second it is held to, where a slower medium is emulated.
    pub throttle: Option<ByteSize>,
    /// Fields of the engine profile that differ from the medium's default.
    pub profile: ProfileSettings,
}

/// Overrides of the engine profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileSettings {
    /// Share of the block cache.
    pub cache: Option<ByteSize>,
    /// Size of a write buffer.
    pub write_buffer: Option<ByteSize>,
    /// Bits per key of the filter.
    pub filter_bits: Option<u32>,
    /// Compression of every level.
    pub compression: Option<Compression>,
    /// Level of zstd.
    pub compression_level: Option<i32>,
    /// Size of the zstd dictionary.
    pub compression_dictionary: Option<ByteSize>,
    /// Compression of single levels.
    pub compression_per_level: Vec<(u8, Compression)>,
    /// Size of a data block.
    pub block_size: Option<ByteSize>,
    /// Table files kept open.
    pub open_files: Option<u32>,
}

/// The policy of moves between media.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicySettings {
    /// Grows with every change.
    pub generation: u64,
    /// No moves while set.
    pub paused: bool,
    /// Fastest first; the slowest tier takes the rest.
    pub temperatures: Vec<TemperatureSettings>,
    /// How often data is classified, if stated.
    pub evaluation_interval: Option<Duration>,
    /// A key moves up at so many times the rate at which it moves down, if stated.
    pub hysteresis: Option<f64>,
    /// How long data stays where it was moved to, if stated.
    pub min_residency: Option<Duration>,
    /// Budget of moves, if stated.
    pub bytes_per_second: Option<ByteSize>,
}

/// What earns a key its place in a tier.
#[derive(Debug, Clone, PartialEq)]
pub struct TemperatureSettings {
    /// The tier.
    pub tier: String,
    /// More reads than this ...
    pub reads: f64,
    /// ... in this long ...
    pub per: Duration,
    /// ... and read within this long.
    pub read_within: Duration,
}
