//! The events of a fleet: a file of one JSON object a line that never grows beyond its bound.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use super::layout::write_in_one_step;
use crate::event::Event;

/// Events that are kept when the file is cut; it is cut at twice as many.
const KEPT: usize = 1000;

/// Events that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} the events in {}", path.display())]
pub struct EventLogError {
    attempt: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The events of a fleet.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    lines: Option<usize>,
}

impl EventLog {
    /// The events in a file, which need not exist.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, lines: None }
    }

    fn failed(&self, attempt: &'static str) -> impl Fn(io::Error) -> EventLogError + use<> {
        let path = self.path.clone();
        move |source| EventLogError { attempt, path: path.clone(), source }
    }

    /// Every event, oldest first. A line that is torn or of a later version is left out.
    ///
    /// # Errors
    /// That the file cannot be read.
    pub fn read(&self) -> Result<Vec<Event>, EventLogError> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(self.failed("read")(source)),
        }
    }

    /// Adds one. The supervisor alone does.
    ///
    /// # Errors
    /// That the file cannot be written.
    pub fn add(&mut self, event: &Event) -> Result<(), EventLogError> {
        let failed = self.failed("write");
        let lines = match self.lines {
            Some(lines) => lines,
            None => self.read()?.len(),
        };
        let mut line = serde_json::to_vec(event).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(&line)).map_err(&failed)?;
        self.lines = Some(lines + 1);
        if lines + 1 >= 2 * KEPT {
            self.cut()?;
        }
        Ok(())
    }

    fn cut(&mut self) -> Result<(), EventLogError> {
        let failed = self.failed("cut");
        let text = fs::read_to_string(&self.path).map_err(&failed)?;
        let lines: Vec<&str> = text.lines().collect();
        let kept = &lines[lines.len().saturating_sub(KEPT)..];
        write_in_one_step(&self.path, format!("{}\n", kept.join("\n")).as_bytes()).map_err(&failed)?;
        self.lines = Some(kept.len());
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use thermocline_crds::Kind;

    #[test]
    fn the_file_is_bounded_and_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = EventLog::new(folder.path().join("events.jsonl"));
        assert_eq!(log.read().unwrap(), []);
        for number in 0..2 * KEPT + 5 {
            let message = number.to_string();
            log.add(&Event::normal(Timestamp::UNIX_EPOCH, Kind::StorageNode, "a", "Counted", message)).unwrap();
        }
        let events = log.read().unwrap();
        assert_eq!(events.len(), KEPT + 5);
        assert_eq!(events.last().unwrap().message, (2 * KEPT + 4).to_string());
    }
}
