//! One call: routed, sent with a deadline, and sent again as the retry table says.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use backon::ExponentialBackoff;
use bytes::Bytes;
use thermocline_proto::v1;
use tokio::time::Instant;
use tonic::{Code, Response, Status};

use super::{Client, KvClient, learn::learn};
use crate::{
    Error, RangeTable,
    retry::{CallKind, Decision, Failure, decide},
};

/// Where a call stands among its attempts.
#[derive(Debug)]
pub(crate) struct Attempt<B> {
    operation: &'static str,
    kind: CallKind,
    pauses: B,
    made: u32,
    deadline: Instant,
    generation: u64,
}

impl Client {
    pub(crate) fn header(&self) -> v1::RequestHeader {
        self.shared.ids.next_header()
    }

    pub(crate) fn kv(&self, node: usize) -> KvClient {
        self.shared.connections[node].kv()
    }

    pub(crate) fn node_name(&self, node: usize) -> String {
        self.shared.nodes[node].name.clone()
    }

    pub(crate) fn attempts(&self, operation: &'static str, kind: CallKind, call: u64) -> Attempt<ExponentialBackoff> {
        Attempt {
            operation,
            kind,
            pauses: self.shared.options.backoff(call),
            made: 0,
            deadline: Instant::now() + self.timeout,
            generation: self.shared.generation.load(Ordering::Acquire),
        }
    }

    /// Notes which table the next attempt is routed by; to be called before the table is read.
    pub(crate) fn note_generation<B>(&self, attempt: &mut Attempt<B>) {
        attempt.generation = self.shared.generation.load(Ordering::Acquire);
    }

    pub(super) async fn call<T, Route, Send, Answer>(
        &self,
        operation: &'static str,
        kind: CallKind,
        route: Route,
        header: &v1::RequestHeader,
        send: Send,
    ) -> Result<T, Error>
    where
        Route: Fn(&RangeTable) -> Result<usize, Error>,
        Send: Fn(KvClient, v1::RequestHeader, Duration) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        let sequence = header.request_id.as_ref().map_or(0, |id| id.sequence);
        let mut attempt = self.attempts(operation, kind, sequence);
        loop {
            self.note_generation(&mut attempt);
            let node = route(&self.shared.ranges.load())?;
            let remaining = attempt.deadline.saturating_duration_since(Instant::now());
            let sent = send(self.kv(node), header.clone(), remaining);
            match tokio::time::timeout(remaining, sent).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => self.after_failure(&mut attempt, node, status).await?,
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
    pub(crate) async fn after_failure<B: Iterator<Item = Duration>>(
        &self,
        attempt: &mut Attempt<B>,
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
            match tokio::time::timeout_at(attempt.deadline, self.relearn(attempt)).await {
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
    async fn relearn<B>(&self, attempt: &Attempt<B>) -> Result<(), Error> {
        let shared = &self.shared;
        let _one_at_a_time = shared.learning.lock().await;
        if shared.generation.load(Ordering::Acquire) != attempt.generation {
            return Ok(());
        }
        let before = shared.ranges.load_full();
        // The other half is for sending the call again.
        let patience = attempt.deadline.saturating_duration_since(Instant::now()) / 2;
        let known = |node| before.range_of(node).cloned();
        let entries = learn(&shared.nodes, &shared.connections, patience, known).await?;
        shared.ranges.store(Arc::new(RangeTable::new(entries)?));
        shared.generation.fetch_add(1, Ordering::AcqRel);
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

pub(super) fn route_together<'a>(
    ranges: &RangeTable,
    keys: impl IntoIterator<Item = &'a Bytes> + Clone,
) -> Result<usize, Error> {
    if let Some(split) = ranges.split_point(keys.clone()) {
        return Err(Error::BatchSpansNodes { split });
    }
    let first = keys.into_iter().next().map_or(&[][..], AsRef::as_ref);
    Ok(ranges.owner(first))
}

pub(super) fn with_deadline<T>(message: T, remaining: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(remaining);
    request
}
