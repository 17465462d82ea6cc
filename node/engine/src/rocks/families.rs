//! The open RocksDB and the handles of its column families, looked up once: every read and write would else hash a name.

use rocksdb::{ColumnFamily, DB};
use self_cell::self_cell;

use super::database::META;
use crate::error::{EngineError, Result};

self_cell!(
    /// A database with its handles, which live as long as it does.
    pub(super) struct OpenDatabase {
        owner: DB,
        #[covariant]
        dependent: Families,
    }
);

/// The column families in use, by what they are for.
pub(super) struct Families<'a> {
    /// Fastest first.
    pub(super) tiers: Vec<&'a ColumnFamily>,
    pub(super) meta: &'a ColumnFamily,
}

impl OpenDatabase {
    /// Looks up `meta` and the tiers' families, which the database was opened with. None is dropped from here on.
    pub(super) fn of(db: DB, tiers: &[String]) -> Result<Self> {
        Self::try_new(db, |db| {
            let family = |name: &str| {
                let absent = || EngineError::Invalid(format!("the database was opened without its family {name}"));
                db.cf_handle(name).ok_or_else(absent)
            };
            Ok(Families { tiers: tiers.iter().map(|name| family(name)).collect::<Result<_>>()?, meta: family(META)? })
        })
    }
}
