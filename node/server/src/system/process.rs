//! `/proc/self/stat`, `/proc/self/status`, `/proc/meminfo`: what the process and the machine use and have.

/// The unit of CPU time in `/proc`: USER_HZ, part of the kernel's interface on every architecture that Rust supports.
pub const CPU_TICKS_PER_SECOND: u64 = 100;

/// CPU time of the process in clock ticks (user and system), from `/proc/self/stat`.
pub fn used_cpu_ticks(stat: &str) -> Option<u64> {
    // The second column is the program's name in brackets and may hold anything, so counting starts after the last.
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut columns = after_name.split_ascii_whitespace();
    let user: u64 = columns.nth(11)?.parse().ok()?;
    let system: u64 = columns.next()?.parse().ok()?;
    Some(user + system)
}

/// Memory of the process in bytes, from `/proc/self/status`.
pub fn resident_bytes(status: &str) -> Option<u64> {
    kibibytes(status, "VmRSS:")
}

/// Memory of the machine in bytes, from `/proc/meminfo`.
pub fn machine_memory_bytes(meminfo: &str) -> Option<u64> {
    kibibytes(meminfo, "MemTotal:")
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kibibytes.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_brackets_and_spaces() {
        let stat = "4242 (node) (x) 1) S 1 2 3 4 5 6 7 8 9 10 700 42 0 0 20 0 9 0 12345 1 2";
        assert_eq!(used_cpu_ticks(stat), Some(742));
        assert_eq!(used_cpu_ticks("4242 (node) S 1"), None);
        assert_eq!(used_cpu_ticks(""), None);
    }

    #[test]
    fn memory_is_counted_in_kibibytes() {
        assert_eq!(resident_bytes("Name:\tnode\nVmHWM:\t 9 kB\nVmRSS:\t  512 kB\n"), Some(512 * 1024));
        assert_eq!(resident_bytes("Name:\tnode\n"), None);
        assert_eq!(machine_memory_bytes("MemTotal:        8152344 kB\nMemFree: 1 kB\n"), Some(8_152_344 * 1024));
        assert_eq!(machine_memory_bytes("MemFree: 1 kB"), None);
    }
}
