//! Numbers as Go prints them, and as Prometheus' template functions make them readable.

/// A number as Go prints it by default: fewest digits, an exponent below 1e-4 and from 1e6 on.
pub fn go_float(value: f64) -> String {
    special(value).unwrap_or_else(|| shortest(value, 6))
}

pub(super) fn special(value: f64) -> Option<String> {
    match value {
        value if value.is_nan() => Some("NaN".into()),
        value if value.is_infinite() => Some(if value > 0.0 { "+Inf" } else { "-Inf" }.into()),
        _ => None,
    }
}

/// Fewest digits that read back the same; exponent form from 10^`exponent_min` on.
pub(super) fn shortest(value: f64, exponent_min: i32) -> String {
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= exponent_min {
        return with_exponent(mantissa, exponent);
    }
    format!("{value}")
}

pub(super) fn with_exponent(mantissa: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// `%.4g` and the like: at most `precision` significant digits, no trailing zeros.
pub(crate) fn significant(value: f64, precision: usize) -> String {
    if let Some(text) = special(value) {
        return text;
    }
    let precision = precision.max(1);
    let scientific = format!("{value:.*e}", precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= precision as i32 {
        return with_exponent(trimmed(mantissa), exponent);
    }
    let decimals = usize::try_from(precision as i32 - 1 - exponent).unwrap_or(0);
    trimmed(&format!("{value:.decimals$}")).to_string()
}

/// Without zeros at the end of a fraction.
fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_1024: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// With a metric prefix.
pub(super) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return significant(value, 4);
    }
    let (scaled, prefix) =
        if value.abs() >= 1.0 { scaled_down(value, 1000.0, &LARGE) } else { scaled_up(value) };
    format!("{}{prefix}", significant(scaled, 4))
}

/// With a binary prefix.
pub(super) fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return significant(value, 4);
    }
    let (scaled, prefix) = scaled_down(value, 1024.0, &LARGE_1024);
    format!("{}{prefix}", significant(scaled, 4))
}

fn scaled_down<'p>(mut value: f64, base: f64, prefixes: &[&'p str]) -> (f64, &'p str) {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < base {
            break;
        }
        prefix = next;
        value /= base;
    }
    (value, prefix)
}

fn scaled_up(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    (value, prefix)
}

/// Seconds as `1d 2h 3m 4s`, below a second with a metric prefix.
pub(super) fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return significant(seconds, 4);
    }
    if seconds == 0.0 {
        return format!("{}s", significant(seconds, 4));
    }
    if seconds.abs() < 1.0 {
        let (scaled, prefix) = scaled_up(seconds);
        return format!("{}{prefix}s", significant(scaled, 4));
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let whole = seconds.abs() as i64;
    let (days, hours, minutes, rest) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", significant(seconds.abs(), 4)),
        (0, 0, _) => format!("{sign}{minutes}m {rest}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {rest}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

/// A ratio as a percentage.
pub(super) fn humanize_percentage(ratio: f64) -> String {
    format!("{}%", significant(ratio * 100.0, 4))
}
