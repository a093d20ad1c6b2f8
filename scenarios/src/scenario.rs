//! A run as its file says it, in types: what is under drill, who is there, what happens, what must come of it.
//!
//! Plain data, complete and checked against itself; names of alerts and receivers are not yet checked against
//! the rules, which this crate does not read. What can still turn out wrong keeps its place as [`Spanned`].
//! *Rule time* is what the rules see, *wall time* is what passes; a phase's [`Phase::factor`] relates them.

use std::time::Duration;

use crate::slo::Objective;
use crate::span::{Span, Spanned};
use crate::threshold::{Expression, Metric};
use crate::units::{DurationRange, Rate, Share};

/// A whole scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Name of the run: `name`, or the file's.
    pub name: String,
    /// Start of every random choice.
    pub seed: u64,
    /// How rule time relates to wall time.
    pub clock: Spanned<Clock>,
    /// Rule time of the first phase; `None`: now.
    pub starts_at: Option<Spanned<jiff::Timestamp>>,
    /// The healthy past.
    pub history: History,
    /// What is under drill.
    pub target: Target,
    /// The pack named, already found.
    pub pack: Option<Spanned<String>>,
    /// Rules, routes and their intervals.
    pub alerts: Alerts,
    /// Who is connected.
    pub population: Vec<Population>,
    /// What is sent.
    pub traffic: Vec<Traffic>,
    /// Wall time without an arrival after which the run is over.
    pub settle: Duration,
    /// Longest wall time stragglers are waited for.
    pub settle_max: Duration,
    /// Wall time after which a delivery is late.
    pub late_after: Duration,
    /// What happens, in order; never empty.
    pub phases: Vec<Phase>,
    /// What must come of it.
    pub expect: Expect,
    /// k6's thresholds.
    pub thresholds: Vec<Threshold>,
}

/// How rule time relates to wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// They are the same.
    Real,
    /// Each phase has its factor.
    Stretched,
}

/// The healthy past laid before the first phase.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Wall time of health before the first phase.
    pub warmup: Duration,
    /// How far it reaches back; `None`: the longest window of the rules.
    pub length: Option<Spanned<Duration>>,
}

/// What is under drill.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Our own gateway as a child process.
    Gateway {
        /// Its flags without dashes, and their values.
        flags: Vec<(Spanned<String>, Spanned<String>)>,
    },
    /// A running target that speaks im.v1.
    Url(Box<UrlTarget>),
}

/// A running target that speaks im.v1.
#[derive(Debug, Clone, PartialEq)]
pub struct UrlTarget {
    /// `ws://` or `wss://`, without a password.
    pub url: Spanned<String>,
    /// Name of the secret that is the bearer token.
    pub token: Option<Spanned<String>>,
    /// Address for gateway faults.
    pub admin: Option<Spanned<String>>,
    /// Path or address of the metrics.
    pub metrics: Spanned<String>,
    /// Headers of the handshake, templates not yet filled in.
    pub headers: Vec<(Spanned<String>, Spanned<String>)>,
}

/// Rules, routes and their intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct Alerts {
    /// Rule time between scrapes.
    pub scrape_interval: Spanned<Duration>,
    /// Rule time between evaluations.
    pub evaluation_interval: Spanned<Duration>,
    /// Rule files: the scenario's, else the pack's.
    pub rules: Vec<Spanned<FileRef>>,
    /// The Alertmanager configuration: the scenario's, else the pack's.
    pub alertmanager: Option<Spanned<FileRef>>,
    /// Alerts that fire throughout.
    pub background: Vec<Spanned<String>>,
    /// Silences in force.
    pub silences: Vec<Silence>,
    /// How the sink answers for a receiver: HTTP status.
    pub receivers: Vec<(Spanned<String>, u16)>,
}

/// A file that a scenario names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// Path as shown to the user, relative to the working folder like the scenario's own.
    pub path: std::path::PathBuf,
    /// Its text, if it comes from the pack built into the program.
    pub embedded: Option<&'static str>,
}

/// A silence.
#[derive(Debug, Clone, PartialEq)]
pub struct Silence {
    /// Alertmanager matchers, all of which must match; not parsed here.
    pub matchers: Vec<Spanned<String>>,
    /// In which phases.
    pub during: PhaseSet,
    /// Why.
    pub comment: Option<String>,
}

/// A group of clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Population {
    /// Its name.
    pub name: Spanned<String>,
    /// How many there are.
    pub executor: PopulationExecutor,
    /// Connects per second of wall time; `None`: as fast as the generator can.
    pub connect_rate: Option<Spanned<Rate>>,
    /// Share that leaves and comes back per minute of wall time.
    pub churn: Share,
    /// What a client does when its connection is lost.
    pub reconnect: Reconnect,
}

