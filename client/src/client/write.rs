//! Writes: puts, deletes, batches.

use bytes::Bytes;
use thermocline_proto::v1;

use super::{Client, call::with_deadline, check_key_length, check_value_length, checked_key, span::KeySpan};
use crate::{Batch, Error, retry::CallKind};

impl Client {
    /// Writes a key; returns the version it has now.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::OutcomeUnknown`] where it may or may not have been written.
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<u64, Error> {
        let key = checked_key(key.into())?;
        let value = value.into();
        check_value_length(&value)?;
        let response = self
            .call("put", CallKind::Write, &KeySpan::of(&key), |mut kv, header, remaining| {
                let request = v1::PutRequest {
                    header: Some(header),
                    key: key.clone(),
                    value: value.clone(),
                    durability: self.durability.to_proto(),
                };
                async move { kv.put(with_deadline(request, remaining)).await }
            })
            .await?;
        Ok(response.version)
    }

    /// Deletes a key, whether it has a record or not; returns the version of the deletion.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::OutcomeUnknown`] where it may or may not have been deleted.
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<u64, Error> {
        let key = checked_key(key.into())?;
        let response = self
            .call("delete", CallKind::Write, &KeySpan::of(&key), |mut kv, header, remaining| {
                let request = v1::DeleteRequest {
                    header: Some(header),
                    key: key.clone(),
                    durability: self.durability.to_proto(),
                };
                async move { kv.delete(with_deadline(request, remaining)).await }
            })
            .await?;
        Ok(response.version)
    }

    /// Writes a batch: all of it, or nothing; returns the version its mutations carry.
    ///
    /// # Errors
    /// [`Error::BatchSpansShards`] with the split point, [`Error::ConditionFailed`], and those of a put.
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
        let response = self
            .call("write", kind, &KeySpan::around(batch.keys()), |mut kv, header, remaining| {
                let request = v1::WriteRequest {
                    header: Some(header),
                    conditions: batch.conditions.clone(),
                    mutations: batch.mutations.clone(),
                    durability: self.durability.to_proto(),
                };
                async move { kv.write(with_deadline(request, remaining)).await }
            })
            .await?;
        response.condition_failed.map_or(Ok(response.version), |failed| {
            Err(Error::ConditionFailed {
                index: failed.index,
                actual_version: (failed.actual_version != 0).then_some(failed.actual_version),
            })
        })
    }
}
