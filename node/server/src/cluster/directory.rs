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
/// Shards that are looked at, for whether they are parts of another one now. One is absorbed at a time.
const ABSORBED_AT_ONCE: u64 = 16;

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
        let start = route.route.as_ref().map(|route| route.start.clone()).unwrap_or_default();
        for _ in 0..RACES {
            let found = self.get(index_key(&start)).await?;
            let expected = match &found {
                None => Expected::Absent(true),
                Some(found) => {
                    let known = wire::IndexedShard::decode(found.value.clone());
                    let known = known.map_err(|_| DirectoryError::Damaged("a shard of the index"))?;
                    if !is_newer(route, &known) {
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

    /// Removes what is written down of shards that are parts of this one now.
    ///
    /// # Errors
    /// When the meta group does not answer.
    pub async fn forget_absorbed(&self, by: &v1::ShardRoute) -> Result<(), DirectoryError> {
        let behind = [index_key(&by.start).as_ref(), &[0]].concat();
        let end = if by.end.is_empty() { [FIRST_OWN_KEY, b"range0"].concat().into() } else { index_key(&by.end) };
        for record in self.scan(behind.into(), end, false, ABSORBED_AT_ONCE).await? {
            let known = wire::IndexedShard::decode(record.value);
            let known = known.map_err(|_| DirectoryError::Damaged("a shard of the index"))?;
            // A newer one has split off since.
            if known.route.is_some_and(|known| known.epoch < by.epoch) {
                let mutation = v1::mutation::Kind::Delete(v1::mutation::Delete { key: record.key.clone() });
                self.write_if(record.key, Expected::VersionEquals(record.version), mutation).await?;
            }
        }
        Ok(())
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
        let put = v1::mutation::Put { key: key.clone(), value };
        self.write_if(key, expected, v1::mutation::Kind::Put(put)).await
    }

    /// Whether it was written.
    async fn write_if(
        &self,
        key: Bytes,
        expected: Expected,
        mutation: v1::mutation::Kind,
    ) -> Result<bool, DirectoryError> {
        let ask = |mut kv: KvClient<Channel>| {
            let condition = v1::Condition { key: key.clone(), expected: Some(expected) };
            let mutation = v1::Mutation { kind: Some(mutation.clone()) };
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

/// Whether what a leader says is newer than what is written down. Whoever gets a key has a newer epoch than all who had it before.
fn is_newer(said: &wire::IndexedShard, known: &wire::IndexedShard) -> bool {
    let of = |indexed: &wire::IndexedShard| indexed.route.as_ref().map(|route| (route.shard, route.epoch));
    match (of(said), of(known)) {
        (Some((shard, epoch)), Some((other, then))) if shard != other => epoch > then,
        (said_of, known_of) => {
            let epoch = |of: Option<(u64, u64)>| of.map(|(_, epoch)| epoch);
            (epoch(said_of), said.members_changed_at) > (epoch(known_of), known.members_changed_at)
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn indexed(shard: u64, epoch: u64, members_changed_at: u64) -> wire::IndexedShard {
        let route = v1::ShardRoute { shard, epoch, ..v1::ShardRoute::default() };
        wire::IndexedShard { route: Some(route), members_changed_at }
    }

    #[test]
    fn what_is_written_down_is_replaced_by_what_is_newer_alone() {
        assert!(is_newer(&indexed(1, 4, 0), &indexed(1, 3, 9)));
        assert!(is_newer(&indexed(1, 3, 10), &indexed(1, 3, 9)));
        assert!(!is_newer(&indexed(1, 3, 9), &indexed(1, 3, 9)));
        // Indices of two logs say nothing of each other.
        assert!(is_newer(&indexed(2, 4, 1), &indexed(1, 3, 9)));
        assert!(!is_newer(&indexed(1, 3, 9), &indexed(2, 4, 1)), "it is a part of another one by now");
    }
}
