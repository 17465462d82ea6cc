//! What the system says about the process and its devices: statvfs, `/proc/diskstats`, `io.pressure`, the control
//! group's CPU and memory. Parsers are pure and take text; [`LoadSampler`] reads the files and turns counters into
//! shares. A fact that a machine does not offer is absent, never an error: none of them is needed to serve.

mod cgroup;
mod device;
mod disk_statistics;
mod load;
mod pressure;
mod process;

pub use cgroup::{ControlGroup, CpuLimit};
pub use device::{DeviceNumber, FileSystemSpace, device_of, space_of};
pub use disk_statistics::busy_milliseconds;
pub use load::{Load, LoadSampler, Roots};
pub use pressure::io_stalled_microseconds;
pub use process::{machine_memory_bytes, resident_bytes, used_cpu_ticks};
