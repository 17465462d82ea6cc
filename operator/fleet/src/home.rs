//! What a home must offer: a place for objects, a way to run nodes, a way to reach them, a place for events.
//!
//! Contract: a home executes, it decides nothing. Calls that begin something return when it has begun; what came of it is
//! seen by [`Home::observe`]. A home never runs the same node twice at once.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use thermocline_crds::{Kind, Object};
use thermocline_node_config::{Listen, NodeConfig};

use crate::event::Event;
use crate::revision::Memory;

/// Where the nodes of a home are.
#[derive(Debug, Clone, Copy)]
pub struct Placement<'a> {
    /// The address of the first node; the others follow.
    pub first_address: Ipv4Addr,
    /// The folder that holds a folder for each node.
    pub nodes_folder: &'a Path,
}

/// What a node is to be run with.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRun {
    /// The node's name.
    pub name: String,
    /// Its configuration.
    pub config: NodeConfig,
    /// Of the part of the configuration that only a start can change; a node that runs with another one must be replaced.
    pub fingerprint: String,
}

/// How the last run of a node ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Runs in a row that ended by themselves before the node had served for a while.
    pub in_a_row: u32,
    /// How long ago the last one ended.
    pub ago: Duration,
    /// Whether it was asked to end.
    pub asked: bool,
    /// Whether it refused what it was started with: starting it again changes nothing.
    pub refused: bool,
    /// In words, with what the node said last and where its log is.
    pub reason: String,
}

/// What the home knows of a node by itself, without asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It does not run.
    Absent {
        /// How it ended; `None` if it never ran.
        ended: Option<Ended>,
    },
    /// It runs, ready or not.
    Running {
        /// [`NodeRun::fingerprint`] of its start.
        fingerprint: String,
        /// How long it has run.
        since: Duration,
    },
    /// It was asked to end and has not yet.
    Stopping,
}

/// A node that the home knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Whether it runs.
    pub presence: Presence,
    /// Times it was started again after it ended by itself.
    pub restarts: u32,
    /// Where it listens, while it runs and where that is known: not always where it is declared to.
    pub listen: Option<Listen>,
}

/// An object before and after [`Home::apply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Created,
    /// It differs from before.
    Configured,
    /// Nothing changed.
    Unchanged,
}

impl Change {
    /// As a person reads it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// A place where a fleet lives.
pub trait Home: Send + Sync + 'static {
    /// What its calls fail with.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Where nodes are put.
    fn placement(&self) -> Placement<'_>;

    /// Every object.
    fn list(&self) -> impl Future<Output = Result<Vec<Object>, Self::Error>> + Send;

    /// One object.
    fn get(&self, kind: Kind, name: &str) -> impl Future<Output = Result<Option<Object>, Self::Error>> + Send;

    /// Creates or changes objects: all of them or, where one is refused, none.
    fn apply(&self, objects: Vec<Object>) -> impl Future<Output = Result<Vec<Change>, Self::Error>> + Send;

    /// Deletes an object; whether there was one.
    fn delete(&self, kind: Kind, name: &str) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Replaces the status of an object and leaves the rest as it is now; creates and deletes the StorageNode objects, which
    /// are the fleet's own.
    fn write_status(&self, object: Object) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Writes on a cluster object that it begins on a node, unless that stands there already (`begunOn`): a compare-and-set.
    /// The node that stands there then; `None` where there is no such object.
    fn claim_beginning(
        &self,
        cluster: &str,
        node: &str,
    ) -> impl Future<Output = Result<Option<String>, Self::Error>> + Send;

    /// Removes a StorageNode object.
    fn forget_node(&self, name: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Every node that the home has run or runs.
    fn observe(&self) -> impl Future<Output = Result<BTreeMap<String, Observed>, Self::Error>> + Send;

    /// Begins to run a node that does not run.
    fn run(&self, run: &NodeRun) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Begins to stop a node: it drains, and is ended where it takes too long. Its data stays.
    fn stop(&self, name: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Puts another configuration under a node that runs. Here it is stopped; once it is absent it is run anew.
    fn replace(&self, run: &NodeRun) -> impl Future<Output = Result<(), Self::Error>> + Send {
        async move { self.stop(&run.name).await }
    }

    /// Keeps what a node would be started with up to date while it runs, in what a running node can change: whoever starts it
    /// starts it right, and with nothing that it may refuse.
    fn prepare(&self, run: &NodeRun) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// What a node last served with or, if it never has, was last run with; `None` if it never was.
    fn kept(&self, name: &str) -> impl Future<Output = Result<Option<NodeConfig>, Self::Error>> + Send;

    /// Tells clients where the nodes are.
    fn publish(&self, runs: &[NodeRun]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Where a node's control plane is, as an `http://` URI.
    fn admin_uri(&self, run: &NodeRun) -> String {
        format!("http://{}", run.config.listen.admin)
    }

    /// What the fleet must remember over a restart of itself.
    fn memory(&self) -> impl Future<Output = Result<Memory, Self::Error>> + Send;

    /// Remembers it.
    fn remember(&self, memory: &Memory) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Tells an event.
    fn event(&self, event: Event) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
