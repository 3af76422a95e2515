//! What the system says of processes.

use std::collections::BTreeMap;
use std::fs;

/// How long each thread of some processes has run, in nanoseconds. To be compared thread by thread: the time of one that has
/// ended is gone, and a sum would run backwards.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CpuNanos(BTreeMap<u32, u64>);

impl CpuNanos {
    /// So far.
    pub(crate) fn of(pids: &[u32]) -> Self {
        let tasks = pids
            .iter()
            .flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs").flatten());
        let run = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let thread = task.file_name().to_str()?.parse().ok()?;
            Some((thread, text.split(' ').next()?.parse().ok()?))
        };
        Self(tasks.filter_map(run).collect())
    }

    /// What the threads that still run have run since.
    pub(crate) fn since(&self, before: &Self) -> u64 {
        let ran = |(thread, nanos): (&u32, &u64)| {
            nanos.saturating_sub(before.0.get(thread).copied().unwrap_or_default())
        };
        self.0.iter().map(ran).sum()
    }
}

/// Resident bytes of a process.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line VmRSS");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kib * 1_024
}

/// What the machine is.
pub(crate) fn machine() -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let version = |program: &str, argument: &str| {
        let output = std::process::Command::new(program).arg(argument).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    vec![
        ("processors".into(), format!("{processors} of {}", after(&read("/proc/cpuinfo"), "model name"))),
        ("memory".into(), after(&read("/proc/meminfo"), "MemTotal")),
        ("kernel".into(), read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("compiler".into(), version("rustc", "--version")),
        ("load before".into(), load_average()),
    ]
}

/// How busy the machine has been: over 1, 5 and 15 minutes.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_has_ended_takes_nothing_away() {
        let threads = |nanos: &[(u32, u64)]| CpuNanos(nanos.iter().copied().collect());
        let before = threads(&[(1, 500), (2, 9_000)]);
        assert_eq!(threads(&[(1, 700), (3, 50)]).since(&before), 250);
        assert!(CpuNanos::of(&[std::process::id()]).since(&CpuNanos::default()) > 0);
    }
}
