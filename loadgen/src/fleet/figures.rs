//! What the clients measured: per thread without locks, merged at the end of a run and once a second.

use super::ledger::{Class, Counts};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wire::time::Time;

/// Longest latency told apart, microseconds: ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Durations in microseconds, three significant digits.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        // Fails only for bounds that make no sense; these are constants that do.
        #[expect(clippy::expect_used, reason = "constant arguments, covered by every test")]
        Latencies(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("bounds of a latency histogram"))
    }
}

impl Latencies {
    /// Records one; longer than ten minutes counts as ten minutes.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Latencies) {
        // Same bounds on both sides, so nothing can be out of range.
        let _ = self.0.add(&other.0);
    }

    /// The histogram, microseconds.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    /// A quantile in microseconds; `None` if there are no values.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile))
    }
}

/// A counter that one thread writes and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Subtracts `n`.
    pub fn subtract(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One thread's running counts, readable at any time.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Gauges {
    /// Clients with a session.
    pub connected: Counter,
    /// Attempts that failed.
    pub connect_failed: Counter,
    /// Messages attempted, whatever came of it.
    pub attempted: Counter,
    /// Messages written to a socket.
    pub sent: Counter,
    /// Messages that the target confirmed.
    pub confirmed: Counter,
    /// Messages that the target refused.
    pub refused: Counter,
    /// First arrivals.
    pub delivered: Counter,
    /// Threads that have attempted, or missed, all there was until the traffic's end.
    pub traffic_over: Counter,
}

/// What one phase measured, classes aside.
#[derive(Debug, Clone, Default)]
pub struct PhaseFigures {
    /// From the intended send time to the first arrival.
    pub latency: Latencies,
    /// From the actual send time to the first arrival.
    pub latency_uncorrected: Latencies,
    /// From the intended to the actual send time.
    pub send_lag: Latencies,
    /// First arrivals out of order.
    pub reordered: u64,
    /// First arrivals later than `late_after`.
    pub late: u64,
    /// Attempts more than 100 ms late.
    pub attempted_late: u64,
    /// Connects attempted in it, whenever they ended.
    pub connects: ConnectFigures,
}

/// What came of connects.
#[derive(Debug, Clone, Default)]
pub struct ConnectFigures {
    /// Attempts.
    pub attempts: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// From the begin of a client's first connect to `hello`.
    pub connecting: Latencies,
    /// From losing a session, or from the target's return if that was later, to having the next.
    pub reconnect: Latencies,
}

impl ConnectFigures {
    /// Adds another thread's, or another phase's.
    pub fn merge(&mut self, other: &ConnectFigures) {
        self.attempts += other.attempts;
        self.failed += other.failed;
        self.connecting.merge(&other.connecting);
        self.reconnect.merge(&other.reconnect);
    }
}

impl PhaseFigures {
    /// Adds another thread's, or another phase's.
    pub fn merge(&mut self, other: &PhaseFigures) {
        self.latency.merge(&other.latency);
        self.latency_uncorrected.merge(&other.latency_uncorrected);
        self.send_lag.merge(&other.send_lag);
        self.reordered += other.reordered;
        self.late += other.late;
        self.attempted_late += other.attempted_late;
        self.connects.merge(&other.connects);
    }
}

/// One second of a run.
#[derive(Debug, Clone, Default)]
pub struct Second {
    /// Latencies of first arrivals in it, from the intended send time.
    pub latency: Latencies,
    /// Lag of the attempts in it.
    pub send_lag: Latencies,
    /// Messages written.
    pub sent: u64,
    /// First arrivals.
    pub delivered: u64,
    /// Messages that were due.
    pub due: u64,
}

/// What is kept of a second once all threads have told theirs: its distributions would take 160 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecondFigures {
    /// Its end.
    pub until: Time,
    /// Messages that were due.
    pub due: u64,
    /// Messages written.
    pub sent: u64,
    /// First arrivals.
    pub delivered: u64,
    /// p50, p99 and p99.9 of first arrivals, microseconds; `None` without any.
    pub latency: Option<[u64; 3]>,
    /// p99 of the attempts' lag, microseconds; `None` without any.
    pub send_lag: Option<u64>,
    /// Clients with a session at its end.
    pub connected: u64,
}

