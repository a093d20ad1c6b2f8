//! What a process uses, as the kernel tells it.

use anyhow::Context as _;
use std::fs;
use std::time::Duration;

/// CPU time of all threads of a process so far, user and system.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, second, may hold spaces; it ends with the last bracket.
    let after = stat.rsplit_once(") ").context("not a stat line")?.1;
    let ticks: u64 = after.split(' ').skip(11).take(2).map(|field| field.parse().unwrap_or(0)).sum();
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
