//! Fences: ranges that user writes stay out of while they are wiped, installed or bulk loaded.
//!
//! Writers look inside their stripe. Whoever raises a fence then waits once for every stripe: after that no writer that
//! did not see it is left. Rising and going it counts as a write to every stripe, so nothing that was read before is
//! copied up after. A fence stays where its operation failed half done: opening the store empties the range, so nothing
//! may be acknowledged in it, written, loaded or installed, until then, or until the range is wiped or installed wholly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use crate::error::{EngineError, Result, printable_key};
use crate::guard::Guard;
use crate::range::KeyRange;
use crate::write::stripes::Stripes;

type Fenced = (u64, KeyRange, &'static str);

/// The fences that stand.
#[derive(Default)]
pub(crate) struct Fences {
    last_id: AtomicU64,
    count: AtomicUsize,
    standing: ArcSwap<Vec<Fenced>>,
}

/// A fence that stands until dropped.
pub(crate) struct Fence<'a> {
    fences: &'a Fences,
    stripes: &'a Stripes,
    id: u64,
    stays: bool,
}

impl Fences {
    /// Keeps writers out of a range.
    pub(crate) fn raise<'a>(&'a self, stripes: &'a Stripes, range: &KeyRange, operation: &'static str) -> Fence<'a> {
        let id = self.last_id.fetch_add(1, Ordering::SeqCst) + 1;
        self.standing.rcu(|old| {
            let mut next = Vec::clone(old);
            next.push((id, range.clone(), operation));
            Arc::new(next)
        });
        self.count.fetch_add(1, Ordering::SeqCst);
        stripes.disturb();
        Fence { fences: self, stripes, id, stays: false }
    }

    /// Refuses to bring records into a range where a failed operation has left its fence: opening the store would empty
    /// it again. `replaced`: the range is emptied first and then known to be whole, so fences within it do not count.
    ///
    /// Asked under the range's lease: what stands there has stayed.
    pub(crate) fn admit(&self, range: &KeyRange, replaced: bool) -> Result<()> {
        let standing = self.standing.load();
        let in_the_way = |fenced: &KeyRange| fenced.overlaps(range) && !(replaced && range.covers(fenced));
        match standing.iter().find(|(_, fenced, _)| in_the_way(fenced)) {
            Some((_, fenced, operation)) if Guard::RangeFence.on() => {
                Err(EngineError::RangeFenced { key: printable_key(fenced.start()), operation })
            }
            _ => Ok(()),
        }
    }

    /// Takes down what failed operations left standing within a range that is whole again.
    pub(crate) fn lift(&self, range: &KeyRange) {
        self.remove(|(_, fenced, _)| range.covers(fenced));
    }

    fn remove(&self, goes: impl Fn(&Fenced) -> bool) {
        let standing = self.standing.rcu(|old| {
            let mut next = Vec::clone(old);
            next.retain(|fenced| !goes(fenced));
            Arc::new(next)
        });
        let gone = standing.iter().filter(|fenced| goes(fenced)).count();
        self.count.fetch_sub(gone, Ordering::SeqCst);
    }

    /// Whether a writer may write this key; asked inside the key's stripe.
    pub(crate) fn check(&self, key: &[u8]) -> Result<()> {
        if self.count.load(Ordering::SeqCst) == 0 || !Guard::RangeFence.on() {
            return Ok(());
        }
        let standing = self.standing.load();
        match standing.iter().find(|(_, range, _)| range.contains(key)) {
            None => Ok(()),
            Some((_, _, operation)) => Err(EngineError::RangeFenced { key: printable_key(key), operation }),
        }
    }
}

impl Fence<'_> {
    /// Leaves the fence standing: its operation is half done.
    pub(crate) fn stay(mut self) {
        self.stays = true;
    }
}

impl Drop for Fence<'_> {
    fn drop(&mut self) {
        // A panic leaves an operation half done too.
        if self.stays || std::thread::panicking() {
            return;
        }
        self.stripes.disturb();
        self.fences.remove(|(id, _, _)| *id == self.id);
    }
}
