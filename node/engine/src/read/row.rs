//! A cached record: generation, key, version and value in one allocation, shared by cache and readers.
//!
//! One allocation because a hit costs what it misses in the processor's caches: the line that holds the count of owners
//! holds the key that is compared and the mark of use too, where the key is short.

use std::fmt;
use std::mem::size_of;
use std::sync::atomic::{AtomicBool, Ordering};

use triomphe::ThinArc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a row takes beside header, key and value: owners and length (16), the allocator's own (16), its slot of a table
/// that is between 7/16 and 7/8 full (9 to 21).
const OVERHEAD: u64 = 52;

struct Header {
    generation: u64,
    version: u64,
    key_length: u32,
    used: AtomicBool,
}

/// A cached record; a clone shares it. Its slice is the key, then the value.
#[derive(Clone)]
pub(crate) struct Row(ThinArc<Header, u8>);

/// What a row is looked up by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct RowKey<'a> {
    pub(super) generation: u64,
    pub(super) key: &'a [u8],
}

impl RowKey<'_> {
    pub(super) fn hash(&self) -> u64 {
        xxh3_64_with_seed(self.key, self.generation)
    }
}

impl Row {
    pub(super) fn new(at: RowKey<'_>, version: u64, value: &[u8]) -> Self {
        // Keys are at most 4 KiB.
        let header = Header {
            generation: at.generation,
            version,
            key_length: at.key.len() as u32,
            used: AtomicBool::new(false),
        };
        Self(ThinArc::from_header_and_slice(header, &[at.key, value].concat()))
    }

    fn header(&self) -> &Header {
        &self.0.header.header
    }

    pub(crate) fn version(&self) -> u64 {
        self.header().version
    }

    pub(crate) fn value(&self) -> &[u8] {
        &self.0.slice[self.header().key_length as usize..]
    }

    pub(super) fn at(&self) -> RowKey<'_> {
        let Header { generation, key_length, version: _, used: _ } = *self.header();
        RowKey { generation, key: &self.0.slice[..key_length as usize] }
    }

    /// Notes that it was asked for. Stored only where it is news: a store would take the line from other readers.
    pub(super) fn mark_used(&self) {
        if !self.header().used.load(Ordering::Relaxed) {
            self.header().used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was asked for since this was last called.
    pub(super) fn take_used(&self) -> bool {
        self.header().used.swap(false, Ordering::Relaxed)
    }

    /// What it costs a cache, in bytes.
    pub(super) fn cost(&self) -> u64 {
        (size_of::<Header>() + self.0.slice.len()) as u64 + OVERHEAD
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RowKey { generation, key } = self.at();
        write!(formatter, "row of b\"{}\", generation {generation}, version {}", key.escape_ascii(), self.version())
    }
}
