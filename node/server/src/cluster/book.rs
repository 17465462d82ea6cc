//! Who is in the cluster and where: what nodes told of themselves, and where the meta group is. Kept on disk, so that a node that
//! starts finds the others without whoever started it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use thermocline_proto::replica::v1 as wire;
use thermocline_shard::{NodeId, Role};

/// The file, in the root folder.
const FILE: &str = "cluster.json";
/// Nodes that are remembered, at most. A cluster has fewer; more are told by somebody who is mistaken.
const MOST_NODES: usize = 10_000;

/// The book cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The file cannot be read or written.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not what was once written.
    #[error("{} is damaged; restore it: with another number this node would be another one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The folder is a node's of another cluster.
    #[error("{} is of cluster {found}, not of {expected}; use that cluster's id or another folder", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The cluster's id in it.
        found: String,
        /// The one that was configured.
        expected: String,
    },
}

/// A node, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeEntry {
    /// Its number, of its data folder: a node whose disks are gone comes back with another one.
    pub node: u64,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub zone: String,
    /// `host:port` of each listener, as others reach it.
    pub kv: String,
    /// The control plane.
    pub admin: String,
    /// The replicas.
    pub peer: String,
    /// Grows with every change that the node tells of itself.
    pub revision: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    cluster: String,
    node: u64,
    #[serde(default)]
    nodes: BTreeMap<u64, NodeEntry>,
    /// The members of the meta group: replica, node, whether it is a witness.
    #[serde(default)]
    meta: Vec<(u64, u64, bool)>,
    #[serde(default)]
    meta_changed_at: u64,
}

/// The book of one node.
#[derive(Debug)]
pub struct Book {
    path: PathBuf,
    kept: RwLock<Kept>,
    writing: Mutex<()>,
}

impl Book {
    /// Opens the book in a node's root folder, or begins one: `number` is the node's then.
    ///
    /// # Errors
    /// When it cannot be read or written, or is another cluster's.
    pub fn open(root: &Path, cluster: &str, number: u64) -> Result<Self, BookError> {
        let path = root.join(FILE);
        let kept = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Kept>(&bytes)
                .map_err(|source| BookError::Damaged { path: path.clone(), source })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Kept { cluster: cluster.to_owned(), node: number, ..Kept::default() }
            }
            Err(source) => return Err(BookError::Io { attempt: "read", path, source }),
        };
        if kept.cluster != cluster {
            return Err(BookError::Foreign { path, found: kept.cluster, expected: cluster.to_owned() });
        }
        write(&path, &kept)?;
        Ok(Self { path, kept: RwLock::new(kept), writing: Mutex::default() })
    }

    /// This node's number.
    pub fn me(&self) -> NodeId {
        NodeId(self.kept.read().node)
    }

    /// What is known of a node.
    pub fn node(&self, node: NodeId) -> Option<NodeEntry> {
        self.kept.read().nodes.get(&node.0).cloned()
    }

    /// All nodes that are known.
    pub fn nodes(&self) -> Vec<NodeEntry> {
        self.kept.read().nodes.values().cloned().collect()
    }

    /// The nodes that hold the meta group\'s data, as far as is known.
    pub fn meta_nodes(&self) -> Vec<NodeId> {
        let kept = self.kept.read();
        kept.meta.iter().filter(|(_, _, witness)| !witness).map(|(_, node, _)| NodeId(*node)).collect()
    }

    /// Writes this node itself down, with a newer revision if it has changed.
    pub fn introduce(&self, entry: NodeEntry) {
        let known = self.node(NodeId(entry.node));
        let revision = match known {
            Some(known) if (NodeEntry { revision: known.revision, ..entry.clone() }) == known => return,
            Some(known) => known.revision + 1,
            None => 1,
        };
        self.learn(vec![NodeEntry { revision, ..entry }], &[], 0);
    }

    /// Takes in what another node told: of each node what is newest, of the meta group what was said last.
    pub fn learn(&self, nodes: Vec<NodeEntry>, meta: &[wire::Member], meta_changed_at: u64) {
        let changed = {
            let mut kept = self.kept.write();
            let mut changed = false;
            for entry in nodes {
                let room = kept.nodes.len() < MOST_NODES || kept.nodes.contains_key(&entry.node);
                let newer = kept.nodes.get(&entry.node).is_none_or(|known| known.revision < entry.revision);
                if newer && room {
                    kept.nodes.insert(entry.node, entry);
                    changed = true;
                }
            }
            if !meta.is_empty() && (meta_changed_at > kept.meta_changed_at || kept.meta.is_empty()) {
                let member =
                    |member: &wire::Member| (member.replica, member.node, member.role() == wire::Role::Witness);
                kept.meta = meta.iter().map(member).collect();
                kept.meta_changed_at = meta_changed_at;
                changed = true;
            }
            changed
        };
        if changed && let Err(error) = self.keep() {
            // What is in memory is enough until the next start, and then others tell it again.
            tracing::warn!(error = crate::telemetry::chain(&error), "the addresses of the cluster were not kept");
        }
    }

    /// Writes what is known by now: of several that do so at once each has all that was learnt before it began.
    fn keep(&self) -> Result<(), BookError> {
        let _one_at_a_time = self.writing.lock();
        let kept = self.kept.read().clone();
        write(&self.path, &kept)
    }

    /// What this node tells others.
    pub fn told(&self) -> wire::GreetResponse {
        let kept = self.kept.read();
        let member = |(replica, node, witness): &(u64, u64, bool)| {
            let role = if *witness { Role::Witness } else { Role::Data };
            wire::Member { replica: *replica, node: *node, role: wire::Role::from(role).into() }
        };
        wire::GreetResponse {
            node: kept.node,
            cluster: kept.cluster.clone(),
            nodes: kept.nodes.values().map(message).collect(),
            meta: kept.meta.iter().map(member).collect(),
            meta_changed_at: kept.meta_changed_at,
        }
    }
}

