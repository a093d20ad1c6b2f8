//! The toxics in force for a connection, made into what a byte has to ask.

use super::chance::{self, Shape};
use super::line::Line;
use super::{Kind, Toxic, Way};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;
use wire::shard::virtual_time::Random;
use wire::time::Time;

/// A toxic since it is in force.
#[derive(Debug, Clone)]
pub struct InForce {
    /// Another number for each time that it was set or changed.
    pub id: u64,
    /// What was asked for.
    pub toxic: Arc<Toxic>,
    /// From when on.
    pub since: Time,
    /// What connections share where they share a line.
    pub line: Arc<Line>,
}

/// What holds for one connection.
#[derive(Debug, Default)]
pub struct Selected {
    /// The toxics, by number.
    pub(super) ids: Vec<u64>,
    rules: [Rules; 2],
    /// Cuts to come.
    pub(super) cuts: Vec<Cut>,
    /// Whom this way leads to sees the connection cut, from then on.
    pub(super) half_open: Option<(Way, Time)>,
    /// A newcomer is turned away.
    pub(super) refuses: bool,
}

/// The end of a connection that is to come.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cut {
    pub(super) since: Time,
    pub(super) after: Duration,
    pub(super) how: How,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum How {
    Reset,
    Close,
    /// With a frame that says so, to whom these ways lead.
    Code {
        code: u16,
        reason: String,
        ways: [bool; 2],
    },
}

/// What holds for one way of a connection.
#[derive(Debug, Default)]
pub struct Rules {
    delays: Vec<Delay>,
    pub(super) rate: Option<NonZeroU64>,
    /// Rate and line of all selected connections.
    pub(super) shared: Option<(NonZeroU64, Arc<Line>)>,
    pub(super) slicer: Option<Slicer>,
    pub(super) limit: Option<Limit>,
    /// What comes vanishes.
    pub(super) drops: bool,
    /// Nothing leaves.
    pub(super) holds: bool,
    close_delay: Duration,
    /// For the first bytes of a client.
    handshake: Duration,
    pub(super) frames: FrameRules,
}

#[derive(Debug, Clone, Copy)]
struct Delay {
    latency: Duration,
    jitter: Duration,
    shape: Shape,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Slicer {
    pub(super) average: u64,
    pub(super) variation: u64,
    pub(super) delay: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) id: u64,
    pub(super) bytes: u64,
}

/// What happens to WebSocket messages.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct FrameRules {
    pub(super) loss: f64,
    pub(super) twice: f64,
    /// Share, and for how long at most.
    pub(super) later: Option<(f64, Duration)>,
    pub(super) no_pings: bool,
}

impl FrameRules {
    pub(super) fn is_none(&self) -> bool {
        *self == FrameRules::default()
    }
}

impl Selected {
    /// What all these toxics come to.
    pub fn new<'a>(toxics: impl IntoIterator<Item = &'a InForce>) -> Selected {
        let mut selected = Selected::default();
        for toxic in toxics {
            selected.add(toxic);
        }
        selected
    }

    /// What holds for this way.
    pub fn rules(&self, way: Way) -> &Rules {
        &self.rules[way as usize]
    }

    fn add(&mut self, in_force: &InForce) {
        self.ids.push(in_force.id);
        let toxic = &in_force.toxic;
        let ways = Way::ALL.map(|way| toxic.stream.covers(way));
        let mut cut = |after, how| self.cuts.push(Cut { since: in_force.since, after, how });
        match &toxic.kind {
            Kind::ResetPeer { timeout } => cut(*timeout, How::Reset),
            Kind::Timeout { timeout } if !timeout.is_zero() => cut(*timeout, How::Close),
            Kind::CloseCode { code, reason } => {
                cut(Duration::ZERO, How::Code { code: *code, reason: reason.clone(), ways });
            }
            Kind::SlowHandshake { delay } => self.rules[Way::Up as usize].handshake += *delay,
            Kind::Refuse {} => self.refuses = true,
            Kind::HalfOpen {} => {
                let way = if ways[Way::Down as usize] { Way::Down } else { Way::Up };
                self.half_open = Some((way, in_force.since));
            }
            _ => {}
        }
        for way in Way::ALL.into_iter().filter(|way| toxic.stream.covers(*way)) {
            self.rules[way as usize].add(in_force);
        }
    }
}

