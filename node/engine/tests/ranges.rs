//! Range operations (wipe, install, apply) against writers, moves, failures and each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use bytes::Bytes;
use rand::RngExt;
use support::pause::Pauses;
use support::{audit, move_all, move_to, open, open_with, put, seed, value};
use thermocline_engine::*;

const FEW: u32 = 100;
const LARGE: usize = 5_000;

fn key(i: u32) -> Vec<u8> {
    format!("key{i:05}").into_bytes()
}

/// The range that is wiped or installed: the first half.
fn half() -> KeyRange {
    KeyRange::new(key(0), key(FEW / 2)).unwrap()
}

fn fill(engine: &Engine, byte: u8) {
    for i in 0..FEW {
        put(engine, &key(i), &vec![byte; LARGE]);
    }
}

fn spread(engine: &Engine) {
    move_all(engine, "cold");
    move_to(engine, &KeyRange::new(key(10), key(70)).unwrap(), "warm");
    move_to(engine, &KeyRange::new(key(20), key(60)).unwrap(), "hot");
    for i in 30..40 {
        put(engine, &key(i), &vec![1; LARGE]);
    }
}

fn count(engine: &Engine, range: &KeyRange) -> u64 {
    engine.logical_hash(range).unwrap().records
}

fn applied(value: &'static [u8]) -> (Bytes, Option<Bytes>) {
    (Bytes::from_static(b"applied"), Some(Bytes::from_static(value)))
}

#[test]
fn a_wipe_removes_its_range_from_every_tier_and_the_row_cache_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, 1);
    spread(&engine);
    for i in 0..FEW {
        assert!(value(&engine, &key(i)).is_some());
    }
    let lease = engine.lease_range(&half()).unwrap();
    engine.wipe(&lease).unwrap();
    drop(lease);
    for i in 0..FEW {
        assert_eq!(value(&engine, &key(i)).is_some(), i >= FEW / 2, "key {i}");
        assert!(i >= FEW / 2 || engine.get_cached(&key(i)).is_none(), "key {i} is still cached");
    }
    assert_eq!(count(&engine, &KeyRange::all()), u64::from(FEW / 2));
    audit(&engine);
}

#[test]
fn writers_stay_out_of_a_range_while_it_is_wiped_or_installed() {
    let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
    let engine = open_with(folder.path(), 3, pauses.environment());
    fill(&engine, 1);
    let export = folder.path().join("export");
    engine.export(&half(), &export).unwrap();
    for point in
        [CrashPoint::WipeJournaled, CrashPoint::WipeHalfDone, CrashPoint::InstallJournaled, CrashPoint::InstallHalfDone]
    {
        pauses.arm(point);
        std::thread::scope(|scope| {
            let operation = scope.spawn(|| {
                let lease = engine.lease_range(&half()).unwrap();
                if matches!(point, CrashPoint::WipeJournaled | CrashPoint::WipeHalfDone) {
                    engine.wipe(&lease).unwrap();
                } else {
                    engine.install(&lease, &export, &[]).unwrap();
                }
            });
            pauses.wait(point);
            let fenced =
                |written: Result<u64>| assert!(matches!(written, Err(EngineError::RangeFenced { .. })), "{point:?}");
            for durability in [Durability::Wal, Durability::Buffered] {
                fenced(engine.put(&key(1), b"lost", durability));
                fenced(engine.delete(&key(1), durability));
            }
            let mut batch = Batch::default();
            batch.put(key(90), "not alone").unwrap().put(key(1), "lost").unwrap();
            assert!(engine.write(&batch, &[], Durability::Wal).is_err());
            put(&engine, &key(91), b"beside it");
            pauses.release(point);
            operation.join().unwrap();
        });
        assert_ne!(value(&engine, &key(1)), Some(b"lost".to_vec()), "{point:?}");
        assert_ne!(value(&engine, &key(90)), Some(b"not alone".to_vec()), "half of a batch was written");
        assert_eq!(value(&engine, &key(91)).unwrap(), b"beside it");
        put(&engine, &key(1), b"afterwards");
        assert_eq!(value(&engine, &key(1)).unwrap(), b"afterwards");
        audit(&engine);
    }
}

