//! Get and BatchGet.

use bytes::Bytes;
use thermocline_engine::Record;
use thermocline_proto::v1;
use tokio::time::Instant;
use tonic::{Request, Status};

use super::DataPlane;
use crate::byte_bound::HeldBytes;
use crate::service::{Rejection, consistency, deadline, limits, status};

/// Values that one call of the engine may bring, in bytes: what a BatchGet reads before it is counted.
const GROUP_BYTES: usize = 32 << 20;

impl DataPlane {
    pub(super) async fn get(&self, request: Request<v1::GetRequest>) -> Result<v1::GetResponse, Status> {
        let deadline = deadline::of(request.metadata());
        let request = request.into_inner();
        limits::header(request.header.as_ref())?;
        // There is no other copy: it has everything.
        consistency::of(request.read)?;
        limits::owned_key("key", &request.key, &self.range)?;
        let key = request.key;
        if let Some(record) = self.engine.get_cached(&key) {
            return Ok(answer(key, Some(record)));
        }
        let engine = self.engine.clone();
        let asked = key.clone();
        let record = self
            .requests
            .run(key.len(), deadline, move || engine.get(&asked))
            .await
            .map_err(|error| status::of_admission(&error))?
            .map_err(|error| status::of_engine(&error))?;
        Ok(answer(key, record))
    }

    /// The answer, and what it holds.
    pub(super) async fn batch_get(
        &self,
        request: Request<v1::BatchGetRequest>,
    ) -> Result<(v1::BatchGetResponse, HeldBytes), Status> {
        let deadline = deadline::of(request.metadata());
        let request = request.into_inner();
        limits::header(request.header.as_ref())?;
        consistency::of(request.read)?;
        limits::at_most("keys", "keys", request.keys.len(), limits::MAX_BATCH_GET_KEYS)?;
        for (index, key) in request.keys.iter().enumerate() {
            limits::key(&format!("keys[{index}]"), key)?;
        }
        limits::owned_keys(request.keys.iter().map(AsRef::as_ref), &self.range)?;
        let mut held = self.requests.answer_bytes();
        let results = self.read_groups(request.keys, deadline, &mut held).await?;
        Ok((v1::BatchGetResponse { results, staleness_ms: 0 }, held))
    }

    /// Reads group by group, so that an answer that grows too large, or that all answers have no room for, is noticed
    /// before all of it is in memory.
    pub(super) async fn read_groups(
        &self,
        mut keys: Vec<Bytes>,
        deadline: Option<Instant>,
        held: &mut HeldBytes,
    ) -> Result<Vec<v1::GetResponse>, Status> {
        let mut results = Vec::with_capacity(keys.len());
        let mut bytes = 0;
        while !keys.is_empty() {
            let room = limits::MAX_BATCH_GET_BYTES.saturating_sub(bytes).min(GROUP_BYTES);
            let asking = keys.iter().map(Bytes::len).sum();
            let engine = self.engine.clone();
            let (asked, records) = self
                .requests
                .run(asking, deadline, move || {
                    let records = engine.multi_get_within(&keys, room);
                    (keys, records)
                })
                .await
                .map_err(|error| status::of_admission(&error))?;
            let records = records.map_err(|error| status::of_engine(&error))?;
            keys = asked;
            let before = bytes;
            for (key, record) in keys.drain(..records.len()).zip(records) {
                bytes += record.as_ref().map_or(0, |found| key.len() + found.value.len());
                results.push(answer(key, record));
            }
            if bytes > limits::MAX_BATCH_GET_BYTES {
                let limit = limits::MAX_BATCH_GET_BYTES;
                return Err(Rejection::AnswerTooLarge { limit }.into());
            }
            self.requests.grow(held, bytes - before).map_err(|error| status::of_admission(&error))?;
        }
        Ok(results)
    }
}

pub(super) fn answer(key: Bytes, record: Option<Record>) -> v1::GetResponse {
    v1::GetResponse {
        record: record.map(|found| v1::Record { key, value: found.value.into(), version: found.version }),
        staleness_ms: 0,
    }
}
