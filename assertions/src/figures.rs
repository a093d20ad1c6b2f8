//! What the clients saw, as plain data: the ground truth that SLOs and thresholds are judged on.

use hdrhistogram::Histogram;

/// Figures of a whole run and of each phase. A message belongs to the phase of its intended send time.
#[derive(Debug, Clone)]
pub struct ClientFigures {
    /// In the order of the phases.
    pub phases: Vec<PhaseFigures>,
    /// The whole run.
    pub total: Figures,
}

/// Figures of one phase.
#[derive(Debug, Clone)]
pub struct PhaseFigures {
    /// The phase's name.
    pub name: String,
    /// What was seen in it.
    pub figures: Figures,
}

/// Counts and distributions over one stretch of time. All histograms are in microseconds.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Length on the wall clock, in seconds.
    pub wall_seconds: f64,
    /// Messages by how they ended.
    pub messages: MessageCounts,
    /// From the intended send time to the first arrival.
    pub latency: Histogram<u64>,
    /// From the attempt to send to the first arrival.
    pub latency_uncorrected: Histogram<u64>,
    /// From the intended send time to the generator's attempt.
    pub send_lag: Histogram<u64>,
    /// From the start of a connect to the end of its handshake.
    pub connecting: Histogram<u64>,
    /// From the loss of a connection to its return.
    pub reconnect: Histogram<u64>,
    /// Connects tried.
    pub connect_attempts: u64,
    /// Connects that failed.
    pub connect_failures: u64,
}

/// Every planned message is in exactly one class; the counts below the classes overlap with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageCounts {
    /// Not attempted: the generator was late or stopped.
    pub missed: u64,
    /// Sender not connected.
    pub offline: u64,
    /// The sender's socket was full.
    pub blocked: u64,
    /// Refused with an error code.
    pub refused: u64,
    /// Sent, and the connection ended without a confirmation.
    pub unconfirmed: u64,
    /// Arrived.
    pub delivered: u64,
    /// Confirmed and given up by the target's own rules.
    pub expired: u64,
    /// Confirmed, the recipient absent.
    pub queued: u64,
    /// Confirmed and never delivered.
    pub lost: u64,
    /// Arrivals beyond the first.
    pub duplicates: u64,
    /// First arrivals after a later message of the same sender on the same device.
    pub reordered: u64,
    /// Delivered, but later than `late_after`.
    pub late: u64,
}

impl MessageCounts {
    /// The sum of the classes.
    pub fn planned(&self) -> u64 {
        self.missed + self.attempted()
    }

    /// Planned messages that the generator did its part for; what became of them is the target's doing.
    pub fn attempted(&self) -> u64 {
        self.offline + self.blocked + self.refused + self.unconfirmed + self.confirmed()
    }

    /// Messages for which the target took responsibility.
    pub fn confirmed(&self) -> u64 {
        self.delivered + self.expired + self.queued + self.lost
    }

    /// Attempted messages that neither arrived nor wait for an absent recipient.
    pub fn failed(&self) -> u64 {
        self.offline + self.blocked + self.refused + self.unconfirmed + self.expired + self.lost
    }

    /// Messages that left the sender's socket.
    pub fn sent(&self) -> u64 {
        self.refused + self.unconfirmed + self.confirmed()
    }
}

impl Figures {
    /// No messages, no connects, no time; histograms keep three digits up to an hour.
    pub fn empty() -> Figures {
        let histogram = histogram();
        Figures {
            wall_seconds: 0.0,
            messages: MessageCounts::default(),
            latency: histogram.clone(),
            latency_uncorrected: histogram.clone(),
            send_lag: histogram.clone(),
            connecting: histogram.clone(),
            reconnect: histogram,
            connect_attempts: 0,
            connect_failures: 0,
        }
    }
}

impl Figures {
    /// Adds another stretch of time.
    pub fn add(&mut self, other: &Figures) {
        self.wall_seconds += other.wall_seconds;
        self.messages.add(&other.messages);
        self.connect_attempts += other.connect_attempts;
        self.connect_failures += other.connect_failures;
        let pairs = [
            (&mut self.latency, &other.latency),
            (&mut self.latency_uncorrected, &other.latency_uncorrected),
            (&mut self.send_lag, &other.send_lag),
            (&mut self.connecting, &other.connecting),
            (&mut self.reconnect, &other.reconnect),
        ];
        for (into, from) in pairs {
            for step in from.iter_recorded() {
                // A histogram that may not grow keeps its largest value instead.
                into.saturating_record_n(step.value_iterated_to(), step.count_at_value());
            }
        }
    }
}

impl MessageCounts {
    fn add(&mut self, other: &MessageCounts) {
        self.missed += other.missed;
        self.offline += other.offline;
        self.blocked += other.blocked;
        self.refused += other.refused;
        self.unconfirmed += other.unconfirmed;
        self.delivered += other.delivered;
        self.expired += other.expired;
        self.queued += other.queued;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.late += other.late;
    }
}

/// An empty histogram that keeps three digits and grows as needed.
pub fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "three digits are within the library's documented 0 to 5")]
    Histogram::new(3).expect("0 to 5 digits are allowed")
}

impl ClientFigures {
    /// The figures of a phase.
    pub fn phase(&self, name: &str) -> Option<&Figures> {
        self.phases.iter().find(|phase| phase.name == name).map(|phase| &phase.figures)
    }
}
