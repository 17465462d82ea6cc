//! The zone: a range that one thread fills, exports, wipes and installs in turn, and what it may hold after a crash.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use thermocline_engine::{Engine, KeyRange};

use super::history::value_of;

/// The prefix of its keys.
pub const PREFIX: &str = "zone/";
/// How many records it is filled with.
pub const RECORDS: usize = 240;
/// The caller's record that an install writes along: the generation installed.
pub const META_KEY: &[u8] = b"zone";
/// The length of its values.
const LENGTH: usize = 1500;

/// The zone's range.
#[must_use]
pub fn range() -> KeyRange {
    KeyRange::prefix(PREFIX.as_bytes())
}

/// A record of a generation.
#[must_use]
pub fn record(generation: u64, number: usize) -> (String, Vec<u8>) {
    let key = format!("{PREFIX}{number:04}");
    let value = value_of(&key, generation, LENGTH);
    (key, value)
}

/// How far the zone's thread is. Hashes are logical hashes of the zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// The zone is being wiped.
    Wiping,
    /// It is wiped.
    Wiped,
    /// A generation is being written.
    Filling(u64),
    /// It is written and synced.
    Filled(u64, u128),
    /// An export of it is being installed over it.
    Installing(u64, u128),
    /// It is installed.
    Installed(u64, u128),
}

/// Notes phases, each in one `write` call.
#[derive(Debug)]
pub struct PhaseWriter(File);

impl PhaseWriter {
    /// A new file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self(File::create(path).with_context(|| format!("create {}", path.display()))?))
    }

    /// Notes a phase as begun.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn enter(&mut self, phase: &Phase) -> Result<()> {
        let line = match phase {
            Phase::Wiping => "wiping 0 0\n".to_owned(),
            Phase::Wiped => "wiped 0 0\n".to_owned(),
            Phase::Filling(generation) => format!("filling {generation} 0\n"),
            Phase::Filled(generation, hash) => format!("filled {generation} {hash}\n"),
            Phase::Installing(generation, hash) => format!("installing {generation} {hash}\n"),
            Phase::Installed(generation, hash) => format!("installed {generation} {hash}\n"),
        };
        Ok(self.0.write_all(line.as_bytes())?)
    }
}

/// Reads the phases.
///
/// # Errors
/// When the file is not readable.
pub fn read(path: &Path) -> Result<Vec<Phase>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [kind, generation, hash] = words[..] else {
                anyhow::bail!("the phase {line:?} has not three words");
            };
            let (generation, hash) = (generation.parse()?, hash.parse()?);
            Ok(match kind {
                "wiping" => Phase::Wiping,
                "wiped" => Phase::Wiped,
                "filling" => Phase::Filling(generation),
                "filled" => Phase::Filled(generation, hash),
                "installing" => Phase::Installing(generation, hash),
                _ => Phase::Installed(generation, hash),
            })
        })
        .collect()
}

/// What the zone held when the process began, and the next generation.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    hash: Option<u128>,
    /// The generation that the next process fills first.
    pub next_generation: u64,
}

impl Zone {
    /// Checks the zone after a crash; what it holds is where the next process begins.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn check(&mut self, phases: &[Phase], engine: &Engine) -> Result<Vec<String>> {
        let now = engine.logical_hash(&range())?;
        let installed = engine.caller_meta(META_KEY)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let installed: Option<u64> = installed.map(|text| text.parse()).transpose()?;
        let (empty, hash) = (now.records == 0, now.hash);
        let before = phases.iter().rev().skip(1).find_map(|phase| match phase {
            Phase::Filled(_, hash) | Phase::Installed(_, hash) => Some(*hash),
            _ => None,
        });
        let before = before.or(self.hash);
        let fine = match phases.last() {
            None => before.is_none_or(|before| before == hash),
            // A wipe is journaled and finished, or has not begun.
            Some(Phase::Wiping) => empty || before.is_none_or(|before| before == hash),
            Some(Phase::Wiped) => empty,
            Some(Phase::Filling(generation)) => holds_only(engine, *generation)?,
            Some(Phase::Filled(_, filled)) => *filled == hash,
            // Whole or empty; the caller's record says installed only if it is whole.
            Some(Phase::Installing(generation, filled)) => {
                (*filled == hash) || (empty && installed != Some(*generation))
            }
            Some(Phase::Installed(generation, filled)) => *filled == hash && installed == Some(*generation),
        };
        let mut violations = Vec::new();
        if !fine {
            let phase = phases.last();
            violations
                .push(format!("the zone in {phase:?} holds {now:?} (before {before:?}), installed {installed:?}"));
        }
        for phase in phases {
            if let Phase::Filling(generation) = phase {
                self.next_generation = self.next_generation.max(generation + 1);
            }
        }
        self.hash = Some(hash);
        Ok(violations)
    }
}

fn holds_only(engine: &Engine, generation: u64) -> Result<bool> {
    for number in 0..RECORDS {
        let (key, value) = record(generation, number);
        if engine.get(key.as_bytes())?.is_some_and(|found| found.value != value) {
            return Ok(false);
        }
    }
    Ok(true)
}
