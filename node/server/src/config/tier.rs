//! Checks the tiers: each by itself, then against each other.

use thermocline_node_config::{ProfileConfig, TierConfig, defaults};

use super::amounts::size;
use super::byte_size::ByteSize;
use super::error::Problems;
use super::settings::{Compression, Medium, ProfileSettings, TierSettings};

/// A tier smaller than this could not hold its write buffers and one compaction.
const LEAST_SIZE: ByteSize = ByteSize::mebibytes(8);
const MOST_DEFAULT_RESERVE: ByteSize = ByteSize::mebibytes(1024);
const MOST_LEVELS: u8 = 7;

/// The tiers, or `None` with the problems noted.
pub(super) fn check(problems: &mut Problems, tiers: &[TierConfig]) -> Option<Vec<TierSettings>> {
    for (index, tier) in tiers.iter().enumerate() {
        against_faster(problems, index, tier, tiers.get(..index).unwrap_or_default());
    }
    let parsed: Vec<Option<TierSettings>> =
        tiers.iter().enumerate().map(|(index, tier)| one(problems, &format!("tiers[{index}]"), tier)).collect();
    parsed.into_iter().collect()
}

fn against_faster(problems: &mut Problems, index: usize, tier: &TierConfig, faster: &[TierConfig]) {
    for (other, earlier) in faster.iter().enumerate() {
        if earlier.name == tier.name {
            problems.add(
                format!("tiers[{index}].name"),
                format!("`{}` is also tiers[{other}].name", tier.name),
                "a name of its own for each tier",
            );
        }
        if tier.path.starts_with(&earlier.path) || earlier.path.starts_with(&tier.path) {
            problems.add(
                format!("tiers[{index}].path"),
                format!(
                    "{} and {} (tiers[{other}].path) lie in each other",
                    tier.path.display(),
                    earlier.path.display()
                ),
                "a folder of its own for each tier, none inside another",
            );
        }
    }
    if let Some(previous) = faster.last()
        && previous.rank >= tier.rank
    {
        problems.add(
            format!("tiers[{index}].rank"),
            format!("{} does not come after {}", tier.rank, previous.rank),
            "ranks that grow from the fastest tier to the slowest, such as 0, 10, 20",
        );
    }
}

fn one(problems: &mut Problems, field: &str, tier: &TierConfig) -> Option<TierSettings> {
    let named = !tier.name.is_empty()
        && tier.name.len() <= 63
        && tier.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !named {
        problems.add(
            format!("{field}.name"),
            format!("`{}` is not a tier name", tier.name),
            "1 to 63 lower-case letters, digits or `-`",
        );
    }
    let medium = Medium::ALL.into_iter().find(|medium| medium.name() == tier.medium);
    if medium.is_none() {
        problems.add(format!("{field}.medium"), format!("`{}` is not a medium", tier.medium), "NVMe, SSD or HDD");
    }
    if tier.path.as_os_str().is_empty() {
        problems.add(format!("{field}.path"), "is empty", "a folder on the tier's device");
    }
    let size_bytes = size(problems, &format!("{field}.size"), &tier.size, LEAST_SIZE);
    let reserve = reserve(problems, field, tier.reserve.as_deref(), size_bytes);
    let (high_watermark, low_watermark) = watermarks(problems, field, tier);
    let throttle = tier
        .throttle
        .as_deref()
        .and_then(|text| size(problems, &format!("{field}.throttle"), text, ByteSize::new(4096)));
    let profile = profile(problems, &format!("{field}.profile"), &tier.profile);
    Some(TierSettings {
        name: tier.name.clone(),
        rank: tier.rank,
        medium: medium?,
        path: tier.path.clone(),
        size: size_bytes?,
        reserve: reserve?,
        high_watermark,
        low_watermark,
        throttle,
        profile,
    })
}

