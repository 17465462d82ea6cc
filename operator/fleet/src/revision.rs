//! Generations that only grow, for what is sent to nodes.
//!
//! A node refuses what is older than what it has. The generation of an object is not enough: when a policy is deleted and
//! another takes its place, the new one may have a smaller generation. So the fleet counts by itself what it wants of each
//! pool, and remembers the count over restarts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the fleet must remember over a restart of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// Per pool, the policy that was wanted last.
    pub policies: BTreeMap<String, Revision>,
    /// Per pool, the settings of tiers that were wanted last.
    pub tiers: BTreeMap<String, Revision>,
    /// Per uid of a migration and node, the id of the move that was begun.
    pub moves: BTreeMap<String, BTreeMap<String, u64>>,
    /// Per uid of a migration between nodes that has begun, the shard whose leader carries it out as a job.
    pub shard_jobs: BTreeMap<String, u64>,
}

/// A counted content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// What was wanted.
    pub content: String,
    /// How many times it changed, from 1.
    pub generation: u64,
}

/// The generation of `content`: the last one if it is the same, else the next.
pub fn generation(revisions: &mut BTreeMap<String, Revision>, pool: &str, content: String) -> u64 {
    let revision = revisions.entry(pool.to_owned()).or_default();
    if revision.generation == 0 || revision.content != content {
        revision.generation += 1;
        revision.content = content;
    }
    revision.generation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_grows_with_every_change_and_never_comes_back() {
        let mut revisions = BTreeMap::new();
        let mut of = |content: &str| generation(&mut revisions, "main", content.to_owned());
        assert_eq!([of("a"), of("a"), of("b"), of("a")], [1, 1, 2, 3]);
    }
}
