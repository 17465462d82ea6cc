//! One sampled access, on its way from the read and write paths to the tracker.

/// Read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessKind {
    /// A read, answered from there.
    Read(ServedBy),
    /// A write or delete.
    Write,
}

/// What answered a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServedBy {
    /// The row cache.
    Cache,
    /// The tier with this index, 0 the fastest.
    Tier(u8),
    /// No tier has the key. Such reads warm the range, never the key.
    Nothing,
}

/// A sampled access. Stands for `weight` accesses like it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessEvent {
    /// The user's key.
    pub key: Box<[u8]>,
    /// Bytes of key and value read or written.
    pub bytes: u32,
    /// Read or write.
    pub kind: AccessKind,
    /// How many accesses the sample stands for.
    pub weight: u32,
}
