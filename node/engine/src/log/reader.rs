//! Reads runs of entries: the durable ones from RocksDB, checked one by one, the recent ones from the tail.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{DB, DBRawIterator, ReadOptions};

use super::error::LogError;
use super::format::{FormatError, entry_key, parse_index, unseal};
use super::group::Group;

/// Reads what there is of `range`, up to `max_bytes` of payload but at least one entry.
///
/// Ends of the range that the log does not have (purged, or not appended yet) are left out; what is returned has no gap.
pub(super) fn read(
    database: &Arc<DB>,
    group: &Group,
    range: Range<u64>,
    max_bytes: usize,
) -> Result<Vec<(u64, Bytes)>, LogError> {
    let mut entries = Run { entries: Vec::new(), spent: 0, limit: max_bytes };
    let state = group.state.lock();
    let Some((first, last)) = state.bounds() else { return Ok(Vec::new()) };
    let start = range.start.max(first);
    let end = range.end.min(last + 1);
    if start >= end {
        return Ok(Vec::new());
    }
    let tail_start = state.tail.start();
    // Everything below the tail is durable, and the iterator is a snapshot taken under the group's lock: whatever is truncated
    // or purged from now on does not reach it.
    let below = (start < tail_start).then(|| iterate(database, group, end.min(tail_start)));
    let tail = state.tail.from(start.max(tail_start)).take_while(|&(index, _)| index < end);
    let mut recent = Run { entries: Vec::new(), spent: 0, limit: max_bytes };
    for (index, payload) in tail {
        if !recent.push(index, || payload.clone(), payload.len()) {
            break;
        }
    }
    drop(state);

    if let Some(iterator) = below {
        let complete = read_durable(iterator, group, start..end.min(tail_start), &mut entries)?;
        if !complete {
            return Ok(entries.entries);
        }
    }
    for (index, payload) in recent.entries {
        let bytes = payload.len();
        if !entries.push(index, || payload, bytes) {
            break;
        }
    }
    Ok(entries.entries)
}

/// Entries collected under a limit of bytes.
struct Run {
    entries: Vec<(u64, Bytes)>,
    spent: usize,
    limit: usize,
}

impl Run {
    /// Adds an entry unless it exceeds what is left; the first one always fits, so that a reader gets on.
    fn push(&mut self, index: u64, payload: impl FnOnce() -> Bytes, bytes: usize) -> bool {
        let spent = self.spent.saturating_add(bytes);
        if spent > self.limit && !self.entries.is_empty() {
            return false;
        }
        self.spent = spent;
        self.entries.push((index, payload()));
        true
    }
}

/// An iterator that was not moved yet: moving it may read from the device, which nobody should wait for under a lock.
fn iterate<'d>(database: &'d DB, group: &Group, end: u64) -> DBRawIterator<'d> {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(entry_key(group.id, group.incarnation, end));
    database.raw_iterator_opt(options)
}

/// Adds the entries of `range`; `false` when the limit was reached. Every index of the range must be there.
fn read_durable(
    mut iterator: DBRawIterator<'_>,
    group: &Group,
    range: Range<u64>,
    run: &mut Run,
) -> Result<bool, LogError> {
    let id = group.id;
    iterator.seek(entry_key(id, group.incarnation, range.start));
    for index in range {
        let Some((key, value)) = iterator.item() else {
            return Err(match iterator.status() {
                Err(source) => LogError::Read { group: id, index, source },
                Ok(()) => LogError::MissingEntry { group: id, index },
            });
        };
        match parse_index(key) {
            Some(found) if found == index => {}
            Some(_) => return Err(LogError::MissingEntry { group: id, index }),
            None => return Err(LogError::CorruptEntry { group: id, index, source: FormatError::Unknown }),
        }
        let payload = unseal(key, value).map_err(|source| LogError::CorruptEntry { group: id, index, source })?;
        if !run.push(index, || Bytes::copy_from_slice(payload), payload.len()) {
            return Ok(false);
        }
        iterator.next();
    }
    Ok(true)
}
