//! The local home: runs nodes as processes and takes up those that an earlier supervisor left.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use rustix::process::Signal;
use thermocline_crds::{Kind, Object};
use thermocline_node_config::{MISUSED_EXIT, NodeConfig};

use super::endpoints::{self, EndpointsError};
use super::events::{EventLog, EventLogError};
use super::kept_config;
use super::layout::{HomeSettings, Layout, LayoutError, write_in_one_step};
use super::logs;
use super::node_process::NodeProcess;
use super::object_store::{ObjectStore, StoreError};
use super::process::{self, Started};
use crate::event::Event;
use crate::home::{Change, Ended, Home, NodeRun, Observed, Placement, Presence};
use crate::revision::Memory;

/// A node that has not drained by then is ended; more than the node's own grace period.
const DRAIN: Duration = Duration::from_secs(25);
/// A run that was longer than this counts as a good one: the pauses between restarts begin anew.
const GOOD_RUN: Duration = Duration::from_secs(60);
/// Nodes take their memory in huge pages where the system lets them ask (docs/profiles.md), unless the person says how.
const MALLOC: &str = "GLIBC_TUNABLES";
const HUGE_PAGES: &str = "glibc.malloc.hugetlb=1";

/// What the local home fails with.
#[derive(Debug, thiserror::Error)]
pub enum LocalHomeError {
    /// The objects.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state folder.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The events.
    #[error(transparent)]
    Events(#[from] EventLogError),
    /// The routing file.
    #[error(transparent)]
    Endpoints(#[from] EndpointsError),
    /// A file of a node.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program of the nodes does not start.
    #[error(
        "cannot start {}; build it with `cargo build -p thermocline-node`, put it beside thermoctl or name it with THERMOCLINE_NODE_BINARY",
        program.display()
    )]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A node that runs already is not run twice.
    #[error("the node {node} runs already")]
    Runs {
        /// The node.
        node: String,
    },
}

#[derive(Debug)]
enum State {
    Running { since: Instant },
    Stopping { since: Instant, killed: bool },
    Absent,
}

#[derive(Debug)]
struct Node {
    record: NodeProcess,
    /// Of a process that this supervisor started: it must be waited for.
    child: Option<Child>,
    state: State,
    in_a_row: u32,
    ended: Option<End>,
    /// How long its log was when it was started.
    log_before: u64,
}

/// How a run ended.
#[derive(Debug)]
struct End {
    at: Instant,
    asked: bool,
    refused: bool,
    reason: String,
}

/// The local home.
#[derive(Debug)]
pub struct LocalHome {
    layout: Layout,
    settings: HomeSettings,
    nodes_folder: PathBuf,
    program: PathBuf,
    store: ObjectStore,
    events: Mutex<EventLog>,
    nodes: Mutex<BTreeMap<String, Node>>,
}

impl LocalHome {
    /// Takes up a state folder: the objects in it and the processes that run. Only who holds the lock may.
    ///
    /// # Errors
    /// That the folder cannot be used.
    pub fn open(layout: Layout, program: PathBuf, clock: fn() -> Timestamp) -> Result<Self, LocalHomeError> {
        let settings = layout.create(HomeSettings::default())?;
        let now = Instant::now();
        let adopt = |(name, record): (String, NodeProcess)| {
            tracing::info!(node = name, "a node that runs is taken up");
            let log_before = logs::length(&layout.node_log(&name));
            let state = State::Running { since: now };
            (name, Node { record, child: None, state, in_a_row: 0, ended: None, log_before })
        };
        let nodes = NodeProcess::alive(&layout).into_iter().map(adopt).collect();
        Ok(Self {
            settings,
            nodes_folder: layout.nodes(),
            program,
            store: ObjectStore::new(layout.clone(), clock),
            events: Mutex::new(EventLog::new(layout.events())),
            nodes: Mutex::new(nodes),
            layout,
        })
    }

    /// Whether no node runs any more.
    #[must_use]
    pub fn is_still(&self) -> bool {
        let mut nodes = self.nodes.lock();
        nodes.iter_mut().for_each(|(name, node)| self.refresh(name, node));
        nodes.values().all(|node| matches!(node.state, State::Absent))
    }

    /// Begins to stop every node.
    ///
    /// # Errors
    /// That a process may not be signalled.
    pub fn stop_all(&self) -> Result<(), LocalHomeError> {
        let names: Vec<String> = self.nodes.lock().keys().cloned().collect();
        names.iter().try_for_each(|name| self.begin_stop(name))
    }

    fn begin_stop(&self, name: &str) -> Result<(), LocalHomeError> {
        let mut nodes = self.nodes.lock();
        let Some(node) = nodes.get_mut(name).filter(|node| matches!(node.state, State::Running { .. })) else {
            return Ok(());
        };
        self.signal(name, &node.record.process, Signal::TERM)?;
        node.state = State::Stopping { since: Instant::now(), killed: false };
        Ok(())
    }