/// Seconds of which not every thread has told its part, and those of which all have.
#[derive(Debug, Default)]
pub struct Seconds {
    /// Sum so far, and threads that are in it.
    open: BTreeMap<Time, (Second, usize)>,
    /// In order of time.
    pub closed: Vec<SecondFigures>,
}

impl Seconds {
    /// Adds what one of `threads` threads tells; a second that is complete is closed.
    pub fn add(&mut self, until: Time, part: &Second, threads: usize, connected: u64) {
        let (sum, parts) = self.open.entry(until).or_default();
        sum.latency.merge(&part.latency);
        sum.send_lag.merge(&part.send_lag);
        sum.sent += part.sent;
        sum.delivered += part.delivered;
        sum.due += part.due;
        *parts += 1;
        if *parts == threads
            && let Some((sum, _)) = self.open.remove(&until)
        {
            self.close(until, &sum, connected);
        }
    }

    fn close(&mut self, until: Time, sum: &Second, connected: u64) {
        let quantiles = [0.5, 0.99, 0.999].map(|quantile| sum.latency.quantile(quantile));
        let latency = match quantiles {
            [Some(p50), Some(p99), Some(p999)] => Some([p50, p99, p999]),
            _ => None,
        };
        self.closed.push(SecondFigures {
            until,
            due: sum.due,
            sent: sum.sent,
            delivered: sum.delivered,
            latency,
            send_lag: sum.send_lag.quantile(0.99),
            connected,
        });
    }
}

/// A phase as the clients know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseMark {
    /// Messages intended from here on belong to it.
    pub begin: Time,
    /// A fault was asked for then: messages still on their way belong to this phase too.
    pub disturbed: Option<Time>,
}

/// The phases so far; 0 is the warm-up.
#[derive(Debug, Clone, Default)]
pub struct PhaseMarks(Vec<PhaseMark>);

/// How long before a fault a message that never arrives may have been sent and still count as caught by it.
const IN_FLIGHT_MAX: Duration = Duration::from_secs(1);

impl PhaseMarks {
    /// The next phase begins.
    pub fn begin(&mut self, mark: PhaseMark) {
        self.0.push(mark);
    }

    /// A fault of the last phase was asked for.
    pub fn disturb(&mut self, at: Time) {
        if let Some(last) = self.0.last_mut() {
            last.disturbed.get_or_insert(at);
        }
    }

    /// The phase of a message by its intended time and its arrival; `None` for one that never arrived.
    ///
    /// A message in flight when a fault takes effect belongs to the fault's phase.
    pub fn of(&self, intended: Time, arrived: Option<Time>) -> usize {
        let index = self.0.partition_point(|mark| mark.begin <= intended).saturating_sub(1);
        let caught = |mark: &PhaseMark| {
            mark.disturbed.is_some_and(|disturbed| match arrived {
                Some(arrived) => intended < disturbed && disturbed <= arrived,
                None => intended < disturbed && disturbed.since(intended) < IN_FLIGHT_MAX,
            })
        };
        if self.0.get(index + 1).is_some_and(caught) { index + 1 } else { index }
    }
}

/// What a whole fleet measured.
#[derive(Debug, Clone, Default)]
pub struct FleetFigures {
    /// By phase; 0 is the warm-up, the last may be cut short.
    pub phases: Vec<(Counts, PhaseFigures)>,
    /// Failed connects by reason.
    pub connect_errors: BTreeMap<&'static str, u64>,
    /// Refused messages by code.
    pub refusals: BTreeMap<String, u64>,
    /// Arrivals that the plan knows nothing of.
    pub unexpected: u64,
    /// Messages intended before a fault took effect that arrived after it: by the phase before it, how many.
    pub caught: BTreeMap<usize, u64>,
    /// What was counted under way.
    pub tally: Tally,
}

