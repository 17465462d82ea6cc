//! Calls of nodes that stand alone: each owns a fixed range, and remembers no requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use backon::ExponentialBackoff;
use thermocline_proto::v1;
use tokio::{sync::Mutex, time::Instant};
use tonic::{Code, Response, Status};

use super::{Client, KvClient, learn::learn, span::KeySpan};
use crate::{
    Error, RangeTable,
    request_id::RequestIds,
    retry::{CallKind, Decision, Failure, decide},
};

/// Which node owns which keys, and the numbers of this client's requests.
#[derive(Debug)]
pub(super) struct NodeRanges {
    pub(super) ranges: ArcSwap<RangeTable>,
    /// Grows with every learned table: a call that met an outdated one learns only if nobody did since.
    generation: AtomicU64,
    learning: Mutex<()>,
    pub(super) ids: RequestIds,
}

/// Where a call stands among its attempts.
#[derive(Debug)]
pub(crate) struct Attempt {
    operation: &'static str,
    kind: CallKind,
    pauses: ExponentialBackoff,
    made: u32,
    deadline: Instant,
    generation: u64,
}

impl NodeRanges {
    pub(super) fn new(ranges: RangeTable, ids: RequestIds) -> Self {
        Self { ranges: ArcSwap::from_pointee(ranges), generation: AtomicU64::new(0), learning: Mutex::new(()), ids }
    }

    /// Notes which table the next attempt is routed by; to be called before the table is read.
    pub(super) fn note_generation(&self, attempt: &mut Attempt) {
        attempt.generation = self.generation.load(Ordering::Acquire);
    }
}

impl Client {
    pub(super) fn attempt(&self, nodes: &NodeRanges, operation: &'static str, kind: CallKind, call: u64) -> Attempt {
        Attempt {
            operation,
            kind,
            pauses: self.shared.options.backoff(call),
            made: 0,
            deadline: Instant::now() + self.timeout,
            generation: nodes.generation.load(Ordering::Acquire),
        }
    }

    pub(super) async fn call_node<T, Send, Answer>(
        &self,
        nodes: &NodeRanges,
        operation: &'static str,
        kind: CallKind,
        span: &KeySpan,
        send: Send,
    ) -> Result<T, Error>
    where
        Send: Fn(KvClient, v1::RequestHeader, Duration) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        let header = nodes.ids.next_header();
        let sequence = header.request_id.as_ref().map_or(0, |id| id.sequence);
        let mut attempt = self.attempt(nodes, operation, kind, sequence);
        loop {
            nodes.note_generation(&mut attempt);
            let node = route_together(&nodes.ranges.load(), span)?;
            let remaining = attempt.deadline.saturating_duration_since(Instant::now());
            let sent = send(self.kv(node), header.clone(), remaining);
            match tokio::time::timeout(remaining, sent).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => self.after_node_failure(nodes, &mut attempt, node, status).await?,
                Err(_elapsed) if kind == CallKind::Read => {
                    return Err(Error::Deadline {
                        operation,
                        node: self.node_name(node),
                        timeout: self.timeout,
                        source: None,
                    });
                }
                Err(_elapsed) => {
                    return Err(Error::OutcomeUnknown { operation, node: self.node_name(node), source: None });
                }
            }
        }
    }

    /// Follows the retry table: returns when the call may be sent again, else the error for the caller.
    pub(super) async fn after_node_failure(
        &self,
        nodes: &NodeRanges,
        attempt: &mut Attempt,
        node: usize,
        status: Status,
    ) -> Result<(), Error> {
        attempt.made += 1;
        let failure = Failure::of(&status);
        let (operation, name) = (attempt.operation, self.node_name(node));
        let source = Box::new(status);
        match decide(attempt.kind, failure) {
            Decision::Refuse => {
                return Err(Error::Refused { operation, node: name, source });
            }
            Decision::OutcomeUnknown => {
                return Err(Error::OutcomeUnknown { operation, node: name, source: Some(source) });
            }
            Decision::Relearn | Decision::Retry => {}
        }
        let Some(pause) = attempt.pauses.next() else {
            return Err(exhausted(operation, name, attempt.made, failure, source));
        };
        tracing::debug!(operation, node = name, attempt = attempt.made, ?failure, "sending again after a pause");
        if Instant::now() + pause >= attempt.deadline {
            return Err(Error::Deadline { operation, node: name, timeout: self.timeout, source: Some(source) });
        }
        if failure == Failure::RangeMismatch {
            match tokio::time::timeout_at(attempt.deadline, self.relearn(nodes, attempt)).await {
                Ok(Ok(())) => {}
                // The table stays as it was; nodes that disagree for a moment agree at a later attempt.
                Ok(Err(error)) => tracing::debug!(operation, %error, "the ranges could not be learned"),
                Err(_elapsed) => {
                    return Err(Error::Deadline { operation, node: name, timeout: self.timeout, source: Some(source) });
                }
            }
        }
        // After a mismatch too: two nodes that disagree must not be asked in a tight loop.
        tokio::time::sleep(pause).await;
        // Sent without time left, its outcome would be unknown for nothing.
        if Instant::now() >= attempt.deadline {
            return Err(Error::Deadline { operation, node: name, timeout: self.timeout, source: Some(source) });
        }
        Ok(())
    }

    /// Asks the nodes for their ranges, unless somebody did since the attempt was routed. A node that is silent keeps its
    /// range: the others' keys do not depend on it.
    async fn relearn(&self, nodes: &NodeRanges, attempt: &Attempt) -> Result<(), Error> {
        let shared = &self.shared;
        let _one_at_a_time = nodes.learning.lock().await;
        if nodes.generation.load(Ordering::Acquire) != attempt.generation {
            return Ok(());
        }
        let before = nodes.ranges.load_full();
        // The other half is for sending the call again.
        let patience = attempt.deadline.saturating_duration_since(Instant::now()) / 2;
        let known = |node| before.range_of(node).cloned();
        let entries = learn(&shared.nodes, &shared.connections, patience, known).await?;
        nodes.ranges.store(Arc::new(RangeTable::new(entries)?));
        nodes.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

fn exhausted(operation: &'static str, node: String, attempts: u32, failure: Failure, source: Box<Status>) -> Error {
    match failure {
        Failure::RangeMismatch => Error::Misrouted { operation, node, attempts, source },
        Failure::Answered(Code::ResourceExhausted) => Error::Overloaded { operation, node, attempts, source },
        _ => Error::Unavailable { operation, node, attempts, source },
    }
}

fn route_together(ranges: &RangeTable, span: &KeySpan) -> Result<usize, Error> {
    if let Some(split) = ranges.split_point([&span.low, &span.high]) {
        return Err(Error::BatchSpansShards { split });
    }
    Ok(ranges.owner(&span.low))
}
