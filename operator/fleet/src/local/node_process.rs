//! The processes of nodes: recorded when they are started, and found without a record too.
//!
//! Between the start of a process and its record a supervisor may be killed. Such a node is known by its command line, which
//! names its configuration; who takes it up knows nothing else of it and starts it anew in time.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thermocline_node_config::Listen;

use super::kept_config::{CONFIG_FILE, READY_FILE};
use super::layout::Layout;
use super::process::{self, Started};

/// The process of a node, as it is kept for who takes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeProcess {
    /// The process.
    pub process: Started,
    /// What it was started with, see [`NodeRun::fingerprint`](crate::home::NodeRun::fingerprint).
    pub fingerprint: String,
    /// Times it was started again after it ended by itself.
    #[serde(default)]
    pub restarts: u32,
    /// Where it listens, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<Listen>,
}

impl NodeProcess {
    /// The nodes of a state folder whose processes run, those without a record too.
    #[must_use]
    pub fn alive(layout: &Layout) -> BTreeMap<String, Self> {
        let entries = fs::read_dir(layout.runs()).into_iter().flatten().flatten();
        let records = entries.filter_map(|entry| {
            let path = entry.path();
            let name = path.file_stem()?.to_str()?.to_owned();
            let record: Self = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            (!name.starts_with('.') && process::is_alive(&record.process)).then_some((name, record))
        });
        let mut alive: BTreeMap<String, Self> = records.collect();
        for (name, process) in unrecorded(layout) {
            // No fingerprint is that of a configuration: what it runs with is not known.
            alive.entry(name).or_insert(Self { process, fingerprint: String::new(), restarts: 0, listen: None });
        }
        alive
    }

    /// The arguments that a node is started with; it is known by them where its record is missing.
    pub(super) fn arguments(layout: &Layout, name: &str) -> [OsString; 4] {
        let folder = layout.node(name);
        ["--config".into(), folder.join(CONFIG_FILE).into(), "--ready-file".into(), folder.join(READY_FILE).into()]
    }
}

/// The processes that were started as nodes of this folder.
fn unrecorded(layout: &Layout) -> Vec<(String, Started)> {
    let Ok(nodes) = layout.nodes().canonicalize() else {
        return Vec::new();
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| {
        let command = fs::read(format!("/proc/{id}/cmdline")).ok()?;
        let name = node_of(&command, |folder| folder.canonicalize().is_ok_and(|folder| folder == nodes))?;
        Some((name, process::started(id).ok()?))
    })
    .collect()
}

/// The node that a command line starts, if it is one of a fleet whose folder of nodes is `ours`.
fn node_of(command: &[u8], ours: impl Fn(&Path) -> bool) -> Option<String> {
    let mut words = command.split(|byte| *byte == 0).map(OsStr::from_bytes).skip(1);
    let [first, config, second, _ready] = [words.next()?, words.next()?, words.next()?, words.next()?];
    let config = Path::new(config);
    if first != "--config" || second != "--ready-file" || config.file_name()? != CONFIG_FILE {
        return None;
    }
    let folder = config.parent()?;
    ours(folder.parent()?).then(|| folder.file_name()?.to_str().map(ToOwned::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_the_command_line_that_it_is_started_with_and_by_no_other() {
        let layout = Layout::new("/state".into());
        let line = |program: &str, words: &[OsString]| {
            let mut line = program.as_bytes().to_vec();
            for word in words {
                line.push(0);
                line.extend(word.as_bytes());
            }
            line.push(0);
            line
        };
        let started = line("/bin/thermocline-node", &NodeProcess::arguments(&layout, "main-0"));
        let ours = |folder: &Path| folder == layout.nodes();
        assert_eq!(node_of(&started, ours).as_deref(), Some("main-0"));
        assert_eq!(node_of(&started, |_| false), None, "a node of another fleet");
        let checked = ["--config", "/state/nodes/main-0/node.yaml", "--check-config"].map(OsString::from);
        assert_eq!(
            node_of(&line("/bin/thermocline-node", &checked), ours),
            None,
            "somebody looks at its configuration"
        );
        assert_eq!(node_of(&line("vi", &["/state/nodes/main-0/node.yaml".into()]), ours), None);
        for others in [["--check", "--ready-file"], ["--config", "--log"]] {
            let words = [others[0], "/state/nodes/main-0/node.yaml", others[1], "ready.json"].map(OsString::from);
            assert_eq!(node_of(&line("another", &words), ours), None, "{others:?}");
        }
        assert_eq!(node_of(b"", ours), None, "a thread of the kernel");
    }
}
