//! The file that says where a node listens, for whoever started it with port 0.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// gRPC, data plane.
    pub kv: SocketAddr,
    /// gRPC, control plane.
    pub admin: SocketAddr,
    /// Metrics and probes.
    pub http: SocketAddr,
    /// gRPC, replicas; of a node in a cluster with shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
}

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The node's name.
    pub node: String,
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    #[serde(flatten)]
    pub addresses: Addresses,
}

/// A ready file that cannot be written.
#[derive(Debug, Error)]
#[error("cannot write the ready file {}", path.display())]
pub struct ReadyFileError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Writes the file in one step: a reader sees nothing or all of it.
pub fn write(path: &Path, ready: &Ready) -> Result<(), ReadyFileError> {
    write_beside(path, ready).map_err(|source| ReadyFileError { path: path.to_owned(), source })
}

fn write_beside(path: &Path, ready: &Ready) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", ready.pid));
    let beside = path.with_file_name(name);
    let mut text = serde_json::to_vec(ready)?;
    text.push(b'\n');
    std::fs::File::create(&beside)?.write_all(&text)?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_file_replaces_an_older_one_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready.json");
        std::fs::write(&path, "old").unwrap();
        let address = "127.0.0.1:1".parse().unwrap();
        let ready = Ready {
            node: "a".to_owned(),
            pid: 7,
            addresses: Addresses { kv: address, admin: address, http: address, peer: None },
        };
        write(&path, &ready).unwrap();
        let read: Ready = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, ready);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let address = "127.0.0.1:1".parse().unwrap();
        let ready = Ready {
            node: "a".to_owned(),
            pid: 7,
            addresses: Addresses { kv: address, admin: address, http: address, peer: None },
        };
        let error = write(Path::new("/nowhere/ready.json"), &ready).unwrap_err();
        assert!(error.to_string().contains("/nowhere/ready.json"));
    }
}
