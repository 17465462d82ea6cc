//! A cached record: generation, key, version and value in one allocation, shared by cache and readers.
//!
//! One allocation because a hit costs what it misses in the processor's caches: the line that holds the count of owners
//! holds the key that is compared too.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::size_of;

use quick_cache::Equivalent;
use smallvec::SmallVec;
use triomphe::ThinArc;

/// Keys of up to so many bytes are stored in place.
type StoredKey = SmallVec<[u8; 24]>;

#[derive(PartialEq, Eq)]
struct Header {
    generation: u64,
    version: u64,
    key: StoredKey,
}

/// A cached record; a clone shares it.
#[derive(Clone)]
pub(crate) struct Row(ThinArc<Header, u8>);

/// A row as its cache finds it: by generation and key.
pub(super) struct RowKey(pub(super) Row);

/// What a row is looked up by.
pub(super) struct RowKeyRef<'a> {
    pub(super) generation: u64,
    pub(super) key: &'a [u8],
}

impl Row {
    pub(super) fn new(at: &RowKeyRef<'_>, version: u64, value: &[u8]) -> Self {
        let header = Header { generation: at.generation, version, key: StoredKey::from_slice(at.key) };
        Self(ThinArc::from_header_and_slice(header, value))
    }

    pub(crate) fn version(&self) -> u64 {
        self.0.header.header.version
    }

    pub(crate) fn value(&self) -> &[u8] {
        &self.0.slice
    }

    /// The bytes that it takes.
    pub(super) fn bytes(&self) -> u64 {
        let key = &self.0.header.header.key;
        let apart = if key.spilled() { key.len() } else { 0 };
        (size_of::<Header>() + apart + self.0.slice.len()) as u64
    }
}

impl RowKey {
    fn at(&self) -> RowKeyRef<'_> {
        let Header { generation, version: _, key } = &self.0.0.header.header;
        RowKeyRef { generation: *generation, key }
    }
}

impl Clone for RowKey {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl PartialEq for RowKey {
    fn eq(&self, other: &Self) -> bool {
        self.at().equivalent(other)
    }
}

impl Eq for RowKey {}

impl Hash for RowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.at().hash(state);
    }
}

impl Hash for RowKeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.generation);
        state.write(self.key);
    }
}

impl Equivalent<RowKey> for RowKeyRef<'_> {
    fn equivalent(&self, row: &RowKey) -> bool {
        let Header { generation, version: _, key } = &row.0.0.header.header;
        self.generation == *generation && self.key == key.as_slice()
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header { generation, version, key } = &self.0.header.header;
        write!(formatter, "row of {:?}, generation {generation}, version {version}", key.as_slice())
    }
}
