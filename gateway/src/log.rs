//! What the gateway says of itself: records, how much of them is wanted, and the thread that writes them.
//!
//! A record is plain data, made where something happens. A shard gathers its own over a step and posts them to the edge, which
//! hands them to the [`Logger`]; threads of the edge give theirs to it directly. One thread makes lines of them and writes these
//! to standard error; where telemetry exports logs they go there, too ([`Exports`]). Nobody waits for it: the [`Gate`] bounds the
//! records under way and counts what it turns away.
//!
//! No record holds a token, a key or a message's body: there is no field that could.

mod exports;
mod gate;
mod line;
mod writer;

pub use exports::Exports;
pub use gate::Gate;
pub use line::Format;
pub use writer::{Logger, Running, Start};

use crate::trace::Place;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// The name that every line has as its service.
pub const SERVICE: &str = "im-gateway";

/// How much is said; each says what those before it say, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Level {
    /// What somebody must mend.
    Error,
    /// What is refused, lost or late.
    Warn,
    /// The life of the process.
    Info,
    /// Each connection as well.
    Debug,
    /// Each delivery as well.
    Trace,
}

impl Level {
    /// All of them, the fewest words first.
    pub const ALL: [Level; 5] = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

    /// As it is written, in flags and lines.
    pub fn name(self) -> &'static str {
        ["error", "warn", "info", "debug", "trace"][self as usize]
    }
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A session has begun.
    ConnectionEstablished,
    /// A session has ended.
    ConnectionClosed,
    /// A token was refused.
    AuthFailed,
    /// A connection did not become a session, for another reason.
    ConnectionError,
    /// A delivery was acknowledged.
    MessageDelivered,
    /// A delivery was acknowledged late.
    HighLatency,
    /// A confirmed message is lost for a recipient.
    MessageDeliveryFailed,
    /// The store has failed.
    DatabaseError,
    /// The gateway takes connections.
    Listening,
    /// Newcomers should look elsewhere.
    Leaving,
    /// The gateway takes no new work.
    Draining,
    /// The gateway ends.
    Stopped,
    /// A file was read again.
    Reloaded,
    /// A file was to be read again, and what it held before stays in force.
    NotReloaded,
    /// Something is odd about a key.
    KeyWarning,
    /// Connections are no longer steered by CPU.
    SteeringGivenUp,
    /// Notifications were given up at the end.
    PushUnsent,
    /// Telemetry is taken again.
    TelemetryExported,
    /// Telemetry is not taken.
    TelemetryNotExported,
    /// Another log level is in force.
    LevelChanged,
}

/// An event's name, level and the part of the gateway that says it.
type Row = (&'static str, Level, &'static str);

impl Event {
    /// How many there are.
    pub(crate) const COUNT: usize = Event::LevelChanged as usize + 1;

    fn row(self) -> Row {
        match self {
            Event::ConnectionEstablished => ("connection_established", Level::Debug, "connection"),
            Event::ConnectionClosed => ("connection_closed", Level::Debug, "connection"),
            Event::AuthFailed => ("auth_failed", Level::Warn, "auth"),
            Event::ConnectionError => ("connection_error", Level::Warn, "connection"),
            Event::MessageDelivered => ("message_delivered", Level::Trace, "delivery"),
            Event::HighLatency => ("high_latency", Level::Warn, "delivery"),
            Event::MessageDeliveryFailed => ("message_delivery_failed", Level::Warn, "delivery"),
            Event::DatabaseError => ("database_error", Level::Error, "store"),
            Event::Listening => ("listening", Level::Info, "server"),
            Event::Leaving => ("leaving", Level::Info, "server"),
            Event::Draining => ("draining", Level::Info, "server"),
            Event::Stopped => ("stopped", Level::Info, "server"),
            Event::Reloaded => ("reloaded", Level::Info, "server"),
            Event::NotReloaded => ("not_reloaded", Level::Error, "server"),
            Event::KeyWarning => ("key_warning", Level::Warn, "auth"),
            Event::SteeringGivenUp => ("steering_given_up", Level::Warn, "server"),
            Event::PushUnsent => ("push_unsent", Level::Warn, "push"),
            Event::TelemetryExported => ("telemetry_exported", Level::Info, "telemetry"),
            Event::TelemetryNotExported => ("telemetry_not_exported", Level::Warn, "telemetry"),
            Event::LevelChanged => ("level_changed", Level::Info, "server"),
        }
    }

    /// Its name in the line.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// From which level on it is said.
    pub fn level(self) -> Level {
        self.row().1
    }

    /// The part of the gateway that says it.
    pub fn component(self) -> &'static str {
        self.row().2
    }
}

/// A value that only some events have.
#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// A word or a sentence.
    Text(Cow<'static, str>),
    /// A count.
    Count(u64),
    /// A measure in the unit that its name ends in.
    Number(f64),
}

/// Something that happened, as plain data.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What.
    pub event: Event,
    /// The same for people: one sentence.
    pub message: Cow<'static, str>,
    /// The span in which it happened, where that is traced.
    pub place: Option<Place>,
    /// The user it happened to.
    pub user: Option<Arc<str>>,
    /// The user's device.
    pub device: Option<Arc<str>>,
    /// The sender's id of the message.
    pub message_id: Option<String>,
    /// From accepting the message to its acknowledgement.
    pub latency: Option<Duration>,
    /// More, by name: `remote_addr`, `reason`, `duration_seconds`, `error`, `retry_count` …
    pub details: Vec<(&'static str, Detail)>,
}

impl Record {
    /// One without anybody in it. `at_ms`: milliseconds since the Unix epoch.
    pub fn new(event: Event, at_ms: u64, message: impl Into<Cow<'static, str>>) -> Record {
        Record {
            at_ms,
            event,
            message: message.into(),
            place: None,
            user: None,
            device: None,
            message_id: None,
            latency: None,
            details: Vec::new(),
        }
    }

    /// With the span in which it happened.
    pub fn within(mut self, place: Option<Place>) -> Record {
        self.place = place;
        self
    }

    /// With a text detail.
    pub fn text(mut self, name: &'static str, text: impl Into<Cow<'static, str>>) -> Record {
        self.details.push((name, Detail::Text(text.into())));
        self
    }

    /// With a count.
    pub fn count(mut self, name: &'static str, count: u64) -> Record {
        self.details.push((name, Detail::Count(count)));
        self
    }

    /// With a measure.
    pub fn number(mut self, name: &'static str, number: f64) -> Record {
        self.details.push((name, Detail::Number(number)));
        self
    }

    /// With whom it happened to.
    pub fn of(mut self, user: &Arc<str>, device: Option<&Arc<str>>) -> Record {
        self.user = Some(Arc::clone(user));
        self.device = device.map(Arc::clone);
        self
    }
}
