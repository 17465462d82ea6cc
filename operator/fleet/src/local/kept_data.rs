//! What the folders of nodes hold of an earlier pool: its records stay where its cuts and its tiers put them.
//!
//! A pool may be deleted and created anew under its name. Its nodes then open the folders that are there. With other cuts a key
//! would be looked for at a node that does not have it: an acknowledged record would be out of sight. Without one of its tiers
//! a node would refuse to open the folder: nobody tells whether the tier is empty until the node has run.

use std::fs;
use std::io;
use std::path::PathBuf;

use thermocline_crds::v1alpha1::ValidatedPool;
use thermocline_node_config::NodeConfig;

use super::kept_config;
use super::layout::Layout;
use crate::desired::node_name;

/// Why a new pool may not take up the folders that are there. A folder without a store holds no record and is no hindrance.
///
/// # Errors
/// The folder whose configuration cannot be read, and why.
pub(super) fn refusals(layout: &Layout, pool: &ValidatedPool) -> Result<Vec<String>, (PathBuf, io::Error)> {
    let mut wrong = Vec::new();
    for (index, (start, end)) in pool.ranges().iter().enumerate() {
        let node = node_name(pool.name.as_str(), index);
        let folder = layout.node(&node);
        let Some(kept) = kept_config::read(&folder).map_err(|error| (folder, error))? else {
            continue;
        };
        if !has_store(Some(&kept)) {
            continue;
        }
        if (&kept.range.start, &kept.range.end) != (start, end) {
            wrong.push(format!(
                "StoragePool/{}: the folder of {node} holds the keys from {:?} to {:?} of an earlier pool, this one gives it {start:?} to {end:?}: data does not follow; give replicas and split points as they were, or name the pool otherwise (then the earlier records stay in their folders, unread)",
                pool.name, kept.range.start, kept.range.end
            ));
        }
        let named = |tier: &str| pool.tiers.iter().any(|(name, _)| name.as_str() == tier);
        for lost in kept.tiers.iter().filter(|tier| !named(&tier.name)) {
            wrong.push(format!(
                "StoragePool/{}: the folder of {node} has the tier {} of an earlier pool, this one does not name it: {node} would not start where records are in it; apply the pool with this tier, and take it away once its nodes run and it is empty (a Migration to another tier moves its records)",
                pool.name, lost.name
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
        let empty = kept_config::read(&folder).is_ok_and(|kept| !has_store(kept.as_ref()));
        (is_node && !empty).then_some(folder)
    });
    let mut held: Vec<PathBuf> = held.collect();
    held.sort();
    held
}

fn has_store(kept: Option<&NodeConfig>) -> bool {
    kept.is_some_and(|kept| kept.root.as_ref().is_none_or(|root| root.exists()))
}