/// A filled store in which the wipe of a half failed at this point.
fn with_a_wipe_that_failed(point: CrashPoint) -> (tempfile::TempDir, Engine) {
    let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
    let engine = open_with(folder.path(), 3, pauses.environment());
    fill(&engine, 1);
    spread(&engine);
    pauses.fail(point);
    let lease = engine.lease_range(&half()).unwrap();
    assert!(engine.wipe(&lease).is_err());
    drop(lease);
    (folder, engine)
}

#[test]
fn a_wipe_that_failed_half_done_is_finished_when_the_store_opens() {
    for point in [CrashPoint::WipeJournaled, CrashPoint::WipeHalfDone] {
        let (folder, engine) = with_a_wipe_that_failed(point);
        drop(engine);
        let engine = open(folder.path(), 3);
        assert_eq!(count(&engine, &half()), 0, "{point:?}");
        assert_eq!(count(&engine, &KeyRange::all()), u64::from(FEW / 2));
        put(&engine, &key(1), b"afterwards");
        drop(engine);
        assert_eq!(value(&open(folder.path(), 3), &key(1)).unwrap(), b"afterwards");
    }
}

#[test]
fn writers_stay_out_of_a_range_whose_wipe_failed_until_it_was_wiped() {
    for point in [CrashPoint::WipeJournaled, CrashPoint::WipeHalfDone] {
        let (folder, engine) = with_a_wipe_that_failed(point);
        // Opening would empty the range: nothing may be acknowledged in it.
        for durability in [Durability::Wal, Durability::Buffered] {
            let refused = engine.put(&key(1), b"lost", durability);
            assert!(matches!(refused, Err(EngineError::RangeFenced { .. })), "{point:?}: {refused:?}");
        }
        // Nor judged by: what is left of the range is neither its old state nor its new one.
        let mut outside = Batch::default();
        outside.put("z", "by what is half gone").unwrap();
        for condition in [Condition::Absent(key(1).into()), Condition::Exists(key(1).into())] {
            let refused = engine.write(&outside, &[condition], Durability::Wal);
            assert!(matches!(refused, Err(EngineError::RangeFenced { .. })), "{point:?}: {refused:?}");
        }
        let lease = engine.lease_range(&half()).unwrap();
        engine.wipe(&lease).unwrap();
        drop(lease);
        put(&engine, &key(1), b"kept");
        let hash = engine.logical_hash(&KeyRange::all()).unwrap();
        drop(engine);
        assert_eq!(open(folder.path(), 3).logical_hash(&KeyRange::all()).unwrap(), hash, "{point:?}");
    }
}

#[test]
fn nothing_is_loaded_into_a_range_whose_wipe_failed() {
    let (folder, engine) = with_a_wipe_that_failed(CrashPoint::WipeJournaled);
    let load = || {
        let mut load = engine.bulk_load(BulkMode::Sorted).unwrap();
        load.put(key(1), "loaded").unwrap();
        load.finish()
    };
    // Opening would empty the range, and with it what was answered as durable.
    let refused = load();
    assert!(matches!(refused, Err(EngineError::RangeFenced { .. })), "{refused:?}");
    let lease = engine.lease_range(&half()).unwrap();
    engine.wipe(&lease).unwrap();
    drop(lease);
    assert_eq!(load().unwrap(), 1);
    drop(engine);
    assert_eq!(value(&open(folder.path(), 3), &key(1)).unwrap(), b"loaded");
}

