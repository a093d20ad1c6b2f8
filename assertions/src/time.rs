//! Rule time: the clock the rules see.

use std::time::Duration;

/// A moment of rule time: milliseconds since the Unix epoch, as in Prometheus' samples.
///
/// In a stretched run rule time passes k times faster than the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub i64);

impl Millis {
    /// Reads seconds since the epoch, perhaps with a fraction, or an RFC 3339 moment such as `2026-01-31T12:00:00Z`.
    pub fn from_text(text: &str) -> Option<Millis> {
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            return Some(Millis(moment.as_millisecond()));
        }
        let is_decimal = text.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b));
        let seconds = text.parse::<f64>().ok().filter(|seconds| is_decimal && seconds.abs() < 1e12)?;
        Some(Millis((seconds * 1000.0).round() as i64))
    }

    /// The moment `duration` later; saturates at the end of time.
    #[must_use]
    pub fn after(self, duration: Duration) -> Millis {
        Millis(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The moment `duration` earlier; saturates at the beginning of time.
    #[must_use]
    pub fn before(self, duration: Duration) -> Millis {
        Millis(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time since `earlier`; zero if it is not earlier.
    pub fn since(self, earlier: Millis) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Seconds since the Unix epoch.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}
