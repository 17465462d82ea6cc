//! What a recorded client asks of a store, and what it is told.

use std::future::Future;

use thermocline_client::{Batch, Client, Error, ErrorKind};

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    /// The key.
    pub key: String,
    /// Its new value; `None` deletes it.
    pub value: Option<String>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Reads a key.
    Get {
        /// The key.
        key: String,
    },
    /// Changes keys, all or none.
    Write {
        /// Only where the first key has this version; 0: where it has no record.
        expected: Option<u64>,
        /// At least one, of different keys.
        mutations: Vec<Mutation>,
    },
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A read found a record.
    Found {
        /// Its version.
        version: u64,
        /// Its value.
        value: String,
    },
    /// A read found none.
    Absent,
    /// A write was applied.
    Written {
        /// The version of all that it changed.
        version: u64,
    },
    /// A write was not applied: its condition did not hold.
    ConditionFailed {
        /// The version the key has; 0: no record.
        actual: u64,
    },
    /// A write may have been applied, may be yet, or not at all.
    Unknown,
    /// Nothing was changed or read.
    NotDone,
}

/// Anything whose clients can be recorded.
pub trait Store: Send + Sync + 'static {
    /// Makes one call and waits for its answer. Sending again is up to the store: it is one call still.
    fn call(&self, request: &Request) -> impl Future<Output = Answer> + Send;
}

impl Store for Client {
    async fn call(&self, request: &Request) -> Answer {
        match request {
            Request::Get { key } => match self.get(key.clone()).await {
                Ok(Some(record)) => {
                    let value = String::from_utf8_lossy(&record.value).into_owned();
                    Answer::Found { version: record.version, value }
                }
                Ok(None) => Answer::Absent,
                Err(_) => Answer::NotDone,
            },
            Request::Write { expected: None, mutations } => match mutations.as_slice() {
                [Mutation { key, value: Some(value) }] => written(self.put(key.clone(), value.clone()).await),
                [Mutation { key, value: None }] => written(self.delete(key.clone()).await),
                _ => written(self.write(batch(None, mutations)).await),
            },
            Request::Write { expected, mutations } => written(self.write(batch(*expected, mutations)).await),
        }
    }
}

fn batch(expected: Option<u64>, mutations: &[Mutation]) -> Batch {
    let mut batch = Batch::with_capacity(mutations.len());
    if let (Some(expected), Some(first)) = (expected, mutations.first()) {
        batch = match expected {
            0 => batch.when_absent(first.key.clone()),
            version => batch.when_version(first.key.clone(), version),
        };
    }
    for Mutation { key, value } in mutations {
        match value {
            Some(value) => batch.push_put(key.clone(), value.clone()),
            None => batch.push_delete(key.clone()),
        }
    }
    batch
}

fn written(result: Result<u64, Error>) -> Answer {
    let error = match result {
        Ok(version) => return Answer::Written { version },
        Err(error) => error,
    };
    match (error.kind(), &error) {
        (_, Error::ConditionFailed { actual_version, .. }) => {
            Answer::ConditionFailed { actual: actual_version.unwrap_or(0) }
        }
        (ErrorKind::InvalidInput | ErrorKind::Unavailable, _) | (_, Error::Refused { .. }) => Answer::NotDone,
        // Also an answer that breaks the contract: it says nothing.
        _ => Answer::Unknown,
    }
}
