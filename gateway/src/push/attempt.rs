//! What an attempt's end means, and how long to wait for the next. Pure.

use std::time::Duration;

/// Longest wait between two attempts, whatever the provider asks for.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The provider has taken it.
    Delivered,
    /// The provider works and does not want it: it would not want it again.
    Refused,
    /// No answer in time, no connection, or a provider in trouble.
    Failed {
        /// When it asks to be tried again.
        retry_after: Option<Duration>,
    },
}

impl Ended {
    /// `retry_after`: the header's text. A date in it is not read.
    pub(super) fn by_status(status: u16, retry_after: Option<&str>) -> Ended {
        match status {
            200..=299 => Ended::Delivered,
            429 | 500..=599 => {
                let seconds = retry_after.and_then(|text| text.trim().parse().ok());
                Ended::Failed { retry_after: seconds.map(Duration::from_secs) }
            }
            _ => Ended::Refused,
        }
    }
}

/// How often and how soon to try again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry {
    pub(super) attempts_max: u32,
    /// Before the second attempt.
    pub(super) backoff: Duration,
}

impl Retry {
    /// How long to wait after attempt number `attempt` (from 1) before the next. `None`: there is no next one.
    ///
    /// The backoff doubles each time. `chance`, 0 to 1, decides over half of it, so that those who failed together do not come back
    /// together.
    pub(super) fn wait(self, attempt: u32, ended: &Ended, chance: f64) -> Option<Duration> {
        let Ended::Failed { retry_after } = ended else { return None };
        if attempt >= self.attempts_max {
            return None;
        }
        let doubled = self.backoff.saturating_mul(1 << (attempt - 1).min(16)).min(WAIT_MAX);
        let backoff = doubled / 2 + (doubled / 2).mul_f64(chance.clamp(0.0, 1.0));
        Some(backoff.max(retry_after.unwrap_or_default()).min(WAIT_MAX))
    }
}

/// Chance for waits (SplitMix64: tiny state, seeded).
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Uniform in 0..1.
    pub(super) fn chance(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let failed = |seconds: Option<u64>| Ended::Failed { retry_after: seconds.map(Duration::from_secs) };
        for (status, retry_after, ended) in [
            (200, None, Ended::Delivered),
            (204, Some("9"), Ended::Delivered),
            (301, None, Ended::Refused),
            (400, None, Ended::Refused),
            (404, Some("9"), Ended::Refused),
            (429, Some("2"), failed(Some(2))),
            (500, None, failed(None)),
            (503, Some("Fri, 31 Dec 1999 23:59:59 GMT"), failed(None)),
        ] {
            assert_eq!(Ended::by_status(status, retry_after), ended, "{status}");
        }
    }

    #[test]
    fn waits_double_within_their_bounds_and_end() {
        let retry = Retry { attempts_max: 5, backoff: Duration::from_millis(200) };
        let failed = Ended::Failed { retry_after: None };
        let waits =
            |chance: f64| (1..=5).map(|attempt| retry.wait(attempt, &failed, chance)).collect::<Vec<_>>();
        let ms = |ms: u64| Some(Duration::from_millis(ms));
        assert_eq!(waits(0.0), [ms(100), ms(200), ms(400), ms(800), None]);
        assert_eq!(waits(1.0), [ms(200), ms(400), ms(800), ms(1600), None]);
        let asked = Ended::Failed { retry_after: Some(Duration::from_secs(3)) };
        assert_eq!(retry.wait(1, &asked, 0.5), ms(3000));
        let for_ever = Ended::Failed { retry_after: Some(Duration::from_secs(86_400)) };
        assert_eq!(retry.wait(1, &for_ever, 0.5), Some(WAIT_MAX));
        assert_eq!(retry.wait(1, &Ended::Refused, 0.5), None);
        assert_eq!(Retry { attempts_max: 99, ..retry }.wait(40, &failed, 1.0), Some(WAIT_MAX));
    }
}
