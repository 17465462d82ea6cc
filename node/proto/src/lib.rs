//! The gRPC contracts of Thermocline and their generated code.
//!
//! A leaf: it knows neither the engine nor the API types. The contracts themselves are documented in
//! `proto/thermocline/v1/*.proto`; this crate only names the generated modules.

#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::nursery)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::use_self, clippy::or_fun_call)]
mod generated {
    // The generated code of one package names the other by its place in here.
    pub mod v1 {
        tonic::include_proto!("thermocline.v1");
    }
    pub mod replica {
        pub mod v1 {
            tonic::include_proto!("thermocline.replica.v1");
        }
    }
}

/// Version 1 of the contracts: `thermocline.v1.Kv` and `thermocline.v1.Admin`.
pub use generated::v1;

/// What replicas of a shard write to their logs and tell each other.
pub mod replica {
    /// Version 1: `thermocline.replica.v1`.
    pub use crate::generated::replica::v1;
}

/// The encoded descriptor set, for gRPC reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/thermocline_descriptor.bin"));

/// The longest key a node takes, in bytes.
pub const MAX_KEY_BYTES: usize = 4 * 1024;
/// The longest value a node takes, in bytes.
pub const MAX_VALUE_BYTES: usize = 8 * 1024 * 1024;
/// The metadata key of the [`v1::RangeMismatch`] detail.
pub const RANGE_MISMATCH_METADATA: &str = "thermocline-range-bin";
/// In [`v1::NodeStatus`]'s `health_reason`: writes are refused for want of space on a device, not for anything else.
pub const UNDER_RESERVE: &str = "is under its reserve";
/// The metadata key of the cluster's id in calls between nodes.
pub const CLUSTER_METADATA: &str = "thermocline-cluster";
/// The metadata key of the number of the node that a call between nodes is for: another one may have its address by now.
pub const NODE_METADATA: &str = "thermocline-node";
/// The metadata key of the [`v1::Misrouted`] detail.
pub const MISROUTED_METADATA: &str = "thermocline-misrouted-bin";
/// In a cluster with shards the keys from this one on are the cluster's own.
pub const FIRST_OWN_KEY: &[u8] = &[0xff, 0xff];
