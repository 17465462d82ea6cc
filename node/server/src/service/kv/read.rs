//! Get and BatchGet.

use bytes::Bytes;
use thermocline_engine::Record;
use thermocline_proto::v1;
use tokio::time::Instant;
use tonic::{Request, Status};

use super::DataPlane;
use crate::service::{Rejection, deadline, limits, status};

/// Keys of the first group of a BatchGet, before the size of the records is known.
const FIRST_GROUP: usize = 64;
/// Enough for the engine to read in parallel; more would only delay the check of the answer's size.
const LARGEST_GROUP: usize = 4096;

impl DataPlane {
    pub(super) async fn get(&self, request: Request<v1::GetRequest>) -> Result<v1::GetResponse, Status> {
        let deadline = deadline::of(request.metadata());
        let request = request.into_inner();
        limits::header(request.header.as_ref())?;
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

    pub(super) async fn batch_get(
        &self,
        request: Request<v1::BatchGetRequest>,
    ) -> Result<v1::BatchGetResponse, Status> {
        let deadline = deadline::of(request.metadata());
        let request = request.into_inner();
        limits::header(request.header.as_ref())?;
        limits::at_most("keys", "keys", request.keys.len(), limits::MAX_BATCH_GET_KEYS)?;
        for (index, key) in request.keys.iter().enumerate() {
            limits::key(&format!("keys[{index}]"), key)?;
        }
        limits::owned_keys(request.keys.iter().map(AsRef::as_ref), &self.range)?;
        let results = self.read_groups(&request.keys, deadline).await?;
        Ok(v1::BatchGetResponse { results })
    }

    /// Reads group by group, so that an answer that grows too large is noticed before all of it is in memory.
    async fn read_groups(&self, keys: &[Bytes], deadline: Option<Instant>) -> Result<Vec<v1::GetResponse>, Status> {
        let mut results = Vec::with_capacity(keys.len());
        let (mut bytes, mut largest) = (0, 0);
        while results.len() < keys.len() {
            let room = limits::MAX_BATCH_GET_BYTES.saturating_sub(bytes);
            let size = group_size(results.is_empty(), room, largest);
            let group: Vec<Bytes> = keys.iter().skip(results.len()).take(size).cloned().collect();
            let held = group.iter().map(Bytes::len).sum();
            let engine = self.engine.clone();
            let asked = group.clone();
            let records = self
                .requests
                .run(held, deadline, move || engine.multi_get(&asked))
                .await
                .map_err(|error| status::of_admission(&error))?
                .map_err(|error| status::of_engine(&error))?;
            for (key, record) in group.into_iter().zip(records) {
                let length = record.as_ref().map_or(0, |found| key.len() + found.value.len());
                bytes += length;
                largest = largest.max(length);
                results.push(answer(key, record));
            }
            if bytes > limits::MAX_BATCH_GET_BYTES {
                let limit = limits::MAX_BATCH_GET_BYTES;
                return Err(Rejection::AnswerTooLarge { limit }.into());
            }
        }
        Ok(results)
    }
}

/// As many keys as would fill the room if all records were like the largest so far, within bounds.
fn group_size(first: bool, room: usize, largest: usize) -> usize {
    if first {
        return FIRST_GROUP;
    }
    room.checked_div(largest).map_or(LARGEST_GROUP, |fit| fit.clamp(FIRST_GROUP, LARGEST_GROUP))
}

fn answer(key: Bytes, record: Option<Record>) -> v1::GetResponse {
    v1::GetResponse {
        record: record.map(|found| v1::Record { key, value: found.value.into(), version: found.version }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_grow_with_small_records_and_stay_small_with_large_ones() {
        assert_eq!(group_size(true, 1 << 26, 0), FIRST_GROUP);
        assert_eq!(group_size(false, 1 << 26, 0), LARGEST_GROUP, "no record was found");
        assert_eq!(group_size(false, 1 << 26, 100), LARGEST_GROUP);
        assert_eq!(group_size(false, 1 << 20, 1 << 10), 1024);
        assert_eq!(group_size(false, 0, 8 << 20), FIRST_GROUP);
    }
}
