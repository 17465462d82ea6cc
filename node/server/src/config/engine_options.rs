//! From checked settings to what the engine is opened with.

use thermocline_engine::classify::{Policy, Temperature};
use thermocline_engine::{
    Compression as EngineCompression, Durability, EngineOptions, Medium as EngineMedium, Profile,
    TierSettings as EngineTierSettings, TierSpec,
};
use thermocline_node_config::DefaultDurability;

use super::byte_size::ByteSize;
use super::settings::{Compression, Medium, PolicySettings, ProfileSettings, Settings, TierSettings};

/// The level of zstd where none is stated: the ratio of level 10 is within a few per cent, at 3.6 times the speed.
const DEFAULT_ZSTD_LEVEL: i32 = 3;

impl Settings {
    /// What the engine is opened with, in a process that may use so much memory.
    pub fn engine_options(&self, memory_bytes: u64) -> EngineOptions {
        let tiers = self.tiers.iter().map(TierSettings::specification).collect();
        let mut options = EngineOptions::new(tiers, memory_bytes);
        options.root = Some(self.root.clone());
        let names: Vec<&str> = self.tiers.iter().map(|tier| tier.name.as_str()).collect();
        options.policy = match &self.policy {
            Some(policy) => policy.engine_policy(&names),
            None => Policy::for_tiers(&names),
        };
        options
    }

    /// What an unspecified durability means.
    pub fn engine_durability(&self) -> Durability {
        match self.durability {
            DefaultDurability::Sync => Durability::Sync,
            DefaultDurability::Wal => Durability::Wal,
            DefaultDurability::Buffered => Durability::Buffered,
        }
    }
}

impl TierSettings {
    fn specification(&self) -> TierSpec {
        let medium = match self.medium {
            Medium::Nvme => EngineMedium::Nvme,
            Medium::Ssd => EngineMedium::Ssd,
            Medium::Hdd => EngineMedium::Hdd,
        };
        TierSpec {
            name: self.name.clone(),
            rank: self.rank,
            medium,
            path: self.path.clone(),
            profile: self.profile.over(Profile::for_medium(medium)),
            settings: EngineTierSettings {
                size_bytes: self.size.bytes(),
                reserve_bytes: self.reserve.bytes(),
                high_watermark: self.high_watermark,
                low_watermark: self.low_watermark,
                throttle_bytes_per_second: self.throttle.map(ByteSize::bytes),
            },
        }
    }
}

impl ProfileSettings {
    fn over(&self, medium: Profile) -> Profile {
        let level = self.compression_level.unwrap_or(match medium.compression {
            EngineCompression::Zstd(level) => level,
            EngineCompression::None | EngineCompression::Lz4 => DEFAULT_ZSTD_LEVEL,
        });
        let engine = |kind: Compression| match kind {
            Compression::None => EngineCompression::None,
            Compression::Lz4 => EngineCompression::Lz4,
            Compression::Zstd => EngineCompression::Zstd(level),
        };
        let compression = match (self.compression, medium.compression) {
            (Some(kind), _) => engine(kind),
            (None, EngineCompression::Zstd(_)) => EngineCompression::Zstd(level),
            (None, other) => other,
        };
        let dictionary = self.compression_dictionary.map(|size| u32::try_from(size.bytes()).unwrap_or(u32::MAX));
        let bytes = |stated: Option<ByteSize>, default: u64| stated.map_or(default, ByteSize::bytes);
        Profile {
            cache_bytes: bytes(self.cache, medium.cache_bytes),
            write_buffer_bytes: bytes(self.write_buffer, medium.write_buffer_bytes),
            filter_bits: self.filter_bits.unwrap_or(medium.filter_bits),
            ribbon: medium.ribbon,
            compression,
            dictionary_bytes: dictionary.unwrap_or(medium.dictionary_bytes),
            compression_per_level: per_level(&self.compression_per_level, compression, engine),
            block_bytes: bytes(self.block_size, medium.block_bytes),
            open_files: self.open_files.unwrap_or(medium.open_files),
        }
    }
}

/// The engine repeats the last entry, so after the last level that is named the compression of all stands once more.
fn per_level(
    named: &[(u8, Compression)],
    rest: EngineCompression,
    engine: impl Fn(Compression) -> EngineCompression,
) -> Vec<EngineCompression> {
    let Some(last) = named.iter().map(|(level, _)| *level).max() else {
        return Vec::new();
    };
    (0..=last + 1)
        .map(|level| named.iter().find(|(wanted, _)| *wanted == level).map_or(rest, |(_, kind)| engine(*kind)))
        .collect()
}

impl PolicySettings {
    /// The engine's policy; what is not stated has the engine's default.
    pub fn engine_policy(&self, tiers: &[&str]) -> Policy {
        let defaults = Policy::for_tiers(tiers);
        Policy {
            generation: self.generation,
            paused: self.paused,
            temperatures: if self.temperatures.is_empty() {
                defaults.temperatures
            } else {
                self.temperatures
                    .iter()
                    .map(|entry| Temperature {
                        tier: entry.tier.clone(),
                        reads: entry.reads,
                        per: entry.per,
                        read_within: entry.read_within,
                    })
                    .collect()
            },
            evaluation_interval: self.evaluation_interval.unwrap_or(defaults.evaluation_interval),
            hysteresis: self.hysteresis.unwrap_or(defaults.hysteresis),
            min_residency: self.min_residency.unwrap_or(defaults.min_residency),
            bytes_per_second: self.bytes_per_second.map(ByteSize::bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::config::parse;

    const EXAMPLE: &str = include_str!("../../examples/node.yaml");

    #[test]
    fn the_example_becomes_the_engine_s_options() {
        let options = parse(EXAMPLE, "node.yaml", &[]).unwrap().engine_options(1 << 30);
        assert_eq!(options.root.as_deref(), Some(std::path::Path::new("data/root")));
        let [hot, warm, cold] = options.tiers.as_slice() else { panic!("three tiers") };
        assert_eq!((hot.rank, warm.rank, cold.rank), (0, 10, 20));
        assert_eq!(warm.profile, Profile::for_medium(EngineMedium::Ssd), "nothing was stated");
        assert_eq!(cold.profile.compression, EngineCompression::Zstd(6));
        assert_eq!(
            cold.profile.compression_per_level,
            [EngineCompression::None, EngineCompression::None, EngineCompression::Lz4, EngineCompression::Zstd(6)],
            "levels that are not named have the compression of all"
        );
        assert_eq!(cold.settings.throttle_bytes_per_second, Some(100 << 20));
        assert_eq!(options.policy.bytes_per_second, Some(64 << 20));
        assert!(options.policy.validate(&["hot", "warm", "cold"]).is_ok());
    }

    #[test]
    fn a_configuration_without_a_policy_has_the_engine_s() {
        let mut settings = parse(EXAMPLE, "node.yaml", &[]).unwrap();
        settings.policy = None;
        let options = settings.engine_options(1 << 30);
        assert_eq!(options.policy, Policy::for_tiers(&["hot", "warm", "cold"]));
    }
}
