//! Which node a data folder belongs to: a small file beside the database, so that a volume mounted into the wrong node
//! or cluster is refused instead of served.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The file, in the root folder.
const FILE: &str = "node-identity.json";

/// Who owns a data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The cluster.
    pub cluster: String,
    /// The node.
    pub node: String,
}

/// A folder that this node may not use, or cannot mark.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// It belongs to another node.
    #[error(
        "the data folder {} belongs to node {} of cluster {}, not to {} of {}; use that name or another folder",
        path.display(), found.node, found.cluster, expected.node, expected.cluster
    )]
    Foreign {
        /// The root folder.
        path: PathBuf,
        /// Whose it is.
        found: Owner,
        /// Who asks.
        expected: Owner,
    },
    /// The file is not what was once written.
    #[error("the identity file {} is damaged; restore it, or remove it if the data is this node's", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The file cannot be read or written.
    #[error("cannot {attempt} the identity file {}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Refuses a folder of another node. Whether it is marked already.
pub fn check(root: &Path, expected: &Owner) -> Result<bool, IdentityError> {
    let path = root.join(FILE);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(IdentityError::Io { attempt: "read", path, source }),
    };
    let found: Owner = match serde_json::from_slice(&text) {
        Ok(found) => found,
        Err(source) => return Err(IdentityError::Damaged { path, source }),
    };
    if found == *expected {
        return Ok(true);
    }
    Err(IdentityError::Foreign { path: root.to_owned(), found, expected: expected.clone() })
}

/// Marks a folder as this node's, durably. Called by who has it open, so never by two at once.
pub fn mark(root: &Path, owner: &Owner) -> Result<(), IdentityError> {
    let path = root.join(FILE);
    write(root, &path, owner).map_err(|source| IdentityError::Io { attempt: "write", path, source })
}

fn write(root: &Path, path: &Path, owner: &Owner) -> std::io::Result<()> {
    let beside = root.join(format!("{FILE}.new"));
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(owner)?)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    std::fs::File::open(root)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn owner(cluster: &str, node: &str) -> Owner {
        Owner { cluster: cluster.to_owned(), node: node.to_owned() }
    }

    #[test]
    fn a_folder_is_anybodys_until_it_is_marked_and_then_only_its_owners() {
        let root = tempfile::tempdir().unwrap();
        let own = owner("c", "a");
        assert!(!check(root.path(), &own).unwrap());
        mark(root.path(), &own).unwrap();
        assert!(check(root.path(), &own).unwrap());
        for other in [owner("c", "b"), owner("d", "a")] {
            let error = check(root.path(), &other).unwrap_err();
            assert!(error.to_string().contains("belongs to node a of cluster c"), "{error}");
        }
    }

    #[test]
    fn a_damaged_mark_is_refused() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(FILE), "{").unwrap();
        assert!(matches!(check(root.path(), &owner("c", "a")), Err(IdentityError::Damaged { .. })));
    }
}
