//! Whether what clients saw of one key has an order in which every answer is right: each operation at a moment between its call
//! and its answer. Values are never written twice and versions only grow, so that nearly every step of the search is forced.
//!
//! A write of unknown outcome may take effect at any time after its call, or never. Where nobody saw its value it is first left
//! out, since leaving it out is always allowed; only where no order is found without them they are all tried.

use std::collections::{BTreeMap, HashSet};

use super::{Held, Violation};

/// What was asked. Values are numbers, 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Reads the key.
    Get,
    /// Writes a value.
    Put {
        /// It.
        value: u64,
    },
    /// Writes a value where the key has a version (0: no record).
    PutIf {
        /// The version.
        expected: u64,
        /// The value.
        value: u64,
    },
    /// Deletes the key.
    Delete,
}

/// What was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A record, by its version and value.
    Found {
        /// Its version.
        version: u64,
        /// Its value.
        value: u64,
    },
    /// No record.
    Absent,
    /// The write took effect.
    Written {
        /// The key's version since.
        version: u64,
    },
    /// The condition failed: the key has another version (0: no record).
    Failed {
        /// Which.
        actual: u64,
    },
}

/// A call. Moments are numbers that grow with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub client: u64,
    /// What.
    pub action: Action,
    /// When it was called.
    pub called: u64,
    /// When it was answered, and with what; `None`: nobody knows.
    pub answered: Option<(u64, Outcome)>,
}

impl Operation {
    const fn value(&self) -> Option<u64> {
        match self.action {
            Action::Put { value } | Action::PutIf { value, .. } => Some(value),
            Action::Get | Action::Delete => None,
        }
    }

    const fn outcome(&self) -> Option<Outcome> {
        match self.answered {
            Some((_, outcome)) => Some(outcome),
            None => None,
        }
    }
}

/// The key at one moment. The version of a write of unknown outcome is at least one above `version` until somebody is told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Register {
    value: u64,
    version: u64,
    exact: bool,
}

impl Register {
    const EMPTY: Self = Self { value: 0, version: 0, exact: true };

    /// The register where its version is told to be this; `None` where it is not.
    const fn told(self, version: u64) -> Option<Self> {
        let fits = if self.exact { self.version == version } else { self.version < version };
        if fits { Some(Self { version, exact: true, ..self }) } else { None }
    }

    /// As [`told`](Self::told), where 0 says that there is no record.
    const fn told_or_absent(self, version: u64) -> Option<Self> {
        match (self.value, version) {
            (0, 0) => Some(self),
            (0, _) | (_, 0) => None,
            _ => self.told(version),
        }
    }

    const fn written(self, value: u64, version: Option<u64>) -> Option<Self> {
        match version {
            Some(version) if version > self.version => Some(Self { value, version, exact: true }),
            Some(_) => None,
            None => Some(Self { value, version: self.version, exact: false }),
        }
    }

    fn after(self, operation: &Operation, known: Option<u64>) -> Option<Self> {
        let version = match operation.outcome() {
            Some(Outcome::Written { version }) => Some(version),
            _ => known,
        };
        match (operation.action, operation.outcome()) {
            (Action::Get, Some(Outcome::Found { version, value })) if value == self.value => self.told(version),
            (Action::Get, Some(Outcome::Absent)) if self.value == 0 => Some(self),
            (Action::PutIf { expected, .. }, Some(Outcome::Failed { actual })) if expected != actual => {
                self.told_or_absent(actual)
            }
            (Action::Put { value }, Some(Outcome::Written { .. }) | None) => self.written(value, version),
            (Action::Delete, Some(Outcome::Written { .. }) | None) => self.written(0, version),
            (Action::PutIf { expected, value }, Some(Outcome::Written { .. }) | None) => {
                self.told_or_absent(expected).and_then(|now| now.written(value, version))
            }
            _ => None,
        }
    }
}

/// Whether there is such an order. The operations are those of one key.
///
/// # Errors
/// When there is none.
pub fn linearizable(key: &str, operations: &[Operation]) -> Held {
    let seen: BTreeMap<u64, u64> = operations
        .iter()
        .filter_map(|operation| match operation.outcome() {
            Some(Outcome::Found { version, value }) => Some((value, version)),
            _ => None,
        })
        .collect();
    let was_seen = |operation: &Operation| operation.value().is_some_and(|value| seen.contains_key(&value));
    let known: Vec<Operation> =
        operations.iter().copied().filter(|one| one.answered.is_some() || was_seen(one)).collect();
    if Search::new(&known, &seen).finds_an_order() || Search::new(operations, &seen).finds_an_order() {
        return Ok(());
    }
    let mut said = format!("no order of the operations on {key} makes every answer right:");
    let mut by_call = operations.to_vec();
    by_call.sort_by_key(|operation| operation.called);
    for operation in by_call {
        said.push_str(&format!("\n  {operation:?}"));
    }
    Err(Violation::of("linearizability", said))
}

struct Search<'a> {
    operations: &'a [Operation],
    /// The versions of values, as reads told.
    seen: &'a BTreeMap<u64, u64>,
    tried: HashSet<(Vec<u64>, Register)>,
}

impl<'a> Search<'a> {
    fn new(operations: &'a [Operation], seen: &'a BTreeMap<u64, u64>) -> Self {
        Self { operations, seen, tried: HashSet::new() }
    }

    /// Depth first, without recursion: histories are longer than a stack is deep.
    fn finds_an_order(&mut self) -> bool {
        let mut stack = vec![(vec![0_u64; self.operations.len().div_ceil(64)], Register::EMPTY)];
        while let Some((done, register)) = stack.pop() {
            let left = || {
                let waits = |index: &usize| done[index / 64] & (1 << (index % 64)) == 0;
                (0..self.operations.len()).filter(waits).map(|index| (index, &self.operations[index]))
            };
            if left().all(|(_, operation)| operation.answered.is_none()) {
                return true;
            }
            if !self.tried.insert((done.clone(), register)) {
                continue;
            }
            // Nothing comes before what was answered when it was called.
            let first_answer = left().filter_map(|(_, one)| one.answered).map(|(at, _)| at).min().unwrap_or(u64::MAX);
            for (index, operation) in left().filter(|(_, operation)| operation.called < first_answer) {
                let known = operation.value().and_then(|value| self.seen.get(&value).copied());
                if let Some(after) = register.after(operation, known) {
                    let mut with = done.clone();
                    with[index / 64] |= 1 << (index % 64);
                    stack.push((with, after));
                }
            }
        }
        false
    }
}

#[cfg(test)]
#[path = "linearizable_test.rs"]
mod tests;
