//! What an export consists of.

use serde::{Deserialize, Serialize};

use super::LogicalHash;
use crate::range::KeyRange;

/// The version of the export's layout.
pub(crate) const FORMAT: u32 = 1;
/// The manifest's file in an export's folder.
pub(crate) const FILE: &str = "manifest.json";
/// The heat's file.
pub(crate) const HEAT_FILE: &str = "heat.bin";

/// One file of an export: plain values in key order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportFile {
    /// Its name in the export's folder.
    pub name: String,
    /// The rank of the tier its records were in: a hint where to install them.
    pub rank: u32,
    /// Records in it.
    pub records: u64,
    /// Its size.
    pub bytes: u64,
    /// XXH3 of the file.
    pub checksum: u64,
}

/// `manifest.json`: written last, so a folder without one is no export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportManifest {
    /// The version of this layout.
    pub format: u32,
    /// The range exported.
    pub range: KeyRange,
    /// Its files. Files of one rank do not overlap.
    pub files: Vec<ExportFile>,
    /// The hash of the range when it was exported.
    pub logical_hash: LogicalHash,
    /// No record has a version above this one.
    pub highest_version: u64,
}
