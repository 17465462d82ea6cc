//! A killed process: everything acknowledged as `Wal` or `Sync` is there, whole, in order, and nothing comes back.
//!
//! `CRASH_CYCLES` sets the number of cycles (100), `CRASH_SEED` the seed that a failure names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thermocline_engine::{CrashPoint, Engine, Environment, KeyRange};
use thermocline_tests::crash::check::{Ending, Model};
use thermocline_tests::crash::process::{Scenario, Task};
use thermocline_tests::crash::store;
use thermocline_tests::crash::zone::Zone;

const PROGRAM: &str = env!("CARGO_BIN_EXE_engine-crash-writer");
/// Cycles on one store before the next one is made: old crashes must not make new ones harmless.
const CYCLES_PER_STORE: u64 = 25;
/// Far more than any crash point takes.
const LIMIT: Duration = Duration::from_secs(60);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Opens the store as a restarted node does and checks what it holds.
fn check(base: &Path, task: &Task, model: &mut Model, zone: &mut Zone) -> Vec<String> {
    let open = || Engine::open(store::options(base), Environment::system(task.seed)).unwrap();
    let left = task.left().unwrap();
    let engine = open();
    let mut violations = model.check(&left.histories, Ending::Killed, &engine).unwrap();
    violations.extend(zone.check(&left.phases, &engine).unwrap());
    violations.extend(engine.audit(&KeyRange::all()).unwrap().violations);
    let hash = engine.logical_hash(&KeyRange::all()).unwrap();
    engine.close().unwrap();
    let reopened = open();
    assert_eq!(reopened.logical_hash(&KeyRange::all()).unwrap(), hash, "another opening changed what the store holds");
    reopened.close().unwrap();
    violations
}

#[test]
fn a_killed_process_leaves_everything_that_was_acknowledged_as_logged() {
    let cycles = number("CRASH_CYCLES", 100);
    let seed = number("CRASH_SEED", 20_261_121);
    println!("{cycles} cycles, seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut steps, mut promised) = (0, 0);
    for first in (0..cycles).step_by(CYCLES_PER_STORE as usize) {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path().join("store");
        let (mut model, mut zone) = (Model::default(), Zone::default());
        for cycle in first..cycles.min(first + CYCLES_PER_STORE) {
            let notes = scratch.path().join(format!("notes-{cycle}"));
            fs::create_dir(&notes).unwrap();
            let point = CrashPoint::ALL[(cycle / 2) as usize % CrashPoint::ALL.len()];
            let crash_at = (cycle % 2 == 0).then(|| (format!("{point:?}"), random.random_range(1..5)));
            let task = Task {
                store: base.clone(),
                notes,
                scenario: Scenario::Everything,
                seed: random.random(),
                first_sequence: model.next_sequence(),
                first_generation: zone.next_generation,
                crash_at,
                skip_syncs: false,
            };
            let running = task.start(PROGRAM, |_| Ok(())).unwrap();
            let ended = match &task.crash_at {
                Some(_) => running.crash_within(LIMIT),
                None => running.kill_after(Duration::from_millis(random.random_range(0..400))),
            };
            ended.unwrap_or_else(|error| panic!("cycle {cycle} of seed {seed}, {task:?}: {error:#}"));
            let violations = check(&base, &task, &mut model, &mut zone);
            assert!(violations.is_empty(), "cycle {cycle} of seed {seed}, {task:?}:\n{}", violations.join("\n"));
            let left = task.left().unwrap();
            steps += left.histories.iter().map(Vec::len).sum::<usize>();
            promised += left.histories.iter().flatten().filter(|step| step.version.is_some()).count();
        }
    }
    println!("{steps} steps, {promised} of them acknowledged");
    // Without load nothing was shown.
    assert!(promised as u64 > cycles, "only {promised} writes were acknowledged in {cycles} cycles");
}
