//! What a shard counts, and the families of sessions, messages and routes.

use super::cell::{Counter, Gauge, Histogram};
use super::http::HttpMetrics;
use super::labels::{
    AuthMethod, AuthResult, CloseReason, ConnectError, FailReason, Frame, Kind, LabelValue as _, LimitScope,
};
use super::snapshot::{Families, Point, by, by_both};
use super::{FANOUT_BOUNDS, LATENCY_BOUNDS, Metrics};
use crate::auth::TokenError;
use crate::im::protocol::Refusal;

/// One shard's figures.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardMetrics {
    /// Open sessions.
    pub active_connections: Gauge,
    /// Sessions begun.
    pub established: Counter,
    /// Sessions ended, by [`CloseReason`].
    pub closed: [Counter; CloseReason::ALL.len()],
    /// Failed connects, by [`ConnectError`].
    pub connect_errors: [Counter; ConnectError::ALL.len()],
    /// Requests over HTTP.
    pub http: HttpMetrics,
    /// WebSocket messages, by [`Frame`].
    pub frames: [Counter; Frame::ALL.len()],
    /// Attempts to say who one is, by [`AuthMethod`] and whether it failed.
    pub auth_attempts: [[Counter; AuthResult::ALL.len()]; AuthMethod::ALL.len()],
    /// Good tokens.
    pub tokens_accepted: Counter,
    /// Refused tokens, by [`TokenError`].
    pub tokens_refused: [Counter; TokenError::ALL.len()],
    /// Deliveries acknowledged, by [`Kind`].
    pub delivered: [Counter; Kind::ALL.len()],
    /// Deliveries lost, by [`Kind`] and [`FailReason`].
    pub failed: [[Counter; FailReason::ALL.len()]; Kind::ALL.len()],
    /// Seconds from accepting a message to its acknowledgement, by [`Kind`].
    pub latency: [Histogram<{ LATENCY_BOUNDS.len() }>; Kind::ALL.len()],
    /// Deliveries not acknowledged in time.
    pub ack_timeouts: Counter,
    /// Repeated message ids.
    pub duplicates: Counter,
    /// Route cache hits.
    pub cache_hits: Counter,
    /// Route cache misses.
    pub cache_misses: Counter,
    /// Routes in the cache.
    pub cache_size: Gauge,
    /// Messages waiting for absent users.
    pub offline_queue: Gauge,
    /// Deliveries owed: one per recipient's device, or one for an absent user.
    pub accepted: Counter,
    /// Deliveries whose time ran out in a queue.
    pub expired: Counter,
    /// Deliveries on their way in this shard: held, waiting or unacknowledged.
    pub in_flight: Gauge,
    /// Deliveries to users with more than one connected device.
    pub multi_device: Counter,
    /// Deliveries of group messages.
    pub group_delivered: Counter,
    /// Members a group message went to.
    pub group_fanout: Histogram<{ FANOUT_BOUNDS.len() }>,
    /// Members that group messages are still on their way to.
    pub fanout_backlog: Gauge,
    /// Deliveries recovered from the store at the start; they are among those accepted.
    pub recovered: Counter,
    /// Operations handed to the store.
    pub persist_asked: Counter,
    /// Requests that wait for the store's answer.
    pub persist_waiting: Gauge,
    /// Frames refused, by [`Refusal`].
    pub refused: [Counter; Refusal::ALL.len()],
    /// Frames that a rate limit let through.
    pub rate_allowed: Counter,
    /// Frames that a rate limit refused, by [`LimitScope`].
    pub rate_limited: [Counter; LimitScope::ALL.len()],
    /// Messages that the breaker on loss let through.
    pub breaker_allowed: Counter,
    /// Messages that the breaker on loss refused.
    pub breaker_rejected: Counter,
    /// Notifications that the edge was too busy to take.
    pub push_dropped: Counter,
    /// Spans that were left for the exporter.
    pub spans_left: Counter,
    /// Spans that found no room.
    pub spans_dropped: Counter,
}

impl ShardMetrics {
    /// Counts a failed connect.
    pub fn connect_error(&self, error: ConnectError) {
        self.connect_errors[error as usize].increment();
    }

    /// Counts a WebSocket message.
    pub fn frame(&self, frame: Frame) {
        self.frames[frame as usize].increment();
    }

    /// Counts an attempt to say who one is.
    pub fn authenticated(&self, method: AuthMethod, result: Result<(), TokenError>) {
        self.auth_attempts[method as usize][usize::from(result.is_err())].increment();
        match result {
            Ok(()) => self.tokens_accepted.increment(),
            Err(error) => self.tokens_refused[error as usize].increment(),
        }
    }

    /// Counts a lost delivery.
    pub fn fail(&self, kind: Kind, reason: FailReason) {
        self.failed[kind as usize][reason as usize].increment();
    }
}