/// How the number of clients runs.
#[derive(Debug, Clone, PartialEq)]
pub enum PopulationExecutor {
    /// Always so many.
    ConstantVus {
        /// How many.
        vus: Spanned<u64>,
    },
    /// Straight lines between targets.
    RampingVus {
        /// At the start.
        start_vus: u64,
        /// The pieces, at least one.
        stages: Vec<Stage<u64>>,
    },
}

/// One piece of a ramp: a straight line to `target`.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage<T> {
    /// Wall time.
    pub duration: Duration,
    /// Value at its end.
    pub target: Spanned<T>,
}

/// How a client comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconnect {
    /// First and longest wait; doubled in between.
    pub backoff: DurationRange,
    /// How much of the wait is random.
    pub jitter: Jitter,
}

/// How much of a wait is random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// Nothing.
    None,
    /// The second half.
    Equal,
    /// All of it.
    Full,
}

/// A message schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// Its name.
    pub name: Spanned<String>,
    /// How sends are spaced.
    pub executor: TrafficExecutor,
    /// Index of the population that sends.
    pub from: usize,
    /// Who receives.
    pub to: Recipient,
    /// Wall time from the first phase to the first send.
    pub start_time: Duration,
    /// Bytes of a body.
    pub size: Spanned<u64>,
}

/// How sends are spaced, in wall time.
#[derive(Debug, Clone, PartialEq)]
pub enum TrafficExecutor {
    /// Evenly.
    ConstantArrivalRate {
        /// Of the whole population.
        rate: Spanned<Rate>,
    },
    /// Evenly, on straight lines between rates.
    RampingArrivalRate {
        /// At the start.
        start_rate: Rate,
        /// The pieces, at least one.
        stages: Vec<Stage<Rate>>,
    },
    /// By chance, with this mean.
    Poisson {
        /// Of the whole population.
        rate: Spanned<Rate>,
    },
}

/// Who receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// Any client of the sending population but the sender.
    RandomUser,
    /// A user who never connects.
    AbsentUser,
    /// All members of a group.
    Group(String),
    /// The sender.
    Itself,
}

/// One phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// Its name; unique.
    pub name: Spanned<String>,
    /// Wall time it takes.
    pub real: Duration,
    /// Rule time it stands for.
    pub stands_for: Duration,
    /// `stands_for / real`; 1 on the real clock.
    pub factor: f64,
    /// Rule time at its start that SLOs do not judge.
    pub ignore_first: Duration,
    /// Factor on traffic rates.
    pub load: f64,
    /// What is broken.
    pub faults: Vec<Fault>,
}

impl Phase {
    /// Wall time that corresponds to a rule time within this phase.
    pub fn to_wall(&self, rule_time: Duration) -> Duration {
        rule_time.div_f64(self.factor)
    }
}

/// Rule time per wall time of a phase. `for_` must not be zero.
pub fn factor(stands_for: Duration, for_: Duration) -> f64 {
    stands_for.as_secs_f64() / for_.as_secs_f64()
}

/// One fault, placed in its phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Name by which a cause finds it; its kind unless named.
    pub name: Spanned<String>,
    /// What it does.
    pub kind: FaultKind,
    /// Rule time from the phase's start.
    pub at: Spanned<Duration>,
    /// Rule time in force; the rest of the phase unless `for` says less.
    pub duration: Spanned<Duration>,
    /// The name of the fault as written, `gateway.latency`.
    pub span: Span,
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultKind {
    /// Messages are held back.
    GatewayLatency {
        /// Socket time, never stretched.
        delay: Spanned<Duration>,
        /// Of the messages.
        share: Spanned<Share>,
    },
    /// Messages are confirmed and lost.
    GatewayFailureRate {
        /// Of the messages.
        share: Spanned<Share>,
        /// Which.
        pick: Pick,
    },
    /// A process is killed.
    ProcessKill {
        /// Which.
        process: Spanned<String>,
        /// When it is started again.
        back: Back,
    },
    /// A process stands still.
    ProcessPause {
        /// Which.
        process: Spanned<String>,
    },
    /// A process is asked to end and started again.
    ProcessRestart {
        /// Which.
        process: Spanned<String>,
        /// Rule time until it is started again.
        down_for: Spanned<Duration>,
    },
}

/// Which messages a share means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// By chance.
    Random,
    /// Every (1/share)-th.
    Even,
}

/// When a killed process is started again.
#[derive(Debug, Clone, PartialEq)]
pub enum Back {
    /// When the fault ends.
    AtEnd,
    /// After this rule time.
    After(Spanned<Duration>),
}

