//! Random sequences of every public operation against a map in memory, for stores of one to four tiers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod run;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::path::Path;

use bytes::Bytes;
use rand::RngExt;
use run::*;
use support::{names, options, seed};
use thermocline_engine::*;

const SESSIONS: usize = 8;
const STEPS: usize = 150;
const KEYS: u32 = 70;

fn step<'a>(run: &mut Run, engine: &'a Engine, snapshots: &mut Vec<(Snapshot<'a>, Records)>) {
    match run.random.random_range(0..100_u32) {
        0..=19 => {
            let (key, value, durability) = (run.key(), run.value(), run.durability());
            run.note(format!("put {} {durability:?}", printable_key(&key)));
            let version = engine.put(&key, &value, durability).unwrap();
            let version = run.given(version);
            run.records.insert(key, (value, version));
        }
        20..=27 => {
            let (key, durability) = (run.key(), run.durability());
            run.note(format!("delete {} {durability:?}", printable_key(&key)));
            let version = engine.delete(&key, durability).unwrap();
            run.given(version);
            run.records.remove(&key);
        }
        28..=37 => {
            let key = run.key();
            run.note(format!("get {}", printable_key(&key)));
            if let Some(cached) = engine.get_cached(&key) {
                run.check_record(&key, Some(cached));
            }
            run.check_record(&key, engine.get(&key).unwrap());
            let copies = engine.explain(&key).unwrap().copies;
            if let Some((_, version)) = run.records.get(&key)
                && let Some(copy) = copies.first()
            {
                assert!(copy.version <= *version, "a copy is newer than the newest write");
            }
        }
        38..=43 => {
            let keys: Vec<Vec<u8>> = (0..run.random.random_range(0..20_u32)).map(|_| run.key()).collect();
            run.note(format!("multi_get of {}", keys.len()));
            for (key, record) in keys.iter().zip(engine.multi_get(&keys).unwrap()) {
                run.check_record(key, record);
            }
        }
        44..=51 => {
            let (batch, conditions, durability) = (run.batch(), run.conditions(), run.durability());
            run.note(format!("write {} under {conditions:?} {durability:?}", batch.len()));
            let outcome = engine.write(&batch, &conditions, durability).unwrap();
            run.check_outcome(outcome, &conditions, batch.mutations());
        }
        52..=55 => transaction(run, engine),
        56..=61 => scan(run, engine),
        62..=64 => {
            run.note("snapshot".to_owned());
            if snapshots.len() == 3 {
                snapshots.remove(0);
            }
            snapshots.push((engine.snapshot().unwrap(), run.records.clone()));
        }
        65..=67 => {
            run.note("read a snapshot".to_owned());
            if let Some((snapshot, expected)) = snapshots.last() {
                let found: Records = snapshot
                    .scan(&KeyRange::all(), ScanOptions::default())
                    .map(|item| item.unwrap())
                    .map(|(key, record)| (key.to_vec(), (record.value.to_vec(), record.version)))
                    .collect();
                assert_same(&found, expected);
                let key = run.key();
                let found = snapshot.get(&key).unwrap().map(|r| (r.value.to_vec(), r.version));
                assert_eq!(found.as_ref(), expected.get(&key));
            }
        }
        68..=80 => {
            let (range, to) = (run.range(), run.tier());
            run.note(format!("move {range:?} to {to}"));
            support::move_to(engine, &range, to);
            if to == names(run.tiers)[run.tiers - 1] && !run.restless {
                assert_all_in_last(run, engine, &range);
            }
        }
        81..=82 => {
            run.note("reclassify".to_owned());
            engine.reclassify().unwrap();
        }
        83..=84 => {
            let tier = run.tier();
            run.note(format!("empty {tier}"));
            match engine.empty_tier(tier, &Cancel::default()) {
                Ok(_) => assert_ne!(tier, "hot"),
                Err(error) => assert!(tier == "hot", "{error}"),
            }
        }
        85..=88 => bulk_load(run, engine),
        89..=91 => apply(run, engine),
        92..=93 => {
            let range = run.range();
            run.note(format!("wipe {range:?}"));
            let lease = engine.lease_range(&range).unwrap();
            engine.wipe(&lease).unwrap();
            run.records.retain(|key, _| !range.contains(key));
        }
        94..=95 => {
            let (range, folder) = (run.range(), run.new_folder("export"));
            run.note(format!("export {range:?}"));
            let manifest = engine.export(&range, &folder).unwrap();
            let records = run.within(&range);
            assert_eq!(manifest.logical_hash, hash(&records));
            run.exports.push((folder, range, records));
        }
        96 => install(run, engine),
        97 => {
            run.note("checkpoint".to_owned());
            let folder = run.new_folder("checkpoint");
            engine.checkpoint(&folder).unwrap();
            let copy = Engine::open(checkpointed(&folder, run.tiers), Environment::system(9)).unwrap();
            run.check(&copy);
            // A copy is a store of its own: what is written to it is not in the original.
            copy.put(b"only in the copy", b"", Durability::Wal).unwrap();
            copy.close().unwrap();
        }
        98 => {
            run.note("sync".to_owned());
            assert!(engine.sync().unwrap() >= run.highest || run.highest == 0);
        }
        _ => {
            run.note("check".to_owned());
            run.check(engine);
        }
    }
}