#[test]
fn a_part_of_a_range_whose_wipe_failed_is_not_installed_alone() {
    let (folder, engine) = with_a_wipe_that_failed(CrashPoint::WipeJournaled);
    let part = KeyRange::new(key(5), key(15)).unwrap();
    let (of_part, of_more) = (folder.path().join("part"), folder.path().join("more"));
    engine.export(&part, &of_part).unwrap();
    let more = KeyRange::new(key(0), key(FEW / 2 + 1)).unwrap();
    let manifest = engine.export(&more, &of_more).unwrap();
    let install = |range, export, id| {
        let lease = engine.lease_range(range).unwrap();
        engine.install(&lease, export, &[applied(id)]).map(|manifest| manifest.logical_hash)
    };
    let refused = install(&part, &of_part, b"part");
    assert!(matches!(refused, Err(EngineError::RangeFenced { .. })), "{refused:?}");
    assert_eq!(engine.caller_meta(b"applied").unwrap(), None);
    // One that replaces all of it may.
    assert_eq!(install(&more, &of_more, b"more").unwrap(), manifest.logical_hash);
    drop(engine);
    let engine = open(folder.path(), 3);
    assert_eq!(engine.logical_hash(&more).unwrap(), manifest.logical_hash);
    assert_eq!(engine.caller_meta(b"applied").unwrap().unwrap(), b"more");
    audit(&engine);
}

#[test]
fn a_lease_of_another_store_gives_no_right() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (open(&folder.path().join("one"), 2), open(&folder.path().join("other"), 2));
    fill(&one, 1);
    let export = folder.path().join("export");
    one.export(&half(), &export).unwrap();
    let hash = one.logical_hash(&KeyRange::all()).unwrap();
    let lease = other.lease_range(&half()).unwrap();
    assert!(matches!(one.wipe(&lease), Err(EngineError::Invalid(_))));
    let installed = one.install(&lease, &export, &[applied(b"new")]);
    assert!(matches!(installed, Err(EngineError::Invalid(_))), "{installed:?}");
    assert_eq!(one.logical_hash(&KeyRange::all()).unwrap(), hash);
    assert_eq!(one.caller_meta(b"applied").unwrap(), None);
}

#[test]
fn an_install_that_failed_leaves_an_empty_range_and_the_callers_old_records() {
    for point in
        [CrashPoint::InstallJournaled, CrashPoint::WalSynced, CrashPoint::Ingested, CrashPoint::InstallHalfDone]
    {
        let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
        let engine = open_with(folder.path(), 3, pauses.environment());
        fill(&engine, 1);
        spread(&engine);
        let export = folder.path().join("export");
        engine.export(&half(), &export).unwrap();
        engine.apply(&ApplyBatch { entries: Vec::new(), meta: vec![applied(b"old")] }, Durability::Wal).unwrap();
        pauses.fail(point);
        let lease = engine.lease_range(&half()).unwrap();
        assert!(engine.install(&lease, &export, &[applied(b"new")]).is_err(), "{point:?}");
        drop(lease);
        drop(engine);
        let engine = open(folder.path(), 3);
        assert_eq!(count(&engine, &half()), 0, "{point:?}");
        assert_eq!(engine.caller_meta(b"applied").unwrap().unwrap(), b"old");
        audit(&engine);
    }
}

#[test]
fn what_is_written_after_a_failed_install_was_repeated_is_there_after_an_opening() {
    let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
    let engine = open_with(folder.path(), 3, pauses.environment());
    fill(&engine, 1);
    spread(&engine);
    let export = folder.path().join("export");
    let manifest = engine.export(&half(), &export).unwrap();
    pauses.fail(CrashPoint::InstallHalfDone);
    let lease = engine.lease_range(&half()).unwrap();
    assert!(engine.install(&lease, &export, &[]).is_err());
    drop(lease);
    // Opening would empty the range: nothing may be acknowledged in it.
    assert!(matches!(engine.put(&key(1), b"lost", Durability::Wal), Err(EngineError::RangeFenced { .. })));
    let lease = engine.lease_range(&half()).unwrap();
    engine.install(&lease, &export, &[]).unwrap();
    drop(lease);
    assert_eq!(engine.logical_hash(&half()).unwrap(), manifest.logical_hash);
    put(&engine, &key(1), b"kept");
    let hash = engine.logical_hash(&KeyRange::all()).unwrap();
    drop(engine);
    assert_eq!(open(folder.path(), 3).logical_hash(&KeyRange::all()).unwrap(), hash);
}

