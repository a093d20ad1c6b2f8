//! Sends the gateway's metrics, traces and logs to a collector by OTLP, over HTTP as protobuf.
//!
//! An edge thread with a tokio runtime of its own, which no shard ever waits for or wakes: it reads the shards' figures as a
//! scrape does, from the same snapshot, and empties the rings that their tracers fill and the queue that the log fills.
//! Without an endpoint there is no thread. Source: opentelemetry.io/docs/specs/otlp, 1.11.

mod answer;
mod environment;
mod exporter;
mod gather;
mod otlp;
mod points;
mod records;
mod resource;
mod settings;
mod spans;

use crate::log::{Exports, Logger};
use crate::metrics::{Metrics, Signal};
use crate::random::Random;
use crate::trace::Tracer;
pub use environment::Environment;
use exporter::{Exporter, Stop};
use gather::{Records, Spans};
use otlp::Resource;
use prost::Message as _;
pub use settings::{Settings, SettingsError};
use std::io;
use std::sync::Arc;
use std::sync::mpsc as threads;
use std::time::Duration;
use tokio::sync::watch;
use wire::time::Time;

/// Why telemetry cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is not told well where to, or how.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// TLS or the system's resolver is not to be had.
    #[error("cannot make an HTTP client for OTLP: {0}")]
    Client(#[source] reqwest::Error),
    /// No thread, or no runtime.
    #[error("cannot start the export of telemetry: {0}")]
    Thread(#[source] io::Error),
}

/// The running thread.
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    /// Closed by the thread's end.
    ended: threads::Receiver<()>,
}

/// Starts the thread, for a gateway of `shards` shards. Gives their tracers; none if nothing is traced. `seed`: of the chance in
/// its waits, and of the numbers of spans; `wall_offset_ns`: the wall clock at monotonic time zero, nanoseconds since the Unix
/// epoch; `exports`: what `logger` leaves for it, if logs are sent.
pub fn start(
    settings: Settings,
    metrics: &Metrics,
    shards: usize,
    seed: u64,
    wall_offset_ns: u64,
    (logger, exports): (&Logger, Option<Arc<Exports>>),
) -> Result<(Running, Vec<Tracer>), StartError> {
    let mut seeds = Random::new(seed);
    let mut exporter = |signal, destination| {
        Exporter::new(signal, destination, settings.retry, seeds.bits(), metrics.clone(), logger.clone())
    };
    let started = wall_offset_ns + Time::now().0;
    let resource = settings.resource;
    let source = Source { metrics: metrics.clone(), resource: resource.clone(), started, wall_offset_ns };
    let of_metrics = settings.metrics.map(|to| exporter(Signal::Metrics, to)).transpose()?;
    let of_spans = settings.traces.map(|to| exporter(Signal::Traces, to)).transpose()?;
    let of_logs = settings.logs.map(|to| exporter(Signal::Logs, to)).transpose()?;
    let (mut tracers, mut rings) = (Vec::new(), Vec::new());
    for index in (0..shards).filter(|_| of_spans.is_some()) {
        let (spans, ring) = rtrb::RingBuffer::new(settings.batch.queue.div_ceil(shards));
        tracers.push(Tracer::new(settings.sampler, seeds.bits(), spans, metrics.shard(index)));
        rings.push(ring);
    }
    let records = exports.map(|exports| Records { exports, resource: resource.clone(), wall_offset_ns });
    let spans = Spans { rings, resource, metrics: metrics.clone(), wall_offset_ns };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(StartError::Thread)?;
    metrics.process().watch(runtime.handle());
    let (stop, stopped) = watch::channel(false);
    let (alive, ended) = threads::channel();
    let thread = move || {
        // Side by side, so that none waits for another's receiver.
        let (local, stopped) = (tokio::task::LocalSet::new(), Stop(stopped));
        if let Some(exporter) = of_metrics {
            local.spawn_local(export_metrics(source, exporter, settings.interval, stopped.clone()));
        }
        if let Some(exporter) = of_spans {
            local.spawn_local(gather::export(spans, settings.batch, exporter, stopped.clone()));
        }
        if let (Some(exporter), Some(records)) = (of_logs, records) {
            local.spawn_local(gather::export(records, settings.log_batch, exporter, stopped));
        }
        runtime.block_on(local);
        drop(alive);
    };
    std::thread::Builder::new().name("telemetry".into()).spawn(thread).map_err(StartError::Thread)?;
    Ok((Running { stop, ended }, tracers))
}

impl Running {
    /// Sends what there is, once, and waits for that at most for `patience`. False: it was not done by then.
    pub fn end(self, patience: Duration) -> bool {
        self.stop.send_replace(true);
        // Nothing is ever sent: this ends by time, or by the thread's end.
        matches!(self.ended.recv_timeout(patience), Err(threads::RecvTimeoutError::Disconnected))
    }
}

/// Metrics every `interval`, and once more at the end.
async fn export_metrics(source: Source, mut exporter: Exporter, interval: Duration, mut stop: Stop) {
    let mut due = tokio::time::Instant::now();
    loop {
        // A receiver that is slow costs samples, not a queue of them: they are cumulative.
        due = (due + interval).max(tokio::time::Instant::now());
        let is_last = stop.within(due).await;
        let (body, points) = source.request();
        exporter.export(body, points, &mut stop).await;
        if is_last {
            return;
        }
    }
}

/// Where requests with metrics come from.
#[derive(Debug)]
struct Source {
    metrics: Metrics,
    resource: Resource,
    /// Nanoseconds since the Unix epoch; from then on counters count.
    started: u64,
    wall_offset_ns: u64,
}

impl Source {
    /// A request with all metrics as they are now, and its number of data points.
    fn request(&self) -> (Vec<u8>, u64) {
        let times = points::Times { start: self.started, now: self.wall_offset_ns + Time::now().0 };
        let metrics = points::metrics(&self.metrics.snapshot(), times);
        let points = points::count(&metrics);
        (resource::metrics_request(self.resource.clone(), metrics).encode_to_vec(), points)
    }
}