impl Rules {
    /// Whether a byte can pass without asking.
    pub(super) fn is_none(&self) -> bool {
        self.delays.is_empty()
            && self.rate.is_none()
            && self.shared.is_none()
            && self.slicer.is_none()
            && self.limit.is_none()
            && !self.drops
            && !self.holds
            && self.handshake.is_zero()
            && self.frames.is_none()
    }

    fn add(&mut self, in_force: &InForce) {
        match in_force.toxic.kind {
            Kind::Latency { latency, jitter, shape } => self.delays.push(Delay { latency, jitter, shape }),
            Kind::Bandwidth { rate, whole } => {
                let Some(rate) = NonZeroU64::new(rate.saturating_mul(1000)) else { return };
                if !whole {
                    self.rate = Some(self.rate.map_or(rate, |other| other.min(rate)));
                } else if self.shared.as_ref().is_none_or(|(other, _)| rate < *other) {
                    self.shared = Some((rate, Arc::clone(&in_force.line)));
                }
            }
            Kind::SlowClose { delay } => self.close_delay += delay,
            Kind::Timeout { .. } => self.drops = true,
            Kind::Slicer { average_size: average, size_variation: variation, delay } => {
                if self.slicer.is_none_or(|other| average < other.average) {
                    self.slicer = Some(Slicer { average, variation, delay });
                }
            }
            Kind::LimitData { bytes } => {
                if self.limit.is_none_or(|other| bytes < other.bytes) {
                    self.limit = Some(Limit { id: in_force.id, bytes });
                }
            }
            Kind::FrameLoss { share } => self.frames.loss = either(self.frames.loss, share),
            Kind::FrameDuplicate { share } => self.frames.twice = either(self.frames.twice, share),
            Kind::FrameReorder { share, hold } => {
                let (other, longest) = self.frames.later.unwrap_or_default();
                self.frames.later = Some((either(other, share), longest.max(hold)));
            }
            Kind::PingBlackhole {} => self.frames.no_pings = true,
            Kind::Blackhole {} => self.holds = true,
            Kind::ResetPeer { .. }
            | Kind::CloseCode { .. }
            | Kind::SlowHandshake { .. }
            | Kind::HalfOpen {}
            | Kind::Refuse {} => {}
        }
    }

    /// How long what comes now is held back.
    pub(super) fn delay(&self, random: &mut Random) -> Duration {
        self.delays.iter().map(|delay| chance::delay(random, delay.latency, delay.jitter, delay.shape)).sum()
    }

    /// What is added to that for the first bytes of a client, and for an orderly end.
    pub(super) fn extra(&self, is_first: bool, is_end: bool) -> Duration {
        let of = |is: bool, delay| if is { delay } else { Duration::ZERO };
        of(is_first, self.handshake) + of(is_end, self.close_delay)
    }

    /// Bytes that may wait, so that whoever sends is slowed down too and memory has a bound.
    pub(super) fn held_max(&self) -> usize {
        const BYTES: std::ops::RangeInclusive<u64> = 16 * 1024..=1024 * 1024;
        let rate = [self.rate, self.shared.as_ref().map(|(rate, _)| *rate)].into_iter().flatten().min();
        // A tenth of a second's worth: more would only wait here instead of at the sender.
        rate.map_or(*BYTES.end(), |rate| (rate.get() / 10).clamp(*BYTES.start(), *BYTES.end())) as usize
    }
}

/// The chance that at least one of two independent things happens.
fn either(one: f64, other: f64) -> f64 {
    1.0 - (1.0 - one) * (1.0 - other)
}
