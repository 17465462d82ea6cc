//! The logs of nodes and of the supervisor: bounded while they are written, and read for what a process said last.
//!
//! Who writes a log has it open to append, so that it goes on at the begin of a file that was cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A log that has grown over this begins anew; what it held is kept as one older file.
const LARGEST: u64 = 16 << 20;
/// Of a log, what is read to say why its writer ended.
const TAIL: u64 = 4096;
/// Begins the one error that a node prints before it ends.
const ERROR: &str = "thermocline-node: ";

/// The file that keeps what a log held before it was cut.
pub(super) fn older(log: &Path) -> PathBuf {
    log.with_extension("log.old")
}

/// Opens a log at its end.
pub(super) fn open(path: &Path) -> io::Result<File> {
    bound(path)?;
    OpenOptions::new().create(true).append(true).open(path)
}

/// Cuts a log that has grown too large, also while it is written. What is written in between may be lost.
pub(super) fn bound(path: &Path) -> io::Result<()> {
    bound_to(path, LARGEST)
}

fn bound_to(path: &Path, most: u64) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > most => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    // On a full device a bounded log is worth more than its past.
    if fs::copy(path, older(path)).is_err() {
        let _ = fs::remove_file(older(path));
    }
    OpenOptions::new().write(true).open(path)?.set_len(0)
}

/// What the writer of a log said last: a node's own error, else the last line.
#[must_use]
pub fn last_words(log: &Path) -> Option<String> {
    last_words_after(log, 0)
}

/// How long a log is.
pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// What was said last in a log after it was so long: a node's own error, whole, else the last line.
pub(super) fn last_words_after(path: &Path, after: u64) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    // A log that was cut meanwhile holds nothing older.
    let after = if after > length { 0 } else { after };
    file.seek(SeekFrom::Start(after.max(length.saturating_sub(TAIL)))).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let error = lines.iter().rposition(|line| line.starts_with(ERROR));
    // The lines of one error are set in; what is logged after it is not.
    let whole = error.map(|from| &lines[from..]).filter(|lines| lines[1..].iter().all(|line| line.starts_with(' ')));
    let said = whole.or_else(|| lines.last().map(std::slice::from_ref))?;
    let said = said.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    Some(said.strip_prefix(ERROR).map(ToOwned::to_owned).unwrap_or(said))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_is_cut_under_its_writer_who_goes_on_at_its_begin() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.log");
        bound_to(&path, 10).unwrap();
        let mut writer = open(&path).unwrap();
        for (line, left, kept) in [("first\n", "first\n", None), ("second\n", "", Some("first\nsecond\n"))] {
            writer.write_all(line.as_bytes()).unwrap();
            bound_to(&path, 10).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), left);
            assert_eq!(fs::read_to_string(older(&path)).ok().as_deref(), kept);
        }
        writer.write_all(b"third\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "third\n");
    }

    #[test]
    fn a_nodes_own_error_is_told_whole_and_one_of_an_earlier_run_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.log");
        let old = "thermocline-node: cannot listen\n";
        let new = "INFO begins\nthermocline-node: not allowed\n  tiers[0].size: too small\n  node: empty\n";
        fs::write(&path, format!("{old}{new}")).unwrap();
        let told = "not allowed tiers[0].size: too small node: empty";
        assert_eq!(last_words_after(&path, old.len() as u64).as_deref(), Some(told));
        fs::write(&path, format!("{old}INFO ready\nINFO serves\n\n")).unwrap();
        assert_eq!(last_words_after(&path, old.len() as u64).as_deref(), Some("INFO serves"));
        assert_eq!(last_words_after(&path, u64::MAX).as_deref(), Some("INFO serves"), "it was cut meanwhile");
        assert_eq!(last_words_after(&folder.path().join("missing"), 0), None);
    }
}
