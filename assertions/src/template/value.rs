//! Values on their way through a template, with Go's names for their types.

use super::numbers;
use crate::labels::Labels;
use crate::time::Millis;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// No value at all, as of a field that is not there.
    Missing,
    /// `nil` as an argument.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    /// Labels: `map[string]string`.
    Labels(Rc<BTreeMap<String, String>>),
    /// What `args` makes.
    Arguments(Rc<BTreeMap<String, Value>>),
    /// An element of a query's answer.
    Sample(Rc<Sample>),
    /// A query's answer.
    Samples(Rc<Vec<Rc<Sample>>>),
    Time(Moment),
    /// Nanoseconds.
    Duration(i64),
    /// What `.` is at the beginning.
    Data,
}

/// An element of a query's answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) labels: Rc<BTreeMap<String, String>>,
    pub(super) value: f64,
}

/// A moment, to the millisecond, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) Millis);

impl Value {
    pub(super) fn text(text: impl Into<Rc<str>>) -> Value {
        Value::Text(text.into())
    }

    pub(super) fn labels(labels: &Labels) -> Value {
        Value::Labels(Rc::new(map(labels)))
    }

    /// Go's name of its type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Missing | Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::Labels(_) => "map[string]string",
            Value::Arguments(_) => "map[string]interface {}",
            Value::Sample(_) => "*template.sample",
            Value::Samples(_) => "template.queryResult",
            Value::Time(_) => "*time.Time",
            Value::Duration(_) => "time.Duration",
            Value::Data => {
                "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value float64 }"
            }
        }
    }

    /// Whether `if` takes it for true: not zero, not empty.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Missing | Value::Nil => false,
            Value::Bool(is_true) => *is_true,
            Value::Int(number) | Value::Duration(number) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Labels(map) => !map.is_empty(),
            Value::Arguments(map) => !map.is_empty(),
            Value::Samples(samples) => !samples.is_empty(),
            Value::Sample(_) | Value::Time(_) | Value::Data => true,
        }
    }

    /// As Go's `%v` prints it.
    pub(super) fn shown(&self) -> String {
        match self {
            Value::Missing => "<no value>".into(),
            Value::Nil => "<nil>".into(),
            Value::Bool(is_true) => is_true.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => numbers::go_float(*number),
            Value::Text(text) => text.to_string(),
            Value::Labels(map) => shown_map(map.iter().map(|(name, value)| (name, value.clone()))),
            Value::Arguments(map) => shown_map(map.iter().map(|(name, value)| (name, value.shown()))),
            Value::Sample(sample) => format!("&{}", sample.shown()),
            // Go prints where they lie in memory, which says nothing.
            Value::Samples(samples) => {
                let shown: Vec<String> = samples.iter().map(|sample| sample.shown()).collect();
                format!("[{}]", shown.join(" "))
            }
            Value::Time(moment) => moment.shown(),
            Value::Duration(nanoseconds) => shown_duration(*nanoseconds),
            Value::Data => "{}".into(),
        }
    }
}

impl Sample {
    pub(super) fn shown(&self) -> String {
        let labels = shown_map(self.labels.iter().map(|(name, value)| (name, value.clone())));
        format!("{{{labels} {}}}", numbers::go_float(self.value))
    }
}

impl Moment {
    pub(super) fn parts(self) -> jiff::civil::DateTime {
        let moment = jiff::Timestamp::from_millisecond(self.0.0).unwrap_or_default();
        jiff::tz::Offset::UTC.to_datetime(moment)
    }

    /// As Go prints a time: `1970-01-01 00:00:00.5 +0000 UTC`.
    pub(super) fn shown(self) -> String {
        let at = self.parts();
        let mut text = format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            at.year(),
            at.month(),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        );
        let millis = self.0.0.rem_euclid(1000);
        if millis > 0 {
            let _ = write!(text, ".{}", format!("{millis:03}").trim_end_matches('0'));
        }
        text + " +0000 UTC"
    }
}

/// Labels by name.
pub(super) fn map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn shown_map<'m>(entries: impl Iterator<Item = (&'m String, String)>) -> String {
    let entries: Vec<String> = entries.map(|(name, value)| format!("{name}:{value}")).collect();
    format!("map[{}]", entries.join(" "))
}

/// As Go prints a duration: `1h0m0s`, `1.5s`, `300ms`.
fn shown_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let digits = unit.ilog10() as usize;
        let rest = format!("{:0digits$}", value % unit);
        let rest = rest.trim_end_matches('0');
        let whole = value / unit;
        if rest.is_empty() { whole.to_string() } else { format!("{whole}.{rest}") }
    };
    let text = match total {
        0 => "0s".to_string(),
        1..1_000 => format!("{total}ns"),
        1_000..1_000_000 => fraction(total, 1_000) + "µs",
        1_000_000..1_000_000_000 => fraction(total, 1_000_000) + "ms",
        _ => {
            let seconds = fraction(total % 60_000_000_000, 1_000_000_000);
            let (minutes, hours) = (total / 60_000_000_000 % 60, total / 3_600_000_000_000);
            match (hours, minutes) {
                (0, 0) => format!("{seconds}s"),
                (0, _) => format!("{minutes}m{seconds}s"),
                _ => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}