fn checkpointed(folder: &Path, tiers: usize) -> EngineOptions {
    let mut options = options(&folder.join("tiers"), tiers);
    options.root = Some(folder.join("root"));
    options
}

fn assert_all_in_last(run: &Run, engine: &Engine, range: &KeyRange) {
    let last = names(run.tiers)[run.tiers - 1];
    if let Some(key) = run.within(range).keys().next() {
        let copies = engine.explain(key).unwrap().copies;
        assert_eq!(copies.iter().map(|c| c.tier.as_str()).collect::<Vec<_>>(), [last]);
    }
}

fn transaction(run: &mut Run, engine: &Engine) {
    let conditions = run.conditions();
    let (first, second, third) = (run.batch(), run.batch(), run.batch());
    let mut transaction = engine.begin_batch();
    let add = |transaction: &mut Transaction, batch: &Batch| {
        for mutation in batch.mutations() {
            match mutation.value() {
                Some(value) => transaction.put(mutation.key().clone(), value.clone()).unwrap(),
                None => transaction.delete(mutation.key().clone()).unwrap(),
            };
        }
    };
    add(&mut transaction, &first);
    let savepoint = transaction.savepoint();
    add(&mut transaction, &second);
    transaction.rollback(savepoint);
    add(&mut transaction, &third);
    for condition in &conditions {
        transaction.require(condition.clone());
    }
    if run.random.random_range(0..3) == 0 {
        run.note("drop a transaction".to_owned());
        return;
    }
    run.note(format!("commit {} and {} under {conditions:?}", first.len(), third.len()));
    let mutations: Vec<Mutation> = first.mutations().iter().chain(third.mutations()).cloned().collect();
    let durability = run.durability();
    let outcome = transaction.commit(durability).unwrap();
    run.check_outcome(outcome, &conditions, &mutations);
}

fn scan(run: &mut Run, engine: &Engine) {
    let range = run.range();
    let options = ScanOptions {
        reverse: run.random.random_range(0..2) == 0,
        limit: (run.random.random_range(0..2) == 0).then(|| run.random.random_range(0..20)),
        keys_only: run.random.random_range(0..4) == 0,
        ..ScanOptions::default()
    };
    run.note(format!("scan {range:?} {options:?}"));
    let mut expected: Vec<_> = run.within(&range).into_iter().collect();
    if options.reverse {
        expected.reverse();
    }
    expected.truncate(options.limit.map_or(usize::MAX, |limit| limit as usize));
    if options.keys_only {
        expected.iter_mut().for_each(|(_, (value, _))| value.clear());
    }
    let snapshot = engine.snapshot().unwrap();
    let found: Vec<_> = snapshot
        .scan(&range, options)
        .map(|item| item.unwrap())
        .map(|(key, record)| (key.to_vec(), (record.value.to_vec(), record.version)))
        .collect();
    assert_eq!(found.iter().map(|(k, _)| k).collect::<Vec<_>>(), expected.iter().map(|(k, _)| k).collect::<Vec<_>>());
    assert!(found == expected, "a scan found other values or versions");
}

fn bulk_load(run: &mut Run, engine: &Engine) {
    let mode = if run.random.random_range(0..2) == 0 { BulkMode::Sorted } else { BulkMode::Unlogged };
    let mut records: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for _ in 0..run.random.random_range(0..30_u32) {
        let (key, value) = (run.key(), run.value());
        records.insert(key, value);
    }
    let mut load = engine.bulk_load(mode).unwrap();
    for (key, value) in &records {
        load.put(key.clone(), value.clone()).unwrap();
    }
    if mode == BulkMode::Sorted && run.random.random_range(0..4) == 0 {
        run.note("drop a sorted bulk load".to_owned());
        return;
    }
    run.note(format!("bulk load {} {mode:?}", records.len()));
    assert_eq!(load.finish().unwrap(), records.len() as u64);
    let before = run.highest;
    for (key, value) in records {
        let record = engine.get(&key).unwrap().expect("a loaded record is there");
        assert!(record.version > before, "a loaded record is newer than every write before");
        assert_eq!(record.value, value);
        run.highest = run.highest.max(record.version);
        run.records.insert(key, (value, record.version));
    }
}