/// Messages as they were counted under way, warm-up included; the classes, made up at the end, must agree with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Due until the traffic's end, by the schedules.
    pub planned: u64,
    /// Attempted in time.
    pub attempted: u64,
    /// Written to a socket.
    pub sent: u64,
    /// Arrived.
    pub delivered: u64,
}

impl FleetFigures {
    /// The tally as the classes have it.
    pub fn tally_of_classes(&self) -> Tally {
        let mut tally = Tally::default();
        for (counts, _) in &self.phases {
            let of = |class| counts.of(class);
            tally.planned += counts.planned();
            tally.attempted += counts.planned() - of(Class::Missed);
            tally.sent += counts.planned() - of(Class::Missed) - of(Class::Offline) - of(Class::Blocked);
            tally.delivered += of(Class::Delivered);
        }
        tally
    }

    /// Gives `count` deliveries of `phase` to the one after it, in whose fault they were caught.
    pub(super) fn move_delivered(&mut self, phase: usize, count: u64) {
        if let Some([(from, _), (to, _)]) = self.phases.get_mut(phase..phase + 2) {
            let delivered = Class::Delivered as usize;
            let count = count.min(from.classes[delivered]);
            from.classes[delivered] -= count;
            to.classes[delivered] += count;
        }
    }

    /// Connects of all phases, the warm-up's among them: that is when most clients come.
    pub fn connects(&self) -> ConnectFigures {
        let mut total = ConnectFigures::default();
        self.phases.iter().for_each(|(_, figures)| total.merge(&figures.connects));
        total
    }

    /// All phases together, without the warm-up.
    pub fn total(&self) -> (Counts, PhaseFigures) {
        let mut total = (Counts::default(), PhaseFigures::default());
        for (counts, figures) in self.phases.iter().skip(1) {
            for (sum, count) in total.0.classes.iter_mut().zip(counts.classes) {
                *sum += count;
            }
            total.0.duplicates += counts.duplicates;
            total.1.merge(figures);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: f64) -> Time {
        Time((second * 1e9) as u64)
    }

    #[test]
    fn a_second_is_closed_when_every_thread_has_told_its_part() {
        let mut seconds = Seconds::default();
        let mut part = Second { due: 3, sent: 2, delivered: 1, ..Second::default() };
        part.latency.record(Duration::from_millis(5));
        seconds.add(second(1.0), &part, 2, 7);
        assert_eq!(seconds.closed, []);
        seconds.add(second(2.0), &Second::default(), 2, 8);
        seconds.add(second(1.0), &part, 2, 9);
        let [closed] = *seconds.closed else { panic!("{:?}", seconds.closed) };
        assert_eq!((closed.until, closed.due, closed.sent, closed.delivered), (second(1.0), 6, 4, 2));
        assert_eq!((closed.connected, closed.send_lag), (9, None));
        assert!(closed.latency.is_some_and(|[p50, _, p999]| p50 == p999 && (4_990..5_010).contains(&p50)));
    }

    #[test]
    fn in_flight_when_the_fault_takes_effect_belongs_to_the_fault() {
        let mut marks = PhaseMarks::default();
        marks.begin(PhaseMark { begin: second(0.0), disturbed: None });
        marks.begin(PhaseMark { begin: second(10.0), disturbed: None });
        marks.begin(PhaseMark { begin: second(20.0), disturbed: None });
        marks.disturb(second(20.001));
        marks.begin(PhaseMark { begin: second(30.0), disturbed: None });
        for (intended, arrived, phase) in [
            (5.0, Some(5.1), 0),
            (9.9, Some(10.5), 0),
            (19.9, Some(19.95), 1),
            (19.9, Some(20.5), 2),
            (20.0, Some(20.5), 2),
            (19.9, None, 2),
            (18.0, None, 1),
            (29.9, Some(30.5), 2),
            (30.0, Some(30.5), 3),
        ] {
            assert_eq!(marks.of(second(intended), arrived.map(second)), phase, "{intended} {arrived:?}");
        }
    }
}