/// What must come of it. All times are rule time.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    /// Alerts that must fire.
    pub fires: Vec<Fires>,
    /// Alerts that may.
    pub may_fire: Vec<MayFire>,
    /// Alerts said to stay silent, and why.
    pub silent: Vec<(Spanned<String>, String)>,
    /// What an unlisted pending alert does.
    pub unlisted_pending: UnlistedPending,
    /// What clients must have seen.
    pub slos: Vec<Slo>,
}

/// What an unlisted pending alert does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnlistedPending {
    /// It is reported.
    Report,
    /// It fails the run.
    Fail,
}

/// An alert that must fire. Each check is present only if written.
#[derive(Debug, Clone, PartialEq)]
pub struct Fires {
    /// Its name in the rules.
    pub alert: Spanned<String>,
    /// Labels that tell it from others.
    pub labels: Vec<(Spanned<String>, Spanned<String>)>,
    /// What must set it off.
    pub cause: Option<Spanned<Cause>>,
    /// Pending at most so long after the cause took effect.
    pub pending_within: Option<Spanned<Duration>>,
    /// Firing at most so long after the cause took effect.
    pub fires_within: Option<Spanned<Duration>>,
    /// Not firing earlier than this.
    pub fires_not_before: Option<Spanned<Duration>>,
    /// Firing at least so long.
    pub holds_for: Option<Spanned<Duration>>,
    /// Resolved at most so long after the cause was healed.
    pub resolves_within: Option<Spanned<Duration>>,
    /// Who is told.
    pub notifies: Option<Notifies>,
    /// Told at most so long after firing.
    pub notified_within: Option<Spanned<Duration>>,
    /// Told of the end at most so long after resolving.
    pub resolved_notice_within: Option<Spanned<Duration>>,
    /// Notifications per receiver while it fires.
    pub notifications: Option<Spanned<u64>>,
    /// Texts that fields of the notification must contain.
    pub payload: Vec<(Spanned<String>, Spanned<String>)>,
    /// Most instances that may fire.
    pub max_instances: Option<Spanned<u64>>,
    /// It fires but this alert mutes it.
    pub inhibited_by: Option<Spanned<String>>,
    /// Who is told if it goes on.
    pub escalates: Vec<Escalation>,
}

/// What sets an alert off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Index of the phase.
    pub phase: usize,
    /// Index of the fault in the phase, if one is named. With faults taken out it may not exist any more.
    pub fault: Option<usize>,
}

/// Who is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Notifies {
    /// Nobody.
    Nobody(Span),
    /// Exactly these.
    Exactly(Vec<Spanned<ReceiverRef>>),
}

/// A receiver, or one integration of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverRef {
    /// Its name in alertmanager.yml.
    pub receiver: String,
    /// `slack`, `email`, ...; `None`: all it has.
    pub integration: Option<String>,
}

/// One step of an escalation.
#[derive(Debug, Clone, PartialEq)]
pub struct Escalation {
    /// The receiver.
    pub to: Spanned<String>,
    /// Time after firing.
    pub after: Spanned<Duration>,
}

/// An alert that may fire.
#[derive(Debug, Clone, PartialEq)]
pub struct MayFire {
    /// Its name in the rules.
    pub alert: Spanned<String>,
    /// When it may.
    pub during: PhaseSet,
}

/// Some phases, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PhaseSet {
    /// All of them.
    All,
    /// Indexes of phases, as written.
    These(Vec<Spanned<usize>>),
}

impl PhaseSet {
    /// Whether the phase with this index is among them.
    pub fn contains(&self, phase: usize) -> bool {
        match self {
            PhaseSet::All => true,
            PhaseSet::These(phases) => phases.iter().any(|named| named.value == phase),
        }
    }
}

/// What clients must have seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    /// The objective.
    pub objective: Spanned<Objective>,
    /// The phases judged.
    pub during: PhaseSet,
    /// Whose figures.
    pub from: SloSource,
}

/// Whose figures an SLO is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SloSource {
    /// The simulated clients'.
    Clients,
    /// The target's metrics.
    Metrics,
}

/// A k6 threshold with its options.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// What is measured.
    pub metric: Spanned<Metric>,
    /// What must hold.
    pub expression: Spanned<Expression>,
    /// Whether it ends the run when it fails.
    pub abort_on_fail: bool,
    /// Wall time before it can end the run.
    pub delay_abort_eval: Duration,
    /// What no sample at all means.
    pub no_data: NoData,
    /// The phases judged.
    pub during: PhaseSet,
    /// Judge every window of this wall time.
    pub window: Option<Spanned<Duration>>,
}

/// What no sample at all means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoData {
    /// The threshold fails.
    Fail,
    /// The threshold passes.
    Pass,
}
