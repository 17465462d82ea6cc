//! The promises of a process that ended against the store it left.

use std::collections::BTreeMap;

use anyhow::Result;
use thermocline_engine::{Durability, Engine, RecordKind};

use super::history::{Step, value_of};

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was killed: `Wal` and `Sync` were promised to survive.
    Killed,
    /// Its machine lost power: `Sync` was. There is one log, so what was logged before a synced write is synced with it.
    PowerLost,
}

/// The state of a key after one of its steps.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    sequence: u64,
    /// `None`: there is no record.
    length: Option<usize>,
    /// `None`: not known, the promise was never given.
    version: Option<u64>,
}

/// What the store held when the last process began: its keys and the steps that made them.
#[derive(Debug, Default)]
pub struct Model {
    keys: BTreeMap<String, State>,
    last_sequence: u64,
}

impl Model {
    /// The sequence that the next process begins with.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.last_sequence + 1
    }

    /// Checks every key against the histories of the process that ended. Returns what was broken; what the store holds
    /// is where the next process begins.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn check(&mut self, histories: &[Vec<Step>], ending: Ending, engine: &Engine) -> Result<Vec<String>> {
        let mut violations = Vec::new();
        let mut allowed: BTreeMap<&str, Vec<State>> = BTreeMap::new();
        for (key, state) in &self.keys {
            allowed.insert(key, vec![state.clone()]);
        }
        for history in histories {
            let synced = history.iter().filter(|s| s.version.is_some() && s.durability == Durability::Sync);
            let synced = synced.map(|s| s.sequence).max().unwrap_or(0);
            for step in history {
                let promised = match ending {
                    Ending::Killed => step.version.is_some() && step.durability != Durability::Buffered,
                    Ending::PowerLost => step.sequence <= synced && step.durability != Durability::Buffered,
                };
                for change in &step.changes {
                    let nothing = State { sequence: 0, length: None, version: None };
                    let states = allowed.entry(&change.key).or_insert_with(|| vec![nothing]);
                    if promised {
                        states.clear();
                    }
                    states.push(State { sequence: step.sequence, length: change.length, version: step.version });
                }
                self.last_sequence = self.last_sequence.max(step.sequence);
            }
        }
        // The sequence that each key is at, where only one state fits.
        let mut at: BTreeMap<String, u64> = BTreeMap::new();
        let mut held = BTreeMap::new();
        for (key, states) in &allowed {
            let found = engine.get(key.as_bytes())?;
            let fits = |state: &&State| match (&found, state.length) {
                (None, None) => true,
                (Some(record), Some(length)) => {
                    state.version.is_none_or(|version| version == record.version)
                        && record.value == value_of(key, state.sequence, length)
                }
                _ => false,
            };
            let fitting: Vec<&State> = states.iter().filter(fits).collect();
            if let [only] = fitting[..] {
                at.insert((*key).to_owned(), only.sequence);
            }
            match fitting.last() {
                Some(state) => {
                    let version = found.map(|record| record.version).or(state.version);
                    held.insert((*key).to_owned(), State { version, ..(*state).clone() });
                }
                None => {
                    let start = found.as_ref().map(|r| String::from_utf8_lossy(&r.value[..r.value.len().min(24)]));
                    let version = found.as_ref().map(|r| r.version);
                    violations.push(format!("{key} holds {start:?} at version {version:?}, allowed are {states:?}"));
                }
            }
            violations.extend(broken_order(engine, key)?);
        }
        for step in histories.iter().flatten().filter(|step| step.changes.len() > 1) {
            let known: Vec<bool> =
                step.changes.iter().filter_map(|c| at.get(&c.key)).map(|now| *now >= step.sequence).collect();
            if known.iter().any(|applied| *applied) && known.iter().any(|applied| !applied) {
                violations.push(format!("the batch {} is there in part", step.sequence));
            }
        }
        self.keys = held;
        Ok(violations)
    }
}

/// I2 and I3 for one key: versions do not grow downwards, and a clean copy that is read has its source below.
fn broken_order(engine: &Engine, key: &str) -> Result<Option<String>> {
    let copies = engine.explain(key.as_bytes())?.copies;
    let ordered = copies.windows(2).all(|pair| pair[0].version >= pair[1].version);
    let sourced = copies.first().is_none_or(|first| {
        let source =
            |copy: &thermocline_engine::CopyReport| copy.version == first.version && copy.kind != RecordKind::Tombstone;
        first.kind != RecordKind::CleanCopy || copies[1..].iter().any(source)
    });
    Ok((!ordered || !sourced).then(|| format!("{key} has copies that break the order of the tiers: {copies:?}")))
}
