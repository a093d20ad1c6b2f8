//! What numbers, durations and strings mean, as Go reads them: the language was defined by it.

use super::ast::Dialect;
use crate::duration::{MILLIS_MAX, UNITS};

pub(super) use crate::duration::{DurationFlaw, millis as duration};

/// The value of a number: decimal, `0x` hexadecimal, or octal with a leading zero. `None`: no such number.
pub(crate) fn number(text: &str) -> Option<f64> {
    let bare = without_underscores(text)?;
    let lower = bare.to_ascii_lowercase();
    match lower.as_str() {
        "inf" => return Some(f64::INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    if let Some(digits) = lower.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok().map(|value| value as f64);
    }
    let is_octal =
        lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|b| matches!(b, b'0'..=b'7'));
    if is_octal && let Ok(value) = i64::from_str_radix(&lower, 8) {
        return Some(value as f64);
    }
    // What is too large for the type is refused, as by Prometheus, and not taken for infinity.
    lower.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// The digits alone. `None`: an underscore that does not stand between two digits, or behind `0x`.
fn without_underscores(text: &str) -> Option<String> {
    let is_hex = text.starts_with("0x") || text.starts_with("0X");
    let bytes = text.as_bytes();
    let separates = |at: usize| {
        let is_digit = |b: &u8| if is_hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        let follows = before.is_some_and(is_digit) || (is_hex && at == 2);
        follows && bytes.get(at + 1).is_some_and(is_digit)
    };
    let all_separate = (0..bytes.len()).filter(|at| bytes[*at] == b'_').all(separates);
    all_separate.then(|| text.replace('_', ""))
}

/// Seconds written as a number, ms: a duration of dialect 3.
pub(super) fn seconds(value: f64) -> Result<i64, DurationFlaw> {
    let millis = (value * 1000.0).round();
    if value.is_nan() || millis.abs() > MILLIS_MAX as f64 {
        return Err(DurationFlaw::TooLong);
    }
    Ok(millis as i64)
}

/// A duration as [`duration`] reads it, in the fewest whole units; years and weeks only where nothing is left over.
pub(super) fn show_duration(millis: i64) -> String {
    if millis == 0 {
        return "0s".into();
    }
    let mut rest = millis;
    let mut text = String::new();
    for (unit, length) in UNITS {
        let is_exact = rest % length == 0;
        if matches!(unit, "y" | "w") && !is_exact {
            continue;
        }
        if rest >= length {
            text += &format!("{}{unit}", rest / length);
            rest %= length;
        }
    }
    text
}

/// Whether a number may stand for a duration and a duration for a number.
pub(super) fn numbers_are_durations(dialect: Dialect) -> bool {
    dialect == Dialect::V3
}

/// What is wrong inside a string: at which of its bytes, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextFlaw {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) summary: &'static str,
}

