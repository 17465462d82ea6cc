//! How RocksDB is set up for a tier: the defaults of docs/profiles.md, scaled to the memory the process may use.

use super::Medium;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// A compression and its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// None.
    None,
    /// LZ4.
    Lz4,
    /// Zstandard at a level of 1 to 19.
    Zstd(i32),
}

/// The engine profile of one tier. Every field can be overridden; see `docs/profiles.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its share of the one block cache, in bytes.
    pub cache_bytes: u64,
    /// One write buffer, in bytes.
    pub write_buffer_bytes: u64,
    /// Filter bits per key.
    pub filter_bits: u32,
    /// Ribbon filters: 30 % less memory for 3 times the build CPU; right for files that live long.
    pub ribbon: bool,
    /// Compression of the levels that `compression_per_level` does not name.
    pub compression: Compression,
    /// Bytes of a Zstandard dictionary; 0: none.
    pub dictionary_bytes: u32,
    /// Compression of single levels, by level; entries beyond the last repeat it. Empty: `compression` everywhere.
    pub compression_per_level: Vec<Compression>,
    /// One data block, in bytes.
    pub block_bytes: u64,
    /// Table files kept open.
    pub open_files: u32,
}

impl Profile {
    /// The default of a medium, at its full size (a machine with memory to spare).
    ///
    /// Measured reasons (facts in `docs/adr/0003`): 64 KiB blocks on spinning disks only; Zstandard level 3 with a
    /// 16 KiB dictionary has the ratio of level 10 at 3.6 times its speed.
    #[must_use]
    pub const fn for_medium(medium: Medium) -> Self {
        match medium {
            Medium::Nvme => Self {
                cache_bytes: 16 * GIB,
                write_buffer_bytes: 512 * MIB,
                filter_bits: 10,
                ribbon: false,
                compression: Compression::Lz4,
                dictionary_bytes: 0,
                compression_per_level: Vec::new(),
                block_bytes: 8 * KIB,
                open_files: 10_000,
            },
            Medium::Ssd => Self {
                cache_bytes: 4 * GIB,
                write_buffer_bytes: 128 * MIB,
                filter_bits: 8,
                ribbon: false,
                compression: Compression::Zstd(1),
                dictionary_bytes: 0,
                compression_per_level: Vec::new(),
                block_bytes: 16 * KIB,
                open_files: 5_000,
            },
            Medium::Hdd => Self {
                cache_bytes: 512 * MIB,
                write_buffer_bytes: 32 * MIB,
                filter_bits: 5,
                ribbon: true,
                compression: Compression::Zstd(3),
                dictionary_bytes: 16 * 1024,
                compression_per_level: Vec::new(),
                block_bytes: 64 * KIB,
                open_files: 1_000,
            },
        }
    }

    /// The profiles of a store's tiers, scaled down so that caches take at most a third of `memory` and write buffers
    /// (three per fastest tier, one per other) at most a quarter. Never below 1 MiB each.
    #[must_use]
    pub fn scaled(profiles: &[Self], memory: u64) -> Vec<Self> {
        let caches: u64 = profiles.iter().map(|p| p.cache_bytes).sum();
        let buffers: u64 =
            profiles.iter().enumerate().map(|(i, p)| p.write_buffer_bytes * if i == 0 { 3 } else { 1 }).sum();
        let scale = |bytes: u64, wanted: u64, allowed: u64| {
            if wanted <= allowed {
                bytes
            } else {
                let scaled = u128::from(bytes) * u128::from(allowed) / u128::from(wanted.max(1));
                u64::try_from(scaled).unwrap_or(bytes).max(MIB)
            }
        };
        profiles
            .iter()
            .map(|profile| Self {
                cache_bytes: scale(profile.cache_bytes, caches, memory / 3),
                write_buffer_bytes: scale(profile.write_buffer_bytes, buffers, memory / 4),
                ..profile.clone()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_scale_down_with_the_memory_and_never_up() {
        let full = [Medium::Nvme, Medium::Ssd, Medium::Hdd].map(Profile::for_medium);
        assert_eq!(Profile::scaled(&full, 1024 * GIB), full);
        let small = Profile::scaled(&full, GIB);
        let caches: u64 = small.iter().map(|p| p.cache_bytes).sum();
        assert!(caches <= GIB / 3 + 3 * MIB);
        assert!(small[0].cache_bytes > small[1].cache_bytes);
        assert!(small.iter().all(|p| p.write_buffer_bytes >= MIB));
    }
}
