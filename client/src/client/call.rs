//! One call: routed, sent with a deadline, and sent again as the retry tables say.

use std::time::Duration;

use bytes::Bytes;
use thermocline_proto::v1;
use tonic::{Response, Status};

use super::{Client, KvClient, Routing, span::KeySpan};
use crate::{Error, KeyRange, retry::CallKind};

impl Client {
    /// Calls the owner of keys. `send` is called once for each sending, with the time that it has.
    pub(super) async fn call<T, Send, Answer>(
        &self,
        operation: &'static str,
        kind: CallKind,
        span: &KeySpan,
        send: Send,
    ) -> Result<T, Error>
    where
        Send: Fn(KvClient, v1::RequestHeader, Duration) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        match &self.shared.routing {
            Routing::Nodes(nodes) => self.call_node(nodes, operation, kind, span, send).await,
            Routing::Shards(shards) => {
                let near = kind == CallKind::Read && self.consistency.prefers_near();
                shards.call(shards.begin(operation, kind, self.timeout, near), span, send).await
            }
        }
    }

    /// The keys around one that a batch may name together with it: those of its shard; where nodes stand alone, of its node.
    /// They may be others a moment later, so a batch may be refused nevertheless.
    ///
    /// # Errors
    /// [`Error::Unrouted`] where no node says which shard it is.
    pub async fn owned_with(&self, key: &[u8]) -> Result<KeyRange, Error> {
        match &self.shared.routing {
            Routing::Nodes(nodes) => Ok(nodes.ranges.load().range_around(key).clone()),
            Routing::Shards(shards) => Ok(shards.route(key, self.timeout).await?.range.clone()),
        }
    }

    pub(super) fn kv(&self, node: usize) -> KvClient {
        self.shared.connections[node].kv.kv()
    }

    pub(super) fn node_name(&self, node: usize) -> String {
        self.shared.nodes[node].name.clone()
    }

    /// Who is believed to own a key, for messages.
    pub(super) fn owner_name(&self, key: &Bytes) -> String {
        match &self.shared.routing {
            Routing::Nodes(nodes) => self.node_name(nodes.ranges.load().owner(key)),
            Routing::Shards(shards) => shards.leader_name(key),
        }
    }
}

pub(super) fn with_deadline<T>(message: T, remaining: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(remaining);
    request
}
