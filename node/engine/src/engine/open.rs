//! Opening a store: identities, the database, recovery, background threads.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::background::Background;
use super::{Engine, Inner};
use crate::classify::{Policy, PolicyError, ValidPolicy};
use crate::environment::Environment;
use crate::error::{EngineError, IoContext, Result};
use crate::format::meta;
use crate::lease::{Fences, Leases};
use crate::limits::MAX_TIERS;
use crate::mover::{Bucket, MoverControl};
use crate::options::EngineOptions;
use crate::prefetch::Prefetch;
use crate::read::readers::Readers;
use crate::read::row_cache::RowCache;
use crate::rocks::{Database, Opening, TierHandle};
use crate::space::{Space, Watched};
use crate::stats::Stats;
use crate::temperature::Temperature;
use crate::tier::identity::{self, FORMAT};
use crate::tier::{Profile, RootLayout, StoreIdentity, TierId, TierIdentity, TierLayout, TierSpec, TierState};
use crate::write::buffered::Buffered;
use crate::write::stripes::Stripes;
use crate::write::versions::Versions;

/// Why a store could not be opened. Nothing of it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("the data folder {} is in use by another process; stop that one first", path.display())]
    InUse {
        /// The store's root.
        path: PathBuf,
    },
    /// The options contradict themselves.
    #[error("the options are not usable: {0}")]
    Options(String),
    /// The policy does not fit the tiers.
    #[error("the policy does not fit the tiers")]
    Policy(#[source] PolicyError),
    /// A folder belongs to another store.
    #[error(
        "the folder {} of tier {tier} belongs to another store ({found}, not {expected}); \
         mount the right device or name another folder", path.display()
    )]
    ForeignTier {
        /// The tier as configured.
        tier: String,
        /// Its folder.
        path: PathBuf,
        /// The store the folder belongs to.
        found: TierId,
        /// This store.
        expected: TierId,
    },
    /// A tier's folder has lost its identity.
    #[error(
        "tier {tier} was in {} and is not there: no identity file; mount its device before opening the store",
        path.display()
    )]
    TierMissing {
        /// The tier.
        tier: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// A tier that holds data is not among the options.
    #[error(
        "tier {tier} in {} holds data and is not among the tiers to open; empty it first (drain) or add it again",
        path.display()
    )]
    TierHoldsData {
        /// The tier.
        tier: String,
        /// Its folder.
        path: PathBuf,
    },
    /// The layout on disk is of another version.
    #[error("the store has format {found}, this version reads {FORMAT}")]
    Format {
        /// What is on disk.
        found: u32,
    },
    /// The store could not be read or recovered.
    #[error("open the store")]
    Engine(#[from] EngineError),
}

/// What opening found out before the database is touched.
struct Plan {
    root: RootLayout,
    store: StoreIdentity,
    /// Fastest first, with what is configured.
    tiers: Vec<(TierIdentity, TierSpec)>,
    leaving: Vec<TierIdentity>,
}

impl Engine {
    /// Opens a store, or makes a new one where there is none.
    ///
    /// # Errors
    /// See [`OpenError`]; a store is refused rather than opened without data it once had.
    pub fn open(options: EngineOptions, environment: Environment) -> Result<Self, OpenError> {
        let plan = plan(&options, &environment)?;
        let policy = valid_policy(&options.policy, &plan.tiers)?;
        let inner = Arc::new(open_inner(&options, environment, plan, policy)?);
        inner.recover()?;
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

fn check(options: &EngineOptions) -> Result<Vec<TierSpec>, OpenError> {
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
            } else if other.path == tier.path {
                "folder"
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

/// Compares what is configured with what is on disk.
fn plan(options: &EngineOptions, environment: &Environment) -> Result<Plan, OpenError> {
    let specs = check(options)?;
    let root = RootLayout(options.root.clone().unwrap_or_else(|| specs[0].path.join("root")));
    let known: Option<StoreIdentity> = identity::read(&root.identity())?;
    if let Some(found) = known.as_ref().map(|s| s.format).filter(|f| *f != FORMAT) {
        return Err(OpenError::Format { found });
    }
    let mut random = ChaCha8Rng::seed_from_u64(environment.seed ^ environment.clock.wall().as_nanos() as u64);
    let store =
        known.unwrap_or_else(|| StoreIdentity { format: FORMAT, store: TierId(random.next_u64()), tiers: Vec::new() });
    let mut tiers = Vec::new();
    for spec in specs {
        let on_device: Option<TierIdentity> = identity::read(&TierLayout(spec.path.clone()).identity())?;
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

fn open_inner(
    options: &EngineOptions,
    environment: Environment,
    plan: Plan,
    policy: ValidPolicy,
) -> Result<Inner, OpenError> {
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
    let on_disk = Database::column_families(&root.database())?;
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
        tiers: handles,
        leaving: leaving_handles,
    });
    let (database, occupied) = opened.map_err(|error| in_use(error, &root))?;
    if let Some(tier) = leaving.iter().find(|i| occupied.contains(&i.column_family())) {
        return Err(OpenError::TierHoldsData { tier: tier.name.clone(), path: tier.path.clone() });
    }
    // Only now, behind RocksDB's lock: a process that is refused must not take files from the one that has the store.
    for (identity, _) in &tiers {
        empty_incoming(&TierLayout(identity.path.clone()))?;
    }
    let now_known = StoreIdentity { tiers: tiers.iter().map(|(i, _)| i.clone()).collect(), ..with_leaving };
    identity::write(&root.identity(), &now_known)?;
    let encoded =
        serde_json::to_vec(&now_known).map_err(|error| EngineError::Invalid(format!("encode the tiers: {error}")))?;
    database.put_meta(meta::STORE, &encoded, true)?;

    let mut watched: Vec<_> = tiers
        .iter()
        .map(|(i, spec)| Watched::new(format!("tier {}", i.name), i.path.clone(), spec.settings.reserve_bytes))
        .collect();
    watched.push(Watched::new("log".to_owned(), root.wal(), tiers[0].1.settings.reserve_bytes));
    let row_cache_bytes = options.row_cache_bytes.unwrap_or(options.memory_bytes / 10);
    let heat = Temperature::open(
        &database,
        tiers[0].1.settings.size_bytes,
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
        row_cache: RowCache::new(row_cache_bytes),
        readers: Readers::default(),
        fences: Fences::default(),
        space: Space::new(Arc::clone(&environment.probe), watched),
        stats: Stats::default(),
        heat,
        prefetch: Prefetch::default(),
        policy: ArcSwap::from_pointee(policy),
        move_budget: Bucket::default(),
        mover: MoverControl::default(),
        file_number: AtomicU64::new(0),
        synced_version: AtomicU64::new(0),
        classified_at: Mutex::new(None),
        closing: AtomicBool::new(false),
        environment,
    })
}

/// Files that were being made for ingestion when the process ended are of no use.
fn empty_incoming(layout: &TierLayout) -> Result<()> {
    let folder = layout.incoming();
    identity::create_folder(&folder)?;
    for entry in fs::read_dir(&folder).on("list", &folder)? {
        let path = entry.on("list", &folder)?.path();
        fs::remove_file(&path).on("remove the unfinished file", &path)?;
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
