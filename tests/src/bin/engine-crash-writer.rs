//! A process that loads a store until it is killed. Every promise of the engine is noted before the next step.
//!
//! Takes its [`Task`] as one argument. Ends by itself only with an error (exit code 1) or by aborting at a crash point.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thermocline_engine::{
    Batch, Cancel, Condition, Durability, Engine, EngineError, Environment, KeyRange, MoveRequest, Moved, WriteOutcome,
};
use thermocline_tests::crash::history::{Change, HistoryWriter, Step, value_of};
use thermocline_tests::crash::process::{RUNNING, Scenario, Task, WRITERS, history_path, phases_path};
use thermocline_tests::crash::store;
use thermocline_tests::crash::zone::{self, Phase, PhaseWriter};

/// Keys of each writer.
const KEYS: usize = 160;

fn main() -> Result<()> {
    let task: Task = serde_json::from_str(&std::env::args().nth(1).context("the task is the one argument")?)?;
    let mut environment = Environment::system(task.seed);
    if let Some((point, pass)) = task.crash_at.clone() {
        let passes = AtomicU32::new(0);
        environment.crash_hook = Some(Arc::new(move |reached| {
            if format!("{reached:?}") == point && passes.fetch_add(1, Ordering::SeqCst) + 1 == pass {
                std::process::abort();
            }
            Ok(())
        }));
    }
    let mut options = store::options(&task.store);
    options.background_moves = task.scenario == Scenario::Everything;
    let engine = Engine::open(options, environment).map_err(|e| anyhow::anyhow!(thermocline_engine::chain(&e)))?;
    let writers = (0..WRITERS).map(|number| Writer::new(&task, number)).collect::<Result<Vec<_>>>()?;
    let phases = PhaseWriter::create(&phases_path(&task.notes))?;
    // A crash point may be reached at once: what is left is complete before the first step.
    println!("{RUNNING}");
    if task.scenario == Scenario::UnsyncedMove {
        return unsynced_move(&engine, writers);
    }
    std::thread::scope(|scope| {
        let mut threads: Vec<_> = writers
            .into_iter()
            .map(|mut writer| {
                let engine = &engine;
                scope.spawn(move || writer.run(engine))
            })
            .collect();
        if task.scenario == Scenario::Everything {
            threads.push(scope.spawn(|| moves(&engine, task.seed ^ 1)));
            threads.push(scope.spawn(|| zone_cycle(&engine, &task, phases)));
        }
        // Nobody returns but with an error; the others must not keep the process alive then.
        loop {
            for thread in &threads {
                if thread.is_finished() {
                    std::thread::sleep(Duration::from_millis(10));
                    for thread in threads.extract_if(.., |thread| thread.is_finished()) {
                        if let Ok(Err(error)) = thread.join() {
                            eprintln!("{error:#}");
                        }
                    }
                    std::process::exit(1);
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    })
}

/// One writer: the only one that writes its keys, so it knows what each must hold.
struct Writer {
    number: usize,
    random: ChaCha8Rng,
    history: HistoryWriter,
    sequence: u64,
    skip_syncs: bool,
    /// Per key: version, sequence and length of the value it was given in this process; a length of `None`: deleted.
    known: Vec<Option<(u64, u64, Option<usize>)>>,
}

impl Writer {
    fn new(task: &Task, number: usize) -> Result<Self> {
        Ok(Self {
            number,
            random: ChaCha8Rng::seed_from_u64(task.seed.wrapping_mul(31).wrapping_add(number as u64)),
            history: HistoryWriter::create(&history_path(&task.notes, number))?,
            sequence: task.first_sequence,
            skip_syncs: task.skip_syncs,
            known: vec![None; KEYS],
        })
    }

    fn key(&self, index: usize) -> String {
        format!("w{}-{index:04}", self.number)
    }

    fn run(&mut self, engine: &Engine) -> Result<()> {
        loop {
            let durability = match self.random.random_range(0..20) {
                0..9 => Durability::Wal,
                9..12 => Durability::Sync,
                _ => Durability::Buffered,
            };
            let count = if self.random.random_ratio(1, 6) { self.random.random_range(2..7) } else { 1 };
            let mut indexes: Vec<usize> = (0..count).map(|_| self.random.random_range(0..KEYS)).collect();
            indexes.sort_unstable();
            indexes.dedup();
            let changes: Vec<(usize, Option<usize>)> = indexes
                .into_iter()
                .map(|index| (index, (!self.random.random_ratio(1, 5)).then(|| self.random.random_range(20..3000))))
                .collect();
            self.step(engine, durability, &changes)?;
            let looked_at = self.random.random_range(0..KEYS);
            self.look(engine, looked_at)?;
        }
    }

    fn step(&mut self, engine: &Engine, durability: Durability, changes: &[(usize, Option<usize>)]) -> Result<()> {
        let sequence = self.sequence;
        self.sequence += 1;
        let named = changes.iter().map(|(index, length)| Change { key: self.key(*index), length: *length }).collect();
        let step = Step { sequence, durability, changes: named, version: None };
        self.history.intend(&step)?;
        let done = if self.skip_syncs && durability == Durability::Sync { Durability::Wal } else { durability };
        let version = match &step.changes[..] {
            [Change { key, length: Some(length) }] if !self.random.random_ratio(1, 8) => {
                engine.put(key.as_bytes(), &value_of(key, sequence, *length), done)?
            }
            [Change { key, length: None }] => engine.delete(key.as_bytes(), done)?,
            changes => self.write_batch(engine, changes, sequence, done)?,
        };
        self.history.promised(sequence, version)?;
        for (index, length) in changes {
            self.known[*index] = Some((version, sequence, *length));
        }
        Ok(())
    }

    /// A batch, under the condition that the first key is what this writer made it.
    fn write_batch(&self, engine: &Engine, changes: &[Change], sequence: u64, durability: Durability) -> Result<u64> {
        let mut batch = Batch::default();
        for change in changes {
            match change.length {
                Some(length) => batch.put(change.key.clone(), value_of(&change.key, sequence, length))?,
                None => batch.delete(change.key.clone())?,
            };
        }
        let first = Bytes::from(changes[0].key.clone());
        let index = (0..KEYS).find(|index| self.key(*index).as_bytes() == first).context("a key of its own")?;
        let conditions: Vec<Condition> = match self.known[index] {
            None => Vec::new(),
            Some((_, _, None)) => vec![Condition::Absent(first)],
            Some((version, _, Some(_))) => vec![Condition::VersionEquals(first, version)],
        };
        match engine.write(&batch, &conditions, durability)? {
            WriteOutcome::Written(version) => Ok(version),
            outcome @ WriteOutcome::ConditionFailed { .. } => {
                bail!("a condition on an own key did not hold: {conditions:?}: {outcome:?}")
            }
        }
    }

    /// A key of its own is what it was made, whatever moves meanwhile.
    fn look(&self, engine: &Engine, index: usize) -> Result<()> {
        let Some((version, sequence, length)) = self.known[index] else {
            return Ok(());
        };
        let key = self.key(index);
        let found = engine.get(key.as_bytes())?;
        let expected = length.map(|length| (version, Bytes::from(value_of(&key, sequence, length))));
        let found = found.map(|record| (record.version, Bytes::from(record.value)));
        if found != expected {
            let version_of = |record: &Option<(u64, Bytes)>| record.as_ref().map(|(version, _)| *version);
            bail!("{key} reads as version {:?}, it is at {:?}", version_of(&found), version_of(&expected));
        }
        Ok(())
    }
}

/// Errors that a move may end with while ranges are leased, wiped and installed.
fn tolerable(result: Result<Moved, EngineError>) -> Result<()> {
    match result {
        Ok(_) | Err(EngineError::RangeHeld { .. } | EngineError::LeaseLost { .. }) => Ok(()),
        Err(error) => bail!("a move failed: {}", thermocline_engine::chain(&error)),
    }
}

fn move_range(engine: &Engine, range: KeyRange, to: &str) -> Result<()> {
    let cancel = Cancel::default();
    let request = MoveRequest { range, to: to.to_owned(), bytes_per_second: None, cancel: &cancel, progress: &|_| {} };
    tolerable(engine.move_range(&request))
}

fn moves(engine: &Engine, seed: u64) -> Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    loop {
        let any = |random: &mut ChaCha8Rng| {
            format!("w{}-{:04}", random.random_range(0..WRITERS), random.random_range(0..KEYS))
        };
        match random.random_range(0..8) {
            0 => tolerable(engine.empty_tier("cold", &Cancel::default()))?,
            1 => tolerable(engine.empty_tier("warm", &Cancel::default()))?,
            2 => tolerable(engine.reclassify())?,
            3 => {
                let to = store::TIERS[random.random_range(1..3)];
                move_range(engine, KeyRange::all(), to)?;
            }
            _ => {
                let (a, b) = (any(&mut random), any(&mut random));
                let to = store::TIERS[random.random_range(0..3)];
                if let Some(range) = KeyRange::new(a.clone().min(b.clone()), a.max(b)) {
                    move_range(engine, range, to)?;
                }
            }
        }
        std::thread::sleep(Duration::from_micros(random.random_range(0..3000)));
    }
}

fn zone_cycle(engine: &Engine, task: &Task, mut phases: PhaseWriter) -> Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(task.seed ^ 2);
    let range = zone::range();
    for generation in task.first_generation.. {
        phases.enter(&Phase::Wiping)?;
        engine.wipe(&engine.lease_range(&range)?)?;
        phases.enter(&Phase::Wiped)?;
        phases.enter(&Phase::Filling(generation))?;
        for number in 0..zone::RECORDS {
            let (key, value) = zone::record(generation, number);
            engine.put(key.as_bytes(), &value, Durability::Wal)?;
        }
        // Parts go down, so that an export has files of every tier.
        for (to, from, end) in [("warm", 80, 160), ("cold", 160, 240)] {
            let part = KeyRange::new(zone::record(0, from).0, zone::record(0, end).0).context("an ordered range")?;
            move_range(engine, part, to)?;
        }
        engine.sync()?;
        let hash = engine.logical_hash(&range)?.hash;
        phases.enter(&Phase::Filled(generation, hash))?;
        let folder = task.notes.join(format!("export-{generation}-{}", random.next_u32()));
        engine.export(&range, &folder)?;
        phases.enter(&Phase::Installing(generation, hash))?;
        let record = (Bytes::from_static(zone::META_KEY), Some(Bytes::from(generation.to_string())));
        engine.install(&engine.lease_range(&range)?, &folder, &[record])?;
        phases.enter(&Phase::Installed(generation, hash))?;
        remove(&folder)?;
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    std::fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))
}

/// The case that the sync before an ingest is for: the file that is ingested holds records whose log entries are not
/// synced yet, over older ones that are.
fn unsynced_move(engine: &Engine, mut writers: Vec<Writer>) -> Result<()> {
    let writer = writers.first_mut().context("one writer")?;
    for durability in [Durability::Sync, Durability::Wal] {
        let all: Vec<_> = (0..KEYS).map(|index| (index, Some(2900))).collect();
        writer.step(engine, durability, &all)?;
    }
    move_range(engine, KeyRange::all(), "warm")?;
    bail!("the move ended without a crash")
}