fn reserve(problems: &mut Problems, field: &str, text: Option<&str>, size_bytes: Option<ByteSize>) -> Option<ByteSize> {
    let field = format!("{field}.reserve");
    match text {
        None => size_bytes.map(|size| MOST_DEFAULT_RESERVE.min(ByteSize::new(size.bytes() / 20))),
        Some(text) => {
            let reserve = size(problems, &field, text, ByteSize::new(0))?;
            if size_bytes.is_some_and(|size| reserve >= size) {
                problems.add(field, format!("`{text}` leaves nothing of the tier"), "less than the tier's size");
            }
            Some(reserve)
        }
    }
}

fn watermarks(problems: &mut Problems, field: &str, tier: &TierConfig) -> (f64, f64) {
    let high = tier.high_watermark_percent.unwrap_or(defaults::HIGH_WATERMARK_PERCENT);
    let low = tier.low_watermark_percent.unwrap_or_else(|| defaults::LOW_WATERMARK_PERCENT.min(high.saturating_sub(1)));
    if !(2..=100).contains(&high) {
        problems.add(format!("{field}.highWatermarkPercent"), format!("{high} is out of range"), "2 to 100");
    }
    if low == 0 || low >= high {
        problems.add(
            format!("{field}.lowWatermarkPercent"),
            format!("{low} is out of range"),
            format!("at least 1 and less than highWatermarkPercent ({high})"),
        );
    }
    (f64::from(high) / 100.0, f64::from(low) / 100.0)
}

fn profile(problems: &mut Problems, field: &str, profile: &ProfileConfig) -> ProfileSettings {
    let mut sized = |name: &str, text: &Option<String>, least: u64, most: u64| {
        let path = format!("{field}.{name}");
        let parsed = size(problems, &path, text.as_deref()?, ByteSize::new(least))?;
        if parsed.bytes() > most {
            problems.add(path, format!("{parsed} is too large"), format!("at most {}", ByteSize::new(most)));
        }
        Some(parsed)
    };
    let cache = sized("cache", &profile.cache, 1 << 20, u64::MAX);
    let write_buffer = sized("writeBuffer", &profile.write_buffer, 1 << 16, 1 << 36);
    let compression_dictionary = sized("compressionDictionary", &profile.compression_dictionary, 0, 1 << 20);
    let block_size = sized("blockSize", &profile.block_size, 1 << 10, 1 << 20);
    let mut within = |name: &str, value: Option<i64>, least: i64, most: i64| {
        if value.is_some_and(|value| !(least..=most).contains(&value)) {
            problems.add(
                format!("{field}.{name}"),
                format!("{} is out of range", value.unwrap_or_default()),
                format!("{least} to {most}"),
            );
        }
    };
    within("filterBits", profile.filter_bits.map(i64::from), 1, 30);
    within("compressionLevel", profile.compression_level.map(i64::from), 1, 19);
    within("openFiles", profile.open_files.map(i64::from), 16, 1_000_000);
    let compression =
        profile.compression.as_deref().and_then(|text| compression(problems, &format!("{field}.compression"), text));
    let mut compression_per_level = Vec::new();
    for (level, text) in &profile.compression_per_level {
        let path = format!("{field}.compressionPerLevel[\"{level}\"]");
        match level.parse::<u8>() {
            Ok(number) if number < MOST_LEVELS => {
                if let Some(kind) = self::compression(problems, &path, text) {
                    compression_per_level.push((number, kind));
                }
            }
            _ => problems.add(path, format!("`{level}` is not a level"), "\"0\" to \"6\""),
        }
    }
    ProfileSettings {
        cache,
        write_buffer,
        filter_bits: profile.filter_bits,
        compression,
        compression_level: profile.compression_level,
        compression_dictionary,
        compression_per_level,
        block_size,
        open_files: profile.open_files,
    }
}

fn compression(problems: &mut Problems, field: &str, text: &str) -> Option<Compression> {
    let kind = Compression::ALL.into_iter().find(|kind| kind.name() == text);
    if kind.is_none() {
        problems.add(field, format!("`{text}` is not a compression"), "none, lz4 or zstd");
    }
    kind
}
