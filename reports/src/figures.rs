//! Figures as one reads them: counts, rates, milliseconds, durations. One spelling for all reports.

/// A whole number with its thousands set apart: `250,000`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `reset 62, timeout 1`: the most frequent first.
pub(crate) fn by_reason(reasons: &std::collections::BTreeMap<String, u64>) -> String {
    let mut reasons: Vec<_> = reasons.iter().collect();
    reasons.sort_by_key(|(_, number)| std::cmp::Reverse(**number));
    let shown = reasons.into_iter().map(|(reason, number)| format!("{reason} {}", count(*number)));
    shown.collect::<Vec<_>>().join(", ")
}

/// `5,000/s`; one decimal below 100, none at or above it.
pub(crate) fn rate(per_second: f64) -> String {
    format!("{}/s", quantity(per_second))
}

/// `5,000`, `20.5`, `0.31`: as many decimals as the size deserves; `n/a` if not a finite number.
pub(crate) fn quantity(value: f64) -> String {
    if !value.is_finite() {
        return "n/a".to_owned();
    }
    let size = value.abs();
    if size >= 1e15 {
        return format!("{value:e}");
    }
    // The cast is exact: the value is whole and under 2^50.
    let whole = |value: f64| format!("{}{}", if value < 0.0 { "-" } else { "" }, count(value.abs() as u64));
    match size {
        _ if size >= 100.0 => whole(value.round()),
        _ if size >= 10.0 => trimmed(format!("{value:.1}")),
        _ => trimmed(format!("{value:.2}")),
    }
}

/// `0.14ms`, `3.9ms`, `604ms`, `12.4s`.
pub(crate) fn milliseconds(value: f64) -> String {
    if value.abs() >= 10_000.0 && value.is_finite() {
        return format!("{}s", quantity(value / 1000.0));
    }
    match quantity(value).as_str() {
        "n/a" => "n/a".to_owned(),
        text => format!("{text}ms"),
    }
}

/// `600ms`, `3.4s`, `1m15s`, `20m`, `2h05m`, `30d`; a leading minus for what lies before zero.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "n/a".to_owned();
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let size = seconds.abs();
    if size == 0.0 {
        return "0s".to_owned();
    }
    if size < 1.0 {
        return format!("{sign}{}ms", quantity(size * 1000.0));
    }
    if size < 59.95 {
        return format!("{sign}{}s", trimmed(format!("{size:.1}")));
    }
    // Saturates for absurd sizes; nothing is indexed by it.
    let total = size.round() as u64;
    let (days, hours, minutes, rest) = (total / 86_400, total / 3600 % 24, total / 60 % 60, total % 60);
    let text = match (days, hours, minutes, rest) {
        (0, 0, minutes, 0) => format!("{minutes}m"),
        (0, 0, minutes, rest) => format!("{minutes}m{rest:02}s"),
        (0, hours, 0, 0) => format!("{hours}h"),
        (0, hours, minutes, 0) => format!("{hours}h{minutes:02}m"),
        (0, hours, minutes, rest) => format!("{hours}h{minutes:02}m{rest:02}s"),
        (days, 0, _, _) => format!("{days}d"),
        (days, hours, _, _) => format!("{days}d{hours:02}h"),
    };
    format!("{sign}{text}")
}

/// `1 alert`, `2 alerts`, `2 checks`.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Drops zeros behind the decimal point, and the point if nothing is left behind it.
fn trimmed(text: String) -> String {
    if !text.contains('.') {
        return text;
    }
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        let check = |shown: String, expected: &str| assert_eq!(shown, expected);
        check(count(0), "0");
        check(count(999), "999");
        check(count(1_000), "1,000");
        check(count(250_000), "250,000");
        check(count(u64::MAX), "18,446,744,073,709,551,615");
        check(rate(5_000.0), "5,000/s");
        check(rate(20.53), "20.5/s");
        check(quantity(-1_234.5), "-1,235");
        check(quantity(-0.001), "0");
        check(quantity(f64::NAN), "n/a");
        check(quantity(1e18), "1e18");
        check(milliseconds(0.14), "0.14ms");
        check(milliseconds(3.94), "3.94ms");
        check(milliseconds(604.0), "604ms");
        check(milliseconds(12_400.0), "12.4s");
        check(milliseconds(f64::INFINITY), "n/a");
        check(duration(0.0), "0s");
        check(duration(0.6), "600ms");
        check(duration(3.44), "3.4s");
        check(duration(59.99), "1m");
        check(duration(75.0), "1m15s");
        check(duration(1200.0), "20m");
        check(duration(3600.0), "1h");
        check(duration(7500.0), "2h05m");
        check(duration(3661.0), "1h01m01s");
        check(duration(2_592_000.0), "30d");
        check(duration(-5.0), "-5s");
        check(plural(1, "alert"), "1 alert");
        check(plural(2_000, "alert"), "2,000 alerts");
    }
}
