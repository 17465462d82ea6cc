//! The machine a figure was measured on.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// What a reader needs to know of the machine.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Processors this process may use.
    pub cores: usize,
    /// Memory, in GiB.
    pub memory_gib: u64,
    /// The kernel.
    pub kernel: String,
    /// The kind of file system the stores are on.
    pub file_system: String,
    /// Whether this process's memory comes in huge pages (docs/profiles.md).
    pub huge_pages: bool,
}

impl Machine {
    /// Reads `/proc`; what is not there reads as `unknown`.
    pub fn read(folder: &Path) -> Self {
        let field = |file: &str, name: &str| {
            fs::read_to_string(file)
                .ok()
                .and_then(|text| text.lines().find(|l| l.starts_with(name)).map(str::to_owned))
                .and_then(|line| line.split_once(':').map(|(_, value)| value.trim().to_owned()))
                .unwrap_or_else(|| "unknown".to_owned())
        };
        let memory: u64 =
            field("/proc/meminfo", "MemTotal").split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        Self {
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory >> 20,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            file_system: file_system(folder).unwrap_or_else(|| "unknown".to_owned()),
            huge_pages: std::env::var("GLIBC_TUNABLES").is_ok_and(|set| set.contains("glibc.malloc.hugetlb=1")),
        }
    }
}

/// The kind of the mount with the longest matching path.
fn file_system(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (point, kind) = (fields.next()?, fields.next()?);
            folder.starts_with(point).then(|| (point.len(), kind.to_owned()))
        })
        .max()
        .map(|(_, kind)| kind)
}
