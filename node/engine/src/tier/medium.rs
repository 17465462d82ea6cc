//! The media a tier may be on.

use std::fmt;
use std::str::FromStr;

/// What a tier's device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Medium {
    /// Flash on PCIe.
    #[serde(rename = "NVMe")]
    Nvme,
    /// Flash on SATA, or a cloud's SSD volume.
    #[serde(rename = "SSD")]
    Ssd,
    /// Spinning disks.
    #[serde(rename = "HDD")]
    Hdd,
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nvme => "NVMe",
            Self::Ssd => "SSD",
            Self::Hdd => "HDD",
        })
    }
}

impl FromStr for Medium {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "NVMe" => Ok(Self::Nvme),
            "SSD" => Ok(Self::Ssd),
            "HDD" => Ok(Self::Hdd),
            other => Err(format!("{other:?} is no medium: allowed are NVMe, SSD and HDD")),
        }
    }
}
