//! A home in memory that notes what it is asked to do.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;
use thermocline_crds::{Kind, Object, validate};
use thermocline_node_config::{Listen, NodeConfig};

use crate::event::Event;
use crate::home::{Change, Home, NodeRun, Observed, Placement, Presence};
use crate::revision::Memory;

#[derive(Debug, Default)]
pub struct MemoryHome(pub Mutex<Held>);

#[derive(Debug, Default)]
pub struct Held {
    pub objects: Vec<Object>,
    pub observed: BTreeMap<String, Observed>,
    pub memory: Memory,
    pub kept: BTreeMap<String, NodeConfig>,
    /// What was run, in order.
    pub run: Vec<NodeRun>,
    pub prepared: Vec<NodeRun>,
    pub stopped: Vec<String>,
    pub forgotten: Vec<String>,
    /// The routing as it was written, each time.
    pub published: Vec<Vec<NodeRun>>,
}

impl Held {
    /// An object that was applied, with an id of its own.
    pub fn apply(&mut self, text: &str, uid: &str) {
        let mut object = validate::manifest(text).unwrap().remove(0).object;
        object.metadata_mut().uid = Some(uid.to_owned());
        self.delete(object.kind(), object.name());
        self.objects.push(object);
    }

    pub fn delete(&mut self, kind: Kind, name: &str) {
        self.objects.retain(|object| object.kind() != kind || object.name() != name);
    }

    /// A node that runs and listens there.
    pub fn runs_at(&mut self, name: &str, fingerprint: &str, admin: SocketAddr) {
        let other = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let presence = Presence::Running { fingerprint: fingerprint.to_owned(), since: Duration::ZERO };
        let listen = Some(Listen { kv: other(1), admin, http: other(3), peer: None });
        self.observed.insert(name.to_owned(), Observed { presence, restarts: 0, listen });
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it is not asked for here")]
pub struct NotHere;

impl Home for MemoryHome {
    type Error = NotHere;

    fn placement(&self) -> Placement<'_> {
        // Nothing listens at the addresses that nodes are declared to have.
        Placement { first_address: Ipv4Addr::new(127, 255, 255, 200), nodes_folder: Path::new("/nodes") }
    }

    async fn list(&self) -> Result<Vec<Object>, NotHere> {
        Ok(self.0.lock().objects.clone())
    }

    async fn get(&self, _: Kind, _: &str) -> Result<Option<Object>, NotHere> {
        Err(NotHere)
    }

    async fn apply(&self, objects: Vec<Object>) -> Result<Vec<Change>, NotHere> {
        let mut held = self.0.lock();
        let changes = objects.iter().map(|_| Change::Created).collect();
        for mut object in objects {
            object.metadata_mut().uid = Some(object.name().to_owned());
            held.objects.push(object);
        }
        Ok(changes)
    }

    async fn delete(&self, kind: Kind, name: &str) -> Result<bool, NotHere> {
        self.0.lock().delete(kind, name);
        Ok(true)
    }

    async fn write_status(&self, new: Object) -> Result<(), NotHere> {
        let mut held = self.0.lock();
        held.delete(new.kind(), new.name());
        held.objects.push(new);
        Ok(())
    }

    async fn claim_beginning(&self, cluster: &str, node: &str) -> Result<Option<String>, NotHere> {
        let mut held = self.0.lock();
        let found = held.objects.iter_mut().find_map(|object| match object {
            Object::StorageCluster(found) if found.metadata.name.as_deref() == Some(cluster) => Some(found),
            _ => None,
        });
        Ok(found.map(|found| {
            let status = found.status.get_or_insert_default();
            status.begun_on.get_or_insert_with(|| node.to_owned()).clone()
        }))
    }

    async fn forget_node(&self, name: &str) -> Result<(), NotHere> {
        let mut held = self.0.lock();
        held.forgotten.push(name.to_owned());
        held.delete(Kind::StorageNode, name);
        Ok(())
    }

    async fn observe(&self) -> Result<BTreeMap<String, Observed>, NotHere> {
        Ok(self.0.lock().observed.clone())
    }

    async fn run(&self, run: &NodeRun) -> Result<(), NotHere> {
        self.0.lock().run.push(run.clone());
        Ok(())
    }

    async fn stop(&self, name: &str) -> Result<(), NotHere> {
        self.0.lock().stopped.push(name.to_owned());
        Ok(())
    }

    async fn prepare(&self, run: &NodeRun) -> Result<(), NotHere> {
        self.0.lock().prepared.push(run.clone());
        Ok(())
    }

    async fn kept(&self, name: &str) -> Result<Option<NodeConfig>, NotHere> {
        Ok(self.0.lock().kept.get(name).cloned())
    }

    async fn publish(&self, runs: &[NodeRun]) -> Result<(), NotHere> {
        self.0.lock().published.push(runs.to_vec());
        Ok(())
    }

    async fn memory(&self) -> Result<Memory, NotHere> {
        Ok(self.0.lock().memory.clone())
    }

    async fn remember(&self, memory: &Memory) -> Result<(), NotHere> {
        self.0.lock().memory = memory.clone();
        Ok(())
    }

    async fn event(&self, _: Event) -> Result<(), NotHere> {
        Ok(())
    }
}
