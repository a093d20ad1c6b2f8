//! What a receiver's answer means. Pure.

use super::otlp::Response;
use crate::metrics::ExportError;
use prost::Message as _;
use std::time::Duration;

/// Longest answer that is read, bytes.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The request was taken.
    Taken {
        /// Items of it that were not.
        rejected: u64,
        /// What the receiver says about it; empty if nothing.
        message: String,
    },
    /// Trying again may help, after at least this wait if the receiver asks for one.
    Later(ExportError, Option<Duration>),
    /// Trying again would end in the same way.
    Never(ExportError),
}

impl Answer {
    /// By the table of the specification: 429, 502, 503 and 504 are worth another attempt, everything else is not.
    pub(super) fn new(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Answer {
        match status {
            200..=299 => taken(body),
            429 | 502..=504 => Answer::Later(ExportError::Unavailable, retry_after),
            _ => Answer::Never(ExportError::Refused),
        }
    }
}

fn taken(body: &[u8]) -> Answer {
    let Ok(answer) = Response::decode(body) else {
        return Answer::Never(ExportError::Garbled);
    };
    let partial = answer.partial_success.unwrap_or_default();
    let rejected = u64::try_from(partial.rejected).unwrap_or(0);
    Answer::Taken { rejected, message: partial.error_message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
    };

    fn partial(rejected_data_points: i64, error_message: &str) -> Vec<u8> {
        let error_message = error_message.to_owned();
        let partial_success = Some(ExportMetricsPartialSuccess { rejected_data_points, error_message });
        ExportMetricsServiceResponse { partial_success }.encode_to_vec()
    }

    #[test]
    fn only_what_the_specification_names_is_worth_another_attempt() {
        let seconds = Some(Duration::from_secs(7));
        for status in 100..600 {
            let expected = match status {
                200..=299 => Answer::Taken { rejected: 0, message: String::new() },
                429 | 502 | 503 | 504 => Answer::Later(ExportError::Unavailable, seconds),
                _ => Answer::Never(ExportError::Refused),
            };
            assert_eq!(Answer::new(status, seconds, b""), expected, "{status}");
        }
    }

    #[test]
    fn a_success_says_what_it_left_out() {
        let taken = |rejected, message: &str| Answer::Taken { rejected, message: message.to_owned() };
        assert_eq!(Answer::new(200, None, &partial(0, "")), taken(0, ""));
        assert_eq!(Answer::new(200, None, &partial(3, "too old")), taken(3, "too old"));
        assert_eq!(Answer::new(200, None, &partial(0, "deprecated")), taken(0, "deprecated"));
        assert_eq!(Answer::new(200, None, &partial(-3, "")), taken(0, ""));
        for garbage in [&b"<html>"[..], &[0xFF; 40], &partial(3, "too old")[..4]] {
            assert_eq!(Answer::new(200, None, garbage), Answer::Never(ExportError::Garbled), "{garbage:?}");
        }
    }
}
