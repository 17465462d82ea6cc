//! A power loss after a checkpoint was told to be whole: it opens and holds everything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

use thermocline_engine::{Cancel, Durability, Engine, EngineOptions, Environment, KeyRange, MoveRequest, chain};
use thermocline_power_loss::{Options, PowerLoss};
use thermocline_tests::crash::history::value_of;
use thermocline_tests::crash::store;

/// Tells the process that makes the checkpoint where to.
const BASE: &str = "THERMOCLINE_TEST_CHECKPOINT";
const KEYS: usize = 300;
const LENGTH: usize = 2000;

fn key(tier: &str, index: usize) -> String {
    format!("{tier}/{index:04}")
}

/// The options of the checkpoint in a folder.
fn copied(folder: &Path) -> EngineOptions {
    let mut options = store::options(&folder.join("tiers"));
    options.root = Some(folder.join("root"));
    options
}

/// Makes a store with data in every tier and a checkpoint of it, then ends as a killed process does.
fn checkpoint_and_die(base: &Path) -> ! {
    let engine = Engine::open(store::options(&base.join("store")), Environment::system(1)).unwrap();
    for tier in store::TIERS {
        for index in 0..KEYS {
            let key = key(tier, index);
            engine.put(key.as_bytes(), &value_of(&key, 1, LENGTH), Durability::Wal).unwrap();
        }
        let range = KeyRange::prefix(tier.as_bytes());
        let (cancel, progress) = (&Cancel::default(), &|_| {});
        let to = tier.to_owned();
        engine.move_range(&MoveRequest { range, to, bytes_per_second: None, cancel, progress }).unwrap();
    }
    engine.checkpoint(&base.join("copy")).unwrap();
    std::process::abort();
}

#[test]
fn a_checkpoint_that_was_told_to_be_whole_survives_a_power_loss() {
    let name = "a_checkpoint_that_was_told_to_be_whole_survives_a_power_loss";
    if let Some(base) = std::env::var_os(BASE) {
        checkpoint_and_die(Path::new(&base));
    }
    let scratch = tempfile::tempdir().unwrap();
    let base = scratch.path().join("base");
    let roots = [base.clone()];
    let power = PowerLoss::new(&scratch.path().join("log"), &roots, &[scratch.path().join("graveyard")]).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(BASE, &base);
    let output = power.command(&mut command).unwrap().output().unwrap();
    assert!(!output.status.success(), "the process did not die");
    // As on file systems where a synced file keeps the name it was made or linked under alone if its folder was synced.
    let report = power.lose_power(Options::default()).unwrap();
    assert_eq!(report.unrecorded, Vec::<PathBuf>::new(), "files were made past the recording");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let engine = Engine::open(copied(&base.join("copy")), Environment::system(2))
        .unwrap_or_else(|error| panic!("the checkpoint does not open: {}\n{told}", chain(&error)));
    for tier in store::TIERS {
        for index in 0..KEYS {
            let key = key(tier, index);
            let found = engine.get(key.as_bytes()).unwrap().unwrap_or_else(|| panic!("{key} is lost"));
            assert_eq!(found.value, value_of(&key, 1, LENGTH), "{key}");
        }
    }
}
