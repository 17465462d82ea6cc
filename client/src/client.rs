//! The calls: route, send with a deadline, and follow the retry table.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use backon::ExponentialBackoff;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use thermocline_proto::{MAX_KEY_BYTES, MAX_VALUE_BYTES, v1};
use tokio::{sync::Mutex, time::Instant};
use tonic::{Code, Response, Status, transport::Channel};

use crate::{
    AdminClient, Batch, Durability, Endpoints, Error, KeyRange, NodeEndpoint, Options, RangeTable, Scan, ScanOptions,
    connection::Connection,
    request_id::RequestIds,
    retry::{CallKind, Decision, Failure, decide},
};

type KvClient = v1::kv_client::KvClient<Channel>;

/// Keys of one BatchGet message: well under the contract's 10,000, so that answers of usual values fit one message.
const BATCH_GET_KEYS: usize = 1000;
/// BatchGet messages in flight at once: enough to keep every node of a usual cluster busy.
const BATCH_GET_CONCURRENCY: usize = 16;

/// A key with its value and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Bytes,
    /// The value; empty in a scan of keys only.
    pub value: Bytes,
    /// The version, for [`Batch::when_version`].
    pub version: u64,
}

pub(crate) fn record(record: v1::Record) -> Record {
    Record { key: record.key, value: record.value, version: record.version }
}

/// A client of one cluster. Clones share connections and the table of ranges.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    timeout: Duration,
    durability: Durability,
}

