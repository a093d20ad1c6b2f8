//! What a process uses, as the kernel tells it.

use anyhow::Context as _;
use std::fs;
use std::time::Duration;

/// CPU time of all threads of a process so far, user and system.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    ticks(&format!("/proc/{pid}/stat"), 11)
}

/// CPU time of this process' children that have ended and been waited for, user and system.
pub fn cpu_of_children() -> anyhow::Result<Duration> {
    ticks("/proc/self/stat", 13)
}

/// The sum of two neighbouring times of a stat file; fields are counted from the one behind the name.
fn ticks(path: &str, first: usize) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(path)?;
    // The name, second, may hold spaces; it ends with the last bracket.
    let after = stat.rsplit_once(") ").context("not a stat line")?.1;
    let ticks: u64 = after.split(' ').skip(first).take(2).map(|field| field.parse().unwrap_or(0)).sum();
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Memory of a process, bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Resident, what it shares included.
    pub resident: u64,
    /// Its own and written to: what it has allocated.
    pub private: u64,
}

/// Memory of a process now.
pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let bytes = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.map(|kib| kib * 1024).with_context(|| format!("no {name} in smaps_rollup"))
    };
    Ok(Memory { resident: bytes("Rss")?, private: bytes("Private_Dirty")? })
}

/// The most memory that this process ever had resident, bytes.
pub fn peak() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib * 1024).context("no VmHWM in the status")
}
