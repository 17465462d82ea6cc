//! A part of a scan: within one shard, or on one node that stands alone.

use std::time::Duration;

use bytes::Bytes;
use thermocline_proto::{FIRST_OWN_KEY, v1};
use tonic::{Status, Streaming};

use super::{
    Client, KvClient, Routing,
    nodes::Attempt,
    shards::{Sending, Target},
};
use crate::{
    Error, ScanOptions,
    key::last_key_before,
    retry::CallKind,
    routing::{Segment, smaller_end},
};

const OPERATION: &str = "scan";

/// What is scanned in one go, of one owner.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) start: Bytes,
    pub(crate) end: Bytes,
    /// Whether nothing of the scan is left after it.
    pub(crate) is_last: bool,
    header: v1::RequestHeader,
    kv: KvClient,
    at: Place,
    read: Option<v1::ReadOptions>,
}

#[derive(Debug, Clone)]
enum Place {
    Node(usize),
    Shard(Box<Target>),
}

/// Where a scan stands among its attempts to get on.
#[derive(Debug)]
pub(crate) enum Tries {
    Node(Attempt),
    Shard(Box<Sending>),
}

impl Tries {
    /// How long the next step may take; `whole` is the time of a step with all its attempts.
    pub(crate) fn patience(&self, whole: Duration) -> Duration {
        match self {
            Self::Node(_) => whole,
            Self::Shard(sending) => sending.time_of_attempt(),
        }
    }
}

impl Client {
    /// The attempts of a scan's next step, none of them made.
    pub(crate) fn scan_tries(&self) -> Tries {
        match &self.shared.routing {
            Routing::Nodes(nodes) => Tries::Node(self.attempt(nodes, OPERATION, CallKind::Read, 0)),
            Routing::Shards(shards) => Tries::Shard(Box::new(shards.begin(
                OPERATION,
                CallKind::Read,
                self.timeout,
                self.consistency.prefers_near(),
            ))),
        }
    }

    /// What is to be scanned next of `rest`.
    pub(crate) async fn next_part(&self, tries: &mut Tries, rest: &ScanOptions) -> Result<Part, Error> {
        let read = self.consistency.to_proto();
        match (&self.shared.routing, tries) {
            (Routing::Shards(shards), Tries::Shard(sending)) => {
                // The keys after the users' are the cluster's own. Who asks for those alone is refused by the node.
                let is_own = rest.start >= FIRST_OWN_KEY;
                let end =
                    if is_own { rest.end.clone() } else { smaller_end(&rest.end, &Bytes::from_static(FIRST_OWN_KEY)) };
                let key = if rest.reverse { last_key_before(&end) } else { rest.start.clone() };
                let target = shards.target(sending, &key).await?;
                let range = &target.route.range;
                let (start, part_end) = if rest.reverse {
                    (range.start().max(&rest.start).clone(), end.clone())
                } else {
                    (rest.start.clone(), smaller_end(range.end(), &end))
                };
                let is_last = if rest.reverse { start == rest.start } else { part_end == end };
                let (header, kv) = (target.header(), target.kv.clone());
                Ok(Part { start, end: part_end, is_last, header, kv, at: Place::Shard(Box::new(target)), read })
            }
            (Routing::Nodes(nodes), Tries::Node(attempt)) => {
                nodes.note_generation(attempt);
                let ranges = nodes.ranges.load();
                let segment = if rest.reverse {
                    ranges.last_segment(&rest.start, &rest.end)
                } else {
                    ranges.first_segment(&rest.start, &rest.end)
                };
                let is_last = if rest.reverse { segment.start <= rest.start } else { segment.end == rest.end };
                let Segment { node, start, end } = segment;
                let (header, kv) = (nodes.ids.next_header(), self.kv(node));
                Ok(Part { start, end, is_last, header, kv, at: Place::Node(node), read })
            }
            // A scan keeps to one client, and a client to one way of finding keys.
            (_, tries) => {
                *tries = self.scan_tries();
                Box::pin(self.next_part(tries, rest)).await
            }
        }
    }

    /// Follows the retry tables: returns when the scan may go on, else the error for the caller.
    pub(crate) async fn after_part_failure(&self, tries: &mut Tries, part: &Part, status: Status) -> Result<(), Error> {
        match (&self.shared.routing, tries, &part.at) {
            (Routing::Nodes(nodes), Tries::Node(attempt), Place::Node(node)) => {
                self.after_node_failure(nodes, attempt, *node, status).await
            }
            (Routing::Shards(shards), Tries::Shard(sending), Place::Shard(target)) => {
                shards.after_failure(sending, target, status).await
            }
            _ => Err(Error::Refused { operation: OPERATION, node: self.part_name(part), source: Box::new(status) }),
        }
    }

    /// As [`Self::after_part_failure`], where nothing came in time.
    pub(crate) async fn after_part_silence(&self, tries: &mut Tries, part: &Part) -> Result<(), Error> {
        match &part.at {
            Place::Node(node) => {
                let node = self.node_name(*node);
                Err(Error::Deadline { operation: OPERATION, node, timeout: self.timeout, source: None })
            }
            Place::Shard(_) => {
                self.after_part_failure(tries, part, Status::deadline_exceeded("no records came in time")).await
            }
        }
    }

    /// Whom a part is asked of, for messages.
    pub(crate) fn part_name(&self, part: &Part) -> String {
        match &part.at {
            Place::Node(node) => self.node_name(*node),
            Place::Shard(target) => target.name.clone(),
        }
    }
}

impl Part {
    /// Begins to scan it.
    pub(crate) async fn open(&self, rest: &ScanOptions) -> Result<Streaming<v1::ScanResponse>, Status> {
        let request = v1::ScanRequest {
            header: Some(self.header.clone()),
            start: self.start.clone(),
            end: self.end.clone(),
            reverse: rest.reverse,
            limit: rest.limit.unwrap_or(0),
            keys_only: rest.keys_only,
            read: self.read,
        };
        Ok(self.kv.clone().scan(request).await?.into_inner())
    }
}