fn apply(run: &mut Run, engine: &Engine) {
    let mut expected = Vec::new();
    let mut entries = Vec::new();
    // The model goes along entry by entry: conditions see what the entries before them changed.
    for _ in 0..run.random.random_range(0..4_u32) {
        let version = run.highest + run.random.random_range(1..5_u64);
        let (conditions, mutations) = (run.conditions(), run.batch().mutations().to_vec());
        expected.push(run.failing(&conditions).unwrap_or(WriteOutcome::Written(version)));
        if run.failing(&conditions).is_none() {
            run.change(&mutations, version);
        }
        run.highest = version;
        entries.push(ApplyEntry { version, conditions, mutations });
    }
    let applied = run.highest.to_be_bytes().to_vec();
    let name = vec![run.random.random_range(0..3_u8)];
    let deleted = run.random.random_range(0..4) == 0;
    if deleted {
        run.caller.remove(&name);
    } else {
        run.caller.insert(name.clone(), applied.clone());
    }
    run.note(format!("apply {} entries, caller's record {name:?}", entries.len()));
    let meta = vec![(Bytes::from(name.clone()), (!deleted).then(|| Bytes::from(applied)))];
    let outcomes = engine.apply(&ApplyBatch { entries, meta }, Durability::Wal).unwrap();
    assert_eq!(outcomes, expected);
    assert_eq!(engine.caller_meta(&name).unwrap(), run.caller.get(&name).cloned());
}

fn install(run: &mut Run, engine: &Engine) {
    let Some((folder, range, records)) = run.exports.pop() else {
        return;
    };
    run.note(format!("install {range:?}"));
    let lease = engine.lease_range(&range).unwrap();
    let record =
        (Bytes::from_static(b"installed"), Some(Bytes::copy_from_slice(&folder.display().to_string().into_bytes())));
    engine.install(&lease, &folder, std::slice::from_ref(&record)).unwrap();
    run.caller.insert(record.0.to_vec(), record.1.unwrap().to_vec());
    run.records.retain(|key, _| !range.contains(key));
    run.records.extend(records);
    std::fs::remove_dir_all(folder).unwrap();
}

fn every_operation_leaves_what_a_map_in_memory_has(tiers: usize) {
    let (seed, random) = seed(&format!("{tiers} tiers"));
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run {
        random,
        records: Records::new(),
        caller: BTreeMap::new(),
        highest: 0,
        exports: Vec::new(),
        folder: folder.path().to_owned(),
        folders: 0,
        tiers,
        done: VecDeque::new(),
        values: 0,
        restless: false,
    };
    let store = folder.path().join("store");
    for session in 0..SESSIONS {
        let mut options = options(&store, tiers);
        options.heat_sampling = 1;
        if tiers > 1 {
            options.policy = quick_policy(tiers);
        }
        // Every other session moves by itself, and caches next to nothing.
        run.restless = session % 2 == 1;
        options.background_moves = run.restless;
        if session % 3 == 2 {
            options.row_cache_bytes = Some(16 << 10);
        }
        let engine = Engine::open(options, Environment::system(seed ^ session as u64)).unwrap();
        run.note(format!("opened, session {session}"));
        run.check(&engine);
        let mut snapshots = Vec::new();
        for _ in 0..STEPS {
            step(&mut run, &engine, &mut snapshots);
        }
        run.check(&engine);
        drop(snapshots);
        if run.random.random_range(0..2) == 0 {
            engine.close().unwrap();
        }
    }
}

#[test]
fn one_tier_holds_what_a_map_in_memory_has() {
    every_operation_leaves_what_a_map_in_memory_has(1);
}

#[test]
fn two_tiers_hold_what_a_map_in_memory_has() {
    every_operation_leaves_what_a_map_in_memory_has(2);
}

#[test]
fn three_tiers_hold_what_a_map_in_memory_has() {
    every_operation_leaves_what_a_map_in_memory_has(3);
}

#[test]
fn four_tiers_hold_what_a_map_in_memory_has() {
    every_operation_leaves_what_a_map_in_memory_has(4);
}
