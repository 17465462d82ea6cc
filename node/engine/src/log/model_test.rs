//! Random requests against a map in memory, with reopening; and every way to cut the write-ahead log off.
//!
//! Each run has a seed, printed where it fails; `THERMOCLINE_SEED=N` runs that one alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

const GROUPS: u64 = 4;

/// What a group shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ModelGroup {
    entries: BTreeMap<u64, Bytes>,
    purged: Option<(u64, Bytes)>,
    states: BTreeMap<StateKey, Bytes>,
}

type Model = BTreeMap<u64, ModelGroup>;

#[derive(Debug, Clone)]
enum Step {
    Append(u64, Vec<(u64, Bytes)>),
    Truncate(u64, u64),
    Purge(u64, u64, Bytes),
    Save(u64, StateKey, Bytes),
    Remove(u64),
}

impl ModelGroup {
    fn next(&self) -> Option<u64> {
        let last = self.entries.last_key_value().map(|(&index, _)| index);
        last.or_else(|| self.purged.as_ref().map(|purged| purged.0)).map(|index| index + 1)
    }
}

/// Applies a step; `false` where the store has to refuse it.
fn apply(model: &mut Model, step: &Step) -> bool {
    match step.clone() {
        Step::Append(id, entries) => {
            let Some(&(first, _)) = entries.first() else { return true };
            let group = model.get(&id).cloned().unwrap_or_default();
            let next = group.next().unwrap_or(first);
            if entries.iter().zip(next..).any(|(entry, index)| entry.0 != index) {
                return false;
            }
            model.entry(id).or_default().entries.extend(entries);
        }
        Step::Truncate(id, index) => {
            let Some(group) = model.get_mut(&id) else { return true };
            if group.purged.as_ref().is_some_and(|purged| index <= purged.0) {
                return false;
            }
            group.entries.split_off(&index);
        }
        Step::Purge(id, index, mark) => {
            let group = model.entry(id).or_default();
            let further = group.purged.as_ref().is_none_or(|purged| index > purged.0);
            let gap = group.entries.first_key_value().is_some_and(|(&first, _)| index + 1 < first);
            if further && !gap {
                group.entries = group.entries.split_off(&(index + 1));
                group.purged = Some((index, mark));
            }
        }
        Step::Save(id, key, value) => {
            model.entry(id).or_default().states.insert(key, value);
        }
        Step::Remove(id) => {
            model.remove(&id);
        }
    }
    true
}

fn bytes(random: &mut ChaCha8Rng, most: usize) -> Bytes {
    let length = random.random_range(0..=most);
    Bytes::from((0..length).map(|_| random.random()).collect::<Vec<u8>>())
}

fn random_step(random: &mut ChaCha8Rng, model: &Model) -> Step {
    let id = random.random_range(0..GROUPS);
    let group = model.get(&id).cloned().unwrap_or_default();
    let next = group.next().unwrap_or_else(|| random.random_range(0..3));
    // Around the ends, where the decisions are; sometimes beyond them.
    let near = |random: &mut ChaCha8Rng| (next + 3).saturating_sub(random.random_range(0..25));
    match random.random_range(0..100) {
        0..60 => {
            let start = if random.random_ratio(1, 20) { near(random) } else { next };
            let count = random.random_range(0..12);
            Step::Append(id, (start..start + count).map(|index| (index, bytes(random, 300))).collect())
        }
        60..72 => Step::Truncate(id, near(random)),
        72..84 => Step::Purge(id, near(random), bytes(random, 20)),
        84..98 => {
            let key = StateKey::ALL[random.random_range(0..StateKey::ALL.len())];
            Step::Save(id, key, bytes(random, 40))
        }
        _ => Step::Remove(id),
    }
}

fn request(store: &LogStore, step: &Step, done: Completion) {
    match step.clone() {
        Step::Append(id, entries) => store.append(id, entries, done),
        Step::Truncate(id, index) => store.truncate_from(id, index, done),
        Step::Purge(id, index, mark) => store.purge_to(id, index, mark, done),
        Step::Save(id, key, value) => store.save_state(id, key, value, done),
        Step::Remove(id) => store.remove_group(id, done),
    }
}

/// Everything that the store shows, as a model.
fn shown(store: &LogStore) -> Model {
    let group = |id| {
        let entries = store.read(id, 0..u64::MAX, usize::MAX).unwrap();
        assert!(entries.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "a gap in what was read");
        let entries: BTreeMap<_, _> = entries.into_iter().collect();
        assert_eq!(store.first_index(id), entries.first_key_value().map(|(&index, _)| index));
        assert_eq!(store.last_index(id), entries.last_key_value().map(|(&index, _)| index));
        let states = StateKey::ALL.into_iter().filter_map(|key| Some((key, store.read_state(id, key)?))).collect();
        ModelGroup { entries, purged: store.purged(id).map(|purged| (purged.index, purged.mark)), states }
    };
    store.groups().into_iter().map(|id| (id, group(id))).collect()
}

