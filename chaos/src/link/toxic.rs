//! One disturbance as it is asked for: Toxiproxy's toxics by its names and attributes, and our own.

use super::chance::Shape;
use super::{Way, chance};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Nothing lasts longer.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a toxic does. Durations are whole milliseconds in JSON, those of `slicer` microseconds, as in Toxiproxy.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "type", content = "attributes", rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// What comes is held back.
    Latency {
        /// For so long.
        #[serde(default, with = "millis")]
        latency: Duration,
        /// More or less.
        #[serde(default, with = "millis")]
        jitter: Duration,
        /// How the jitter spreads it.
        #[serde(default)]
        shape: Shape,
    },
    /// So much passes in a second, and the rest waits.
    Bandwidth {
        /// KB/s; a KB is 1,000 bytes.
        #[serde(default)]
        rate: u64,
        /// All selected connections share it; else each has it for itself.
        #[serde(default)]
        whole: bool,
    },
    /// The end of a side is passed on later.
    SlowClose {
        /// By so much.
        #[serde(default, with = "millis")]
        delay: Duration,
    },
    /// What comes vanishes, and the connection is closed: after a time, or when the toxic is removed.
    Timeout {
        /// Zero: not before it is removed.
        #[serde(default, with = "millis")]
        timeout: Duration,
    },
    /// The connection is cut with RST on both sides, whether anything comes or not.
    ResetPeer {
        /// After so long.
        #[serde(default, with = "millis")]
        timeout: Duration,
    },
    /// What comes is cut in pieces that leave apart.
    Slicer {
        /// Bytes of a piece.
        #[serde(default)]
        average_size: u64,
        /// More or less.
        #[serde(default)]
        size_variation: u64,
        /// Between pieces.
        #[serde(default, with = "micros")]
        delay: Duration,
    },
    /// So many bytes pass, then the connection is closed.
    LimitData {
        /// Since the toxic is in force, for each connection.
        #[serde(default)]
        bytes: u64,
    },
    /// WebSocket messages vanish.
    FrameLoss {
        /// 0 to 1.
        #[serde(default = "whole")]
        share: f64,
    },
    /// WebSocket messages come twice.
    FrameDuplicate {
        /// 0 to 1.
        #[serde(default = "whole")]
        share: f64,
    },
    /// WebSocket messages come after the one that follows them.
    FrameReorder {
        /// 0 to 1.
        #[serde(default = "whole")]
        share: f64,
        /// Or after so long where none follows.
        #[serde(default = "second", with = "millis")]
        hold: Duration,
    },
    /// WebSocket pings and pongs vanish.
    PingBlackhole {},
    /// WebSocket connections are closed with a code: the proxy says it, and ends.
    CloseCode {
        /// As in RFC 6455 section 7.4.
        #[serde(default = "going_away")]
        code: u16,
        /// For people.
        #[serde(default)]
        reason: String,
    },
    /// The first bytes of a client, its HTTP upgrade, are held back.
    SlowHandshake {
        /// For so long.
        #[serde(default, with = "millis")]
        delay: Duration,
    },
    /// Nothing comes through and nothing is closed; when it is removed, all goes on where it stood.
    Blackhole {},
    /// Whom the stream leads to sees the connection cut; the other side hears nothing of it.
    HalfOpen {},
    /// New connections are refused.
    Refuse {},
}

fn whole() -> f64 {
    1.0
}

fn second() -> Duration {
    Duration::from_secs(1)
}

fn going_away() -> u16 {
    1001
}

/// Which ways of a connection a toxic is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// From the client to the server.
    Upstream,
    /// From the server to the client.
    #[default]
    Downstream,
    /// Both.
    Both,
}

impl Stream {
    /// Whether it goes this way.
    pub fn covers(self, way: Way) -> bool {
        match self {
            Stream::Upstream => way == Way::Up,
            Stream::Downstream => way == Way::Down,
            Stream::Both => true,
        }
    }

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Upstream => "upstream",
            Stream::Downstream => "downstream",
            Stream::Both => "both",
        }
    }
}

/// One disturbance.
#[derive(Debug, Clone, PartialEq)]
pub struct Toxic {
    /// Unique at its proxy.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Which ways it is on.
    pub stream: Stream,
    /// The share of connections that have it, 0 to 1.
    pub toxicity: f64,
    /// Where that share begins: with the same group, 0 to 0.5 and 0.5 to 1 are two halves that share no connection.
    pub from: f64,
    /// Toxics of a group choose the same connections; alone, a toxic chooses by its name.
    pub group: Option<String>,
    /// The run that set it.
    pub owner: Option<String>,
}

