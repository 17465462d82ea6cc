//! A bound on the bytes that several calls hold in memory together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bound, and how much of it is held. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ByteBound {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    what: &'static str,
    limit: usize,
    held: AtomicUsize,
}

/// Bytes that are held; given back when it goes.
#[derive(Debug)]
pub struct HeldBytes {
    inner: Arc<Inner>,
    bytes: usize,
}

impl ByteBound {
    /// At most so many bytes at once; `what` holds them.
    pub fn new(what: &'static str, limit: usize) -> Self {
        Self { inner: Arc::new(Inner { what, limit, held: AtomicUsize::new(0) }) }
    }

    /// No bytes yet.
    pub fn nothing(&self) -> HeldBytes {
        HeldBytes { inner: Arc::clone(&self.inner), bytes: 0 }
    }
}

impl HeldBytes {
    /// What holds them.
    pub fn what(&self) -> &'static str {
        self.inner.what
    }

    /// Holds so many more, where they fit; whether they did.
    pub fn grow(&mut self, more: usize) -> bool {
        // A count that guards nothing but itself needs no ordering.
        let grown = self
            .inner
            .held
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                now.checked_add(more).filter(|sum| *sum <= self.inner.limit)
            })
            .is_ok();
        if grown {
            self.bytes += more;
        }
        grown
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.inner.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_not_held_and_what_goes_makes_room() {
        let bound = ByteBound::new("tests", 10);
        let (mut first, mut second) = (bound.nothing(), bound.nothing());
        assert!(first.grow(4) && first.grow(3) && !first.grow(4));
        assert!(second.grow(3) && !second.grow(1));
        drop(first);
        assert!(!second.grow(8) && !second.grow(usize::MAX) && second.grow(7));
        drop(second);
        assert!(bound.nothing().grow(10));
    }
}
