//! The engine profile of a tier: what differs from the defaults of its medium.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FieldError, sized};
use crate::quantity::ByteSize;
use crate::schema::byte_size;

/// Overrides of a medium's engine profile; a field that is absent keeps the medium's default.
///
/// The rule stands here and not on the field, since it looks at three of them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.compressionLevel) || !has(self.compression) || self.compression == 'Zstd'")
    .message("compressionLevel is for compression: Zstd; leave it out with None or LZ4"))]
#[x_kube(validation = Rule::new("!has(self.compressionDictionary) || !has(self.compression) || self.compression == 'Zstd'")
    .message("compressionDictionary is for compression: Zstd; leave it out with None or LZ4"))]
pub struct EngineProfile {
    /// Share of the node's block cache, at least `1Mi`; shares are scaled down with the memory that the node may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "byte_size")]
    pub cache: Option<String>,
    /// Size of a write buffer, such as `128Mi`; from `64Ki` to `64Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "byte_size")]
    pub write_buffer: Option<String>,
    /// Bits per key of the filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 30))]
    pub filter_bits: Option<i32>,
    /// Compression of every level that `compressionPerLevel` does not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Level of Zstd: higher is smaller and slower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 19))]
    pub compression_level: Option<i32>,
    /// Size of the Zstd dictionary, such as `16Ki`; at most `1Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "byte_size")]
    pub compression_dictionary: Option<String>,
    /// Compression of single levels of the tree, over `compression`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["level".into()]))]
    pub compression_per_level: Vec<LevelCompression>,
    /// Size of a data block: a power of two from `1Ki` to `256Ki`. Small blocks for fast media, large ones for slow ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(1|2|4|8|16|32|64|128|256)Ki$"))]
    pub block_size: Option<String>,
    /// Table files kept open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 1_000_000))]
    pub open_files: Option<i32>,
}

/// How blocks are compressed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast.
    #[serde(rename = "LZ4")]
    Lz4,
    /// Small.
    Zstd,
}

impl Compression {
    /// As a node's configuration writes it.
    #[must_use]
    pub const fn as_config(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Compression of one level.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LevelCompression {
    /// The level, 0 to 6.
    #[schemars(range(min = 0, max = 6))]
    pub level: i32,
    /// How its blocks are compressed.
    pub compression: Compression,
}

/// An [`EngineProfile`] that can be followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValidatedProfile {
    /// Share of the block cache.
    pub cache: Option<ByteSize>,
    /// Size of a write buffer.
    pub write_buffer: Option<ByteSize>,
    /// Bits per key of the filter.
    pub filter_bits: Option<u32>,
    /// Compression of the levels not named.
    pub compression: Option<Compression>,
    /// Level of Zstd.
    pub compression_level: Option<i32>,
    /// Size of the Zstd dictionary.
    pub compression_dictionary: Option<ByteSize>,
    /// Compression of single levels.
    pub compression_per_level: Vec<LevelCompression>,
    /// Size of a data block.
    pub block_size: Option<ByteSize>,
    /// Table files kept open.
    pub open_files: Option<u32>,
}

impl TryFrom<&EngineProfile> for ValidatedProfile {
    type Error = FieldError;

    fn try_from(profile: &EngineProfile) -> Result<Self, FieldError> {
        let size = |name: &str, text: Option<&String>, least: &str, most: Option<&str>| {
            text.map(|text| sized(&format!("spec.profile.{name}"), text, least, most)).transpose()
        };
        let count = |path: &str, value: Option<i32>| {
            value
                .map(|value| {
                    u32::try_from(value).map_err(|_| FieldError {
                        field: path.to_owned(),
                        message: format!("{value} must not be negative"),
                    })
                })
                .transpose()
        };
        Ok(Self {
            cache: size("cache", profile.cache.as_ref(), "1Mi", None)?,
            write_buffer: size("writeBuffer", profile.write_buffer.as_ref(), "64Ki", Some("64Gi"))?,
            filter_bits: count("spec.profile.filterBits", profile.filter_bits)?,
            compression: profile.compression,
            compression_level: profile.compression_level,
            compression_dictionary: size(
                "compressionDictionary",
                profile.compression_dictionary.as_ref(),
                "1",
                Some("1Mi"),
            )?,
            compression_per_level: profile.compression_per_level.clone(),
            block_size: size("blockSize", profile.block_size.as_ref(), "1Ki", Some("256Ki"))?,
            open_files: count("spec.profile.openFiles", profile.open_files)?,
        })
    }
}
