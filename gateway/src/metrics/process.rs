//! Figures of the process, and of telemetry itself.

use super::Metrics;
use super::cell::Counter;
use super::labels::{LabelValue as _, ReloadResult, Reloaded};
use super::snapshot::{Families, Points, by_both};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::runtime::Handle;

/// Figures of the process, kept up to date by the edge: a shard opens no file.
#[derive(Debug, Default)]
pub struct ProcessMetrics {
    /// CPU time used, milliseconds.
    pub cpu_ms: AtomicU64,
    /// Resident memory, bytes.
    pub resident_bytes: AtomicU64,
    /// Most address space the process may use, bytes; `u64::MAX` where it is not limited.
    pub virtual_bytes_max: AtomicU64,
    /// When it began, milliseconds since the Unix epoch.
    pub started_ms: AtomicU64,
    /// Threads, and tasks of the runtimes watched.
    pub live_tasks: AtomicU64,
    runtimes: Mutex<Vec<Handle>>,
    /// Reloads that failed and that took effect, by [`Reloaded`].
    pub reloads: [[Counter; ReloadResult::ALL.len()]; Reloaded::ALL.len()],
}

impl ProcessMetrics {
    /// From now on the tasks spawned on this runtime are among the live ones.
    pub fn watch(&self, runtime: &Handle) {
        self.runtimes.lock().unwrap_or_else(PoisonError::into_inner).push(runtime.clone());
    }

    /// Tasks spawned on the runtimes watched that have not ended.
    pub(crate) fn runtime_tasks(&self) -> usize {
        let runtimes = self.runtimes.lock().unwrap_or_else(PoisonError::into_inner);
        runtimes.iter().map(|runtime| runtime.metrics().num_alive_tasks()).sum()
    }

    /// Counts a reload.
    pub fn reloaded(&self, what: Reloaded, is_ok: bool) {
        self.reloads[what as usize][usize::from(is_ok)].increment();
    }
}

impl Metrics {
    pub(super) fn process_families(&self, families: &mut Families) {
        families.counters(
            "im_gateway_config_reloads",
            "Files read again on SIGHUP",
            by_both(("part", "result"), |what: Reloaded, result: ReloadResult| {
                self.process.reloads[what as usize][result as usize].get()
            }),
        );
        let get = |value: &AtomicU64| value.load(Ordering::Relaxed) as f64;
        let cpu = get(&self.process.cpu_ms) / 1000.0;
        families.of_process("process_cpu_seconds", "CPU time used", Points::Counter, cpu);
        let resident = get(&self.process.resident_bytes);
        families.of_process("process_resident_memory_bytes", "Resident memory", Points::Gauge, resident);
        let max = match self.process.virtual_bytes_max.load(Ordering::Relaxed) {
            u64::MAX => -1.0,
            bytes => bytes as f64,
        };
        let help = "Most address space the process may use; -1: not limited";
        families.of_process("process_virtual_memory_max_bytes", help, Points::Gauge, max);
        let started = get(&self.process.started_ms) / 1000.0;
        let help = "When the process began, since 1970";
        families.of_process("process_start_time_seconds", help, Points::Gauge, started);
        let tasks = get(&self.process.live_tasks);
        let help = "Threads, and tasks spawned on the runtimes at the edge";
        families.of_process("im_gateway_runtime_live_tasks", help, Points::Gauge, tasks);
        let (name, help) = ("im_gateway_telemetry_instruments_registered", "Metric families exported");
        let instruments = families.0.len() + 1;
        families.of_process(name, help, Points::Gauge, instruments as f64);
    }
}
