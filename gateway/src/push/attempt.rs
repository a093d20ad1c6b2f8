//! What an attempt's end means. Pure.

use std::time::Duration;

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
    /// `retry_after`: what the provider asks for.
    pub(super) fn by_status(status: u16, retry_after: Option<Duration>) -> Ended {
        match status {
            200..=299 => Ended::Delivered,
            429 | 500..=599 => Ended::Failed { retry_after },
            _ => Ended::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let failed = |retry_after: Option<Duration>| Ended::Failed { retry_after };
        let nine = Some(Duration::from_secs(9));
        for (status, retry_after, ended) in [
            (200, None, Ended::Delivered),
            (204, nine, Ended::Delivered),
            (301, None, Ended::Refused),
            (400, None, Ended::Refused),
            (404, nine, Ended::Refused),
            (429, nine, failed(nine)),
            (500, None, failed(None)),
            (503, None, failed(None)),
        ] {
            assert_eq!(Ended::by_status(status, retry_after), ended, "{status}");
        }
    }
}
