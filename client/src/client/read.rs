//! Reads of single keys and of many.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use thermocline_proto::v1;
use tokio::time::Instant;
use tonic::Code;

use super::{Client, Record, call::with_deadline, check_key_length, checked_key, record, span::KeySpan};
use crate::{Aged, Error, KeyRange, retry::CallKind};

/// Keys of one BatchGet message: well under the contract's 10,000, so that answers of usual values fit one message.
const BATCH_GET_KEYS: usize = 1000;
/// BatchGet messages in flight at once: enough to keep every node of a usual cluster busy.
const BATCH_GET_CONCURRENCY: usize = 16;

impl Client {
    /// Reads a key; `None` where it has no record.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Record>, Error> {
        self.get_aged(key).await.map(|answer| answer.found)
    }

    /// As [`Self::get`], with how old the answer is.
    ///
    /// # Errors
    /// As there.
    pub async fn get_aged(&self, key: impl Into<Bytes>) -> Result<Aged<Option<Record>>, Error> {
        let key = checked_key(key.into())?;
        let (asked, read) = (Instant::now(), self.consistency.to_proto());
        let response = self
            .call("get", CallKind::Read, &KeySpan::of(&key), |mut kv, header, remaining| {
                let request = v1::GetRequest { header: Some(header), key: key.clone(), read };
                async move { kv.get(with_deadline(request, remaining)).await }
            })
            .await?;
        // The node counts from when it read, which is after it was asked.
        let at_most = asked.elapsed() + Duration::from_millis(response.staleness_ms);
        Ok(Aged { found: response.record.map(record), at_most })
    }

    /// Reads many keys, from all shards or nodes at once; answers in the order asked, `None` where a key has no record.
    ///
    /// # Errors
    /// The first failure; then no answer is given.
    pub async fn batch_get(&self, keys: &[Bytes]) -> Result<Vec<Option<Record>>, Error> {
        self.batch_get_aged(keys).await.map(|answer| answer.found)
    }

    /// As [`Self::batch_get`], with how old the oldest of the answers is.
    ///
    /// # Errors
    /// As there.
    pub async fn batch_get_aged(&self, keys: &[Bytes]) -> Result<Aged<Vec<Option<Record>>>, Error> {
        let asked = Instant::now();
        for key in keys {
            check_key_length(key)?;
        }
        let by_owner = self.by_owner(keys).await?;
        let chunks: Vec<Vec<usize>> =
            by_owner.iter().flat_map(|indices| indices.chunks(BATCH_GET_KEYS).map(<[usize]>::to_vec)).collect();
        let (mut answers, mut oldest): (Vec<Option<Record>>, u64) = (vec![None; keys.len()], 0);
        let mut pending = stream::iter(chunks.into_iter().map(|chunk| self.get_chunk(keys, chunk)))
            .buffer_unordered(BATCH_GET_CONCURRENCY);
        while let Some((found, staleness_ms)) = pending.try_next().await? {
            oldest = oldest.max(staleness_ms);
            for (index, record) in found {
                answers[index] = record;
            }
        }
        Ok(Aged { found: answers, at_most: asked.elapsed() + Duration::from_millis(oldest) })
    }

    /// The indices of the keys, those of one owner together.
    async fn by_owner(&self, keys: &[Bytes]) -> Result<Vec<Vec<usize>>, Error> {
        let mut by_start: BTreeMap<Bytes, (KeyRange, Vec<usize>)> = BTreeMap::new();
        for (index, key) in keys.iter().enumerate() {
            if let Some((_, (range, indices))) = by_start.range_mut(..=key.clone()).next_back()
                && range.contains(key)
            {
                indices.push(index);
                continue;
            }
            let range = self.owned_with(key).await?;
            by_start.entry(range.start().clone()).or_insert((range, Vec::new())).1.push(index);
        }
        Ok(by_start.into_values().map(|(_, indices)| indices).collect())
    }

    /// Reads the keys at `indices`. Where ranges changed and they belong to several owners now, or the answer is too
    /// large for one message, the halves are asked on their own. With what was found comes how old it is, in milliseconds.
    async fn get_chunk(
        &self,
        keys: &[Bytes],
        indices: Vec<usize>,
    ) -> Result<(Vec<(usize, Option<Record>)>, u64), Error> {
        let mut work = vec![indices];
        let (mut found, mut oldest) = (Vec::new(), 0);
        while let Some(part) = work.pop() {
            let part_keys: Vec<Bytes> = part.iter().map(|index| keys[*index].clone()).collect();
            match self.get_message(part_keys).await {
                Ok((results, staleness_ms)) => {
                    found.extend(part.into_iter().zip(results));
                    oldest = oldest.max(staleness_ms);
                }
                Err(error) if part.len() > 1 && is_worth_halving(&error) => {
                    let (left, right) = part.split_at(part.len() / 2);
                    work.push(left.to_vec());
                    work.push(right.to_vec());
                }
                Err(error) => return Err(error),
            }
        }
        Ok((found, oldest))
    }

    async fn get_message(&self, keys: Vec<Bytes>) -> Result<(Vec<Option<Record>>, u64), Error> {
        let read = self.consistency.to_proto();
        let response = self
            .call("batch get", CallKind::Read, &KeySpan::around(keys.iter()), |mut kv, header, remaining| {
                let request = v1::BatchGetRequest { header: Some(header), keys: keys.clone(), read };
                async move { kv.batch_get(with_deadline(request, remaining)).await }
            })
            .await?;
        if response.results.len() != keys.len() {
            return Err(Error::Contract {
                operation: "batch get",
                node: self.owner_name(&keys[0]),
                detail: format!("{} keys were asked, {} answered", keys.len(), response.results.len()),
            });
        }
        let found = response.results.into_iter().map(|result| result.record.map(record)).collect();
        Ok((found, response.staleness_ms))
    }
}

fn is_worth_halving(error: &Error) -> bool {
    match error {
        Error::BatchSpansShards { .. } => true,
        Error::Refused { source, .. } => source.code() == Code::OutOfRange,
        _ => false,
    }
}
