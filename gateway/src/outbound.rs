//! What the edge's HTTP clients have in common: how they connect, and how soon they try again.

use std::time::Duration;

/// A client that asks the address it is given and no other: through no proxy, after no redirect.
pub(crate) fn client() -> reqwest::ClientBuilder {
    // A second installation is refused; any provider will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none())
}

/// The value of a Retry-After header, if it is in seconds. A date in it is not read.
pub(crate) fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let value = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// How often and how soon to try again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry {
    pub(crate) attempts_max: u32,
    /// Before the second attempt.
    pub(crate) backoff: Duration,
    /// Longest wait between two attempts, whatever the other side asks for.
    pub(crate) wait_max: Duration,
}

impl Retry {
    /// How long to wait after failed attempt number `attempt` (from 1) before the next; at least as long as was `asked`.
    /// `None`: there is no next one.
    ///
    /// The backoff doubles each time. `chance`, 0 to 1, decides over half of it, so that those who failed together do not come back
    /// together.
    pub(crate) fn wait(self, attempt: u32, asked: Option<Duration>, chance: f64) -> Option<Duration> {
        if attempt >= self.attempts_max {
            return None;
        }
        let doubled = self.backoff.saturating_mul(1 << (attempt - 1).min(16)).min(self.wait_max);
        let backoff = doubled / 2 + (doubled / 2).mul_f64(chance.clamp(0.0, 1.0));
        Some(backoff.max(asked.unwrap_or_default()).min(self.wait_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_asked_for_in_seconds() {
        for (text, seconds) in
            [("7", Some(7)), (" 0 ", Some(0)), ("Fri, 31 Dec 1999 23:59:59 GMT", None), ("-1", None)]
        {
            let mut headers = reqwest::header::HeaderMap::new();
            headers.insert(reqwest::header::RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&reqwest::header::HeaderMap::new()), None);
    }

    #[test]
    fn waits_double_within_their_bounds_and_end() {
        let wait_max = Duration::from_secs(10);
        let retry = Retry { attempts_max: 5, backoff: Duration::from_millis(200), wait_max };
        let waits =
            |chance: f64| (1..=5).map(|attempt| retry.wait(attempt, None, chance)).collect::<Vec<_>>();
        let ms = |ms: u64| Some(Duration::from_millis(ms));
        assert_eq!(waits(0.0), [ms(100), ms(200), ms(400), ms(800), None]);
        assert_eq!(waits(1.0), [ms(200), ms(400), ms(800), ms(1600), None]);
        assert_eq!(retry.wait(1, ms(3000), 0.5), ms(3000));
        assert_eq!(retry.wait(1, ms(86_400_000), 0.5), Some(wait_max));
        assert_eq!(Retry { attempts_max: 99, ..retry }.wait(40, None, 1.0), Some(wait_max));
    }
}
