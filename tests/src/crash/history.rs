//! What a writer intended and what it was promised.
//!
//! One file per writer, two lines per step: the intent before the engine is called, the promise before the next step.
//! A line is one `write` call, so a kill loses none that was written. Each key belongs to one writer, so its steps are
//! in order. Values follow from key and sequence, so the file need not hold them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use thermocline_engine::Durability;

/// One key that a step changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The length of its new value; `None`: it is deleted.
    pub length: Option<usize>,
}

/// One write: a put, a delete or a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Ascends over all runs on a store.
    pub sequence: u64,
    /// What was asked for.
    pub durability: Durability,
    /// What it changes, each key once.
    pub changes: Vec<Change>,
    /// The version it was acknowledged with; `None`: the crash came first.
    pub version: Option<u64>,
}

/// Writes a history.
#[derive(Debug)]
pub struct HistoryWriter(File);

impl HistoryWriter {
    /// A new history.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self(File::create(path).with_context(|| format!("create the history {}", path.display()))?))
    }

    /// Notes what is about to be asked of the engine.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn intend(&mut self, step: &Step) -> Result<()> {
        let letter = match step.durability {
            Durability::Sync => 's',
            Durability::Wal => 'w',
            Durability::Buffered => 'b',
        };
        let mut line = format!("intend {} {letter}", step.sequence);
        for change in &step.changes {
            match change.length {
                Some(length) => write!(line, " {}={length}", change.key)?,
                None => write!(line, " {}", change.key)?,
            }
        }
        line.push('\n');
        Ok(self.0.write_all(line.as_bytes())?)
    }

    /// Notes what the engine promised.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn promised(&mut self, sequence: u64, version: u64) -> Result<()> {
        Ok(self.0.write_all(format!("promised {sequence} {version}\n").as_bytes())?)
    }
}

/// Reads a history.
///
/// # Errors
/// When the file is not readable or not a history.
pub fn read(path: &Path) -> Result<Vec<Step>> {
    let text = fs::read_to_string(path).with_context(|| format!("read the history {}", path.display()))?;
    let mut steps: Vec<Step> = Vec::new();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let mut words = line.split_whitespace();
        let kind = words.next().context("a line without a word")?;
        let sequence = words.next().context("a line without a sequence")?.parse()?;
        let word = words.next().context("a line of two words")?;
        if kind == "promised" {
            let last = steps.last_mut().filter(|step| step.sequence == sequence).context("a promise without intent")?;
            last.version = Some(word.parse()?);
            continue;
        }
        let durability = match word {
            "s" => Durability::Sync,
            "w" => Durability::Wal,
            _ => Durability::Buffered,
        };
        let change = |word: &str| -> Result<Change> {
            Ok(match word.split_once('=') {
                Some((key, length)) => Change { key: key.to_owned(), length: Some(length.parse()?) },
                None => Change { key: word.to_owned(), length: None },
            })
        };
        let changes = words.map(change).collect::<Result<_>>()?;
        steps.push(Step { sequence, durability, changes, version: None });
    }
    Ok(steps)
}

/// The value that a step gives a key: no other step has it, and no compression makes it small.
#[must_use]
pub fn value_of(key: &str, sequence: u64, length: usize) -> Vec<u8> {
    let mut value = format!("{key}|{sequence}|").into_bytes();
    let seed = value
        .iter()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
    let mut state = seed | 1;
    while value.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.extend_from_slice(&state.to_le_bytes());
    }
    value.truncate(length.max(1));
    value
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let change = |key: &str, length| Change { key: key.to_owned(), length };
        let step = |sequence, durability, changes, version| Step { sequence, durability, changes, version };
        let steps = vec![
            step(1, Durability::Sync, vec![change("a", Some(7)), change("b", None)], Some(11)),
            step(2, Durability::Buffered, vec![change("a", None)], Some(12)),
            step(3, Durability::Wal, vec![change("a", Some(0))], None),
        ];
        let mut writer = HistoryWriter::create(&path).unwrap();
        for step in &steps {
            writer.intend(step).unwrap();
            if let Some(version) = step.version {
                writer.promised(step.sequence, version).unwrap();
            }
        }
        assert_eq!(read(&path).unwrap(), steps);
    }
}
