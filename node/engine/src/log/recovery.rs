//! What opening finds: the groups, their bounds and states, and what is left of groups that are gone.
//!
//! It reads one record and two entry keys per group and one key per dead incarnation, never the whole log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{DB, DBRawIterator, ReadOptions};

use super::error::LogError;
use super::format::{
    ENTRIES, FormatError, GROUP_RECORDS, GroupRecord, STATE_RECORDS, STORE_KEY, StateKey, entry_key, parse_group_key,
    parse_index, parse_owner, parse_store_record, state_key, unseal,
};
use super::group::Group;
use super::request::KeyRange;

/// What was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) groups: BTreeMap<u64, Arc<Group>>,
    /// `None` in a new store.
    pub(super) next_incarnation: Option<u64>,
    /// Ranges of incarnations that no group has any more.
    pub(super) dead: Vec<KeyRange>,
}

/// Reads what is there.
pub(super) fn recover(database: &DB) -> Result<Recovered, LogError> {
    let next_incarnation = match database.get_pinned(STORE_KEY).map_err(LogError::ReadRecords)? {
        None => None,
        Some(value) => {
            let payload = unseal(&STORE_KEY, &value).and_then(parse_store_record);
            Some(payload.map_err(|source| corrupt("the store", source))?)
        }
    };
    let mut groups = BTreeMap::new();
    for (id, record) in group_records(database)? {
        if next_incarnation.is_none_or(|next| record.incarnation >= next) {
            return Err(corrupt("the store, which is behind its groups,", FormatError::Unknown));
        }
        let states = states(database, id, record.incarnation)?;
        let entries = bounds(database, id, &record)?;
        groups.insert(id, Arc::new(Group::recovered(id, record, states, entries)));
    }
    let alive: BTreeSet<(u64, u64)> = groups.values().map(|group| (group.id, group.incarnation)).collect();
    let mut dead =
        dead_ranges(database, STATE_RECORDS, &alive, |group, incarnation| state_key(group, incarnation, 0).to_vec())?;
    dead.extend(dead_ranges(database, ENTRIES, &alive, |group, incarnation| {
        entry_key(group, incarnation, 0).to_vec()
    })?);
    Ok(Recovered { groups, next_incarnation, dead })
}

fn corrupt(record: impl Into<String>, source: FormatError) -> LogError {
    LogError::CorruptRecord { record: record.into(), source }
}

fn iterate<'d>(database: &'d DB, from: &[u8], end: &[u8]) -> DBRawIterator<'d> {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(from);
    options.set_iterate_upper_bound(end);
    database.raw_iterator_opt(options)
}

fn group_records(database: &DB) -> Result<Vec<(u64, GroupRecord)>, LogError> {
    let mut records = Vec::new();
    let mut iterator = iterate(database, &GROUP_RECORDS.0, &GROUP_RECORDS.1);
    iterator.seek_to_first();
    while let Some((key, value)) = iterator.item() {
        let id = parse_group_key(key).ok_or_else(|| corrupt("a group", FormatError::Unknown))?;
        let record = unseal(key, value).and_then(GroupRecord::decode);
        records.push((id, record.map_err(|source| corrupt(format!("group {id}"), source))?));
        iterator.next();
    }
    iterator.status().map_err(LogError::ReadRecords)?;
    Ok(records)
}

fn states(database: &DB, group: u64, incarnation: u64) -> Result<BTreeMap<StateKey, Bytes>, LogError> {
    let mut states = BTreeMap::new();
    let mut iterator = iterate(database, &state_key(group, incarnation, 0), &state_key(group, incarnation + 1, 0));
    iterator.seek_to_first();
    while let Some((key, value)) = iterator.item() {
        let name = || format!("a state of group {group}");
        let state =
            key.last().copied().and_then(StateKey::from_byte).ok_or_else(|| corrupt(name(), FormatError::Unknown))?;
        let payload = unseal(key, value).map_err(|source| corrupt(name(), source))?;
        states.insert(state, Bytes::copy_from_slice(payload));
        iterator.next();
    }
    iterator.status().map_err(LogError::ReadRecords)?;
    Ok(states)
}

/// First and last index. A purged log must begin right behind the purged index: whatever is between was acknowledged.
fn bounds(database: &DB, group: u64, record: &GroupRecord) -> Result<Option<(u64, u64)>, LogError> {
    let start = record.purged.as_ref().map_or(0, |purged| purged.index + 1);
    let incarnation = record.incarnation;
    let mut iterator = iterate(database, &entry_key(group, incarnation, start), &entry_key(group, incarnation + 1, 0));
    iterator.seek_to_first();
    let first = iterator.key().and_then(parse_index);
    iterator.status().map_err(|source| LogError::Read { group, index: start, source })?;
    let Some(first) = first else { return Ok(None) };
    if record.purged.is_some() && first != start {
        return Err(LogError::MissingEntry { group, index: start });
    }
    iterator.seek_to_last();
    let last = iterator.key().and_then(parse_index);
    iterator.status().map_err(|source| LogError::Read { group, index: first, source })?;
    Ok(last.map(|last| (first, last)))
}

/// The incarnations in `space` that are not alive, one seek for each incarnation.
fn dead_ranges(
    database: &DB,
    space: ([u8; 1], [u8; 1]),
    alive: &BTreeSet<(u64, u64)>,
    start_of: impl Fn(u64, u64) -> Vec<u8>,
) -> Result<Vec<KeyRange>, LogError> {
    let mut dead = Vec::new();
    let mut iterator = iterate(database, &space.0, &space.1);
    iterator.seek_to_first();
    while let Some(key) = iterator.key() {
        let (group, incarnation) = parse_owner(key).ok_or_else(|| corrupt("an unknown group", FormatError::Unknown))?;
        let next = incarnation.checked_add(1).ok_or_else(|| corrupt(format!("group {group}"), FormatError::Unknown))?;
        let end = start_of(group, next);
        if !alive.contains(&(group, incarnation)) {
            dead.push(KeyRange { from: start_of(group, incarnation), end: end.clone() });
        }
        iterator.seek(&end);
    }
    iterator.status().map_err(LogError::ReadRecords)?;
    Ok(dead)
}
