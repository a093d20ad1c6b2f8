//! Spans from the shards' rings to requests of the size and at the times that were asked for.

use super::exporter::{Exporter, Stop};
use super::otlp::Resource;
use super::resource::trace_request;
use super::settings::Batch;
use super::spans;
use crate::metrics::{Metrics, Signal};
use crate::trace::Span;
use prost::Message as _;
use std::time::Duration;
use tokio::time::Instant;

/// How often rings are looked into. Shards wake nobody.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The spans of all shards.
#[derive(Debug)]
pub(super) struct Gatherer {
    pub(super) rings: Vec<rtrb::Consumer<Span>>,
    pub(super) batch: Batch,
    pub(super) resource: Resource,
    pub(super) metrics: Metrics,
    pub(super) wall_offset_ns: u64,
}

/// Sends them until the gateway ends and no more are there.
pub(super) async fn export_spans(mut gatherer: Gatherer, mut exporter: Exporter, mut stop: Stop) {
    let look_every = LOOK_EVERY.min(gatherer.batch.delay);
    let mut sent = Instant::now();
    loop {
        let is_last = stop.within(Instant::now() + look_every).await;
        let mut waiting = gatherer.waiting();
        if waiting == 0 {
            // The first one that comes waits for others from then on.
            sent = Instant::now();
        }
        let is_due = is_last || sent.elapsed() >= gatherer.batch.delay;
        while waiting >= gatherer.batch.size || (is_due && waiting > 0) {
            let (body, items) = gatherer.request();
            exporter.export(body, items, &mut stop).await;
            sent = Instant::now();
            waiting = gatherer.waiting();
        }
        if is_last {
            return;
        }
    }
}

impl Gatherer {
    fn waiting(&self) -> usize {
        self.rings.iter().map(rtrb::Consumer::slots).sum()
    }

    /// A request with the next spans, and their number.
    fn request(&mut self) -> (Vec<u8>, u64) {
        let mut spans = Vec::new();
        for ring in &mut self.rings {
            while spans.len() < self.batch.size
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