impl Metrics {
    pub(super) fn connections(&self, families: &mut Families) {
        let level = self.level(|s| s.active_connections.get());
        families.gauge("im_gateway_active_connections", "Open WebSocket sessions", level);
        let begun = self.total(|s| s.established.get());
        families.counter("im_gateway_connections_established", "Sessions begun", begun);
        families.counters(
            "im_gateway_connections_closed",
            "Sessions ended",
            by("reason", |reason: CloseReason| self.total(|s| s.closed[reason as usize].get())),
        );
        families.counters(
            "im_gateway_connection_errors",
            "Connects that did not become a session",
            by("error_type", |error: ConnectError| self.total(|s| s.connect_errors[error as usize].get())),
        );
    }

    /// The same sessions under the names that an API gateway's operators know, and their messages.
    pub(super) fn websockets(&self, families: &mut Families) {
        let begun = self.total(|s| s.established.get());
        families.counter("websocket_connections", "WebSocket sessions begun", begun);
        let level = self.level(|s| s.active_connections.get());
        families.gauge("websocket_connections_active", "Open WebSocket sessions", level);
        let point = |&frame: &Frame| Point {
            labels: vec![("direction", frame.direction().text()), ("type", frame.text())],
            value: self.total(|s| s.frames[frame as usize].get()),
        };
        let points = Frame::ALL.iter().map(point).collect();
        families.counters("websocket_messages", "WebSocket messages by their im.v1 type", points);
    }

    pub(super) fn messages(&self, families: &mut Families) {
        families.counters(
            "im_gateway_messages_delivered",
            "Deliveries acknowledged",
            by("type", |kind: Kind| self.total(|s| s.delivered[kind as usize].get())),
        );
        families.counters(
            "im_gateway_messages_failed",
            "Deliveries lost after confirmation",
            by_both(("type", "reason"), |kind: Kind, reason: FailReason| {
                self.total(|s| s.failed[kind as usize][reason as usize].get())
            }),
        );
        families.histograms(
            "im_gateway_message_delivery_latency_seconds",
            "From accepting a message to its acknowledgement",
            by("type", |kind: Kind| self.distribution(&LATENCY_BOUNDS, |s| &s.latency[kind as usize])),
        );
        let timeouts = self.total(|s| s.ack_timeouts.get());
        families.counter("im_gateway_ack_timeout", "Deliveries not acknowledged in time", timeouts);
        families.counter(
            "im_gateway_message_duplication",
            "Repeated message ids, confirmed and not delivered again",
            self.total(|s| s.duplicates.get()),
        );
        families.counters(
            "im_gateway_messages_refused",
            "Frames refused with an error code",
            by("code", |refusal: Refusal| self.total(|s| s.refused[refusal as usize].get())),
        );
    }

    /// accepted = delivered + queued + expired + failed + in flight (what travels between shards is counted in none).
    pub(super) fn conservation(&self, families: &mut Families) {
        let accepted = self.total(|s| s.accepted.get());
        families.counter("im_gateway_messages_accepted", "Deliveries owed", accepted);
        let expired = self.total(|s| s.expired.get());
        families.counter("im_gateway_messages_expired", "Deliveries whose time ran out in a queue", expired);
        let queued = self.level(|s| s.offline_queue.get());
        families.gauge("im_service_offline_queue_size", "Messages waiting for absent users", queued);
        let in_flight = self.level(|s| s.in_flight.get());
        families.gauge(
            "im_gateway_messages_in_flight",
            "Deliveries held, waiting or unacknowledged",
            in_flight,
        );
    }

    pub(super) fn routes(&self, families: &mut Families) {
        let hits = self.total(|s| s.cache_hits.get());
        families.counter("im_gateway_cache_hits", "Routes found in the cache", hits);
        let misses = self.total(|s| s.cache_misses.get());
        families.counter("im_gateway_cache_misses", "Routes asked of the user's home shard", misses);
        let size = self.level(|s| s.cache_size.get());
        families.gauge("im_gateway_cache_size", "Routes in the cache", size);
    }

    pub(super) fn fan_out(&self, families: &mut Families) {
        families.counter(
            "im_gateway_multi_device_deliveries",
            "Deliveries to users with several connected devices",
            self.total(|s| s.multi_device.get()),
        );
        families.counter(
            "im_gateway_group_messages_delivered",
            "Deliveries of group messages",
            self.total(|s| s.group_delivered.get()),
        );
        families.histogram(
            "im_gateway_group_fanout_size",
            "Members a group message went to",
            self.distribution(&FANOUT_BOUNDS, |s| &s.group_fanout),
        );
        families.gauge(
            "im_gateway_group_fanout_backlog",
            "Members that accepted group messages are still on their way to",
            self.level(|s| s.fanout_backlog.get()),
        );
    }
}
