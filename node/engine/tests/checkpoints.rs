//! Checkpoints beside writers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::sync::mpsc;
use std::time::Duration;

use support::pause::Pauses;
use support::{open_with, put, value};
use thermocline_engine::*;

#[test]
fn writers_go_on_while_a_checkpoint_copies_the_files_of_the_fastest_tier() {
    let (folder, pauses) = (tempfile::tempdir().unwrap(), Pauses::default());
    let engine = open_with(folder.path(), 1, pauses.environment());
    put(&engine, b"before", b"v");
    pauses.arm(CrashPoint::CheckpointCopying);
    let copy = folder.path().join("copy");
    std::thread::scope(|scope| {
        let checkpoint = scope.spawn(|| engine.checkpoint(&copy));
        pauses.wait(CrashPoint::CheckpointCopying);
        let (written, answer) = mpsc::channel();
        let engine = &engine;
        scope.spawn(move || written.send(engine.put(b"during", b"v", Durability::Wal)).unwrap());
        // Far more than it takes; a writer that is held up goes on when the copy has ended.
        let answer = answer.recv_timeout(Duration::from_secs(15));
        pauses.release(CrashPoint::CheckpointCopying);
        checkpoint.join().unwrap().unwrap();
        answer.expect("the writer waits for the copy").unwrap();
    });
    let mut options = support::options(&copy.join("tiers"), 1);
    options.root = Some(copy.join("root"));
    let copied = Engine::open(options, Environment::system(7)).unwrap();
    assert_eq!(value(&copied, b"before").unwrap(), b"v");
    assert_eq!(value(&copied, b"during"), None, "the copy is of the moment before");
}