#[test]
fn an_install_replaces_what_was_there_also_in_the_row_cache() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, 1);
    let export = folder.path().join("export");
    let manifest = engine.export(&half(), &export).unwrap();
    fill(&engine, 2);
    spread(&engine);
    for i in 0..FEW {
        assert!(value(&engine, &key(i)).is_some());
    }
    let lease = engine.lease_range(&half()).unwrap();
    engine.install(&lease, &export, &[]).unwrap();
    drop(lease);
    for i in 0..FEW / 2 {
        assert!(value(&engine, &key(i)) == Some(vec![1; LARGE]), "key {i} is served from before the install");
    }
    assert_eq!(engine.logical_hash(&half()).unwrap(), manifest.logical_hash);
    audit(&engine);
}

#[test]
fn a_damaged_export_is_refused_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    fill(&engine, 1);
    let export = folder.path().join("export");
    let manifest = engine.export(&half(), &export).unwrap();
    let hash = engine.logical_hash(&KeyRange::all()).unwrap();
    let file = export.join(&manifest.files[0].name);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let lease = engine.lease_range(&half()).unwrap();
    let refused = engine.install(&lease, &export, &[applied(b"new")]);
    assert!(refused.unwrap_err().to_string().contains("damaged"));
    assert_eq!(engine.logical_hash(&KeyRange::all()).unwrap(), hash);
    assert_eq!(engine.caller_meta(b"applied").unwrap(), None);
}

#[test]
fn replicas_that_apply_the_same_entries_in_other_chunks_have_equal_hashes() {
    let (_, mut random) = seed("chunks");
    let mut entries = Vec::new();
    let mut version = 1000;
    for _ in 0..400 {
        version += random.random_range(1..4_u64);
        let mut key = || Bytes::from(format!("key{}", random.random_range(0..40_u32)));
        let conditions =
            vec![Condition::Exists(key()), Condition::Absent(key()), Condition::VersionEquals(key(), version - 2)];
        let mutations = vec![
            Mutation::Put { key: key(), value: Bytes::from(version.to_string()) },
            Mutation::Delete { key: key() },
            Mutation::Put { key: key(), value: Bytes::from_static(b"second") },
        ];
        let take = random.random_range(0..4_usize);
        let conditions =
            if take == 0 { conditions.into_iter().take(random.random_range(0..4)).collect() } else { Vec::new() };
        entries.push(ApplyEntry { version, conditions, mutations });
    }
    let mut results = Vec::new();
    for replica in 0..3_u32 {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), 3);
        let (mut outcomes, mut rest) = (Vec::new(), entries.as_slice());
        while !rest.is_empty() {
            let length = if replica == 0 { 1 } else { random.random_range(1..60_usize).min(rest.len()) };
            let (chunk, after) = rest.split_at(length);
            let meta = vec![(Bytes::from_static(b"applied"), Some(Bytes::from(chunk[length - 1].version.to_string())))];
            let batch = ApplyBatch { entries: chunk.to_vec(), meta };
            outcomes.extend(engine.apply(&batch, Durability::Wal).unwrap());
            rest = after;
            if random.random_range(0..6_u32) == 0 {
                move_all(&engine, ["warm", "cold", "hot"][random.random_range(0..3_usize)]);
            }
        }
        audit(&engine);
        assert_eq!(engine.caller_meta(b"applied").unwrap().unwrap(), version.to_string().into_bytes());
        results.push((engine.logical_hash(&KeyRange::all()).unwrap(), outcomes));
    }
    assert!(results[0].1.iter().any(|o| matches!(o, WriteOutcome::ConditionFailed { .. })), "no condition ever failed");
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
}

