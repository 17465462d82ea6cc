//! Opening a store: identities, the database, recovery, background threads.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::background::Background;
use super::lost;
use super::open_error::OpenError;
use super::plan::{self, Plan};
use super::{Engine, Inner};
use crate::classify::{Policy, ValidPolicy};
use crate::environment::Environment;
use crate::error::{EngineError, IoContext, Result};
use crate::format::meta;
use crate::lease::{Fences, Leases};
use crate::mover::{Bucket, MoverControl, forget_swept};
use crate::options::EngineOptions;
use crate::prefetch::Prefetch;
use crate::read::part_readers::PartReaders;
use crate::read::readers::Readers;
use crate::read::row_cache::RowCache;
use crate::rocks::{Database, Opened, Opening, TierHandle};
use crate::space::{Space, Watched};
use crate::stats::Stats;
use crate::temperature::Temperature;
use crate::tier::identity;
use crate::tier::lock::FolderLock;
use crate::tier::{Profile, RootLayout, StoreIdentity, TierIdentity, TierLayout, TierSpec, TierState};
use crate::write::buffered::Buffered;
use crate::write::group_sync::GroupSync;
use crate::write::loads::Loads;
use crate::write::stripes::Stripes;
use crate::write::versions::Versions;

impl Engine {
    /// Opens a store, or makes a new one where there is none.
    ///
    /// # Errors
    /// See [`OpenError`]; a store is refused rather than opened without data it once had.
    pub fn open(options: EngineOptions, environment: Environment) -> Result<Self, OpenError> {
        let specs = plan::check(&options)?;
        let root = plan::root(&options, &specs);
        // Before anything is looked at: of two processes that begin a store at once, one has it and the other changes
        // nothing.
        let mut locks = vec![plan::lock(&root.0, &root.lock())?];
        let plan = plan::plan(root, specs, &environment)?;
        let policy = valid_policy(&options.policy, &plan.tiers)?;
        locks.extend(plan::lock_tiers(&plan)?);
        let inner = Arc::new(open_inner(&options, environment, plan, policy, locks)?);
        inner.recover()?;
        inner.database.set_stall_triggers(true)?;
        inner.space.refresh();
        let background = Background::start(&inner, &options);
        Ok(Self { background: Arc::new(background), inner })
    }
}

fn valid_policy(policy: &Policy, tiers: &[(TierIdentity, TierSpec)]) -> Result<ValidPolicy, OpenError> {
    let names: Vec<&str> = tiers.iter().map(|(identity, _)| identity.name.as_str()).collect();
    fitted(policy, &names).validate(&names).map_err(OpenError::Policy)
}

/// A policy without temperatures means the default ones, for tiers of any name.
pub(super) fn fitted(policy: &Policy, names: &[&str]) -> Policy {
    let mut policy = policy.clone();
    if policy.temperatures.is_empty() || policy.temperatures == Policy::default().temperatures {
        policy.temperatures = Policy::for_tiers(names).temperatures;
    }
    policy
}