#[derive(Debug)]
struct Shared {
    nodes: Vec<NodeEndpoint>,
    connections: Vec<Connection>,
    ranges: ArcSwap<RangeTable>,
    /// Grows with every learned table: a call that met an outdated one learns only if nobody did since.
    generation: AtomicU64,
    learning: Mutex<()>,
    ids: RequestIds,
    options: Options,
}

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
    /// Prepares the connections and learns who owns which keys: from the endpoints where they say so, else from each
    /// node's status. Must run on a tokio runtime; it creates none.
    ///
    /// # Errors
    /// Unusable endpoints, a node that does not answer, or ranges with a gap or an overlap.
    pub async fn connect(endpoints: Endpoints, options: Options) -> Result<Self, Error> {
        let nodes = endpoints.nodes().to_vec();
        let connections = nodes.iter().map(|node| Connection::new(node, &options)).collect::<Result<Vec<_>, _>>()?;
        let known: Option<Vec<_>> =
            nodes.iter().enumerate().map(|(index, node)| node.range.clone().map(|range| (range, index))).collect();
        let entries = match known {
            Some(entries) => entries,
            None => learn(&nodes, &connections, &options).await?,
        };
        let shared = Shared {
            ranges: ArcSwap::from_pointee(RangeTable::new(entries)?),
            generation: AtomicU64::new(0),
            learning: Mutex::new(()),
            ids: RequestIds::new(options.client_id),
            nodes,
            connections,
            options,
        };
        Ok(Self { timeout: shared.options.timeout, durability: shared.options.durability, shared: Arc::new(shared) })
    }

    /// The same client with another deadline for its calls.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The same client with another durability for its writes.
    #[must_use]
    pub fn with_durability(&self, durability: Durability) -> Self {
        Self { durability, ..self.clone() }
    }

    /// The deadline of its calls.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The nodes, in the order of the endpoints.
    #[must_use]
    pub fn nodes(&self) -> &[NodeEndpoint] {
        &self.shared.nodes
    }

    /// Who owns which keys, as last learned; indices are those of [`Self::nodes`].
    #[must_use]
    pub fn ranges(&self) -> Arc<RangeTable> {
        self.shared.ranges.load_full()
    }

    /// The control plane of a node, by its index in [`Self::nodes`].
    #[must_use]
    pub fn admin(&self, node: usize) -> Option<AdminClient> {
        self.shared.connections.get(node).map(Connection::admin)
    }

    /// Reads a key; `None` where it has no record.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Record>, Error> {
        let key = checked_key(key.into())?;
        let header = self.shared.ids.next_header();
        let response = self
            .call(
                "get",
                CallKind::Read,
                |ranges| Ok(ranges.owner(&key)),
                &header,
                |mut kv, header, remaining| {
                    let request = v1::GetRequest { header: Some(header), key: key.clone() };
                    async move { kv.get(with_deadline(request, remaining)).await }
                },
            )
            .await?;
        Ok(response.record.map(record))
    }

    /// Reads many keys, from all nodes at once; answers in the order asked, `None` where a key has no record.
    ///
    /// # Errors
    /// The first failure; then no answer is given.
    pub async fn batch_get(&self, keys: &[Bytes]) -> Result<Vec<Option<Record>>, Error> {
        for key in keys {
            check_key_length(key)?;
        }
        let mut by_node: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let ranges = self.ranges();
        for (index, key) in keys.iter().enumerate() {
            by_node.entry(ranges.owner(key)).or_default().push(index);
        }
        let chunks: Vec<Vec<usize>> =
            by_node.values().flat_map(|indices| indices.chunks(BATCH_GET_KEYS).map(<[usize]>::to_vec)).collect();
        let mut answers: Vec<Option<Record>> = vec![None; keys.len()];
        let mut pending = stream::iter(chunks.into_iter().map(|chunk| self.get_chunk(keys, chunk)))
            .buffer_unordered(BATCH_GET_CONCURRENCY);
        while let Some(found) = pending.try_next().await? {
            for (index, record) in found {
                answers[index] = record;
            }
        }
        Ok(answers)
    }

    /// Reads the keys at `indices`. Where ranges changed and they belong to several nodes now, or the answer is too
    /// large for one message, the halves are asked on their own.
    async fn get_chunk(&self, keys: &[Bytes], indices: Vec<usize>) -> Result<Vec<(usize, Option<Record>)>, Error> {
        let mut work = vec![indices];
        let mut found = Vec::new();
        while let Some(part) = work.pop() {
            let part_keys: Vec<Bytes> = part.iter().map(|index| keys[*index].clone()).collect();
            match self.get_message(part_keys).await {
                Ok(results) => found.extend(part.into_iter().zip(results)),
                Err(error) if part.len() > 1 && is_worth_halving(&error) => {
                    let (left, right) = part.split_at(part.len() / 2);
                    work.push(left.to_vec());
                    work.push(right.to_vec());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn get_message(&self, keys: Vec<Bytes>) -> Result<Vec<Option<Record>>, Error> {
        let header = self.shared.ids.next_header();
        let response = self
            .call(
                "batch get",
                CallKind::Read,
                |ranges| route_together(ranges, &keys),
                &header,
                |mut kv, header, remaining| {
                    let request = v1::BatchGetRequest { header: Some(header), keys: keys.clone() };
                    async move { kv.batch_get(with_deadline(request, remaining)).await }
                },
            )
            .await?;
        if response.results.len() != keys.len() {
            return Err(Error::Contract {
                operation: "batch get",
                node: self.node_name(self.ranges().owner(&keys[0])),
                detail: format!("{} keys were asked, {} answered", keys.len(), response.results.len()),
            });
        }
        Ok(response.results.into_iter().map(|result| result.record.map(record)).collect())
    }

    /// Writes a key; returns the version it has now.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::OutcomeUnknown`] where it may or may not have been written.
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<u64, Error> {
        let key = checked_key(key.into())?;
        let value = value.into();
        check_value_length(&value)?;
        let header = self.shared.ids.next_header();
        let response = self
            .call(
                "put",
                CallKind::Write,
                |ranges| Ok(ranges.owner(&key)),
                &header,
                |mut kv, header, remaining| {
                    let request = v1::PutRequest {
                        header: Some(header),
                        key: key.clone(),
                        value: value.clone(),
                        durability: self.durability.to_proto(),
                    };
                    async move { kv.put(with_deadline(request, remaining)).await }
                },
            )
            .await?;
        Ok(response.version)
    }

    /// Deletes a key, whether it has a record or not; returns the version of the deletion.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::OutcomeUnknown`] where it may or may not have been deleted.
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<u64, Error> {
        let key = checked_key(key.into())?;
        let header = self.shared.ids.next_header();
        let response = self
            .call(
                "delete",
                CallKind::Write,
                |ranges| Ok(ranges.owner(&key)),
                &header,
                |mut kv, header, remaining| {
                    let request = v1::DeleteRequest {
                        header: Some(header),
                        key: key.clone(),
                        durability: self.durability.to_proto(),
                    };
                    async move { kv.delete(with_deadline(request, remaining)).await }
                },
            )
            .await?;
        Ok(response.version)
    }

    /// Writes a batch: all of it, or nothing; returns the version its mutations carry.
    ///
    /// # Errors
    /// [`Error::BatchSpansNodes`] with the split point, [`Error::ConditionFailed`], and those of a put.
    pub async fn write(&self, batch: Batch) -> Result<u64, Error> {
        if batch.is_empty() {
            return Err(Error::EmptyBatch);
        }
        for key in batch.keys() {
            check_key_length(key)?;
        }
        for value in batch.values() {
            check_value_length(value)?;
        }
        let kind = if batch.conditions.is_empty() { CallKind::Write } else { CallKind::ConditionalWrite };
        let header = self.shared.ids.next_header();
        let response = self
            .call(
                "write",
                kind,
                |ranges| route_together(ranges, batch.keys()),
                &header,
                |mut kv, header, remaining| {
                    let request = v1::WriteRequest {
                        header: Some(header),
                        conditions: batch.conditions.clone(),
                        mutations: batch.mutations.clone(),
                        durability: self.durability.to_proto(),
                    };
                    async move { kv.write(with_deadline(request, remaining)).await }
                },
            )
            .await?;
        response.condition_failed.map_or(Ok(response.version), |failed| {
            Err(Error::ConditionFailed {
                index: failed.index,
                actual_version: (failed.actual_version != 0).then_some(failed.actual_version),
            })
        })
    }

    /// Scans a range over all nodes that own a part of it.
    #[must_use]
    pub fn scan(&self, options: ScanOptions) -> Scan {
        Scan::new(self.clone(), options)
    }

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

    async fn call<T, Route, Send, Answer>(
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
            self.relearn(attempt.generation).await?;
        }
        // After a mismatch too: two nodes that disagree must not be asked in a tight loop.
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Asks the nodes for their ranges, unless somebody did since `seen`.
    async fn relearn(&self, seen: u64) -> Result<(), Error> {
        let shared = &self.shared;
        let _one_at_a_time = shared.learning.lock().await;
        if shared.generation.load(Ordering::Acquire) != seen {
            return Ok(());
        }
        let entries = learn(&shared.nodes, &shared.connections, &shared.options).await?;
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

/// Asks every node at once. One that does not answer keeps the range its endpoint states.
async fn learn(
    nodes: &[NodeEndpoint],
    connections: &[Connection],
    options: &Options,
) -> Result<Vec<(KeyRange, usize)>, Error> {
    let asked = nodes.iter().zip(connections).enumerate().map(|(index, (node, connection))| async move {
        let answer = tokio::time::timeout(options.timeout, owned_range(connection))
            .await
            .unwrap_or_else(|_elapsed| Err(Status::deadline_exceeded("no answer in time")));
        match (answer, &node.range) {
            (Ok(status), _) => Ok((KeyRange::new(status.range_start, status.range_end)?, index)),
            (Err(_), Some(range)) => Ok((range.clone(), index)),
            (Err(status), None) => {
                Err(Error::Silent { node: node.name.clone(), address: node.admin.clone(), source: Box::new(status) })
            }
        }
    });
    futures::future::try_join_all(asked).await
}

async fn owned_range(connection: &Connection) -> Result<v1::NodeStatus, Status> {
    let request = v1::StatusRequest { interval_ms: 0, once: true };
    let mut stream = connection.admin().status(request).await?.into_inner();
    stream.message().await?.ok_or_else(|| Status::internal("the status stream ended without a message"))
}

fn route_together<'a>(ranges: &RangeTable, keys: impl IntoIterator<Item = &'a Bytes> + Clone) -> Result<usize, Error> {
    if let Some(split) = ranges.split_point(keys.clone()) {
        return Err(Error::BatchSpansNodes { split });
    }
    let first = keys.into_iter().next().map_or(&[][..], AsRef::as_ref);
    Ok(ranges.owner(first))
}

fn is_worth_halving(error: &Error) -> bool {
    match error {
        Error::BatchSpansNodes { .. } => true,
        Error::Refused { source, .. } => source.code() == Code::OutOfRange,
        _ => false,
    }
}

fn with_deadline<T>(message: T, remaining: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(remaining);
    request
}

fn checked_key(key: Bytes) -> Result<Bytes, Error> {
    check_key_length(&key)?;
    Ok(key)
}

const fn check_key_length(key: &[u8]) -> Result<(), Error> {
    match key.len() {
        1..=MAX_KEY_BYTES => Ok(()),
        bytes => Err(Error::KeyLength { bytes }),
    }
}

const fn check_value_length(value: &[u8]) -> Result<(), Error> {
    match value.len() {
        0..=MAX_VALUE_BYTES => Ok(()),
        bytes => Err(Error::ValueLength { bytes }),
    }
}
