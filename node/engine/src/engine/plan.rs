//! What opening a store finds out before it writes anything: which folders are whose.

use std::path::Path;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::open_error::{OpenError, Same};
use crate::environment::Environment;
use crate::limits::MAX_TIERS;
use crate::options::EngineOptions;
use crate::tier::identity::{self, FORMAT};
use crate::tier::lock::FolderLock;
use crate::tier::{RootLayout, StoreIdentity, TierId, TierIdentity, TierLayout, TierSpec, same_folder};

/// What opening found out before the database is touched.
pub(super) struct Plan {
    pub(super) root: RootLayout,
    pub(super) store: StoreIdentity,
    /// Fastest first, with what is configured.
    pub(super) tiers: Vec<(TierIdentity, TierSpec)>,
    pub(super) leaving: Vec<TierIdentity>,
}

/// The tiers as configured, fastest first, if they can be those of one store.
pub(super) fn check(options: &EngineOptions) -> Result<Vec<TierSpec>, OpenError> {
    let mut tiers = options.tiers.clone();
    tiers.sort_by_key(|t| t.rank);
    if tiers.is_empty() || tiers.len() > MAX_TIERS {
        return Err(OpenError::Options(format!("a store has 1 to {MAX_TIERS} tiers, these are {}", tiers.len())));
    }
    for (i, tier) in tiers.iter().enumerate() {
        tier.settings.check(&tier.name).map_err(OpenError::Options)?;
        for other in &tiers[..i] {
            let same = if other.name == tier.name {
                "name"
            } else if other.rank == tier.rank {
                "rank"
            } else if same_folder(&other.path, &tier.path) {
                return Err(same(other, tier, Same::Folder));
            } else {
                continue;
            };
            return Err(OpenError::Options(format!(
                "tiers {} and {} have the same {same}; each needs its own",
                other.name, tier.name
            )));
        }
    }
    Ok(tiers)
}

fn same(first: &TierSpec, second: &TierSpec, how: Same) -> OpenError {
    OpenError::SameTier {
        first: first.name.clone(),
        first_path: first.path.clone(),
        second: second.name.clone(),
        second_path: second.path.clone(),
        how,
    }
}

/// Where the root is.
pub(super) fn root(options: &EngineOptions, specs: &[TierSpec]) -> RootLayout {
    let default = || specs.first().map_or_else(Default::default, |fastest| default_root(&fastest.path));
    RootLayout(options.root.clone().unwrap_or_else(default))
}

fn default_root(tier: &Path) -> std::path::PathBuf {
    tier.join("root")
}

/// Locks a folder of the store, which is made where there is none.
pub(super) fn lock(folder: &Path, file: &Path) -> Result<FolderLock, OpenError> {
    identity::create_folder(folder)?;
    FolderLock::take(file)?.ok_or_else(|| OpenError::InUse { path: folder.to_owned() })
}

/// Locks the tiers' folders, behind the root's lock. What was planned still holds then.
pub(super) fn lock_tiers(plan: &Plan) -> Result<Vec<FolderLock>, OpenError> {
    let mut locks = Vec::with_capacity(plan.tiers.len());
    for (index, (identity, spec)) in plan.tiers.iter().enumerate() {
        let layout = TierLayout(spec.path.clone());
        identity::create_folder(&spec.path)?;
        // Now that every folder exists a mount in two places can be seen.
        if let Some((_, other)) = plan.tiers[..index].iter().find(|(_, other)| same_folder(&other.path, &spec.path)) {
            return Err(same(other, spec, Same::Folder));
        }
        locks.push(lock(&spec.path, &layout.lock())?);
        // Another store may have taken a new folder since it was looked at.
        let found: Option<TierIdentity> = identity::read(&layout.identity())?;
        if found.is_some_and(|found| (found.store, found.id) != (identity.store, identity.id)) {
            return Err(OpenError::InUse { path: spec.path.clone() });
        }
    }
    Ok(locks)
}