/// The text of a string with its quotes; backticks know no escapes.
pub(super) fn unquoted(literal: &str) -> Result<String, TextFlaw> {
    let quote = literal.chars().next().unwrap_or('"');
    let inner = literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default();
    if quote == '`' {
        return Ok(inner.to_string());
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut at = 0;
    while let Some(c) = inner[at..].chars().next() {
        if c == '\\' {
            at += escape(&inner[at..], quote, &mut bytes).map_err(|(length, summary)| TextFlaw {
                start: at + 1,
                end: at + 1 + length,
                summary,
            })?;
        } else {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            at += c.len_utf8();
        }
    }
    // Prometheus would keep such bytes; no label value that was ever scraped has them.
    let end = literal.len();
    String::from_utf8(bytes).map_err(|_| TextFlaw {
        start: 0,
        end,
        summary: "the escapes make bytes that are not UTF-8",
    })
}

/// Adds what the escape at the start of `rest` stands for; returns its length. Errors: the length to mark, and the reason.
fn escape(rest: &str, quote: char, bytes: &mut Vec<u8>) -> Result<usize, (usize, &'static str)> {
    let Some(kind) = rest[1..].chars().next() else { return Err((1, "the escape is not finished")) };
    let single = match kind {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' => Some(b'\\'),
        c if c == quote => Some(c as u8),
        _ => None,
    };
    if let Some(byte) = single {
        bytes.push(byte);
        return Ok(2);
    }
    let (from, digits, radix) = match kind {
        '0'..='7' => (1, 3, 8),
        'x' => (2, 2, 16),
        'u' => (2, 4, 16),
        'U' => (2, 8, 16),
        other => return Err((1 + other.len_utf8(), "no such escape")),
    };
    let end = from + digits;
    let code = rest.get(from..end).filter(|digits| digits.chars().all(|c| c.is_digit(radix)));
    let Some(code) = code.and_then(|code| u32::from_str_radix(code, radix).ok()) else {
        return Err((1 + kind.len_utf8(), "the escape has too few digits"));
    };
    match kind {
        'u' | 'U' => {
            let c = char::from_u32(code).ok_or((end, "the escape is no Unicode character"))?;
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        _ => bytes.push(u8::try_from(code).map_err(|_| (end, "the escape is larger than a byte"))?),
    }
    Ok(end)
}

/// A text in double quotes, as [`unquoted`] reads it.
pub(super) fn quoted(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            '\n' => literal += "\\n",
            '\r' => literal += "\\r",
            '\t' => literal += "\\t",
            c if c.is_control() => literal += &format!("\\u{:04x}", c as u32),
            c => literal.push(c),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_does() {
        let check = |text: &str, expected: Option<f64>| assert_eq!(number(text), expected, "{text}");
        check("010", Some(8.0));
        check("08", Some(8.0));
        check("0x1F", Some(31.0));
        check("0X_1f", Some(31.0));
        check("1_000.5", Some(1000.5));
        check("1__0", None);
        check("1_", None);
        check("1_.5", None);
        check("1e_5", None);
        check(".5", Some(0.5));
        check("5.e3", Some(5000.0));
        check("1e400", None);
        check("1e-400", Some(0.0));
        check("0x", None);
        check("0x1.8", None);
        check("iNf", Some(f64::INFINITY));
        check("9223372036854775808", Some(9_223_372_036_854_775_808.0));
        check("0777777777777777777777777", Some(777_777_777_777_777_777_777_777.0));
        assert!(number("NaN").is_some_and(f64::is_nan));
    }

    #[test]
    fn durations_are_shown() {
        for (millis, shown) in
            [(5_400_000, "1h30m"), (1_209_600_000, "2w"), (691_200_000, "8d"), (90_061_007, "1d1h1m1s7ms")]
        {
            assert_eq!(show_duration(millis), shown);
            assert_eq!(duration(shown), Ok(millis));
        }
    }

    #[test]
    fn strings_are_read_and_written() {
        let check = |literal: &str, expected: &str| {
            assert_eq!(unquoted(literal).as_deref(), Ok(expected), "{literal}")
        };
        check(r#""\x41\u00e9\101\U0001F600""#, "Aé\u{41}😀");
        check(r"'b\''", "b'");
        check(r"`b\`", r"b\");
        check(r#""\a\b\f\n\r\t\v\\\"""#, "\u{7}\u{8}\u{c}\n\r\t\u{b}\\\"");
        let flawed = |literal: &str, start: usize, end: usize| {
            let flaw = unquoted(literal).unwrap_err();
            assert_eq!((flaw.start, flaw.end), (start, end), "{literal}: {}", flaw.summary);
        };
        flawed(r#""b\q""#, 2, 4);
        flawed(r#""b\'""#, 2, 4);
        flawed(r#""\ud800""#, 1, 7);
        flawed(r#""\400""#, 1, 5);
        flawed(r#""\x4""#, 1, 3);
        flawed(r#""\é""#, 1, 4);
        flawed(r#""\xff""#, 0, 6);
        for text in ["", "a\"b\\c\nd\u{1}\u{85}é"] {
            check(&quoted(text), text);
        }
    }
}
