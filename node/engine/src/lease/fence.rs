//! Fences: ranges that user writes stay out of while they are wiped, installed or bulk loaded.
//!
//! Writers look inside their stripe. Whoever raises a fence then waits once for every stripe: after that no writer that
//! did not see it is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use crate::error::{EngineError, Result, printable_key};
use crate::guard::Guard;
use crate::range::KeyRange;
use crate::write::stripes::Stripes;

type Fenced = (u64, KeyRange, &'static str);

/// The fences that stand.
#[derive(Default)]
pub(crate) struct Fences {
    count: AtomicUsize,
    standing: ArcSwap<Vec<Fenced>>,
}

/// A fence that stands until dropped.
pub(crate) struct Fence<'a> {
    fences: &'a Fences,
    id: u64,
}

impl Fences {
    /// Keeps writers out of a range. `id` is the generation of the lease that covers it: unique.
    pub(crate) fn raise(&self, stripes: &Stripes, id: u64, range: &KeyRange, operation: &'static str) -> Fence<'_> {
        self.standing.rcu(|old| {
            let mut next = Vec::clone(old);
            next.push((id, range.clone(), operation));
            Arc::new(next)
        });
        self.count.fetch_add(1, Ordering::SeqCst);
        stripes.drain_writers();
        Fence { fences: self, id }
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

impl Drop for Fence<'_> {
    fn drop(&mut self) {
        self.fences.standing.rcu(|old| {
            let mut next = Vec::clone(old);
            next.retain(|(id, _, _)| *id != self.id);
            Arc::new(next)
        });
        self.fences.count.fetch_sub(1, Ordering::SeqCst);
    }
}
