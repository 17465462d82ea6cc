//! The file system and the device under a folder.

use std::path::Path;

/// What the kernel calls a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

/// The space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystemSpace {
    /// All of it.
    pub total: u64,
    /// What an ordinary process may still use.
    pub available: u64,
}

impl FileSystemSpace {
    /// Share in use, 0 to 1, as `df` counts it: what only the administrator may use is in use.
    pub fn used_ratio(self) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        #[allow(clippy::cast_precision_loss)] // a share needs no more than 52 bits
        let available = self.available as f64 / self.total as f64;
        1.0 - available.clamp(0.0, 1.0)
    }
}

/// The space of the file system that holds `folder`; `None` if it cannot be asked.
pub fn space_of(folder: &Path) -> Option<FileSystemSpace> {
    let facts = rustix::fs::statvfs(folder).ok()?;
    Some(FileSystemSpace {
        total: facts.f_blocks.saturating_mul(facts.f_frsize),
        available: facts.f_bavail.saturating_mul(facts.f_frsize),
    })
}

/// The device that holds `folder`; `None` if it cannot be asked.
pub fn device_of(folder: &Path) -> Option<DeviceNumber> {
    let facts = rustix::fs::stat(folder).ok()?;
    Some(DeviceNumber { major: rustix::fs::major(facts.st_dev), minor: rustix::fs::minor(facts.st_dev) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_folder_has_a_device_with_space() {
        let folder = tempfile::tempdir().unwrap();
        let space = space_of(folder.path()).unwrap();
        assert!(space.total > 0 && space.available <= space.total);
        assert!((0.0..=1.0).contains(&space.used_ratio()));
        assert!(device_of(folder.path()).is_some());
    }

    #[test]
    fn a_missing_folder_has_neither() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        assert_eq!(space_of(&missing), None);
        assert_eq!(device_of(&missing), None);
    }
}
