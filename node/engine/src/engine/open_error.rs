//! Why a store is refused at opening.

use std::path::PathBuf;

use crate::classify::PolicyError;
use crate::error::EngineError;
use crate::tier::TierId;
use crate::tier::identity::FORMAT;

/// Why a store could not be opened. Its records are where they were, and so are its tiers. What is refused before the
/// database is opened has changed nothing; new folders may have been made. [`TierHoldsData`](Self::TierHoldsData) and
/// [`SyncedWritesLost`](Self::SyncedWritesLost) are found out behind that: new tiers are known to the store then, with
/// identity files, and labels are those of the options.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("the data folder {} is in use by another process; stop that one first", path.display())]
    InUse {
        /// The store's root, or the folder of a tier.
        path: PathBuf,
    },
    /// The options contradict themselves.
    #[error("the options are not usable: {0}")]
    Options(String),
    /// The policy does not fit the tiers.
    #[error("the policy does not fit the tiers")]
    Policy(#[source] PolicyError),
    /// Two tiers are one: it would hold the other's data, and each would delete the other's files.
    #[error(
        "tiers {first} in {} and {second} in {} are the same: {how}; give each tier a folder of its own",
        first_path.display(), second_path.display()
    )]
    SameTier {
        /// The faster one.
        first: String,
        /// Its folder.
        first_path: PathBuf,
        /// The other one.
        second: String,
        /// Its folder.
        second_path: PathBuf,
        /// In what.
        how: Same,
    },
    /// The tiers belong to a store whose root is elsewhere: by default it is in the tier that was the fastest at first.
    #[error(
        "tier {tier} in {} belongs to the store {store}, and there is no store in the root folder {}; {advice}",
        path.display(), root.display()
    )]
    RootElsewhere {
        /// The tier.
        tier: String,
        /// Its folder.
        path: PathBuf,
        /// The store it belongs to.
        store: TierId,
        /// Where the root was looked for.
        root: PathBuf,
        /// What to set.
        advice: String,
    },
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
        "tier {tier} in {} holds data and is not among the tiers to open; open the store with it again, then move \
         its records to another tier",
        path.display()
    )]
    TierHoldsData {
        /// The tier.
        tier: String,
        /// Its folder.
        path: PathBuf,
    },
    /// The tiers have files of a database that is not there.
    #[error(
        "there is no database in {} (no file CURRENT), and {} holds files of one; mount the root's device or restore that \
         folder, or open a checkpoint or new, empty folders instead: opened as it is, the store would lose those files",
        database.display(), files.display()
    )]
    DatabaseLost {
        /// Where the database should be.
        database: PathBuf,
        /// A folder with its files.
        files: PathBuf,
    },
    /// A tier has files that the database knows nothing of.
    #[error(
        "tier {tier} has files in {} and the database in {} does not know the tier, it would delete them; restore the \
         database that belongs to them, or move them away if the tier was drained before it left the store",
        files.display(), database.display()
    )]
    TierUnknown {
        /// The tier.
        tier: String,
        /// The folder with its files.
        files: PathBuf,
        /// Where the database is.
        database: PathBuf,
    },
    /// The log lacks writes that were synced: it was damaged, or it does not belong to the database. RocksDB takes a damaged
    /// record for the end of its log, and has let go of what came after it.
    #[error(
        "the store lost writes that were synced: the log in {} was synced up to sequence {synced}, and what can be read of \
         it ends at {found}; restore the store from a checkpoint, or delete {} to open it without what was written last, \
         writes acknowledged as sync among it",
        wal.display(), mark.display()
    )]
    SyncedWritesLost {
        /// The folder of the log.
        wal: PathBuf,
        /// The file that says how far it was synced.
        mark: PathBuf,
        /// The last sequence number that is known to have been synced.
        synced: u64,
        /// The last one there is.
        found: u64,
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

/// In what two tiers are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Same {
    /// The paths lead to one folder.
    Folder,
    /// The folders hold the identity of one tier.
    Identity(TierId),
}

impl std::fmt::Display for Same {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder => f.write_str("both paths lead to one folder"),
            Self::Identity(id) => write!(f, "both have the identity of tier {id}, one is a copy"),
        }
    }
}
