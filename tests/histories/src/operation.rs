//! One line of a history: what a client asked of one key, and what it was told.

use serde::{Deserialize, Serialize};

use crate::store::{Answer, Mutation, Request};

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", content = "args", rename_all = "snake_case")]
pub enum Action {
    /// Reads the key.
    Get {},
    /// Gives it a value, which no other operation gives it.
    Put {
        /// The value.
        value: String,
    },
    /// Deletes it.
    Delete {},
    /// Gives it a value where it has the version.
    PutIf {
        /// The version; 0: no record.
        expected: u64,
        /// The value.
        value: String,
    },
    /// Deletes it where it has the version.
    DeleteIf {
        /// The version; 0: no record.
        expected: u64,
    },
}

/// What was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The record that a read found.
    Found {
        /// Its version.
        version: u64,
        /// Its value.
        value: String,
    },
    /// A read found no record.
    Absent,
    /// A write was applied.
    Written {
        /// The key's version since.
        version: u64,
    },
    /// A conditional write was not applied.
    ConditionFailed {
        /// The version the key has; 0: no record.
        actual: u64,
    },
}

/// A call, or the part of a call that touches one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who asked.
    pub client: u32,
    /// Of which key.
    pub key: String,
    /// What.
    #[serde(flatten)]
    pub action: Action,
    /// What was told; `None` where the outcome is unknown.
    pub result: Option<Outcome>,
    /// When it was asked, in nanoseconds of the recording's clock.
    pub call_ns: u64,
    /// When it was told; `None` where the outcome is unknown.
    pub ret_ns: Option<u64>,
    /// Operations of one number are parts of one atomic batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
}

/// The lines of one call between two moments. None where it did nothing; `number` names it among all calls.
#[must_use]
pub fn operations(
    client: u32,
    number: u64,
    request: &Request,
    answer: &Answer,
    call_ns: u64,
    ret_ns: u64,
) -> Vec<Operation> {
    let line = |key: &str, action, batch| {
        let result = match answer {
            Answer::Found { version, value } => Some(Outcome::Found { version: *version, value: value.clone() }),
            Answer::Absent => Some(Outcome::Absent),
            Answer::Written { version } => Some(Outcome::Written { version: *version }),
            Answer::ConditionFailed { actual } => Some(Outcome::ConditionFailed { actual: *actual }),
            Answer::Unknown | Answer::NotDone => None,
        };
        let ret_ns = result.is_some().then_some(ret_ns);
        Operation { client, key: key.to_owned(), action, result, call_ns, ret_ns, batch }
    };
    match (request, answer) {
        (_, Answer::NotDone) => Vec::new(),
        (Request::Get { .. }, Answer::Unknown) => Vec::new(),
        (Request::Get { key }, _) => vec![line(key, Action::Get {}, None)],
        (Request::Write { expected, mutations }, _) => {
            let batch = (mutations.len() > 1).then_some(number);
            let parts = mutations.iter().enumerate().map(|(index, mutation)| {
                let condition = expected.filter(|_| index == 0);
                line(&mutation.key, action(mutation, condition), batch)
            });
            // Where the condition failed, it is all that was learned: nothing happened to the other keys.
            let told = if matches!(answer, Answer::ConditionFailed { .. }) { 1 } else { mutations.len() };
            parts.take(told).collect()
        }
    }
}

fn action(mutation: &Mutation, expected: Option<u64>) -> Action {
    match (&mutation.value, expected) {
        (Some(value), None) => Action::Put { value: value.clone() },
        (Some(value), Some(expected)) => Action::PutIf { expected, value: value.clone() },
        (None, None) => Action::Delete {},
        (None, Some(expected)) => Action::DeleteIf { expected },
    }
}

#[cfg(test)]
#[path = "operation_test.rs"]
mod tests;
