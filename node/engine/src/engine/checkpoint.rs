//! Checkpoints: a store of its own in a new folder, hard-linked where the file system allows.
//!
//! The result opens like any store: `FOLDER/root` and `FOLDER/tiers/NAME`. The mover stays out meanwhile (a lease on
//! everything), so slower tiers stand still; user writes wait only while the fastest tier's last buffer is flushed and
//! `meta` is read, so both are of one moment.

use std::path::Path;
use std::time::Duration;

use super::Inner;
use crate::error::{EngineError, Result, RocksContext};
use crate::lease::Holder;
use crate::limits::STRIPES;
use crate::range::KeyRange;
use crate::rocks::TierHandle;
use crate::tier::identity::{self, FORMAT};
use crate::tier::{Profile, RootLayout, StoreIdentity, TierId, TierIdentity, TierLayout};

/// How long a checkpoint waits for a move or range operation under way.
const PATIENCE: Duration = Duration::from_secs(30);

impl Inner {
    pub(crate) fn checkpoint(&self, folder: &Path) -> Result<()> {
        if folder.exists() {
            return Err(EngineError::Invalid(format!(
                "{} exists already; a checkpoint goes to a new folder",
                folder.display()
            )));
        }
        let _lease = self.leases.acquire(&self.database, &KeyRange::all(), Holder::RangeOperation, PATIENCE)?;
        let root = RootLayout(folder.join("root"));
        let tiers: Vec<TierIdentity> = self
            .tiers
            .iter()
            .map(|t| TierIdentity { path: folder.join("tiers").join(t.name()), ..t.identity.clone() })
            .collect();
        identity::create_folder(&root.database())?;
        identity::create_folder(&root.wal())?;
        for tier in &tiers {
            identity::create_folder(&TierLayout(tier.path.clone()).data())?;
        }
        let exported = |index: usize| tiers[index].path.join("export");
        let slower: Vec<_> = (1..tiers.len())
            .map(|i| self.database.keep_tier(i)?.export(exported(i), &self.environment))
            .collect::<Result<_>>()?;
        // Most of the fastest tier is flushed before writers are held up.
        self.buffered.flush(&self.database)?;
        self.database.raw().flush_cf(self.database.tier(0)).attempting("flush the fastest tier")?;
        let (fastest, meta) = {
            let mut all = (0..STRIPES as u32).collect();
            let _no_writers = self.stripes.hold(&mut all);
            self.buffered.flush(&self.database)?;
            (self.database.keep_tier(0)?, self.database.meta_records()?)
        };
        // With writers at work again: to another file system the whole tier is copied.
        let fastest = fastest.export(exported(0), &self.environment)?;
        let handles = tiers.iter().map(|identity| TierHandle {
            column_family: identity.column_family(),
            data: TierLayout(identity.path.clone()).data(),
            profile: Profile::for_medium(identity.medium),
        });
        let parts = handles.zip(std::iter::once(fastest).chain(slower)).collect();
        self.database.assemble(&root.database(), &root.wal(), parts, &meta)?;

        self.heat.store_at(&root.heat())?;
        for tier in &tiers {
            identity::write(&TierLayout(tier.path.clone()).identity(), tier)?;
        }
        let store = tiers.first().map_or(TierId(0), |t| t.store);
        // Last: a folder without it is no finished checkpoint.
        identity::write(&root.identity(), &StoreIdentity { format: FORMAT, store, tiers })
    }
}
