//! The local home: objects as YAML files in a folder, nodes as processes on 127.0.0.N.
//!
//! # The state folder
//!
//! ```text
//! home.yaml          what was chosen when the folder was made: the address of the first node
//! objects/           one file for each object, KIND.NAME.yaml; written under objects.lock, each in one step
//! nodes/NAME/        node.yaml (node.before.yaml, see `kept_config`), node.log, ready.json, root/ and tiers/TIER/ of each node
//! run/NAME.json      the process of each node: its id and when it started
//! endpoints.yaml     where clients find the nodes
//! events.jsonl       what happened, the last thousand or so
//! memory.json        what the fleet must remember over a restart of itself
//! supervisor.*       lock, process and log of the supervisor
//! ```
//!
//! Who changes objects ([`ObjectStore`]) needs no supervisor: it sees the change in its next round. Nodes are children of the
//! supervisor, but do not depend on it: they go on when it is gone, and the next one takes them up ([`process`]).

mod addresses;
mod endpoints;
mod events;
mod home;
mod kept_config;
mod kept_data;
mod layout;
mod lock;
mod logs;
mod node_process;
mod object_store;
pub mod process;
mod supervisor;

pub use addresses::{TakenAddress, taken_addresses};
pub use endpoints::EndpointsError;
pub use events::{EventLog, EventLogError};
pub use home::{LocalHome, LocalHomeError};
pub use kept_data::data_folders;
pub use layout::{HomeSettings, Layout, LayoutError, Purpose};
pub use lock::{LockError, SupervisorLock, SupervisorRecord};
pub use logs::last_words;
pub use node_process::NodeProcess;
pub use object_store::{ObjectStore, StoreError};
pub use supervisor::{Stopped, SupervisorError, stop_leftovers, supervise};