fn check_a_read(store: &LogStore, model: &Model, random: &mut ChaCha8Rng) {
    let id = random.random_range(0..GROUPS);
    let entries = model.get(&id).map(|group| group.entries.clone()).unwrap_or_default();
    let middle = entries.last_key_value().map_or(0, |(&last, _)| last.saturating_sub(random.random_range(0..40)));
    let range = middle..middle + random.random_range(0..40);
    let limit = random.random_range(0..4000);
    let mut expected = Vec::new();
    let mut total = 0;
    for (&index, payload) in entries.range(range.clone()) {
        total += payload.len();
        if total > limit && !expected.is_empty() {
            break;
        }
        expected.push((index, payload.clone()));
    }
    assert_eq!(store.read(id, range, limit).unwrap(), expected);
}

/// Small limits, so that the tail is cut, batches split, buffers flushed and space reclaimed all the time.
fn options() -> LogOptions {
    LogOptions {
        queue_requests: 16,
        batch_bytes: 2000,
        tail_bytes: 4000,
        write_buffer_bytes: 64 << 10,
        reclaim_bytes: 16 << 10,
        ..LogOptions::default()
    }
}

fn seeds(count: u64) -> Vec<u64> {
    let given = std::env::var("THERMOCLINE_SEED").ok().map(|seed| seed.parse().expect("THERMOCLINE_SEED is a number"));
    given.map_or_else(|| (0..count).collect(), |seed| vec![seed])
}

#[test]
fn random_requests_leave_what_a_map_in_memory_has_also_after_opening_again() {
    for seed in seeds(12) {
        println!("THERMOCLINE_SEED={seed}");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let folder = tempfile::tempdir().unwrap();
        let mut store = LogStore::open(folder.path(), options()).unwrap();
        let mut model = Model::new();
        let mut pending = Vec::new();
        for _ in 0..400 {
            let step = random_step(&mut random, &model);
            let (done, answer) = Completion::channel();
            request(&store, &step, done);
            pending.push((apply(&mut model, &step), answer, step));
            check_a_read(&store, &model, &mut random);
            let reopen = random.random_ratio(1, 60);
            if reopen || random.random_ratio(1, 12) {
                for (accepted, answer, step) in pending.drain(..) {
                    assert_eq!(answer.wait().is_ok(), accepted, "{step:?}");
                }
                assert_eq!(shown(&store), model);
            }
            if reopen {
                drop(store);
                store = LogStore::open(folder.path(), options()).unwrap();
                assert_eq!(shown(&store), model, "after opening again");
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// A power loss leaves a beginning of the write-ahead log. Whatever its length, the store must show the state after one of the
/// requests: never half a request, never a later one without an earlier one.
#[test]
fn a_write_ahead_log_cut_anywhere_shows_the_state_after_one_request_and_a_longer_one_never_an_earlier() {
    for seed in seeds(2) {
        println!("THERMOCLINE_SEED={seed}");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let folder = tempfile::tempdir().unwrap();
        // One buffer for all: everything is in the write-ahead log.
        let store = LogStore::open(folder.path(), LogOptions::default()).unwrap();
        let mut model = Model::new();
        let mut states = vec![model.clone()];
        for _ in 0..40 {
            let step = random_step(&mut random, &model);
            // A removal reclaims its space, which flushes the buffer and ends the write-ahead log at any moment.
            if matches!(step, Step::Remove(_)) {
                continue;
            }
            let (done, answer) = Completion::channel();
            request(&store, &step, done);
            assert_eq!(apply(&mut model, &step), answer.wait().is_ok(), "{step:?}");
            if states.last() != Some(&model) {
                states.push(model.clone());
            }
        }
        drop(store);
        let logs: Vec<_> = fs::read_dir(folder.path().join("db"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .filter(|path| fs::metadata(path).unwrap().len() > 0)
            .collect();
        let [log] = &logs[..] else { panic!("one write-ahead log was expected: {logs:?}") };
        let whole = fs::read(log).unwrap();
        let mut reached = 0;
        let mut cuts: Vec<usize> = (0..60).map(|_| random.random_range(0..whole.len())).collect();
        cuts.push(whole.len());
        cuts.sort_unstable();
        for cut in cuts {
            let crashed = tempfile::tempdir().unwrap();
            copy(&folder.path().join("db"), &crashed.path().join("db"));
            fs::write(crashed.path().join("db").join(log.file_name().unwrap()), &whole[..cut]).unwrap();
            let store = LogStore::open(crashed.path(), LogOptions::default()).unwrap();
            let found = shown(&store);
            let state = states.iter().enumerate().skip(reached).find(|(_, state)| **state == found);
            let (at, _) = state.unwrap_or_else(|| panic!("cut at {cut}: the state of no request: {found:?}"));
            reached = at;
        }
        assert_eq!(states[reached], model, "the whole log shows everything");
    }
}
