//! Turns counters into shares: the load of the process and its devices between two samples.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cgroup::ControlGroup;
use super::device::{DeviceNumber, device_of};
use super::disk_statistics::busy_milliseconds;
use super::pressure::io_stalled_microseconds;
use super::process::{CPU_TICKS_PER_SECOND, machine_memory_bytes, resident_bytes, used_cpu_ticks};

/// Where the kernel's files are; tests give folders of their own.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/sys/fs/cgroup`.
    pub cgroup: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), cgroup: "/sys/fs/cgroup".into() }
    }
}

/// What the process uses of what it may use.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// CPU time since the last sample, 0 to 1 of the limit.
    pub cpu_ratio: f64,
    /// The limit, in cores.
    pub cpu_cores: f64,
    /// Memory of the process.
    pub memory_bytes: u64,
    /// What it may use.
    pub memory_limit_bytes: u64,
    /// Time the busiest device was busy since the last sample, 0 to 1.
    pub io_ratio: f64,
}

/// Samples the load. The time between samples is given, so that the arithmetic needs no clock.
#[derive(Debug)]
pub struct LoadSampler {
    roots: Roots,
    devices: Vec<DeviceNumber>,
    processors: f64,
    memory_limit_bytes: u64,
    group: ControlGroup,
    last: Option<Counters>,
}

#[derive(Debug, Clone, PartialEq)]
struct Counters {
    cpu_ticks: u64,
    busy_milliseconds: Vec<Option<u64>>,
    stalled_microseconds: Option<u64>,
}

impl LoadSampler {
    /// A sampler for the devices under `folders`; `stated_memory_limit` (from the configuration) wins over the group's.
    pub fn new(roots: Roots, folders: &[&Path], stated_memory_limit: Option<u64>) -> Self {
        let mut devices: Vec<DeviceNumber> = folders.iter().filter_map(|folder| device_of(folder)).collect();
        devices.dedup();
        let group = ControlGroup::parse(&read(&roots.proc.join("self/cgroup")).unwrap_or_default(), &roots.cgroup);
        let processors = group.cpu_limit().map_or_else(machine_processors, |limit| limit.0.min(machine_processors()));
        let memory_limit_bytes = stated_memory_limit.unwrap_or_else(|| memory_limit(&roots, &group));
        Self { devices, processors, memory_limit_bytes, group, roots, last: None }
    }

    /// What the process may use, in bytes: as stated, else the smaller of the group's limit and the machine's memory.
    pub fn memory_limit_bytes(&self) -> u64 {
        self.memory_limit_bytes
    }

    /// The load now; `elapsed` is the time since the last call, whose counters it is compared with.
    pub fn sample(&mut self, elapsed: Duration) -> Load {
        let now = self.read_counters();
        let memory_bytes =
            read(&self.roots.proc.join("self/status")).and_then(|text| resident_bytes(&text)).unwrap_or(0);
        let (cpu_ratio, io_ratio) = match &self.last {
            Some(last) if !elapsed.is_zero() => {
                (cpu_ratio(last, &now, elapsed, self.processors), io_ratio(last, &now, elapsed))
            }
            _ => (0.0, 0.0),
        };
        self.last = Some(now);
        let (cpu_cores, memory_limit_bytes) = (self.processors, self.memory_limit_bytes);
        Load { cpu_ratio, cpu_cores, memory_bytes, memory_limit_bytes, io_ratio }
    }

    fn read_counters(&self) -> Counters {
        let diskstats = read(&self.roots.proc.join("diskstats")).unwrap_or_default();
        Counters {
            cpu_ticks: read(&self.roots.proc.join("self/stat")).and_then(|text| used_cpu_ticks(&text)).unwrap_or(0),
            busy_milliseconds: self.devices.iter().map(|device| busy_milliseconds(&diskstats, *device)).collect(),
            stalled_microseconds: self
                .group
                .io_pressure()
                .or_else(|| read(&self.roots.proc.join("pressure/io")))
                .and_then(|text| io_stalled_microseconds(&text)),
        }
    }
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn machine_processors() -> f64 {
    std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok()).map_or(1.0, f64::from)
}

fn memory_limit(roots: &Roots, group: &ControlGroup) -> u64 {
    let machine = read(&roots.proc.join("meminfo")).and_then(|text| machine_memory_bytes(&text));
    match (group.memory_limit(), machine) {
        (Some(group), Some(machine)) => group.min(machine),
        (Some(only), None) | (None, Some(only)) => only,
        // Nothing is known: a figure on which every machine can serve.
        (None, None) => 1 << 30,
    }
}

