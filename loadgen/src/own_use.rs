//! What this process itself uses: CPU time and memory, for the report to say what the generator took.

use crate::fleet::CLIENT_BYTES;
use std::time::Duration;

/// Fewer clients than this cannot be told from what the process uses anyway.
const CLIENTS_TOLD_MIN: u64 = 1000;

/// CPU time of all threads so far.
pub fn cpu_time() -> Duration {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(cpu.tv_sec.unsigned_abs(), u32::try_from(cpu.tv_nsec).unwrap_or(0))
}

/// Resident memory of our own (no files), bytes; `None` where the kernel does not say.
pub fn memory() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split_whitespace().skip(1).map_while(|number| number.parse::<u64>().ok());
    let (resident, of_files) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(of_files) * rustix::param::page_size() as u64)
}

/// User-space bytes of one of `clients` clients: its record, and its share of what the process grew by while they came in.
pub fn bytes_per_client(before: Option<u64>, after: Option<u64>, clients: u64) -> Option<f64> {
    let grown = after?.saturating_sub(before?);
    (clients >= CLIENTS_TOLD_MIN).then(|| grown as f64 / clients as f64 + CLIENT_BYTES as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_written_is_counted() {
        let before = memory().expect("a Linux kernel says");
        let written = vec![1_u8; 64 << 20];
        let grown = memory().expect("a Linux kernel says").saturating_sub(before);
        assert!((60 << 20..80 << 20).contains(&grown), "{grown} for {}", written.len());
    }

    #[test]
    fn a_few_clients_are_not_told_from_the_process() {
        let record = CLIENT_BYTES as f64;
        assert_eq!(bytes_per_client(Some(1000), Some(51_000), 1000), Some(record + 50.0));
        assert_eq!(bytes_per_client(Some(2000), Some(1000), 1000), Some(record));
        assert_eq!(bytes_per_client(Some(1000), Some(51_000), 999), None);
        assert_eq!(bytes_per_client(None, Some(51_000), 1000), None);
    }
}
