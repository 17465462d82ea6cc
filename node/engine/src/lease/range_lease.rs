//! Range leases (I4): only the holder of a range writes slower tiers in it.
//!
//! A lease has a persisted generation. The mover's leases can be revoked by a range operation (wipe, install): the
//! holder checks before every effect, and an effect under way is waited for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::{EngineError, Result};
use crate::format::meta;
use crate::guard::Guard;
use crate::range::KeyRange;
use crate::rocks::Database;

/// Who holds a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The mover; a range operation may take the range from it.
    Mover,
    /// A wipe, an install, a bulk load or the caller: keeps it until it lets go.
    RangeOperation,
}

#[derive(Debug)]
struct State {
    range: KeyRange,
    generation: u64,
    holder: Holder,
    /// Held during an effect. `true`: revoked.
    revoked: Mutex<bool>,
    /// Held during a wipe or an install: the journal has one entry for each lease.
    operation: Mutex<()>,
}

#[derive(Default)]
struct Table {
    held: Vec<Arc<State>>,
    /// The ranges that range operations wait for, each under the number of its wait.
    waiting: Vec<(u64, KeyRange)>,
    last_wait: u64,
    last_generation: u64,
}

/// All leases of a store. Bounded by the number of concurrent movers and range operations.
#[derive(Default)]
pub(crate) struct Leases {
    table: Mutex<Table>,
    released: Condvar,
}

/// The right to write slower tiers in a range, until dropped.
pub struct RangeLease {
    leases: Arc<Leases>,
    state: Arc<State>,
}

impl Leases {
    /// Continues after the stored generation.
    pub(crate) fn open(database: &Database) -> Result<Arc<Self>> {
        let stored = database.get_meta(meta::LEASE_GENERATION)?;
        let bytes: Option<[u8; 8]> = stored.as_deref().and_then(|bytes| bytes.try_into().ok());
        let leases = Self::default();
        leases.table.lock().last_generation = bytes.map_or(0, u64::from_be_bytes);
        Ok(Arc::new(leases))
    }

    /// Takes a range. A range operation revokes the mover's leases on it; other holders are waited for up to `patience`.
    /// While a range operation waits the mover gets none of its range: it would have to take it away again and again.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        database: &Database,
        range: &KeyRange,
        holder: Holder,
        patience: Duration,
    ) -> Result<RangeLease> {
        let mut table = self.table.lock();
        let wait = (holder == Holder::RangeOperation).then(|| table.enter(range));
        let turn = self.wait_for_turn(&mut table, range, holder, patience);
        if let Some(wait) = wait {
            table.waiting.retain(|(other, _)| *other != wait);
        }
        // The mover may have waited for this one to give up.
        if turn.is_err() {
            self.released.notify_all();
        }
        turn?;
        table.last_generation += 1;
        let generation = table.last_generation;
        database.put_meta(meta::LEASE_GENERATION, &generation.to_be_bytes(), false)?;
        let state = Arc::new(State {
            range: range.clone(),
            generation,
            holder,
            revoked: Mutex::default(),
            operation: Mutex::default(),
        });
        table.held.push(Arc::clone(&state));
        drop(table);
        Ok(RangeLease { leases: Arc::clone(self), state })
    }
}

impl Leases {
    /// Returns when nobody is in the way.
    fn wait_for_turn(
        &self,
        table: &mut MutexGuard<'_, Table>,
        range: &KeyRange,
        holder: Holder,
        patience: Duration,
    ) -> Result<()> {
        if !Guard::RangeLease.on() {
            return Ok(());
        }
        // One patience for the whole wait: leases on other ranges come and go all the time, and each wakes everyone.
        self.released.wait_while_for(
            table,
            |table| {
                let blocked = table.blocking(range, holder).is_some();
                if blocked && holder == Holder::RangeOperation {
                    table.revoke_movers(range);
                }
                blocked
            },
            patience,
        );
        table.blocking(range, holder).map_or(Ok(()), |holder| Err(EngineError::RangeHeld { holder }))
    }
}

impl Table {
    /// A range operation waits from now on.
    fn enter(&mut self, range: &KeyRange) -> u64 {
        self.last_wait += 1;
        self.waiting.push((self.last_wait, range.clone()));
        self.last_wait
    }

    fn revoke_movers(&self, range: &KeyRange) {
        for mover in self.held.iter().filter(|s| s.holder == Holder::Mover && s.range.overlaps(range)) {
            // Waits for an effect under way. The table stays locked meanwhile: effects take no lease.
            *mover.revoked.lock() = true;
        }
    }

    /// Who keeps a range from a holder.
    fn blocking(&self, range: &KeyRange, holder: Holder) -> Option<String> {
        let held = self.held.iter().find(|s| s.range.overlaps(range));
        if let Some(held) = held {
            return Some(format!("{:?} on {:?}", held.holder, held.range));
        }
        if holder == Holder::RangeOperation || !Guard::LeaseFairness.on() {
            return None;
        }
        let waiting = self.waiting.iter().find(|(_, waiting)| waiting.overlaps(range));
        waiting.map(|(_, waiting)| format!("{:?}, which waits for {waiting:?}", Holder::RangeOperation))
    }
}

impl RangeLease {
    /// The range held.
    #[must_use]
    pub fn range(&self) -> &KeyRange {
        &self.state.range
    }

    /// Its generation: persisted, higher than that of every earlier lease of the store.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.state.generation
    }

    /// Checks the lease and keeps it from being revoked while the effect happens.
    pub(crate) fn effect(&self, before: &'static str) -> Result<MutexGuard<'_, bool>> {
        let revoked = self.state.revoked.lock();
        if *revoked && Guard::LeaseRecheck.on() {
            return Err(EngineError::LeaseLost { before });
        }
        Ok(revoked)
    }

    /// Begins a wipe or an install under it; waits until another one under it has ended.
    pub(crate) fn begin_operation(&self) -> MutexGuard<'_, ()> {
        self.state.operation.lock()
    }

    /// Whether it was taken from these leases: one of another store gives no right here.
    pub(crate) fn is_of(&self, leases: &Arc<Leases>) -> bool {
        Arc::ptr_eq(&self.leases, leases)
    }

    /// Whether `range` lies within it.
    pub(crate) fn covers(&self, range: &KeyRange) -> bool {
        self.state.range.covers(range)
    }
}

impl Drop for RangeLease {
    fn drop(&mut self) {
        let mut table = self.leases.table.lock();
        table.held.retain(|s| !Arc::ptr_eq(s, &self.state));
        drop(table);
        self.leases.released.notify_all();
    }
}

impl fmt::Debug for RangeLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeLease")
            .field("range", &self.state.range)
            .field("generation", &self.state.generation)
            .finish_non_exhaustive()
    }
}