    fn signal(&self, name: &str, to: &Started, signal: Signal) -> Result<(), LocalHomeError> {
        process::signal(to, signal).map(|_| ()).map_err(|source| LocalHomeError::Io {
            attempt: "signal the process of",
            path: self.layout.node(name),
            source,
        })
    }

    /// Sees whether a process has ended, and ends one that drains for too long.
    fn refresh(&self, name: &str, node: &mut Node) {
        let (since, asked) = match node.state {
            State::Absent => return,
            State::Running { since } => (since, false),
            State::Stopping { since, killed } => {
                if since.elapsed() > DRAIN && !killed {
                    tracing::warn!(node = name, "the node does not drain and is ended");
                    // It is tried once; a process that cannot be signalled is seen to go on.
                    let _ = self.signal(name, &node.record.process, Signal::KILL);
                    node.state = State::Stopping { since, killed: true };
                }
                (since, true)
            }
        };
        let (how, refused) = match &mut node.child {
            Some(child) => match child.try_wait() {
                Ok(Some(status)) => (described(status), status.code() == Some(MISUSED_EXIT.into())),
                Ok(None) => return,
                Err(error) => (format!("it cannot be waited for: {error}"), false),
            },
            None if process::is_alive(&node.record.process) => return,
            None => ("it ended".to_owned(), false),
        };
        let log = self.layout.node_log(name);
        let reason = match logs::last_words_after(&log, node.log_before) {
            _ if asked => how,
            Some(words) if refused => format!("{how}: {words} (log: {})", log.display()),
            Some(words) => format!("{how}; its last words: {words} (log: {})", log.display()),
            None => format!("{how} (log: {})", log.display()),
        };
        node.note_end(asked, refused && !asked, since.elapsed() >= GOOD_RUN, reason);
        node.child = None;
        node.state = State::Absent;
        let _ = std::fs::remove_file(self.record_file(name));
    }

    /// Keeps the logs of all nodes bounded.
    ///
    /// # Errors
    /// That a log cannot be cut.
    pub(super) fn bound_logs(&self) -> Result<(), LocalHomeError> {
        let logs = self.nodes.lock().keys().map(|name| self.layout.node_log(name)).collect::<Vec<_>>();
        let own = self.layout.supervisor_log();
        logs.iter().chain([&own]).try_for_each(|log| logs::bound(log).map_err(failed("cut", log)))
    }

    fn record_file(&self, name: &str) -> PathBuf {
        self.layout.runs().join(format!("{name}.json"))
    }

