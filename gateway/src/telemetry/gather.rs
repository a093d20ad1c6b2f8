//! Spans and log records from where they wait to requests of the size and at the times that were asked for.

use super::exporter::{Exporter, Stop};
use super::otlp::Resource;
use super::resource::{logs_request, trace_request};
use super::settings::Batch;
use super::{records, spans};
use crate::log::Exports;
use crate::metrics::{Metrics, Signal};
use crate::trace::Span;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wire::time::Time;

/// How often it is looked whether something waits. Who leaves something wakes nobody.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What waits to be sent.
pub(super) trait Waiting {
    /// How many items there are.
    fn waiting(&self) -> usize;

    /// A request with the next ones, at most `size`, and their number.
    fn request(&mut self, size: usize) -> (Vec<u8>, u64);
}

/// The spans of all shards.
#[derive(Debug)]
pub(super) struct Spans {
    pub(super) rings: Vec<rtrb::Consumer<Span>>,
    pub(super) resource: Resource,
    pub(super) metrics: Metrics,
    pub(super) wall_offset_ns: u64,
}

/// The log records of all threads.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) exports: Arc<Exports>,
    pub(super) resource: Resource,
    pub(super) wall_offset_ns: u64,
}

/// Sends them until the gateway ends and no more are there.
pub(super) async fn export(mut source: impl Waiting, batch: Batch, mut exporter: Exporter, mut stop: Stop) {
    let look_every = LOOK_EVERY.min(batch.delay);
    let mut sent = Instant::now();
    loop {
        let is_last = stop.within(Instant::now() + look_every).await;
        let mut waiting = source.waiting();
        if waiting == 0 {
            // The first one that comes waits for others from then on.
            sent = Instant::now();
        }
        let is_due = is_last || sent.elapsed() >= batch.delay;
        while waiting >= batch.size || (is_due && waiting > 0) {
            let (body, items) = source.request(batch.size);
            exporter.export(body, items, &mut stop).await;
            sent = Instant::now();
            waiting = source.waiting();
        }
        if is_last {
            return;
        }
    }
}

impl Waiting for Spans {
    fn waiting(&self) -> usize {
        self.rings.iter().map(rtrb::Consumer::slots).sum()
    }

    fn request(&mut self, size: usize) -> (Vec<u8>, u64) {
        let mut spans = Vec::new();
        for ring in &mut self.rings {
            while spans.len() < size
                && let Ok(span) = ring.pop()
            {
                spans.push(spans::span(span, self.wall_offset_ns));
            }
        }
        let items = spans.len() as u64;
        self.metrics.telemetry().took(Signal::Traces, items);
        (trace_request(self.resource.clone(), spans).encode_to_vec(), items)
    }
}

impl Waiting for Records {
    fn waiting(&self) -> usize {
        self.exports.waiting()
    }

    fn request(&mut self, size: usize) -> (Vec<u8>, u64) {
        let now = self.wall_offset_ns + Time::now().0;
        let records = self.exports.take(size).into_iter().map(|record| records::record(record, now));
        let records: Vec<_> = records.collect();
        let items = records.len() as u64;
        (logs_request(self.resource.clone(), records).encode_to_vec(), items)
    }
}