fn open_inner(
    options: &EngineOptions,
    environment: Environment,
    plan: Plan,
    policy: ValidPolicy,
    locks: Vec<FolderLock>,
) -> Result<Inner, OpenError> {
    let on_disk = lost::column_families(&plan)?;
    let Plan { root, store, tiers, leaving } = plan;
    for folder in [root.database(), root.wal()] {
        identity::create_folder(&folder)?;
    }
    for (identity, _) in &tiers {
        let layout = TierLayout(identity.path.clone());
        identity::create_folder(&layout.data())?;
    }
    let profiles: Vec<Profile> = tiers.iter().map(|(_, spec)| spec.fitted_profile()).collect();
    let profiles = Profile::scaled(&profiles, options.memory_bytes);
    let handle = |identity: &TierIdentity, profile: &Profile| TierHandle {
        column_family: identity.column_family(),
        data: TierLayout(identity.path.clone()).data(),
        profile: profile.clone(),
    };
    let handles: Vec<_> = tiers.iter().zip(&profiles).map(|((i, _), p)| handle(i, p)).collect();
    let leaving_handles: Vec<_> = leaving
        .iter()
        .filter(|i| on_disk.contains(&i.column_family()))
        .map(|i| handle(i, &Profile::for_medium(i.medium)))
        .collect();

    // The store's id before the first tier that names it: ended in between, a new store would not know its own tier.
    // The tiers of this opening come later: a recorded tier without its file counts as an unmounted device.
    if store.tiers.is_empty() {
        identity::write(&root.identity(), &store)?;
    }
    // Identities first: a folder that RocksDB has written to never lacks one.
    for (identity, _) in &tiers {
        let path = TierLayout(identity.path.clone()).identity();
        let known: Option<TierIdentity> = identity::read(&path)?;
        if known.as_ref() != Some(identity) {
            identity::write(&path, identity)?;
        }
    }
    let with_leaving =
        StoreIdentity { tiers: tiers.iter().map(|(i, _)| i.clone()).chain(leaving.clone()).collect(), ..store };
    identity::write(&root.identity(), &with_leaving)?;

    let opened = Database::open(Opening {
        options,
        database: root.database(),
        wal: root.wal(),
        mark: root.mark(),
        tiers: handles,
        leaving: leaving_handles,
    });
    let Opened { database, occupied, lost } = opened.map_err(|error| in_use(error, &root))?;
    if let Some(lost) = lost {
        let (synced, found) = (lost.synced, lost.found);
        return Err(OpenError::SyncedWritesLost { wal: root.wal(), mark: root.mark(), synced, found });
    }
    if let Some(tier) = leaving.iter().find(|i| occupied.contains(&i.column_family())) {
        return Err(OpenError::TierHoldsData { tier: tier.name.clone(), path: tier.path.clone() });
    }
    for (identity, _) in &tiers {
        empty_incoming(&TierLayout(identity.path.clone()))?;
    }
    let now_known = StoreIdentity { tiers: tiers.iter().map(|(i, _)| i.clone()).collect(), ..with_leaving };
    identity::write(&root.identity(), &now_known)?;
    let encoded =
        serde_json::to_vec(&now_known).map_err(|error| EngineError::Invalid(format!("encode the tiers: {error}")))?;
    database.put_meta(meta::STORE, &encoded, true)?;
    if let Some((last, _)) = tiers.last() {
        forget_swept(&database, last.id)?;
    }

    let mut watched: Vec<_> = tiers
        .iter()
        .map(|(i, spec)| Watched::new(format!("tier {}", i.name), i.path.clone(), spec.settings.reserve_bytes))
        .collect();
    watched.push(Watched::new("log".to_owned(), root.wal(), tiers[0].1.settings.reserve_bytes));
    let row_cache_bytes = options.row_cache_bytes.unwrap_or(options.memory_bytes / 10);
    let heat = Temperature::open(
        root.heat(),
        &database,
        tiers[0].1.settings.size_bytes,
        options.memory_bytes,
        options.heat_sampling,
        policy.half_life(),
        &environment,
    )?;
    let states = tiers
        .into_iter()
        .map(|(identity, spec)| {
            let layout = TierLayout(identity.path.clone());
            TierState::new(identity, layout, spec.settings)
        })
        .collect();
    Ok(Inner {
        versions: Versions::open(&database)?,
        leases: Leases::open(&database)?,
        database,
        tiers: states,
        stripes: Stripes::new(),
        buffered: Buffered::new(environment.clone()),
        group_sync: GroupSync::default(),
        loads: Loads::default(),
        row_cache: RowCache::new(row_cache_bytes),
        readers: Readers::default(),
        fences: Fences::default(),
        space: Space::new(Arc::clone(&environment.probe), watched),
        stats: Stats::default(),
        heat,
        prefetch: Prefetch::default(),
        part_readers: PartReaders::new(std::thread::available_parallelism().map_or(1, usize::from)),
        policy: ArcSwap::from_pointee(policy),
        move_budget: Bucket::default(),
        mover: MoverControl::default(),
        file_number: AtomicU64::new(0),
        synced_version: AtomicU64::new(0),
        classified_at: Mutex::new(None),
        closing: AtomicBool::new(false),
        environment,
        _locks: locks,
    })
}

/// Files that were being made for ingestion when the process ended are of no use.
fn empty_incoming(layout: &TierLayout) -> Result<()> {
    let folder = layout.incoming();
    identity::create_folder(&folder)?;
    for entry in fs::read_dir(&folder).on("list", &folder)? {
        let path = entry.on("list", &folder)?.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.on("remove the unfinished file", &path)?;
    }
    Ok(())
}

fn in_use(error: EngineError, root: &RootLayout) -> OpenError {
    match error {
        EngineError::Rocks { source, .. } if source.as_ref().contains("lock") && source.as_ref().contains("LOCK") => {
            OpenError::InUse { path: root.0.clone() }
        }
        other => OpenError::Engine(other),
    }
}
