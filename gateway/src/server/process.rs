//! The life of a gateway process: what is read at its start, its first line, its exit code, and the figures of the process.

use super::Server;
use crate::config::Flags;
use crate::config::file::{self, FileError};
use crate::metrics::ProcessMetrics;
use rustix::process::{Resource, getrlimit};
use std::io::{self, Write as _};
use std::sync::atomic::Ordering;
use wire::shard::event_loop::Tables;
use wire::sys::Signals;
use wire::time::Time;

/// As [`main`], with what the file that `flags` name adds; arguments as for [`crate::config::file::complete`].
pub fn start(flags: Flags, command: clap::Command, subcommand: Option<&str>) -> u8 {
    match file::complete(flags, command, subcommand, std::env::args_os()) {
        Ok(effective) if effective.flags.print_config => {
            // Who asked and does not read it needs nothing more.
            let _ = io::stdout().write_all(effective.toml().as_bytes());
            0
        }
        Ok(effective) => main(&effective.flags),
        Err(FileError::CommandLine(error)) => {
            // It begins with `error: ` itself. Where nobody reads standard error, the code says enough.
            let _ = error.print();
            113
        }
        Err(error) => {
            eprintln!("error: {error}");
            113
        }
    }
}

/// The whole life of a gateway process. Exit code 113: its environment does not let it start.
pub fn main(flags: &Flags) -> u8 {
    // Before the first thread starts, so that all threads inherit the mask and none is interrupted.
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("error: cannot read signals: {error}");
            return 1;
        }
    };
    if flags.follow_stdin {
        // A gateway that was paused could not see that its parent has died: this wakes it. Fails on no Linux we know.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::CONT));
    }
    match Server::start(flags) {
        Ok(server) => {
            let listening = serde_json::json!({
                "event": "listening",
                "address": server.address.to_string(),
                "admin": server.admin().map(|address| address.to_string()),
                "node": flags.node,
                "shards": server.shards(),
                "own_descriptor_tables": server.tables == Tables::Split,
                "steering": if server.is_steered { "cpu" } else { "hash" },
            });
            println!("{listening}");
            server.say_listening();
            server.serve(&signals);
            0
        }
        Err(error) => {
            eprintln!("error: {error}");
            113
        }
    }
}

pub(super) fn seed() -> io::Result<u64> {
    let mut seed = [0; 8];
    let filled = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
    if filled < seed.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(u64::from_ne_bytes(seed)) }
}

pub(super) fn wall_offset_ns() -> u64 {
    let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let wall_ns = wall.tv_sec.unsigned_abs() * 1_000_000_000 + wall.tv_nsec.unsigned_abs();
    wall_ns.saturating_sub(Time::now().0)
}

impl ProcessMetrics {
    /// Reads them anew.
    pub(super) fn refresh(&self) {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu_ms = cpu.tv_sec.unsigned_abs() * 1000 + cpu.tv_nsec.unsigned_abs() / 1_000_000;
        self.cpu_ms.store(cpu_ms, Ordering::Relaxed);
        // Second field: resident pages. Without /proc the figure stays at what it was.
        let resident = std::fs::read_to_string("/proc/self/statm")
            .ok()
            .and_then(|statm| statm.split_whitespace().nth(1)?.parse::<u64>().ok());
        if let Some(pages) = resident {
            self.resident_bytes.store(pages * rustix::param::page_size() as u64, Ordering::Relaxed);
        }
        let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        self.live_tasks.store((threads + self.runtime_tasks()) as u64, Ordering::Relaxed);
        let max = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
        self.virtual_bytes_max.store(max, Ordering::Relaxed);
    }
}