/// Why something is no toxic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToxicError {
    /// No JSON, or not of this form.
    #[error("bad request body: {0}")]
    Body(String),
    /// There is no such type.
    #[error("invalid toxic type: {0}")]
    Type(String),
    /// There is no such stream.
    #[error("stream was invalid, can be either upstream or downstream (or both)")]
    Stream,
}

/// The keys of a toxic in JSON.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Option<String>,
    r#type: Option<String>,
    stream: Option<String>,
    toxicity: Option<f64>,
    from: Option<f64>,
    group: Option<String>,
    owner: Option<String>,
    attributes: Option<Map<String, Value>>,
}

impl Raw {
    fn read(body: &[u8]) -> Result<Raw, ToxicError> {
        serde_json::from_slice(body).map_err(|error| ToxicError::Body(error.to_string()))
    }
}

impl Toxic {
    /// A toxic on all connections, downstream, named like Toxiproxy does.
    pub fn new(kind: Kind) -> Toxic {
        let stream = Stream::default();
        let name = format!("{}_{}", kind.name(), stream.name());
        Toxic { name, kind, stream, toxicity: 1.0, from: 0.0, group: None, owner: None }
    }

    /// Reads a toxic as Toxiproxy's API has it.
    pub fn from_json(body: &[u8]) -> Result<Toxic, ToxicError> {
        let raw = Raw::read(body)?;
        let name = raw.r#type.unwrap_or_default();
        let kind = Kind::read(&name, raw.attributes.unwrap_or_default())?;
        let stream = match raw.stream.as_deref() {
            None | Some("") => Stream::default(),
            Some(name) => [Stream::Upstream, Stream::Downstream, Stream::Both]
                .into_iter()
                .find(|stream| stream.name() == name)
                .ok_or(ToxicError::Stream)?,
        };
        let name = raw.name.filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| format!("{}_{}", kind.name(), stream.name()));
        let (toxicity, from) = (raw.toxicity.unwrap_or(1.0), raw.from.unwrap_or(0.0));
        Toxic { name, kind, stream, toxicity, from, group: raw.group, owner: raw.owner }.checked()
    }

    /// The same with what `body` says changed: attributes, toxicity, owner. The rest stays as it is.
    pub fn updated(&self, body: &[u8]) -> Result<Toxic, ToxicError> {
        let raw = Raw::read(body)?;
        let mut attributes = self.kind.attributes();
        attributes.extend(raw.attributes.unwrap_or_default());
        let kind = Kind::read(self.kind.name(), attributes)?;
        let toxicity = raw.toxicity.unwrap_or(self.toxicity);
        let from = raw.from.unwrap_or(self.from);
        let owner = raw.owner.or_else(|| self.owner.clone());
        Toxic { kind, toxicity, from, owner, ..self.clone() }.checked()
    }

    /// As Toxiproxy's API says it, with our keys where they are set.
    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "name": self.name,
            "type": self.kind.name(),
            "stream": self.stream.name(),
            "toxicity": self.toxicity,
            "attributes": self.kind.attributes(),
        });
        for (key, set) in [
            ("from", (self.from != 0.0).then(|| json!(self.from))),
            ("group", self.group.as_ref().map(|group| json!(group))),
            ("owner", self.owner.as_ref().map(|owner| json!(owner))),
        ] {
            if let Some(set) = set {
                value[key] = set;
            }
        }
        value
    }

    /// Whether connection `number` has it.
    pub fn selects(&self, seed: u64, number: u64) -> bool {
        let salt = self.group.as_deref().unwrap_or(&self.name);
        let stand = chance::stand(seed, salt, number);
        (self.from..self.from + self.toxicity).contains(&stand)
    }

    /// Whether it is on every connection.
    pub fn is_on_all(&self) -> bool {
        self.from <= 0.0 && self.toxicity >= 1.0
    }

    fn checked(self) -> Result<Toxic, ToxicError> {
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        if !is_share(self.toxicity) || !is_share(self.from) {
            return Err(ToxicError::Body("toxicity and from are shares of the connections, 0 to 1".into()));
        }
        self.kind.check().map_err(ToxicError::Body)?;
        Ok(self)
    }
}

impl Kind {
    fn read(name: &str, attributes: Map<String, Value>) -> Result<Kind, ToxicError> {
        if !NAMES.contains(&name) {
            return Err(ToxicError::Type(format!("`{name}`; there are {}", NAMES.join(", "))));
        }
        serde_json::from_value(json!({ "type": name, "attributes": attributes }))
            .map_err(|error| ToxicError::Body(error.to_string()))
    }

