//! Numbers as Go prints them, and as Prometheus' template functions make them readable.

/// A number as Go prints it by default: fewest digits, an exponent below 1e-4 and from 1e6 on.
pub fn go_float(value: f64) -> String {
    special(value).unwrap_or_else(|| shortest(value, 6))
}

fn special(value: f64) -> Option<String> {
    match value {
        value if value.is_nan() => Some("NaN".into()),
        value if value.is_infinite() => Some(if value > 0.0 { "+Inf" } else { "-Inf" }.into()),
        _ => None,
    }
}

/// Fewest digits that read back the same; exponent form from 10^`exponent_min` on.
fn shortest(value: f64, exponent_min: i32) -> String {
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= exponent_min {
        return with_exponent(mantissa, exponent);
    }
    format!("{value}")
}

fn with_exponent(mantissa: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// `%.4g` and the like: at most `precision` significant digits, no trailing zeros.
fn significant(value: f64, precision: usize) -> String {
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

/// One number through a format with at most one verb; other verbs stay as Go would complain, readable.
pub(super) fn print_number(format: &str, value: f64) -> String {
    print(format, |verb| match verb {
        Verb { letter: 'f', precision, .. } => {
            special(value).unwrap_or_else(|| format!("{value:.*}", precision.unwrap_or(6)))
        }
        Verb { letter: 'e', precision, .. } => {
            let text = format!("{value:.*e}", precision.unwrap_or(6));
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            special(value).unwrap_or_else(|| with_exponent(mantissa, exponent.parse().unwrap_or(0)))
        }
        Verb { letter: 'g', precision: Some(precision), .. } => significant(value, *precision),
        Verb { letter: 'g' | 'v', .. } => go_float(value),
        Verb { letter, .. } => format!("%!{letter}(float64={})", go_float(value)),
    })
}

/// One text through a format with at most one verb.
pub(super) fn print_text(format: &str, text: &str) -> String {
    print(format, |verb| match verb.letter {
        's' | 'v' => text.to_string(),
        'q' => format!("{text:?}"),
        letter => format!("%!{letter}(string={text})"),
    })
}

struct Verb {
    letter: char,
    precision: Option<usize>,
    width: usize,
    left: bool,
    zero: bool,
}

fn print(format: &str, fill: impl Fn(&Verb) -> String) -> String {
    let mut text = String::new();
    let mut filled = false;
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut spec = String::new();
        while let Some(next) =
            chars.next_if(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | ' ' | '#'))
        {
            spec.push(next);
        }
        match chars.next() {
            Some('%') => text.push('%'),
            Some(letter) if filled => text.push_str(&format!("%!{letter}(MISSING)")),
            Some(letter) => {
                filled = true;
                let verb = parse_verb(&spec, letter);
                text.push_str(&padded(fill(&verb), &verb));
            }
            None => text.push_str("%!(NOVERB)"),
        }
    }
    text
}

fn parse_verb(spec: &str, letter: char) -> Verb {
    // A width or precision beyond any text would only make a huge one.
    let bounded = |digits: &str| digits.parse::<usize>().unwrap_or(0).min(100);
    let (before, precision) = match spec.split_once('.') {
        Some((before, digits)) => (before, Some(bounded(digits))),
        None => (spec, None),
    };
    let flags = before.trim_end_matches(|c: char| c.is_ascii_digit() && c != '0');
    Verb {
        letter,
        precision,
        width: bounded(before.trim_start_matches(|c: char| !c.is_ascii_digit())),
        left: before.contains('-'),
        zero: flags.trim_start_matches(|c: char| !c.is_ascii_digit()).starts_with('0'),
    }
}

fn padded(text: String, verb: &Verb) -> String {
    let missing = verb.width.saturating_sub(text.chars().count());
    match (verb.left, verb.zero) {
        (true, _) => text + &" ".repeat(missing),
        (false, true) => "0".repeat(missing) + &text,
        (false, false) => " ".repeat(missing) + &text,
    }
}