/// The identities in the tiers' folders, if they can be those of one store.
fn identities(root: &RootLayout, fresh: bool, specs: &[TierSpec]) -> Result<Vec<Option<TierIdentity>>, OpenError> {
    let mut found: Vec<Option<TierIdentity>> = Vec::with_capacity(specs.len());
    for spec in specs {
        found.push(identity::read(&TierLayout(spec.path.clone()).identity())?);
    }
    let known = || specs.iter().zip(&found).filter_map(|(spec, identity)| Some((spec, identity.as_ref()?)));
    for (index, (spec, identity)) in known().enumerate() {
        if let Some((other, _)) = known().take(index).find(|(_, i)| (i.store, i.id) == (identity.store, identity.id)) {
            return Err(same(other, spec, Same::Identity(identity.id)));
        }
    }
    if fresh && let Some((spec, identity)) = known().next() {
        let is_root = |root: &RootLayout| {
            let found: Option<StoreIdentity> = identity::read(&root.identity()).ok().flatten();
            found.is_some_and(|found| found.store == identity.store)
        };
        let elsewhere = specs.iter().map(|spec| RootLayout(default_root(&spec.path))).find(is_root);
        return Err(OpenError::RootElsewhere {
            tier: spec.name.clone(),
            path: spec.path.clone(),
            store: identity.store,
            root: root.0.clone(),
            advice: elsewhere.map_or_else(
                || "set `root` to the folder that has the store.json of that store".to_owned(),
                |found| format!("set `root` to {}, where it is", found.0.display()),
            ),
        });
    }
    Ok(found)
}

/// Compares what is configured with what is on disk. Behind the root's lock.
pub(super) fn plan(root: RootLayout, specs: Vec<TierSpec>, environment: &Environment) -> Result<Plan, OpenError> {
    let known: Option<StoreIdentity> = identity::read(&root.identity())?;
    if let Some(found) = known.as_ref().map(|s| s.format).filter(|f| *f != FORMAT) {
        return Err(OpenError::Format { found });
    }
    let found = identities(&root, known.is_none(), &specs)?;
    let mut random = ChaCha8Rng::seed_from_u64(environment.seed ^ environment.clock.wall().as_nanos() as u64);
    let store =
        known.unwrap_or_else(|| StoreIdentity { format: FORMAT, store: TierId(random.next_u64()), tiers: Vec::new() });
    let mut tiers = Vec::new();
    for (spec, on_device) in specs.into_iter().zip(found) {
        if let Some(found) = on_device.as_ref().filter(|i| i.store != store.store) {
            return Err(OpenError::ForeignTier {
                tier: spec.name,
                path: spec.path,
                found: found.store,
                expected: store.store,
            });
        }
        let recorded = store.tiers.iter().find(|t| match &on_device {
            Some(identity) => t.id == identity.id,
            None => t.name == spec.name,
        });
        let id = match (&on_device, recorded) {
            // A new name or folder is only a label; the rank is fixed.
            (Some(_), Some(known)) if known.rank != spec.rank => {
                return Err(OpenError::Options(format!(
                    "tier {} has rank {}, it cannot become {}: ranks are fixed for the life of a tier",
                    known.name, known.rank, spec.rank
                )));
            }
            (Some(identity), _) => identity.id,
            (None, Some(known)) => {
                return Err(OpenError::TierMissing { tier: known.name.clone(), path: spec.path });
            }
            (None, None) => TierId(random.next_u64()),
        };
        let identity = TierIdentity {
            format: FORMAT,
            store: store.store,
            id,
            name: spec.name.clone(),
            rank: spec.rank,
            medium: spec.medium,
            path: spec.path.clone(),
        };
        tiers.push((identity, spec));
    }
    let leaving = store
        .tiers
        .iter()
        .filter(|known| !tiers.iter().any(|(identity, _)| identity.id == known.id))
        .cloned()
        .collect();
    Ok(Plan { root, store, tiers, leaving })
}