    fn start(&self, run: &NodeRun) -> Result<(), LocalHomeError> {
        let folder = self.layout.node(&run.name);
        kept_config::start_with(&folder, run).map_err(failed("write the configuration in", &folder))?;
        let log_path = self.layout.node_log(&run.name);
        let log = logs::open(&log_path).map_err(failed("open", &log_path))?;
        let log_before = logs::length(&log_path);
        let errors = log.try_clone().map_err(failed("open", &log_path))?;
        for folder in run.config.tiers.iter().map(|tier| &tier.path).chain(run.config.root.iter()) {
            std::fs::create_dir_all(folder).map_err(failed("make", folder))?;
        }
        let mut command = Command::new(&self.program);
        command.args(NodeProcess::arguments(&self.layout, &run.name));
        // A node takes its configuration from its file, whatever the person's environment says.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("THERMOCLINE_")) {
            command.env_remove(name);
        }
        if std::env::var_os(MALLOC).is_none() {
            command.env(MALLOC, HUGE_PAGES);
        }
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let mut child =
            command.spawn().map_err(|source| LocalHomeError::Start { program: self.program.clone(), source })?;
        let mut nodes = self.nodes.lock();
        let before = nodes.get(&run.name);
        let by_itself = before.and_then(|node| node.ended.as_ref()).is_some_and(|end| !end.asked);
        let recorded = process::started(child.id()).map_err(failed("see the process in", Path::new("/proc"))).and_then(
            |process| {
                let restarts = before.map_or(0, |node| node.record.restarts) + u32::from(by_itself);
                let (fingerprint, listen) = (run.fingerprint.clone(), Some(run.config.listen.clone()));
                let record = NodeProcess { process, fingerprint, restarts, listen };
                let path = self.record_file(&run.name);
                let text = serde_json::to_vec(&record).map_err(|error| failed("write", &path)(error.into()))?;
                write_in_one_step(&path, &text).map_err(failed("write", &path))?;
                Ok(record)
            },
        );
        let record = match recorded {
            Ok(record) => record,
            Err(error) => {
                // A process that nobody could find again must not be left.
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        let in_a_row = before.map_or(0, |node| node.in_a_row);
        let state = State::Running { since: Instant::now() };
        let node = Node { record, child: Some(child), state, in_a_row, ended: None, log_before };
        nodes.insert(run.name.clone(), node);
        Ok(())
    }
}

impl Node {
    fn note_end(&mut self, asked: bool, refused: bool, good: bool, reason: String) {
        self.in_a_row = if asked || good { 0 } else { self.in_a_row };
        if !asked {
            self.in_a_row += 1;
        }
        self.ended = Some(End { at: Instant::now(), asked, refused, reason });
    }
}

fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LocalHomeError {
    let path = path.to_owned();
    move |source| LocalHomeError::Io { attempt, path, source }
}

fn described(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "it ended by itself".to_owned(),
        (Some(code), _) if code == i32::from(MISUSED_EXIT) => "it refuses to start".to_owned(),
        (Some(code), _) => format!("it ended with exit status {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

impl Home for LocalHome {
    type Error = LocalHomeError;

    fn placement(&self) -> Placement<'_> {
        Placement { first_address: self.settings.first_address, nodes_folder: &self.nodes_folder }
    }

    async fn list(&self) -> Result<Vec<Object>, LocalHomeError> {
        Ok(self.store.list()?)
    }

    async fn get(&self, kind: Kind, name: &str) -> Result<Option<Object>, LocalHomeError> {
        Ok(self.store.get(kind, name)?)
    }

    async fn apply(&self, objects: Vec<Object>) -> Result<Vec<Change>, LocalHomeError> {
        Ok(self.store.apply(objects)?)
    }

    async fn delete(&self, kind: Kind, name: &str) -> Result<bool, LocalHomeError> {
        Ok(self.store.delete(kind, name)?)
    }

    async fn write_status(&self, object: Object) -> Result<(), LocalHomeError> {
        Ok(self.store.write_status(object)?)
    }

    async fn claim_beginning(&self, cluster: &str, node: &str) -> Result<Option<String>, LocalHomeError> {
        Ok(self.store.claim_beginning(cluster, node)?)
    }

    async fn forget_node(&self, name: &str) -> Result<(), LocalHomeError> {
        Ok(self.store.forget(name)?)
    }

    async fn observe(&self) -> Result<BTreeMap<String, Observed>, LocalHomeError> {
        let mut nodes = self.nodes.lock();
        let see = |(name, node): (&String, &mut Node)| {
            self.refresh(name, node);
            let presence = match &node.state {
                State::Running { since } => {
                    Presence::Running { fingerprint: node.record.fingerprint.clone(), since: since.elapsed() }
                }
                State::Stopping { .. } => Presence::Stopping,
                State::Absent => Presence::Absent {
                    ended: node.ended.as_ref().map(|end| Ended {
                        in_a_row: node.in_a_row,
                        ago: end.at.elapsed(),
                        asked: end.asked,
                        refused: end.refused,
                        reason: end.reason.clone(),
                    }),
                },
            };
            let listen = node.record.listen.clone().filter(|_| !matches!(node.state, State::Absent));
            (name.clone(), Observed { presence, restarts: node.record.restarts, listen })
        };
        Ok(nodes.iter_mut().map(see).collect())
    }

    async fn run(&self, run: &NodeRun) -> Result<(), LocalHomeError> {
        let runs = self.nodes.lock().get(&run.name).is_some_and(|node| !matches!(node.state, State::Absent));
        if runs {
            return Err(LocalHomeError::Runs { node: run.name.clone() });
        }
        self.start(run)
    }

    async fn stop(&self, name: &str) -> Result<(), LocalHomeError> {
        self.begin_stop(name)
    }

    async fn prepare(&self, run: &NodeRun) -> Result<(), LocalHomeError> {
        let folder = self.layout.node(&run.name);
        kept_config::refresh(&folder, run).map_err(failed("write the configuration in", &folder))
    }

    async fn kept(&self, name: &str) -> Result<Option<NodeConfig>, LocalHomeError> {
        let folder = self.layout.node(name);
        kept_config::read(&folder).map_err(failed("read the configuration in", &folder))
    }

    async fn publish(&self, runs: &[NodeRun]) -> Result<(), LocalHomeError> {
        Ok(endpoints::write(&self.layout.endpoints(), runs)?)
    }

    async fn memory(&self) -> Result<Memory, LocalHomeError> {
        let path = self.layout.memory();
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| failed("understand", &path)(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Memory::default()),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    async fn remember(&self, memory: &Memory) -> Result<(), LocalHomeError> {
        let path = self.layout.memory();
        let text = serde_json::to_vec_pretty(memory).map_err(|error| failed("write", &path)(error.into()))?;
        write_in_one_step(&path, &text).map_err(failed("write", &path))
    }

    async fn event(&self, event: Event) -> Result<(), LocalHomeError> {
        Ok(self.events.lock().add(&event)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "home_test.rs"]
mod tests;
