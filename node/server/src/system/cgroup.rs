//! Control groups, version 1 and 2: what the process may use of CPU and memory.
//!
//! Limits of every level up to the root count, the smallest wins: a pod's limit stands above the container's group.

use std::path::{Path, PathBuf};

/// Version 1 writes "no limit" as the largest multiple of a page that fits 63 bits.
const NO_LIMIT_V1: u64 = 1 << 62;

/// CPU time per wall time: 1.5 is one and a half processors.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct CpuLimit(pub f64);

/// Where the groups of this process are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlGroup {
    mount: PathBuf,
    unified: Option<String>,
    memory: Option<String>,
    cpu: Option<String>,
}

impl ControlGroup {
    /// From `/proc/self/cgroup`; `mount` is where the hierarchies are, `/sys/fs/cgroup`.
    pub fn parse(proc_self_cgroup: &str, mount: &Path) -> Self {
        let mut group = Self { mount: mount.to_owned(), unified: None, memory: None, cpu: None };
        for line in proc_self_cgroup.lines() {
            let mut columns = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (columns.next(), columns.next(), columns.next()) else {
                continue;
            };
            if controllers.is_empty() {
                group.unified = Some(path.to_owned());
            }
            for controller in controllers.split(',') {
                match controller {
                    "memory" => group.memory = Some(path.to_owned()),
                    "cpu" => group.cpu = Some(path.to_owned()),
                    _ => {}
                }
            }
        }
        group
    }

    /// The memory the process may use, in bytes; `None`: no limit.
    pub fn memory_limit(&self) -> Option<u64> {
        let version2 = self
            .levels("", self.unified.as_deref())
            .filter_map(|folder| parse_memory_max(&read(&folder.join("memory.max"))?));
        let version1 = self
            .levels("memory", self.memory.as_deref())
            .filter_map(|folder| parse_memory_limit_v1(&read(&folder.join("memory.limit_in_bytes"))?));
        version2.chain(version1).min()
    }

    /// The CPU the process may use; `None`: no limit.
    pub fn cpu_limit(&self) -> Option<CpuLimit> {
        let version2 = self
            .levels("", self.unified.as_deref())
            .filter_map(|folder| parse_cpu_max(&read(&folder.join("cpu.max"))?));
        let version1 = self.levels("cpu", self.cpu.as_deref()).filter_map(|folder| {
            parse_cpu_quota_v1(&read(&folder.join("cpu.cfs_quota_us"))?, &read(&folder.join("cpu.cfs_period_us"))?)
        });
        version2.chain(version1).min_by(|left, right| left.0.total_cmp(&right.0))
    }

    /// The text of this group's `io.pressure`, version 2 only.
    pub fn io_pressure(&self) -> Option<String> {
        self.levels("", self.unified.as_deref()).find_map(|folder| read(&folder.join("io.pressure")))
    }

    /// The group's folder and those above it, up to the mount.
    ///
    /// Inside a container the path in `/proc/self/cgroup` may name a place outside of what is mounted; then only the
    /// mount itself has the files, which is why it is always the last level.
    fn levels(&self, hierarchy: &str, path: Option<&str>) -> impl Iterator<Item = PathBuf> {
        let base = self.mount.join(hierarchy);
        let own = path.map(|path| base.join(path.trim_start_matches('/')));
        let mut folders: Vec<PathBuf> = own
            .iter()
            .flat_map(|own| own.ancestors())
            .take_while(|folder| folder.starts_with(&base) && *folder != base)
            .map(Path::to_owned)
            .collect();
        if path.is_some() {
            folders.push(base);
        }
        folders.into_iter()
    }
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn parse_memory_max(text: &str) -> Option<u64> {
    text.trim().parse().ok() // "max" is no number: no limit
}

fn parse_memory_limit_v1(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT_V1)
}

fn parse_cpu_max(text: &str) -> Option<CpuLimit> {
    let mut columns = text.split_ascii_whitespace();
    let quota = columns.next()?;
    share(quota, columns.next().unwrap_or("100000"))
}

fn parse_cpu_quota_v1(quota: &str, period: &str) -> Option<CpuLimit> {
    share(quota.trim(), period.trim()) // "-1": no limit
}

fn share(quota: &str, period: &str) -> Option<CpuLimit> {
    let quota: u32 = quota.parse().ok()?;
    let period: u32 = period.parse().ok().filter(|period| *period > 0)?;
    (quota > 0).then(|| CpuLimit(f64::from(quota) / f64::from(period)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::fs;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_wins_in_version_2() {
        let root = tree(&[
            ("pods/pod1/node/memory.max", "max\n"),
            ("pods/pod1/node/cpu.max", "max 100000\n"),
            ("pods/pod1/memory.max", "536870912\n"),
            ("pods/pod1/cpu.max", "150000 100000\n"),
            ("pods/memory.max", "8589934592\n"),
            ("pods/pod1/node/io.pressure", "some avg10=0 total=5\n"),
        ]);
        let group = ControlGroup::parse("0::/pods/pod1/node\n", root.path());
        assert_eq!(group.memory_limit(), Some(536_870_912));
        assert_eq!(group.cpu_limit(), Some(CpuLimit(1.5)));
        assert!(group.io_pressure().unwrap().contains("total=5"));
    }

    #[test]
    fn version_1_has_a_hierarchy_per_controller() {
        let root = tree(&[
            ("memory/docker/abc/memory.limit_in_bytes", "1073741824\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("cpu/docker/abc/cpu.cfs_quota_us", "50000\n"),
            ("cpu/docker/abc/cpu.cfs_period_us", "100000\n"),
            ("cpu/cpu.cfs_quota_us", "-1\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
        ]);
        let text = "12:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/docker/abc\n";
        let group = ControlGroup::parse(text, root.path());
        assert_eq!(group.memory_limit(), Some(1 << 30));
        assert_eq!(group.cpu_limit(), Some(CpuLimit(0.5)));
    }

    #[test]
    fn a_path_from_outside_the_container_falls_back_to_the_mount() {
        let root = tree(&[("memory.max", "268435456\n"), ("cpu.max", "200000 100000\n")]);
        let group = ControlGroup::parse("0::/../../kubepods/x\n", root.path());
        assert_eq!(group.memory_limit(), Some(268_435_456));
        assert_eq!(group.cpu_limit(), Some(CpuLimit(2.0)));
    }

    #[test]
    fn no_groups_means_no_limits() {
        let root = tree(&[]);
        let group = ControlGroup::parse("", root.path());
        assert_eq!(group.memory_limit(), None);
        assert_eq!(group.cpu_limit(), None);
        let unlimited = tree(&[("memory.max", "max\n"), ("cpu.max", "max 100000\n")]);
        let group = ControlGroup::parse("0::/\n", unlimited.path());
        assert_eq!((group.memory_limit(), group.cpu_limit()), (None, None));
    }
}
