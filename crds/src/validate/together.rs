//! What objects say about each other, which no rule of a single object can see.

use std::collections::{BTreeMap, BTreeSet};

use super::path::FieldPath;
use super::violation::Violation;
use crate::quantity::ByteSize;
use crate::v1alpha1::{StoragePool, StorageTier};
use crate::{Kind, Object};

/// Judges a set of objects, each of which is valid by itself: what is named must exist and belong together.
#[must_use]
pub fn set(objects: &[Object]) -> Vec<Violation> {
    let mut judge = Judge::new(objects);
    judge.names();
    judge.clusters();
    judge.tiers();
    for object in objects {
        match object {
            Object::StoragePool(pool) => judge.pool(object, pool),
            Object::StorageNode(node) => judge.named_pool(object, &node.spec.pool, FieldPath::of(["spec", "pool"])),
            Object::MigrationPolicy(policy) => {
                for (index, pool) in policy.spec.pools.iter().enumerate() {
                    judge.named_pool(object, pool, FieldPath::of(["spec", "pools"]).index(index));
                }
                for tier in policy.spec.temperatures.keys() {
                    judge.temperature(object, tier);
                }
            }
            Object::Migration(migration) => {
                if let Some(tier) = &migration.spec.to_tier {
                    judge.named_tier(object, tier, FieldPath::of(["spec", "toTier"]));
                }
            }
            Object::StorageCluster(_) | Object::StorageTier(_) => {}
        }
    }
    judge.found
}

struct Judge<'a> {
    objects: &'a [Object],
    tiers: BTreeMap<&'a str, &'a StorageTier>,
    found: Vec<Violation>,
}

impl<'a> Judge<'a> {
    fn new(objects: &'a [Object]) -> Self {
        let tier = |object: &'a Object| match object {
            Object::StorageTier(tier) => Some((object.name(), tier)),
            _ => None,
        };
        Self { objects, tiers: objects.iter().filter_map(tier).collect(), found: Vec::new() }
    }

    fn refuse(&mut self, object: &Object, path: FieldPath, message: String) {
        let named = Some(format!("{}/{}", object.kind(), object.name()));
        self.found.push(Violation { object: named, ..Violation::new(path, message) });
    }

    fn names_of(&self, kind: Kind, cluster: Option<&str>) -> Vec<&'a str> {
        let of_kind = self.objects.iter().filter(|object| object.kind() == kind);
        of_kind.filter(|object| cluster.is_none_or(|cluster| object.cluster() == cluster)).map(Object::name).collect()
    }

    fn names(&mut self) {
        let mut seen = BTreeSet::new();
        for object in self.objects {
            if !seen.insert((object.kind(), object.name())) {
                self.refuse(
                    object,
                    FieldPath::of(["metadata", "name"]),
                    "stands twice: every object of a kind needs its own name".to_owned(),
                );
            }
        }
    }

    fn clusters(&mut self) {
        let known = self.names_of(Kind::StorageCluster, None);
        for object in self.objects.iter().filter(|object| !known.contains(&object.cluster())) {
            let message = format!("no StorageCluster {:?}: {}", object.cluster(), existing(&known));
            self.refuse(object, FieldPath::of(["spec", "cluster"]), message);
        }
    }

    fn tiers(&mut self) {
        let mut ranks: BTreeMap<(&str, i32), &str> = BTreeMap::new();
        for object in self.objects {
            let Object::StorageTier(tier) = object else {
                continue;
            };
            if let Some(other) = ranks.insert((&tier.spec.cluster, tier.spec.rank), object.name())
                && other != object.name()
            {
                let message =
                    format!("{} is the rank of {other} already: every tier of a cluster needs its own", tier.spec.rank);
                self.refuse(object, FieldPath::of(["spec", "rank"]), message);
            }
        }
    }

    fn pool(&mut self, object: &Object, pool: &StoragePool) {
        for (index, in_pool) in pool.spec.tiers.iter().enumerate() {
            let path = FieldPath::of(["spec", "tiers"]).index(index);
            self.named_tier(object, &in_pool.name, path.field("name"));
            let size: Option<ByteSize> = in_pool.size.as_deref().and_then(|size| size.parse().ok());
            let reserve = self.tiers.get(in_pool.name.as_str()).and_then(|tier| tier.spec.reserve.as_deref());
            let reserve: Option<ByteSize> = reserve.and_then(|reserve| reserve.parse().ok());
            if let (Some(size), Some(reserve)) = (size, reserve)
                && size <= reserve
            {
                let message = format!("{size} leaves nothing after the tier's reserve of {reserve}: it must be more");
                self.refuse(object, path.field("size"), message);
            }
        }
    }

    /// A tier that is named must exist in the same cluster.
    fn named_tier(&mut self, object: &Object, tier: &str, path: FieldPath) {
        let known = self.names_of(Kind::StorageTier, Some(object.cluster()));
        if !known.contains(&tier) {
            let message = format!("no StorageTier {tier:?} of cluster {:?}: {}", object.cluster(), existing(&known));
            self.refuse(object, path, message);
        }
    }

    /// A pool that is named must exist in the same cluster.
    fn named_pool(&mut self, object: &Object, pool: &str, path: FieldPath) {
        let known = self.names_of(Kind::StoragePool, Some(object.cluster()));
        if !known.contains(&pool) {
            let message = format!("no StoragePool {pool:?} of cluster {:?}: {}", object.cluster(), existing(&known));
            self.refuse(object, path, message);
        }
    }

    /// A temperature must be of a tier of the cluster that is not its slowest, which takes the rest.
    fn temperature(&mut self, object: &Object, tier: &str) {
        let path = FieldPath::of(["spec", "temperatures"]).field(tier);
        self.named_tier(object, tier, path.clone());
        let of_cluster = self.tiers.values().filter(|tier| tier.spec.cluster == object.cluster());
        let slowest = of_cluster.max_by_key(|tier| tier.spec.rank).and_then(|tier| tier.metadata.name.as_deref());
        if slowest == Some(tier) {
            self.refuse(
                object,
                path,
                format!("{tier} is the slowest tier and takes the rest: name only the faster ones"),
            );
        }
    }
}

fn existing(known: &[&str]) -> String {
    if known.is_empty() { "there is none yet".to_owned() } else { format!("there is {}", known.join(", ")) }
}
