//! Numbers and names that follow from what they are of.

/// FNV-1a: stable over releases, and no secret depends on it.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The number of the job that carries out a Migration, by its uid; never 0.
#[must_use]
pub fn job_of(uid: &str) -> u64 {
    hash(uid).max(1)
}
