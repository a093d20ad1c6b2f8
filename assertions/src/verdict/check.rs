//! One judged statement, as data from which every report makes its own words.

use super::Nearest;
use crate::labels::Labels;
use crate::slo::Outcome;
use crate::time::Millis;
use scenarios::span::Span;
use std::time::Duration;

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Not even pending before the cause took effect.
    QuietBefore,
    /// The condition began to hold.
    Pending,
    /// It fired.
    Fired,
    /// It did not fire too early.
    NotBefore,
    /// It fired long enough.
    Held,
    /// Not more instances than allowed.
    Instances,
    /// Exactly the right receivers were told of it, in time.
    Notified,
    /// So many notifications.
    Notifications,
    /// Its texts.
    Payload,
    /// Another alert muted it.
    Inhibited,
    /// The next in line was told.
    Escalated,
    /// It ended, for the right reason.
    Resolved,
    /// Whoever wants to know of its end was told.
    ResolvedNotice,
    /// It fires throughout.
    Background,
    /// Everything not expected stayed silent.
    Silent,
}

impl Kind {
    /// In a word or two, as in reports.
    pub fn words(self) -> &'static str {
        match self {
            Kind::QuietBefore => "quiet before",
            Kind::Pending => "pending",
            Kind::Fired => "fired",
            Kind::NotBefore => "fired not before",
            Kind::Held => "held",
            Kind::Instances => "instances",
            Kind::Notified => "notified",
            Kind::Notifications => "notifications",
            Kind::Payload => "payload",
            Kind::Inhibited => "inhibited",
            Kind::Escalated => "escalated",
            Kind::Resolved => "resolved",
            Kind::ResolvedNotice => "resolved notice",
            Kind::Background => "background",
            Kind::Silent => "all else silent",
        }
    }
}

/// What was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// At most so long after.
    Within(Duration),
    /// At least so long after, or for at least so long.
    AtLeast(Duration),
    /// At most so many.
    AtMost(u64),
    /// Exactly so many.
    Exactly(u64),
}

/// One thing that was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Who: `pagerduty`, `slack-critical/email`, or an alert; empty where the check is about one alert only.
    pub who: String,
    /// When.
    pub at: Millis,
    /// Since what the check measures from.
    pub after: Duration,
    /// The rule's value then, if it is about one.
    pub value: Option<f64>,
    /// How many, for checks that count.
    pub count: Option<u64>,
}

/// Why a check ended as it did.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// The cause never took effect, so nothing can be measured from it.
    NoEffect,
    /// The end of the cause was not proven.
    NotHealed,
    /// The alert was active although its cause had not begun.
    ActiveBefore {
        /// The instance.
        labels: Labels,
        /// Since when.
        since: Millis,
        /// Whether it fired then.
        fired: bool,
    },
    /// The condition never held.
    NeverPending {
        /// How near it came.
        nearest: Option<Nearest>,
    },
    /// It was pending at most so long; the rule wants more.
    PendingTooShort {
        /// Since when.
        since: Millis,
        /// How long.
        lasted: Duration,
        /// The rule's `for`.
        needs: Duration,
    },
    /// It is pending still; the run ended too early.
    StillPending {
        /// Since when.
        since: Millis,
        /// The rule's `for`.
        needs: Duration,
    },
    /// It fired, but not for this cause.
    FiredElsewhere {
        /// When.
        at: Millis,
        /// The phase's name.
        phase: String,
    },
    /// Another check of the same alert failed, so this one means nothing.
    NeverFired,
    /// Beyond the bound.
    TooLate,
    /// Before the bound.
    TooEarly,
    /// Within the bound, but closer to it than the stretched clock can tell.
    TooClose {
        /// Rule time per wall time.
        factor: f64,
    },
    /// It lasts still; the run ended too early to tell.
    RunEnded,
    /// It lasts still.
    StillFiring,
    /// It ended because the data did: nothing is known, which is no recovery.
    ResolvedWithoutData,
    /// It ended before its cause was healed.
    ResolvedBeforeHeal,
    /// It ended in time, then fired again.
    FiredAgain {
        /// When.
        at: Millis,
    },
    /// Wanted and not told.
    NotTold {
        /// Receiver or receiver/integration.
        who: String,
        /// The routes' or the pipeline's reason.
        because: String,
    },
    /// Told and not wanted.
    ToldToo {
        /// Receiver or receiver/integration.
        who: String,
        /// When first.
        at: Millis,
    },
    /// Never told that it fires, so its end cannot be told either.
    NeverTold {
        /// Receiver/integration.
        who: String,
    },
    /// No receiver that was told wants to know of the end (`send_resolved` is off).
    NobodyWantsResolved,
    /// Fewer events than a statement needs.
    TooFewEvents {
        /// Seen in the rule's window.
        seen: f64,
        /// Needed.
        needed: f64,
    },
    /// A text that is not there.
    TextMissing {
        /// Label or annotation.
        field: String,
        /// What it says.
        found: String,
    },
    /// An alert fired that was not expected then.
    Unexpected {
        /// The instance.
        labels: Labels,
        /// Fired, or went pending if it never fired.
        at: Millis,
        /// Whether it fired.
        fired: bool,
        /// Until when; `None` if it lasts.
        until: Option<Millis>,
        /// The phase's name.
        phase: String,
        /// The rule's value.
        value: f64,
        /// Who was told.
        told: Vec<String>,
    },
    /// A background alert did not fire.
    BackgroundQuiet {
        /// From when; the first gap.
        since: Millis,
    },
    /// The alert's threshold means so few events at this traffic that silence proves little. Never changes an outcome.
    NotSignificant {
        /// The alert.
        alert: String,
        /// Events that the threshold means.
        events: f64,
    },
}

/// One judged statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What is judged.
    pub kind: Kind,
    /// The alert as the scenario names it: `HighMessageDeliveryLatency{severity="P1"}`; `None` for all others.
    pub alert: Option<String>,
    /// The phase or `phase/fault` it is measured from.
    pub cause: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen, in order of time.
    pub seen: Vec<Seen>,
    /// What was wanted; `None` where the kind says it.
    pub bound: Option<Bound>,
    /// What the observed times may be off by; zero unless stretched.
    pub tolerance: Duration,
    /// Reasons and remarks.
    pub why: Vec<Why>,
    /// Where it was asked for.
    pub span: Option<Span>,
}

/// How a time stands to its bound on a stretched clock.
pub(super) fn within(
    after: Duration,
    bound: Duration,
    tolerance: Duration,
    factor: f64,
) -> (Outcome, Option<Why>) {
    match after {
        _ if after > bound => (Outcome::Failed, Some(Why::TooLate)),
        _ if after + tolerance > bound => (Outcome::Failed, Some(Why::TooClose { factor })),
        _ => (Outcome::Passed, None),
    }
}

/// The same for a lower bound.
pub(super) fn at_least(
    after: Duration,
    bound: Duration,
    tolerance: Duration,
    factor: f64,
) -> (Outcome, Option<Why>) {
    match after {
        _ if after < bound => (Outcome::Failed, Some(Why::TooEarly)),
        _ if after < bound + tolerance => (Outcome::Failed, Some(Why::TooClose { factor })),
        _ => (Outcome::Passed, None),
    }
}
