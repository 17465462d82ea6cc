//! The cluster's own records, in the meta group: which shard owns which keys, and the numbers that were given out.
//!
//! They are ordinary records of an ordinary shard, at the end of the key space, and are read and written like any others; so
//! they survive whatever other records survive. The index is a help to find shards: what holds is a shard's own log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use thermocline_proto::replica::v1 as wire;
use thermocline_proto::v1;
use thermocline_proto::v1::kv_client::KvClient;
use thermocline_proto::{FIRST_OWN_KEY, v1::condition::Expected};
use thermocline_shard::NodeId;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::book::Book;
use super::lines::Lines;

/// How long one call may take, and how often it is made.
const CALL: Duration = Duration::from_secs(2);
const ROUNDS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);
/// Somebody else changed the record meanwhile; more often than that in a row, something is wrong.
const RACES: u32 = 50;

/// Why the meta group did not answer.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Nobody told where it is.
    #[error("no node has told yet where the meta group is: is the cluster initialised, and are the seeds right?")]
    Unknown,
    /// None of its nodes answered.
    #[error("the meta group does not answer")]
    Silent(#[source] Box<Status>),
    /// A record is not what was written.
    #[error("a record of the meta group is damaged: {0}")]
    Damaged(&'static str),
    /// Others were always faster.
    #[error("a record of the meta group changed {RACES} times while it was to be written")]
    Raced,
}

/// Where the next number is.
fn counter() -> Bytes {
    [FIRST_OWN_KEY, b"next"].concat().into()
}

/// Where the shard is that begins at a key.
fn index_key(start: &[u8]) -> Bytes {
    [FIRST_OWN_KEY, b"range/", start].concat().into()
}

/// The cluster's own records.
#[derive(Clone)]
pub struct Directory {
    book: Arc<Book>,
    lines: Lines,
}

impl Directory {
    /// The directory of the cluster that a book is of.
    pub const fn new(book: Arc<Book>, lines: Lines) -> Self {
        Self { book, lines }
    }

    /// Gives out numbers that nobody else is given: the first of `count`.
    ///
    /// # Errors
    /// When the meta group does not answer.
    pub async fn allocate(&self, count: u64) -> Result<u64, DirectoryError> {
        for _ in 0..RACES {
            let found = self.get(counter()).await?.ok_or(DirectoryError::Damaged("the next number is not there"))?;
            let next = found.value.as_ref().try_into().map(u64::from_be_bytes);
            let next = next.map_err(|_| DirectoryError::Damaged("the next number does not have 8 bytes"))?;
            let after = (next + count).to_be_bytes().to_vec().into();
            if self.put_if(counter(), after, Expected::VersionEquals(found.version)).await? {
                return Ok(next);
            }
        }
        Err(DirectoryError::Raced)
    }

    /// Writes the first number there is, once.
    ///
    /// # Errors
    /// When the meta group does not answer.
    pub async fn begin(&self, first: u64) -> Result<(), DirectoryError> {
        self.put_if(counter(), first.to_be_bytes().to_vec().into(), Expected::Absent(true)).await.map(drop)
    }

    /// Writes down where a shard is, unless something newer is there.
    ///
    /// # Errors
    /// When the meta group does not answer.
    pub async fn publish(&self, route: &wire::IndexedShard) -> Result<(), DirectoryError> {
        let age = |indexed: &wire::IndexedShard| {
            (indexed.route.as_ref().map(|route| route.epoch), indexed.members_changed_at)
        };
        let start = route.route.as_ref().map(|route| route.start.clone()).unwrap_or_default();
        for _ in 0..RACES {
            let found = self.get(index_key(&start)).await?;
            let expected = match &found {
                None => Expected::Absent(true),
                Some(found) => {
                    let known = wire::IndexedShard::decode(found.value.clone());
                    let known = known.map_err(|_| DirectoryError::Damaged("a shard of the index"))?;
                    let same =
                        known.route.as_ref().map(|route| route.shard) == route.route.as_ref().map(|route| route.shard);
                    if same && age(&known) >= age(route) {
                        return Ok(());
                    }
                    Expected::VersionEquals(found.version)
                }
            };
            if self.put_if(index_key(&start), route.encode_to_vec().into(), expected).await? {
                return Ok(());
            }
        }
        Err(DirectoryError::Raced)
    }

    /// The shards from the one that owns a key on, as far as they are written down.
    ///
    /// # Errors
    /// When the meta group does not answer.
    pub async fn shards_from(&self, key: &[u8], limit: u64) -> Result<Vec<v1::ShardRoute>, DirectoryError> {
        let behind = [index_key(key).as_ref(), &[0]].concat();
        let first = self.scan(index_key(&[]), behind.into(), true, 1).await?;
        let from = first.first().map_or_else(|| index_key(key), |record| record.key.clone());
        let end = [FIRST_OWN_KEY, b"range0"].concat();
        let found = self.scan(from, end.into(), false, limit).await?;
        let routes = found.into_iter().map(|record| {
            let indexed = wire::IndexedShard::decode(record.value);
            indexed.ok().and_then(|indexed| indexed.route).ok_or(DirectoryError::Damaged("a shard of the index"))
        });
        routes.collect()
    }

    /// The shard that owns a key, as it is written down.
    ///
    /// # Errors
    /// When the meta group does not answer.
    pub async fn shard_at(&self, key: &[u8]) -> Result<Option<wire::IndexedShard>, DirectoryError> {
        let behind = [index_key(key).as_ref(), &[0]].concat();
        let found = self.scan(index_key(&[]), behind.into(), true, 1).await?;
        let Some(record) = found.into_iter().next() else { return Ok(None) };
        wire::IndexedShard::decode(record.value).map(Some).map_err(|_| DirectoryError::Damaged("a shard of the index"))
    }

    async fn get(&self, key: Bytes) -> Result<Option<v1::Record>, DirectoryError> {
        let ask = |mut kv: KvClient<Channel>| {
            let request = v1::GetRequest { header: Some(header()), key: key.clone(), read: None };
            async move { Ok(kv.get(within(request)).await?.into_inner().record) }
        };
        self.call(ask).await
    }

    /// Whether it was written.
    async fn put_if(&self, key: Bytes, value: Bytes, expected: Expected) -> Result<bool, DirectoryError> {
        let ask = |mut kv: KvClient<Channel>| {
            let condition = v1::Condition { key: key.clone(), expected: Some(expected) };
            let put = v1::mutation::Put { key: key.clone(), value: value.clone() };
            let mutation = v1::Mutation { kind: Some(v1::mutation::Kind::Put(put)) };
            let (conditions, mutations) = (vec![condition], vec![mutation]);
            // Without a number: sent twice, the second one finds its condition not to hold, which is looked at again.
            let request = v1::WriteRequest { header: Some(header()), conditions, mutations, durability: 0 };
            async move { Ok(kv.write(within(request)).await?.into_inner().condition_failed.is_none()) }
        };
        self.call(ask).await
    }

    async fn scan(
        &self,
        start: Bytes,
        end: Bytes,
        reverse: bool,
        limit: u64,
    ) -> Result<Vec<v1::Record>, DirectoryError> {
        let ask = |mut kv: KvClient<Channel>| {
            let (start, end) = (start.clone(), end.clone());
            let request =
                v1::ScanRequest { header: Some(header()), start, end, reverse, limit, keys_only: false, read: None };
            async move {
                let mut stream = kv.scan(within(request)).await?.into_inner();
                let mut records = Vec::new();
                while let Some(chunk) = stream.message().await? {
                    records.extend(chunk.records);
                }
                Ok(records)
            }
        };
        self.call(ask).await
    }

    /// Asks the nodes of the meta group, one after the other, until one answers.
    async fn call<T, Answer>(&self, ask: impl Fn(KvClient<Channel>) -> Answer) -> Result<T, DirectoryError>
    where
        Answer: Future<Output = Result<T, Status>>,
    {
        let mut last = None;
        for round in 0..ROUNDS {
            let nodes: Vec<NodeId> = self.book.meta_nodes();
            for node in nodes {
                let Ok(kv) = self.lines.kv(node) else { continue };
                match tokio::time::timeout(CALL, ask(kv)).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(status)) if status.code() == Code::InvalidArgument => {
                        return Err(DirectoryError::Silent(Box::new(status)));
                    }
                    Ok(Err(status)) => last = Some(status),
                    Err(_) => last = Some(Status::deadline_exceeded(format!("{node} did not answer within {CALL:?}"))),
                }
            }
            if round + 1 < ROUNDS {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Err(last.map_or(DirectoryError::Unknown, |status| DirectoryError::Silent(Box::new(status))))
    }
}

fn header() -> v1::RequestHeader {
    v1::RequestHeader { own_keys: true, ..v1::RequestHeader::default() }
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}
