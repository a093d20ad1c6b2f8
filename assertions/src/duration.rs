//! Durations as Prometheus and Alertmanager write them everywhere: `1h30m`, `15s`, larger units first, each once.

use std::time::Duration;

/// The longest, ms: what a signed 64-bit number of nanoseconds holds, about 292 years.
pub(crate) const MILLIS_MAX: i64 = i64::MAX / 1_000_000;

/// Units in the order in which they must come, and their length in ms.
pub(crate) const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Why a duration is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DurationFlaw {
    /// Nothing, units out of order, twice, or unknown; or a fraction.
    Form,
    /// Longer than Prometheus can hold.
    TooLong,
}

/// A duration in ms. A number without a unit is none, not even 0.
pub(crate) fn millis(text: &str) -> Result<i64, DurationFlaw> {
    let mut rest = text;
    let mut total = 0_i64;
    let mut next_unit = 0;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(DurationFlaw::Form)?;
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        let known = UNITS.iter().position(|(name, _)| *name == unit);
        let index =
            known.filter(|index| *index >= next_unit && !number.is_empty()).ok_or(DurationFlaw::Form)?;
        next_unit = index + 1;
        let length = number.parse::<i64>().ok().and_then(|number| number.checked_mul(UNITS[index].1));
        total = length.and_then(|length| total.checked_add(length)).ok_or(DurationFlaw::TooLong)?;
        rest = &rest[digits + letters..];
        if rest.is_empty() {
            break;
        }
    }
    if total > MILLIS_MAX { Err(DurationFlaw::TooLong) } else { Ok(total) }
}

/// A duration as configuration files have it, where a bare `0` is one too. `None`: it is none.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    millis(text).ok().and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let check = |text: &str, expected: Result<i64, DurationFlaw>| {
            assert_eq!(millis(text), expected, "{text:?}");
        };
        check("1h30m", Ok(5_400_000));
        check("1w2d", Ok(777_600_000));
        check("1m500ms", Ok(60_500));
        check("5ms", Ok(5));
        check("00s", Ok(0));
        check("290y", Ok(290 * 31_536_000_000));
        for text in ["", "0", "5", "m", "30m1h", "1h1h", "1.5m", "1hs", "-1m", "5 m", " 5m", "5é"] {
            check(text, Err(DurationFlaw::Form));
        }
        for text in ["293y", "292y52w", "99999999999999999999s", "9999999999999y"] {
            check(text, Err(DurationFlaw::TooLong));
        }
    }

    #[test]
    fn files_may_say_zero_without_a_unit() {
        assert_eq!(parse("0"), Some(Duration::ZERO));
        assert_eq!(parse("200y"), Some(Duration::from_secs(200 * 31_536_000)));
        assert_eq!((parse("00"), parse(""), parse("300y")), (None, None, None));
    }
}
