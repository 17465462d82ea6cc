//! A lost power supply, emulated below the process: everything acknowledged as `Sync` is there, no slower tier is ahead
//! of a faster one, and the store works on.
//!
//! `POWER_LOSS_CYCLES` sets the number of cycles (36), `CRASH_SEED` the seed that a failure names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;
use thermocline_engine::{CrashPoint, Durability, Engine, Environment, KeyRange};
use thermocline_power_loss::{Options, PowerLoss, Survival};
use thermocline_tests::crash::check::{Ending, Model};
use thermocline_tests::crash::process::{Scenario, Task};
use thermocline_tests::crash::store;
use thermocline_tests::crash::zone::Zone;

const PROGRAM: &str = env!("CARGO_BIN_EXE_engine-crash-writer");
const CYCLES_PER_STORE: u64 = 12;
/// Far more than any crash point takes.
const LIMIT: Duration = Duration::from_secs(120);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// A store on devices that lose their power, and what is known of it.
struct Machine {
    scratch: TempDir,
    base: PathBuf,
    power: PowerLoss,
    model: Model,
    zone: Zone,
}

impl Machine {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path().join("store");
        let graveyard = scratch.path().join("graveyard");
        let power = PowerLoss::new(&scratch.path().join("log"), &store::devices(&base), &[graveyard]).unwrap();
        Self { scratch, base, power, model: Model::default(), zone: Zone::default() }
    }

    fn task(&self, scenario: Scenario, seed: u64, crash_at: Option<(CrashPoint, u32)>) -> Task {
        let notes = self.scratch.path().join(format!("notes-{seed}"));
        fs::create_dir(&notes).unwrap();
        Task {
            store: self.base.clone(),
            notes,
            scenario,
            seed,
            first_sequence: self.model.next_sequence(),
            first_generation: self.zone.next_generation,
            crash_at: crash_at.map(|(point, pass)| (format!("{point:?}"), pass)),
            skip_syncs: false,
        }
    }

    /// Runs the task until it crashes or is killed; then the power goes. What was promised and is not there is returned.
    fn run(&mut self, task: &Task, moment: Duration, survival: Survival) -> Vec<String> {
        let running = task.start(PROGRAM, |command| Ok(self.power.command(command).map(|_| ())?)).unwrap();
        let ended = match &task.crash_at {
            Some(_) => running.crash_within(LIMIT),
            None => running.kill_after(moment),
        };
        ended.unwrap_or_else(|error| panic!("{task:?}: {error:#}"));
        // RocksDB relies on the sync of an ingested file to keep the name it has just linked, which ext4, xfs and btrfs
        // do; the engine syncs the folder before anything is dropped above. In between, only their way is safe.
        let lenient_create = task.scenario == Scenario::Everything;
        let report = self.power.lose_power(Options { survival, lenient_create }).unwrap();
        assert_eq!(report.unrecorded, Vec::<PathBuf>::new(), "files were made past the recording");
        let engine = match Engine::open(store::options(&self.base), Environment::system(task.seed)) {
            Ok(engine) => engine,
            Err(error) => return vec![format!("the store does not open: {}", thermocline_engine::chain(&error))],
        };
        let left = task.left().unwrap();
        let mut violations = self.model.check(&left.histories, Ending::PowerLost, &engine).unwrap();
        violations.extend(self.zone.check(&left.phases, &engine).unwrap());
        violations.extend(engine.audit(&KeyRange::all()).unwrap().violations);
        works_on(&engine, task.seed);
        engine.close().unwrap();
        violations
    }
}

fn works_on(engine: &Engine, seed: u64) {
    let value = seed.to_be_bytes();
    let version = engine.put(b"after the loss", &value, Durability::Sync).unwrap();
    let found = engine.get(b"after the loss").unwrap().unwrap();
    assert_eq!((found.version, found.value.as_ref()), (version, &value[..]));
}

#[test]
fn a_power_loss_leaves_everything_that_was_acknowledged_as_synced() {
    let cycles = number("POWER_LOSS_CYCLES", 36);
    let seed = number("CRASH_SEED", 20_261_121);
    println!("{cycles} cycles, seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for first in (0..cycles).step_by(CYCLES_PER_STORE as usize) {
        let mut machine = Machine::new();
        for cycle in first..cycles.min(first + CYCLES_PER_STORE) {
            let points = CrashPoint::ALL.len() as u64;
            // Each point with nothing surviving, then each with a part of it, random moments in between.
            let point = CrashPoint::ALL[(cycle * 2 / 3 % points) as usize];
            let crash_at = (cycle % 3 != 2).then(|| (point, random.random_range(1..4)));
            let survival = if cycle * 2 / 3 < points { Survival::Nothing } else { Survival::Random(random.random()) };
            let task = machine.task(Scenario::Everything, random.random(), crash_at);
            let moment = Duration::from_millis(random.random_range(0..500));
            let violations = machine.run(&task, moment, survival);
            assert!(
                violations.is_empty(),
                "cycle {cycle} of seed {seed}, {survival:?}, {task:?}:\n{}",
                violations.join("\n")
            );
        }
    }
}

#[test]
fn a_power_loss_before_the_first_store_was_complete_leaves_a_folder_that_opens() {
    for (seed, survival) in [(1, Survival::Nothing), (2, Survival::Random(2)), (3, Survival::Random(3))] {
        let mut machine = Machine::new();
        let task = machine.task(Scenario::WritersOnly, seed, None);
        let violations = machine.run(&task, Duration::ZERO, survival);
        assert!(violations.is_empty(), "{survival:?}: {violations:?}");
    }
}

#[test]
fn a_power_loss_after_an_ingest_leaves_no_slower_tier_ahead_of_a_faster_one() {
    let mut machine = Machine::new();
    let task = machine.task(Scenario::UnsyncedMove, 1, Some((CrashPoint::Ingested, 1)));
    let violations = machine.run(&task, Duration::ZERO, Survival::Nothing);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// The check is worth nothing if it does not see a store that only claims to sync.
#[test]
fn a_store_that_does_not_sync_is_noticed() {
    let noticed = (0..5).any(|seed| {
        let mut machine = Machine::new();
        let mut task = machine.task(Scenario::WritersOnly, seed, None);
        task.skip_syncs = true;
        let violations = machine.run(&task, Duration::from_millis(300), Survival::Nothing);
        violations.iter().any(|violation| violation.contains("allowed are"))
    });
    assert!(noticed, "five power losses did not show that nothing was synced");
}

#[test]
fn folders_of_a_new_store_survive_the_loss_that_follows() {
    let mut machine = Machine::new();
    let task = machine.task(Scenario::WritersOnly, 1, None);
    machine.run(&task, Duration::from_millis(100), Survival::Nothing);
    let exists = |path: &Path| assert!(path.exists(), "{} is gone", path.display());
    for device in store::devices(&machine.base) {
        for name in ["tier.json", "data", "incoming"] {
            exists(&device.join(name));
        }
    }
    for name in ["store.json", "db", "wal"] {
        exists(&machine.base.join("hot/root").join(name));
    }
}
