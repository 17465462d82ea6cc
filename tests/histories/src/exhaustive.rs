//! A second judge, for short histories of one key: tries every order, and for every write of unknown outcome every version
//! it may have had. Slow and plain, to hold the fast one against.

use std::collections::HashSet;

use crate::operation::{Action, Operation, Outcome};

/// The most operations it takes.
pub const MOST_OPERATIONS: usize = 16;

/// A key: the version of its last write, and its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Register {
    version: u64,
    value: Option<String>,
}

/// Whether there is an order of the operations of one key in which every answer is right. `None` for more than
/// [`MOST_OPERATIONS`], or a version above what can be tried.
#[must_use]
pub fn linearizable(operations: &[Operation]) -> Option<bool> {
    let mentioned = operations.iter().flat_map(versions).max().unwrap_or(0);
    if operations.len() > MOST_OPERATIONS || mentioned > 1000 {
        return None;
    }
    let search = Search { operations, last_version: mentioned + operations.len() as u64 };
    let start = Register { version: 0, value: None };
    Some(search.from(0, &start, &mut HashSet::new()))
}

fn versions(operation: &Operation) -> [u64; 2] {
    let expected = match operation.action {
        Action::PutIf { expected, .. } | Action::DeleteIf { expected } => expected,
        _ => 0,
    };
    let told = match operation.result {
        Some(Outcome::Found { version, .. } | Outcome::Written { version }) => version,
        Some(Outcome::ConditionFailed { actual }) => actual,
        _ => 0,
    };
    [expected, told]
}

struct Search<'a> {
    operations: &'a [Operation],
    last_version: u64,
}

impl Search<'_> {
    /// Whether the operations that are not in `done` can follow.
    fn from(&self, done: u32, register: &Register, tried: &mut HashSet<(u32, Register)>) -> bool {
        let waiting = |index: usize| done & (1 << index) == 0;
        let left = || self.operations.iter().enumerate().filter(|(index, _)| waiting(*index));
        // What is open may never have happened: only the others must find a place.
        if left().all(|(_, operation)| operation.result.is_none()) {
            return true;
        }
        if !tried.insert((done, register.clone())) {
            return false;
        }
        // Nothing may come before what had returned when it was called.
        let first_return = left().filter_map(|(_, operation)| operation.ret_ns).min().unwrap_or(u64::MAX);
        let next: Vec<usize> =
            left().filter(|(_, operation)| operation.call_ns <= first_return).map(|(index, _)| index).collect();
        next.into_iter().any(|index| {
            let after = self.after(&self.operations[index], register);
            after.iter().any(|register| self.from(done | 1 << index, register, tried))
        })
    }

    /// The registers an operation can leave behind; none where its answer would be wrong here.
    fn after(&self, operation: &Operation, register: &Register) -> Vec<Register> {
        let present = register.value.is_some();
        let expected = match &operation.action {
            Action::PutIf { expected, .. } | Action::DeleteIf { expected } => Some(*expected),
            _ => None,
        };
        let actual = if present { register.version } else { 0 };
        let value = match &operation.action {
            Action::Put { value } | Action::PutIf { value, .. } => Some(value.clone()),
            _ => None,
        };
        let right = match &operation.result {
            Some(Outcome::Found { version, value }) => {
                *version == register.version && register.value.as_ref() == Some(value)
            }
            Some(Outcome::Absent) => !present,
            Some(Outcome::ConditionFailed { actual: told }) => *told == actual && expected != Some(actual),
            Some(Outcome::Written { .. }) | None => expected.is_none_or(|expected| expected == actual),
        };
        if !right {
            return Vec::new();
        }
        let versions = match operation.result {
            Some(Outcome::Written { version }) if version > register.version => version..=version,
            Some(Outcome::Written { .. }) => return Vec::new(),
            Some(_) => return vec![register.clone()],
            None => register.version + 1..=self.last_version,
        };
        versions.map(|version| Register { version, value: value.clone() }).collect()
    }
}
