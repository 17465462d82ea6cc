//! A move that waits for its budget ends when it is told to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(clippy::disallowed_methods)] // threads race in real time

mod support;

use std::sync::mpsc;
use std::time::Duration;

use rand::RngExt;
use support::{audit, open, options, put, value};
use thermocline_engine::*;

/// Far more than it takes to end, and far less than the wait that is ended.
const LIMIT: Duration = Duration::from_secs(20);
const KEYS: u32 = 400;

fn key(i: u32) -> Vec<u8> {
    format!("key{i:05}").into_bytes()
}

/// Bytes that compression leaves as many as they are.
fn fill(engine: &Engine) {
    let (_, mut random) = support::seed("waits");
    for i in 0..KEYS {
        let mut value = vec![0; 50_000];
        random.fill(&mut value[..]);
        put(engine, &key(i), &value);
    }
}

/// How a move is ended.
type End = fn(&Engine, &Cancel);

/// A move of more than one chunk at a byte a second: its second chunk waits for months.
fn slow_move(engine: &Engine, cancel: &Cancel, under_way: &mpsc::Sender<()>) -> Result<Moved> {
    engine.move_range(&MoveRequest {
        range: KeyRange::all(),
        to: "cold".to_owned(),
        bytes_per_second: Some(1),
        cancel,
        progress: &|_| under_way.send(()).unwrap_or_default(),
    })
}

#[test]
fn a_move_that_waits_for_its_budget_ends_when_it_is_cancelled_or_its_range_is_taken() {
    let ends: [(&str, End); 2] = [
        ("cancelled", |_, cancel| cancel.cancel()),
        ("taken", |engine, _| drop(engine.lease_range(&KeyRange::all()).unwrap())),
    ];
    for (name, end) in ends {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), 2);
        fill(&engine);
        let (cancel, (under_way, reached)) = (std::sync::Arc::new(Cancel::default()), mpsc::channel());
        let (ended, answer) = mpsc::channel();
        let (mover, token) = (engine.clone(), std::sync::Arc::clone(&cancel));
        // Not joined: without an end it waits for months.
        std::thread::spawn(move || drop(ended.send(slow_move(&mover, &token, &under_way))));
        reached.recv_timeout(support::PATIENCE).unwrap();
        // Time to begin waiting; where it does not suffice the test shows less but does not fail.
        support::nap(Duration::from_millis(500));
        end(&engine, &cancel);
        let moved = answer.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("the move does not end when it is {name}"));
        match name {
            "cancelled" => assert!(matches!(moved, Err(EngineError::Cancelled)), "{moved:?}"),
            _ => assert!(matches!(moved, Err(EngineError::LeaseLost { .. })), "{moved:?}"),
        }
        for i in 0..KEYS {
            assert!(value(&engine, &key(i)).is_some());
        }
        audit(&engine);
    }
}

#[test]
fn a_slow_move_does_not_hold_up_the_ones_beside_and_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), 2);
    options.policy.bytes_per_second = Some(1 << 30);
    let engine = Engine::open(options, Environment::system(7)).unwrap();
    fill(&engine);
    let (cancel, (under_way, reached)) = (std::sync::Arc::new(Cancel::default()), mpsc::channel());
    let (mover, token) = (engine.clone(), std::sync::Arc::clone(&cancel));
    let slow = KeyRange::new(key(0), key(KEYS - 2)).unwrap();
    std::thread::spawn(move || {
        mover.move_range(&MoveRequest {
            range: slow,
            to: "cold".to_owned(),
            bytes_per_second: Some(1),
            cancel: &token,
            progress: &|_| under_way.send(()).unwrap_or_default(),
        })
    });
    reached.recv_timeout(support::PATIENCE).unwrap();
    // Both by the policy's rate.
    for (number, when) in [(KEYS - 2, "beside"), (KEYS - 1, "after")] {
        let (ended, answer) = mpsc::channel();
        let (mover, range) = (engine.clone(), KeyRange::single(&key(number)));
        std::thread::spawn(move || drop(ended.send(support::try_move(&mover, &range, "cold"))));
        let moved = answer.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("the move {when} the slow one does not end"));
        assert_eq!(moved.unwrap().records, 1);
        cancel.cancel();
    }
}

#[test]
fn a_move_with_a_rate_of_its_own_does_not_pay_for_what_moved_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), 2);
    options.policy.bytes_per_second = Some(1 << 30);
    let engine = Engine::open(options, Environment::system(7)).unwrap();
    fill(&engine);
    let before = KeyRange::new(key(0), key(KEYS - 1)).unwrap();
    support::move_to(&engine, &before, "cold");
    let (ended, answer) = mpsc::channel();
    std::thread::spawn(move || {
        let moved = engine.move_range(&MoveRequest {
            range: KeyRange::single(&key(KEYS - 1)),
            to: "cold".to_owned(),
            bytes_per_second: Some(1),
            cancel: &Cancel::default(),
            progress: &|_| {},
        });
        drop(ended.send(moved));
    });
    assert_eq!(answer.recv_timeout(LIMIT).expect("the move does not end").unwrap().records, 1);
}

#[test]
fn a_store_whose_mover_waits_for_its_budget_closes() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), 2);
    options.background_moves = true;
    options.tiers[0].settings.size_bytes = 4 << 20;
    options.policy.bytes_per_second = Some(1);
    let engine = Engine::open(options, Environment::system(7)).unwrap();
    fill(&engine);
    support::eventually("the mover has moved a part", || engine.stats().moves_running > 0);
    support::nap(Duration::from_millis(500));
    let (closed, answer) = mpsc::channel();
    std::thread::spawn(move || drop(closed.send(engine.close())));
    answer.recv_timeout(LIMIT).expect("the store does not close").unwrap();
}

#[test]
fn a_range_operation_does_not_wait_for_the_compaction_after_a_move() {
    let (folder, pauses) = (tempfile::tempdir().unwrap(), support::pause::Pauses::default());
    let engine = support::open_with(folder.path(), 2, pauses.environment());
    // So many deletes are compacted at once.
    for i in 0..10_000 {
        put(&engine, &key(i), b"v");
    }
    pauses.arm(CrashPoint::DeletesDue);
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| support::move_all(&engine, "cold"));
        pauses.wait(CrashPoint::DeletesDue);
        let lease = engine.lease_range(&KeyRange::all());
        pauses.release(CrashPoint::DeletesDue);
        assert!(lease.is_ok(), "{lease:?}");
        assert_eq!(mover.join().unwrap().records, 10_000);
    });
    audit(&engine);
}
