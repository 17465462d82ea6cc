//! Put, Delete and Write.

use bytes::Bytes;
use thermocline_engine::{Batch, Condition, Durability, EngineError, WriteOutcome};
use thermocline_proto::v1;
use thermocline_proto::v1::condition::Expected;
use thermocline_proto::v1::mutation::Kind;
use tokio::time::Instant;
use tonic::{Request, Status};

use super::DataPlane;
use crate::service::{Rejection, deadline, limits, status};

impl DataPlane {
    pub(super) async fn put(&self, request: Request<v1::PutRequest>) -> Result<v1::WriteResponse, Status> {
        let deadline = deadline::of(request.metadata());
        let request = request.into_inner();
        limits::header(request.header.as_ref())?;
        limits::owned_key("key", &request.key, &self.range)?;
        limits::value("value", &request.value)?;
        let durability = self.durability(request.durability)?;
        let engine = self.engine.clone();
        let held = request.key.len() + request.value.len();
        let call = move || engine.put(&request.key, &request.value, durability);
        self.written(held, deadline, call).await
    }

    pub(super) async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<v1::WriteResponse, Status> {
        let deadline = deadline::of(request.metadata());
        let request = request.into_inner();
        limits::header(request.header.as_ref())?;
        limits::owned_key("key", &request.key, &self.range)?;
        let durability = self.durability(request.durability)?;
        let engine = self.engine.clone();
        let held = request.key.len();
        let call = move || engine.delete(&request.key, durability);
        self.written(held, deadline, call).await
    }

    pub(super) async fn write(&self, request: Request<v1::WriteRequest>) -> Result<v1::WriteResponse, Status> {
        let deadline = deadline::of(request.metadata());
        let request = request.into_inner();
        limits::header(request.header.as_ref())?;
        let durability = self.durability(request.durability)?;
        let Parts { mutations, conditions, held } = parse(request.conditions, request.mutations)?;
        let keys = mutations
            .iter()
            .map(|(key, _)| key.as_ref())
            .chain(conditions.iter().map(|condition| condition.key().as_ref()));
        limits::owned_keys(keys, &self.range)?;
        let engine = self.engine.clone();
        let call = move || engine.write(&batch(mutations)?, &conditions, durability);
        let outcome = self.run(held, deadline, call).await?;
        Ok(match outcome {
            WriteOutcome::Written(version) => v1::WriteResponse { version, condition_failed: None },
            WriteOutcome::ConditionFailed { index, actual } => v1::WriteResponse {
                version: 0,
                condition_failed: Some(v1::ConditionFailed {
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                    actual_version: actual.unwrap_or(0),
                }),
            },
        })
    }

    async fn written(
        &self,
        held: usize,
        deadline: Option<Instant>,
        call: impl FnOnce() -> Result<u64, EngineError> + Send + 'static,
    ) -> Result<v1::WriteResponse, Status> {
        let version = self.run(held, deadline, call).await?;
        Ok(v1::WriteResponse { version, condition_failed: None })
    }

    async fn run<T: Send + 'static>(
        &self,
        held: usize,
        deadline: Option<Instant>,
        call: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Status> {
        self.requests
            .run(held, deadline, call)
            .await
            .map_err(|error| status::of_admission(&error))?
            .map_err(|error| status::of_engine(&error))
    }

    fn durability(&self, stated: i32) -> Result<Durability, Rejection> {
        let known = v1::Durability::try_from(stated).map_err(|_| Rejection::Unknown {
            field: "durability".to_owned(),
            actual: stated.to_string(),
            allowed: "0 (the node's default), 1 (sync), 2 (wal) or 3 (buffered)".to_owned(),
        })?;
        Ok(match known {
            v1::Durability::Unspecified => self.durability,
            v1::Durability::Sync => Durability::Sync,
            v1::Durability::Wal => Durability::Wal,
            v1::Durability::Buffered => Durability::Buffered,
        })
    }
}

/// A batch after its form was checked.
#[derive(Debug)]
pub(super) struct Parts {
    /// Keys with their values; no value: a delete.
    pub(super) mutations: Vec<(Bytes, Option<Bytes>)>,
    pub(super) conditions: Vec<Condition>,
    /// Bytes of keys and values.
    pub(super) held: usize,
}

pub(super) fn parse(conditions: Vec<v1::Condition>, mutations: Vec<v1::Mutation>) -> Result<Parts, Rejection> {
    limits::at_most("mutations", "mutations", mutations.len(), limits::MAX_MUTATIONS)?;
    limits::at_most("conditions", "conditions", conditions.len(), limits::MAX_CONDITIONS)?;
    if mutations.is_empty() && conditions.is_empty() {
        return Err(Rejection::Missing {
            field: "mutations".to_owned(),
            allowed: "give at least one mutation or condition",
        });
    }
    let mutations = mutations
        .into_iter()
        .enumerate()
        .map(|(index, mutation)| mutation_parts(index, mutation))
        .collect::<Result<Vec<_>, _>>()?;
    let conditions = conditions
        .into_iter()
        .enumerate()
        .map(|(index, condition)| condition_parts(index, condition))
        .collect::<Result<Vec<_>, _>>()?;
    let written: usize = mutations.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum();
    limits::at_most("mutations", "bytes of keys and values", written, limits::MAX_BATCH_BYTES)?;
    let asked: usize = conditions.iter().map(|condition| condition.key().len()).sum();
    Ok(Parts { mutations, conditions, held: written + asked })
}

fn mutation_parts(index: usize, mutation: v1::Mutation) -> Result<(Bytes, Option<Bytes>), Rejection> {
    let field = format!("mutations[{index}]");
    let (key, value) = match mutation.kind {
        Some(Kind::Put(put)) => (put.key, Some(put.value)),
        Some(Kind::Delete(delete)) => (delete.key, None),
        None => {
            return Err(Rejection::Missing { field: format!("{field}.kind"), allowed: "it must be a put or a delete" });
        }
    };
    limits::key(&format!("{field}.key"), &key)?;
    if let Some(value) = &value {
        limits::value(&format!("{field}.value"), value)?;
    }
    Ok((key, value))
}

fn condition_parts(index: usize, condition: v1::Condition) -> Result<Condition, Rejection> {
    let field = format!("conditions[{index}]");
    limits::key(&format!("{field}.key"), &condition.key)?;
    match condition.expected {
        Some(Expected::Absent(true)) => Ok(Condition::Absent(condition.key)),
        Some(Expected::Exists(true)) => Ok(Condition::Exists(condition.key)),
        Some(Expected::VersionEquals(version)) => Ok(Condition::VersionEquals(condition.key, version)),
        Some(Expected::Absent(false) | Expected::Exists(false)) => Err(Rejection::Unknown {
            field: format!("{field}.expected"),
            actual: "false".to_owned(),
            allowed: "absent and exists must be true where they are set".to_owned(),
        }),
        None => Err(Rejection::Missing {
            field: format!("{field}.expected"),
            allowed: "it must be absent, exists or version_equals",
        }),
    }
}

fn batch(mutations: Vec<(Bytes, Option<Bytes>)>) -> Result<Batch, EngineError> {
    let mut batch = Batch::with_capacity(mutations.len());
    for (key, value) in mutations {
        match value {
            Some(value) => batch.put(key, value)?,
            None => batch.delete(key)?,
        };
    }
    Ok(batch)
}

#[cfg(test)]
#[path = "write_test.rs"]
mod tests;
