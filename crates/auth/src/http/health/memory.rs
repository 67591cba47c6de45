//! How much memory this process uses, of how much. Never fails: what the kernel
//! does not tell reads zero.

/// Resident bytes, and the bytes this process could use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) used: u64,
    pub(crate) total: u64,
}

impl Memory {
    /// Reads procfs, which answers from memory and never blocks on a disk.
    pub(crate) fn now() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let limit = read("/sys/fs/cgroup/memory.max").trim().parse().ok();
        Self {
            used: kilobytes(&read("/proc/self/status"), "VmRSS:"),
            total: limit.unwrap_or_else(|| kilobytes(&read("/proc/meminfo"), "MemTotal:")),
        }
    }

    /// How much of the total is used, in percent.
    pub(crate) fn percentage(self) -> f64 {
        if self.total == 0 {
            0.0
        } else {
            self.used as f64 * 100.0 / self.total as f64
        }
    }
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_uses_some_of_its_memory() {
        let memory = Memory::now();
        assert!(memory.used > 0 && memory.used < memory.total, "{memory:?}");
        assert!(memory.percentage() > 0.0 && memory.percentage() < 100.0);
    }

    #[test]
    fn unreadable_sources_read_zero() {
        assert_eq!(kilobytes("VmRSS:\t  12 kB\n", "VmRSS:"), 12 * 1024);
        assert_eq!(kilobytes("VmRSS: many kB", "VmRSS:"), 0);
        assert_eq!(kilobytes("", "VmRSS:"), 0);
    }
}