/// A node as a message.
pub fn message(entry: &NodeEntry) -> wire::NodeRecord {
    let NodeEntry { node, name, zone, kv, admin, peer, revision } = entry.clone();
    wire::NodeRecord { node, name, zone, kv, admin, peer, revision }
}

/// A node of a message.
pub fn entry(message: wire::NodeRecord) -> NodeEntry {
    let wire::NodeRecord { node, name, zone, kv, admin, peer, revision } = message;
    NodeEntry { node, name, zone, kv, admin, peer, revision }
}

/// Written beside and renamed: a crash leaves the old or the new one.
fn write(path: &Path, kept: &Kept) -> Result<(), BookError> {
    let failed = |attempt| move |source| BookError::Io { attempt, path: path.to_owned(), source };
    let text =
        serde_json::to_vec_pretty(kept).map_err(|source| BookError::Damaged { path: path.to_owned(), source })?;
    let beside = path.with_extension("json.new");
    let mut file = std::fs::File::create(&beside).map_err(failed("create"))?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed("write"))?;
    std::fs::rename(&beside, path).map_err(failed("replace"))?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync the folder of"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn node(number: u64, kv: &str, revision: u64) -> NodeEntry {
        let text = str::to_owned;
        let (name, zone) = (format!("n{number}"), text("a"));
        NodeEntry { node: number, name, zone, kv: text(kv), admin: text("x:2"), peer: text("x:3"), revision }
    }

    #[test]
    fn a_book_keeps_the_number_of_its_node_and_what_is_newest_of_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(folder.path(), "c", 7).unwrap();
        book.learn(vec![node(8, "new:1", 2)], &[], 0);
        book.learn(vec![node(8, "old:1", 1)], &[], 0);
        drop(book);
        let book = Book::open(folder.path(), "c", 99).unwrap();
        assert_eq!(book.me(), NodeId(7));
        assert_eq!(book.node(NodeId(8)).unwrap().kv, "new:1");
    }

    #[test]
    fn what_several_learn_at_once_is_kept_whole() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(folder.path(), "c", 7).unwrap();
        std::thread::scope(|scope| {
            for number in 8..40 {
                let book = &book;
                scope.spawn(move || book.learn(vec![node(number, "new:1", 1)], &[], 0));
            }
        });
        drop(book);
        assert_eq!(Book::open(folder.path(), "c", 7).unwrap().nodes().len(), 32);
    }

    #[test]
    fn a_folder_of_another_cluster_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(Book::open(folder.path(), "c", 7).unwrap());
        assert!(matches!(Book::open(folder.path(), "d", 7), Err(BookError::Foreign { .. })));
    }

    #[test]
    fn a_node_that_moves_tells_so_with_a_newer_revision() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(folder.path(), "c", 7).unwrap();
        for (kv, revision) in [("a:1", 1), ("a:1", 1), ("b:1", 2)] {
            book.introduce(node(7, kv, 0));
            assert_eq!(book.node(NodeId(7)).unwrap().revision, revision);
        }
    }
}
