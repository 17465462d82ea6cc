//! Sending a call on to the node that leads its shard: one hop, once.

use std::error::Error as _;
use std::time::Duration;

use prost::Message;
use thermocline_proto::v1::kv_client::KvClient;
use thermocline_proto::{MISROUTED_METADATA, v1};
use thermocline_shard::NodeId;
use tokio::time::Instant;
use tonic::metadata::BinaryMetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::{Routed, ShardPlane};

/// A call without a deadline is not sent on for longer.
const LONGEST: Duration = Duration::from_secs(60);

/// A status that says too that nothing was done, and where the request may belong.
pub fn with_routes(mut status: Status, shards: Vec<v1::ShardRoute>) -> Status {
    let detail = v1::Misrouted { shards }.encode_to_vec();
    status.metadata_mut().insert_bin(MISROUTED_METADATA, BinaryMetadataValue::from_bytes(&detail));
    status
}

/// No connection was made: the call was not sent.
fn never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

impl ShardPlane {
    /// Sends a call on; `leader` is where the replica here believes its leader to be.
    pub(super) async fn send_on<T, Answer>(
        &self,
        routed: &Routed,
        key: &[u8],
        leader: Option<NodeId>,
        deadline: Option<Instant>,
        send: impl FnOnce(KvClient<Channel>, v1::RequestHeader, Duration) -> Answer,
    ) -> Result<T, Status>
    where
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        let away = |message: String| self.misrouted(Status::unavailable(message), key);
        if routed.header.forwarded {
            return Err(away("the node that sent the call on believed that this one leads the shard".to_owned()));
        }
        let node = self.other_node(key, leader).await?;
        let client = self.cluster.lines.kv(node).map_err(|error| away(error.to_string()))?;
        let header = v1::RequestHeader { forwarded: true, ..routed.header.clone() };
        let within = deadline.map_or(LONGEST, |deadline| deadline.saturating_duration_since(Instant::now()));
        match tokio::time::timeout(within, send(client, header, within)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) if never_sent(&status) => {
                self.cluster.router.forget(key);
                self.is_away(node);
                Err(away(format!("{node}, which leads the shard, cannot be reached")))
            }
            Ok(Err(status)) if status.source().is_some() => {
                // Broken on the way: what came of it is not known.
                self.cluster.router.forget(key);
                Err(Status::unavailable(format!(
                    "the connection to {node}, which leads the shard, broke: {}",
                    status.message()
                )))
            }
            Ok(Err(status)) => {
                if status.metadata().get_bin(MISROUTED_METADATA).is_some() {
                    self.cluster.router.forget(key);
                }
                Err(status)
            }
            Err(_) => {
                self.is_away(node);
                Err(Status::deadline_exceeded(format!("{node}, which leads the shard, did not answer in time")))
            }
        }
    }
}

/// A request with what is left of its time.
pub(super) fn within<T>(message: T, left: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(left);
    request
}
