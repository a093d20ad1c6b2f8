//! Durations as Prometheus and Alertmanager write them: `1h30m`, `15s`, `0`.

use std::time::Duration;

const UNITS: [(&str, u64); 7] = [
    ("ms", 1),
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
];

/// Reads a duration; `None` if it is none or beyond 64 bits of milliseconds. Units go from large to small, each once.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, millis) = UNITS.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        if millis >= smallest {
            return None;
        }
        smallest = millis;
        rest = &rest[unit.len()..];
        total = total.checked_add(count.checked_mul(millis)?)?;
    }
    (smallest != u64::MAX).then(|| Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations() {
        let check = |text: &str, seconds: Option<f64>| {
            assert_eq!(super::parse(text).map(|d| d.as_secs_f64()), seconds, "{text:?}");
        };
        check("0", Some(0.0));
        check("30s", Some(30.0));
        check("1h30m", Some(5400.0));
        check("1w2d", Some(777_600.0));
        check("1m500ms", Some(60.5));
        for bad in
            ["", "5", "m", "30m1h", "1s1s", "1.5h", "-1m", "5 m", "99999999999999999999s", "9999999999999y"]
        {
            check(bad, None);
        }
    }
}
