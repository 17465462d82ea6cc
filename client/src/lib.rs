//! The client library: routing by shards, deadlines, retries of what is safe to retry, scans across shards.
//!
//! Contract: it is embedded in applications, so it creates no runtime (it runs on the caller's tokio), spawns no
//! tasks of its own, logs through `tracing` alone, and knows of the project only the gRPC contracts. One [`Client`]
//! serves any number of concurrent calls; clones share its connections.
//!
//! In a cluster with shards the [`Endpoints`] are where it begins: any node says where the shards are ([`ShardRoute`]), also on
//! nodes that the endpoints do not name, and a node that was asked in vain says where they are now. A write has a number
//! there that the shard remembers, so it is sent again after a broken connection and still applied once. Nodes that stand alone
//! own a fixed range each ([`RangeTable`]) and remember nothing: there such a write ends as [`Error::OutcomeUnknown`].
//!
//! Reads are the leader's, unless [`Client::with_consistency`] lets any replica answer: then one that is near is asked.
//!
//! Reading order: [`Endpoints`] (where the nodes are) → [`RangeTable`], [`ShardRoute`] (who owns a key) → [`retry`] (what may be
//! sent again) → [`Client`] (the calls) → [`Scan`].
//!
//! ```no_run
//! use thermocline_client::{Batch, Client, Endpoints, Options};
//!
//! # async fn example() -> Result<(), thermocline_client::Error> {
//! let client = Client::connect(Endpoints::parse_list("127.0.0.1:7400:7401")?, Options::default()).await?;
//! let version = client.put("greeting", "hello").await?;
//! client.write(Batch::new().when_version("greeting", version).put("greeting", "good evening")).await?;
//! # Ok(())
//! # }
//! ```

mod batch;
mod client;
mod connection;
mod consistency;
mod distances;
mod endpoints;
mod error;
mod key;
mod lane;
mod lanes;
mod lines;
mod options;
mod request_id;
pub mod retry;
mod route;
mod route_table;
mod routing;
mod scan;

pub use batch::Batch;
pub use client::{Client, Record};
pub use consistency::{Aged, Consistency};
pub use endpoints::{Endpoints, EndpointsError, NodeEndpoint};
pub use error::{Error, ErrorKind};
pub use key::{DisplayKey, key_after, prefix_end};
pub use options::{ClientId, Durability, Options};
pub use route::{ReplicaRoute, ShardRoute};
pub use routing::{KeyRange, RangeError, RangeTable, Segment};
pub use scan::{Scan, ScanOptions};

/// The generated admin client, for what is not a data call: status, heat, policy, moves.
pub type AdminClient = thermocline_proto::v1::admin_client::AdminClient<tonic::transport::Channel>;
