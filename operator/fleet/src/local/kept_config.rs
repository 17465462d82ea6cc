//! The configuration of each node, kept in its folder: what it is run with next, and how it last served.
//!
//! The two differ while a changed configuration has not served yet. A node may refuse it, for a tier that holds data, say; then
//! the one that it served with must still be known, to run it so again and to judge what a pool may ask of its folder.
//!
//! Invariant: `node.before.yaml` without `ready.json` means that `node.yaml` has not served, and the other has.

use std::fs;
use std::io;
use std::path::Path;

use thermocline_node_config::NodeConfig;

use super::layout::write_in_one_step;
use crate::desired::run_of;
use crate::home::NodeRun;

/// What a node is run with.
pub(super) const CONFIG_FILE: &str = "node.yaml";
/// What the node writes once it serves.
pub(super) const READY_FILE: &str = "ready.json";
/// What it served with before, while [`CONFIG_FILE`] is another.
const BEFORE_FILE: &str = "node.before.yaml";

/// What the node of a folder last served with or, where it never has, was last to be run with; `None` for neither.
///
/// # Errors
/// That it cannot be read.
pub(super) fn read(folder: &Path) -> io::Result<Option<NodeConfig>> {
    let before = folder.join(BEFORE_FILE);
    let unproven = before.exists() && !folder.join(READY_FILE).exists();
    let path = if unproven { before } else { folder.join(CONFIG_FILE) };
    match fs::read_to_string(&path) {
        Ok(text) => {
            serde_yaml::from_str(&text).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes what a node is started with now. What it served with stays beside it until it serves with this.
///
/// # Errors
/// That a file cannot be written.
pub(super) fn start_with(folder: &Path, run: &NodeRun) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // One that cannot be read is nothing to go back to.
    let kept = read(folder).ok().flatten();
    let (before, ready) = (folder.join(BEFORE_FILE), folder.join(READY_FILE));
    match kept.filter(|kept| run_of(kept.clone()).fingerprint != run.fingerprint) {
        Some(other) => {
            write(&before, &other)?;
            gone(fs::remove_file(ready))?;
            write(&folder.join(CONFIG_FILE), &run.config)
        }
        None => {
            write(&folder.join(CONFIG_FILE), &run.config)?;
            gone(fs::remove_file(before))
        }
    }
}

/// Brings what the node is run with next up to date where that differs only in what a running node can change. The rest is
/// written when it is started with it: until then it runs, and holds data, as it did.
///
/// # Errors
/// That a file cannot be written.
pub(super) fn refresh(folder: &Path, run: &NodeRun) -> io::Result<()> {
    let kept = read(folder).ok().flatten();
    if kept.is_some_and(|kept| run_of(kept).fingerprint != run.fingerprint) {
        return Ok(());
    }
    start_with(folder, run)
}

fn write(path: &Path, config: &NodeConfig) -> io::Result<()> {
    write_in_one_step(path, serde_yaml::to_string(config).map_err(io::Error::other)?.as_bytes())
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "kept_config_test.rs"]
mod tests;