#[allow(clippy::cast_precision_loss)] // differences over seconds are far below 52 bits
fn cpu_ratio(last: &Counters, now: &Counters, elapsed: Duration, processors: f64) -> f64 {
    let ticks = now.cpu_ticks.saturating_sub(last.cpu_ticks) as f64;
    (ticks / CPU_TICKS_PER_SECOND as f64 / elapsed.as_secs_f64() / processors).clamp(0.0, 1.0)
}

/// The busiest device's share; where no device has a counter, the share of time that tasks stood still for I/O.
#[allow(clippy::cast_precision_loss)]
fn io_ratio(last: &Counters, now: &Counters, elapsed: Duration) -> f64 {
    let busiest = last
        .busy_milliseconds
        .iter()
        .zip(&now.busy_milliseconds)
        .filter_map(|(before, after)| Some((*after)?.saturating_sub((*before)?)))
        .max();
    let seconds = match (busiest, last.stalled_microseconds, now.stalled_microseconds) {
        (Some(milliseconds), _, _) => milliseconds as f64 / 1e3,
        (None, Some(before), Some(after)) => after.saturating_sub(before) as f64 / 1e6,
        _ => 0.0,
    };
    (seconds / elapsed.as_secs_f64()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::fs;

    use super::*;

    fn counters(cpu_ticks: u64, busy: &[Option<u64>], stalled: Option<u64>) -> Counters {
        Counters { cpu_ticks, busy_milliseconds: busy.to_vec(), stalled_microseconds: stalled }
    }

    #[test]
    fn the_busiest_device_counts_and_pressure_stands_in_where_there_is_none() {
        let second = Duration::from_secs(1);
        let last = counters(0, &[Some(100), None, Some(7)], Some(0));
        let now = counters(0, &[Some(350), Some(900), Some(8)], Some(999_999));
        assert!((io_ratio(&last, &now, second) - 0.25).abs() < 1e-9);
        let last = counters(0, &[None], Some(100_000));
        let now = counters(0, &[None], Some(600_000));
        assert!((io_ratio(&last, &now, second) - 0.5).abs() < 1e-9);
        assert_eq!(io_ratio(&counters(0, &[], None), &counters(0, &[], None), second), 0.0);
    }

    #[test]
    fn cpu_time_is_a_share_of_the_limit() {
        let (last, now) = (counters(100, &[], None), counters(250, &[], None));
        let share = cpu_ratio(&last, &now, Duration::from_secs(1), 2.0);
        assert!((share - 0.75).abs() < 1e-9);
    }

    #[test]
    fn a_sampler_reads_what_the_kernel_writes() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots { proc: root.path().join("proc"), cgroup: root.path().join("cgroup") };
        fs::create_dir_all(roots.proc.join("self")).unwrap();
        fs::create_dir_all(roots.cgroup.join("pod")).unwrap();
        fs::write(roots.proc.join("self/cgroup"), "0::/pod\n").unwrap();
        fs::write(roots.proc.join("self/status"), "VmRSS: 12 kB\n").unwrap();
        fs::write(roots.proc.join("meminfo"), "MemTotal: 1048576 kB\n").unwrap();
        fs::write(roots.cgroup.join("pod/memory.max"), "536870912\n").unwrap();
        fs::write(roots.cgroup.join("pod/cpu.max"), "50000 100000\n").unwrap();
        let stat = |ticks: u64| {
            let line = format!("1 (n) S 1 2 3 4 5 6 7 8 9 10 {ticks} 0 0 0 20 0 9 0 1 1 2");
            fs::write(roots.proc.join("self/stat"), line).unwrap();
        };
        stat(0);
        let mut sampler = LoadSampler::new(roots.clone(), &[root.path()], None);
        assert_eq!(sampler.memory_limit_bytes(), 536_870_912);
        assert_eq!(sampler.sample(Duration::ZERO).cpu_ratio, 0.0, "there is nothing to compare with");
        stat(CPU_TICKS_PER_SECOND / 4);
        let load = sampler.sample(Duration::from_secs(1));
        assert!((load.cpu_ratio - 0.5).abs() < 0.05, "a quarter of a processor of half a one: {load:?}");
        assert_eq!(load.memory_bytes, 12 * 1024);
        let stated = LoadSampler::new(roots.clone(), &[], Some(7));
        assert_eq!(stated.memory_limit_bytes(), 7);
    }

    #[test]
    fn a_machine_that_tells_nothing_still_has_a_load() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots { proc: root.path().into(), cgroup: root.path().into() };
        let mut sampler = LoadSampler::new(roots, &[], None);
        sampler.sample(Duration::ZERO);
        let load = sampler.sample(Duration::from_secs(1));
        assert_eq!((load.cpu_ratio, load.io_ratio, load.memory_bytes), (0.0, 0.0, 0));
        assert!(load.memory_limit_bytes > 0);
    }
}