#[test]
fn entries_of_one_apply_see_the_entries_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    let entry =
        |version, condition, mutation| ApplyEntry { version, conditions: vec![condition], mutations: vec![mutation] };
    let (k, v) = (Bytes::from_static(b"k"), Bytes::from_static(b"v"));
    let entries = vec![
        entry(10, Condition::Absent(k.clone()), Mutation::Put { key: k.clone(), value: v.clone() }),
        entry(11, Condition::Absent(k.clone()), Mutation::Put { key: k.clone(), value: Bytes::new() }),
        entry(12, Condition::VersionEquals(k.clone(), 10), Mutation::Delete { key: k.clone() }),
        entry(13, Condition::Absent(k.clone()), Mutation::Put { key: k, value: v }),
    ];
    let outcomes = engine.apply(&ApplyBatch { entries, meta: Vec::new() }, Durability::Wal).unwrap();
    let failed = WriteOutcome::ConditionFailed { index: 0, actual: Some(10) };
    assert_eq!(outcomes, [WriteOutcome::Written(10), failed, WriteOutcome::Written(12), WriteOutcome::Written(13)]);
    assert_eq!(engine.get(b"k").unwrap().unwrap().version, 13);
    // What the caller gave is behind the counter too.
    assert!(put(&engine, b"k", b"") > 13);
}

#[test]
fn versions_that_do_not_ascend_are_refused_and_nothing_of_the_batch_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    let entry = |version, key: &'static str| ApplyEntry {
        version,
        conditions: Vec::new(),
        mutations: vec![Mutation::Put { key: key.into(), value: Bytes::new() }],
    };
    let batch = ApplyBatch { entries: vec![entry(5, "a"), entry(5, "b")], meta: vec![applied(b"x")] };
    assert!(engine.apply(&batch, Durability::Wal).is_err());
    assert_eq!((value(&engine, b"a"), engine.caller_meta(b"applied").unwrap()), (None, None));
}

#[test]
fn records_of_the_caller_may_hang_on_what_came_of_the_entries_and_are_found_by_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    let entry = |version, key: &'static str| ApplyEntry {
        version,
        conditions: vec![Condition::Absent(Bytes::from(key))],
        mutations: vec![Mutation::Put { key: key.into(), value: Bytes::new() }],
    };
    let outcomes = engine
        .apply_with(
            &[entry(10, "a"), entry(11, "a")],
            |outcomes| {
                let record = |(number, outcome): (usize, &WriteOutcome)| {
                    (Bytes::from(format!("s{number}")), Some(Bytes::from(format!("{outcome:?}"))))
                };
                outcomes
                    .iter()
                    .enumerate()
                    .map(record)
                    .chain([(Bytes::from_static(b"t"), Some(Bytes::new()))])
                    .collect()
            },
            Durability::Wal,
        )
        .unwrap();
    let expected: Vec<(Bytes, Bytes)> = outcomes
        .iter()
        .enumerate()
        .map(|(number, outcome)| (Bytes::from(format!("s{number}")), Bytes::from(format!("{outcome:?}"))))
        .collect();
    assert_eq!(engine.caller_records(b"s").unwrap(), expected);
    assert_eq!(engine.caller_records(b"").unwrap().len(), 3);
}

#[test]
fn an_export_of_a_snapshot_has_the_data_and_the_records_of_one_moment() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = open(one.path(), 2);
    put(&engine, b"a", b"before");
    engine.apply(&ApplyBatch { entries: Vec::new(), meta: vec![applied(b"before")] }, Durability::Wal).unwrap();
    let snapshot = engine.snapshot().unwrap();
    put(&engine, b"a", b"after");
    engine.apply(&ApplyBatch { entries: Vec::new(), meta: vec![applied(b"after")] }, Durability::Wal).unwrap();
    let exported = one.path().join("export");
    snapshot.export(&KeyRange::all(), &exported).unwrap();
    assert_eq!(
        snapshot.caller_records(b"").unwrap(),
        [(Bytes::from_static(b"applied"), Bytes::from_static(b"before"))]
    );
    let other = open(two.path(), 2);
    let lease = other.lease_range(&KeyRange::all()).unwrap();
    other.install(&lease, &exported, &[]).unwrap();
    assert_eq!(value(&other, b"a").unwrap(), b"before");
}
