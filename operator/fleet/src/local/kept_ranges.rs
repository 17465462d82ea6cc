//! What the folders of nodes hold of an earlier pool: its records stay where its cuts put them.
//!
//! A pool may be deleted and created anew under its name. Its nodes then open the folders that are there. With other cuts a key
//! would be looked for at a node that does not have it: an acknowledged record would be out of sight.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thermocline_crds::v1alpha1::ValidatedPool;
use thermocline_node_config::NodeConfig;

use super::layout::Layout;
use crate::desired::node_name;

/// The file in a node's folder that it is run with; it outlives the node.
pub(super) const CONFIG_FILE: &str = "node.yaml";

/// Why a new pool may not take up the folders that are there. A folder without a store holds no record and is no hindrance.
///
/// # Errors
/// The file that says which keys a folder holds, and why it cannot be read.
pub(super) fn refusals(layout: &Layout, pool: &ValidatedPool) -> Result<Vec<String>, (PathBuf, io::Error)> {
    let mut wrong = Vec::new();
    for (index, (start, end)) in pool.ranges().iter().enumerate() {
        let node = node_name(pool.name.as_str(), index);
        let path = layout.node(&node).join(CONFIG_FILE);
        let Some(kept) = read(&path).map_err(|error| (path, error))? else {
            continue;
        };
        if has_store(Some(&kept)) && (&kept.range.start, &kept.range.end) != (start, end) {
            wrong.push(format!(
                "StoragePool/{}: the folder of {node} holds the keys from {:?} to {:?} of an earlier pool, this one gives it {start:?} to {end:?}: data does not follow; give replicas and split points as they were, or name the pool otherwise (then the earlier records stay in their folders, unread)",
                pool.name, kept.range.start, kept.range.end
            ));
        }
    }
    Ok(wrong)
}

/// The folders of a pool's nodes that hold a store, whether the pool is still there or not.
#[must_use]
pub fn data_folders(layout: &Layout, pool: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(layout.nodes()).into_iter().flatten().flatten();
    let held = entries.filter_map(|entry| {
        let folder = entry.path();
        let (of, index) = folder.file_name()?.to_str()?.rsplit_once('-')?;
        let is_node = of == pool && index.bytes().all(|byte| byte.is_ascii_digit());
        // What cannot be read may hold data.
        let empty = read(&folder.join(CONFIG_FILE)).is_ok_and(|kept| !has_store(kept.as_ref()));
        (is_node && !empty).then_some(folder)
    });
    let mut held: Vec<PathBuf> = held.collect();
    held.sort();
    held
}

fn has_store(kept: Option<&NodeConfig>) -> bool {
    kept.is_some_and(|kept| kept.root.as_ref().is_none_or(|root| root.exists()))
}

/// The configuration in a file; `None` where there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<NodeConfig>> {
    match fs::read_to_string(path) {
        Ok(text) => {
            serde_yaml::from_str(&text).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