    /// Its attributes as JSON has them.
    fn attributes(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut whole)) => match whole.remove("attributes") {
                Some(Value::Object(attributes)) => attributes,
                _ => Map::new(),
            },
            _ => Map::new(),
        }
    }

    /// Its type in JSON.
    pub fn name(&self) -> &'static str {
        let place = match self {
            Kind::Latency { .. } => 0,
            Kind::Bandwidth { .. } => 1,
            Kind::SlowClose { .. } => 2,
            Kind::Timeout { .. } => 3,
            Kind::ResetPeer { .. } => 4,
            Kind::Slicer { .. } => 5,
            Kind::LimitData { .. } => 6,
            Kind::FrameLoss { .. } => 7,
            Kind::FrameDuplicate { .. } => 8,
            Kind::FrameReorder { .. } => 9,
            Kind::PingBlackhole {} => 10,
            Kind::CloseCode { .. } => 11,
            Kind::SlowHandshake { .. } => 12,
            Kind::Blackhole {} => 13,
            Kind::HalfOpen {} => 14,
            Kind::Refuse {} => 15,
        };
        NAMES[place]
    }

    fn check(&self) -> Result<(), String> {
        let durations: &[Duration] = match self {
            Kind::Latency { latency, jitter, .. } => &[*latency, *jitter],
            Kind::SlowClose { delay } | Kind::Slicer { delay, .. } | Kind::SlowHandshake { delay } => {
                &[*delay]
            }
            Kind::Timeout { timeout } | Kind::ResetPeer { timeout } => &[*timeout],
            Kind::FrameReorder { hold, .. } => &[*hold],
            _ => &[],
        };
        if durations.iter().any(|duration| *duration > DURATION_MAX) {
            return Err("no duration may be longer than a day".into());
        }
        match self {
            Kind::Bandwidth { rate: 0, .. } => Err(
                "rate is KB/s, at least 1; to let nothing through use blackhole, or timeout with timeout 0"
                    .into(),
            ),
            Kind::Bandwidth { rate, .. } if *rate > 1_000_000_000 => {
                Err("rate is KB/s, at most 1000000000".into())
            }
            Kind::Slicer { average_size: 0, .. } => Err("average_size is bytes, at least 1".into()),
            Kind::Slicer { average_size, size_variation, .. } if size_variation >= average_size => {
                Err("size_variation must be less than average_size".into())
            }
            Kind::FrameLoss { share } | Kind::FrameDuplicate { share } | Kind::FrameReorder { share, .. }
                if !(0.0..=1.0).contains(share) =>
            {
                Err("share is a share of the messages, 0 to 1".into())
            }
            Kind::CloseCode { code, .. } if !matches!(*code, 1000..=1003 | 1007..=1014 | 3000..=4999) => {
                Err(format!(
                    "{code} is no code that a close frame can carry: 1000 to 1003, 1007 to 1014, 3000 to 4999"
                ))
            }
            Kind::CloseCode { reason, .. } if reason.len() > 123 => {
                Err("reason must fit into a close frame: 123 bytes at most".into())
            }
            _ => Ok(()),
        }
    }
}

const NAMES: [&str; 16] = [
    "latency",
    "bandwidth",
    "slow_close",
    "timeout",
    "reset_peer",
    "slicer",
    "limit_data",
    "frame_loss",
    "frame_duplicate",
    "frame_reorder",
    "ping_blackhole",
    "close_code",
    "slow_handshake",
    "blackhole",
    "half_open",
    "refuse",
];

/// Durations as whole numbers of a unit.
macro_rules! whole_numbers {
    ($unit:ident, $of:ident, $from:ident) => {
        mod $unit {
            use std::time::Duration;

            pub(super) fn serialize<S: serde::Serializer>(
                duration: &Duration,
                to: S,
            ) -> Result<S::Ok, S::Error> {
                to.serialize_u64(u64::try_from(duration.$of()).unwrap_or(u64::MAX))
            }

            pub(super) fn deserialize<'d, D: serde::Deserializer<'d>>(from: D) -> Result<Duration, D::Error> {
                <u64 as serde::Deserialize>::deserialize(from).map(Duration::$from)
            }
        }
    };
}

whole_numbers!(millis, as_millis, from_millis);
whole_numbers!(micros, as_micros, from_micros);
