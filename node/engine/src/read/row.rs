//! A cached record: generation, key, version and value in one allocation, shared by cache and readers.
//!
//! One allocation because a hit costs what it misses in the processor's caches: the line that holds the count of owners
//! holds the key that is compared too, where it is short.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::size_of;

use quick_cache::Equivalent;
use triomphe::ThinArc;

struct Header {
    generation: u64,
    version: u64,
    key_length: usize,
}

/// A cached record; a clone shares it. Its slice is the key, then the value.
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
        let header = Header { generation: at.generation, version, key_length: at.key.len() };
        Self(ThinArc::from_header_and_slice(header, &[at.key, value].concat()))
    }

    pub(crate) fn version(&self) -> u64 {
        self.0.header.header.version
    }

    pub(crate) fn value(&self) -> &[u8] {
        &self.0.slice[self.0.header.header.key_length..]
    }

    fn at(&self) -> RowKeyRef<'_> {
        let Header { generation, version: _, key_length } = self.0.header.header;
        RowKeyRef { generation, key: &self.0.slice[..key_length] }
    }

    /// The bytes that it takes.
    pub(super) fn bytes(&self) -> u64 {
        (size_of::<Header>() + self.0.slice.len()) as u64
    }
}

impl PartialEq for RowKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.at().equivalent(other)
    }
}

impl Eq for RowKey {}

impl Hash for RowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.at().hash(state);
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
        let RowKeyRef { generation, key } = row.0.at();
        self.generation == generation && self.key == key
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RowKeyRef { generation, key } = self.at();
        write!(formatter, "row of b\"{}\", generation {generation}, version {}", key.escape_ascii(), self.version())
    }
}
