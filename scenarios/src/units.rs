//! Numbers with their units, as people write them: `1h30m`, `5k/s`, `128B`, `10k`, `2%`, `200ms..10s`.
//!
//! A bare number is never guessed at: the complaint says what to write. Every value has one printed form
//! that reads back as the same value.

use std::fmt;
use std::time::Duration;

mod meant;

/// Why a text is not the value it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitError {
    /// What is wrong, lower case, no full stop.
    pub summary: String,
    /// What to write instead.
    pub hint: String,
}

impl UnitError {
    fn new(summary: impl Into<String>, hint: impl Into<String>) -> UnitError {
        UnitError { summary: summary.into(), hint: hint.into() }
    }
}

/// How often something happens, per second.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate {
    /// Times per second; finite, not negative.
    pub per_second: f64,
}

impl Rate {
    /// A rate of so many per second.
    pub fn per_second(per_second: f64) -> Rate {
        Rate { per_second }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.per_second)
    }
}

/// A part of a whole, 0 to 1; written `2%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Binary fractions: 0.07 * 100 is 7.000000000000001; no one writes more than nine digits.
        write!(f, "{}%", (self.0 * 1e11).round() / 1e9)
    }
}

/// From a shortest to a longest time, as of a growing backoff; written `200ms..10s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationRange {
    /// The shortest.
    pub shortest: Duration,
    /// The longest, not below the shortest.
    pub longest: Duration,
}

/// Units of time, largest first: name and milliseconds.
const TIME_UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
/// Longest time that can be written.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A time: numbers with `ms s m h d w`, larger units first, as in `600ms`, `12m`, `1h30m`.
///
/// Errors: no unit, an unknown unit, units out of order, more than 100 years. Resolution: 1 ns.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    if is_number(text) {
        let hint = if text == "0" {
            "write `0s`".into()
        } else {
            format!("write `{text}s`, `{text}ms` or `{text}m`")
        };
        return Err(UnitError::new(format!("time `{text}` has no unit"), hint));
    }
    let wrong = || not_a_time(text);
    let mut total = Duration::ZERO;
    let mut smallest = TIME_UNITS.len() + 1;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_number(rest).ok_or_else(wrong)?;
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = &after[..letters];
        let at = TIME_UNITS
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(|| unknown_time_unit(text, unit))?;
        // `smallest` counts from the large end, so the position must grow with each part.
        if smallest <= TIME_UNITS.len() && at <= smallest {
            let hint = "each unit once, the larger first, as in `1h30m`";
            return Err(UnitError::new(format!("`{text}` has its units out of order"), hint));
        }
        smallest = at;
        total =
            total.checked_add(scaled(number, TIME_UNITS[at].1).ok_or_else(too_long)?).ok_or_else(too_long)?;
        rest = &after[letters..];
    }
    match total {
        _ if text.is_empty() => Err(wrong()),
        total if total > DURATION_MAX => Err(too_long()),
        total => Ok(total),
    }
}

fn too_long() -> UnitError {
    UnitError::new("the time is longer than 100 years", "write a shorter one")
}

fn not_a_time(text: &str) -> UnitError {
    let usual = "times look like `600ms`, `12m` or `1h30m`; units: ms s m h d w";
    UnitError::new(format!("`{text}` is not a time"), instead(meant::time(text), usual))
}

fn unknown_time_unit(text: &str, unit: &str) -> UnitError {
    let meant = meant::time(text);
    let summary = match unit {
        "" if meant.is_some() => return not_a_time(text),
        "" => format!("a number in `{text}` has no unit"),
        _ => format!("`{unit}` in `{text}` is not a unit of time"),
    };
    UnitError::new(summary, instead(meant, "units: ms s m h d w (m is minutes)"))
}

/// What to write: what was meant, where that is known.
fn instead(meant: Option<String>, usual: &str) -> String {
    meant.map_or_else(|| usual.to_owned(), |meant| format!("write `{meant}`"))
}

/// `number` decimal times `unit_ms`, exact to the nanosecond.
fn scaled(number: &str, unit_ms: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let unit_ns = u128::from(unit_ms) * 1_000_000;
    let whole_ns = whole.parse::<u128>().ok()?.checked_mul(unit_ns)?;
    let digits: String = fraction.chars().take(15).collect();
    let part = if digits.is_empty() { 0 } else { digits.parse::<u128>().ok()? };
    let part_ns = part * unit_ns / 10u128.pow(u32::try_from(digits.len()).ok()?);
    let total = whole_ns.checked_add(part_ns)?;
    let seconds = u64::try_from(total / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, u32::try_from(total % 1_000_000_000).ok()?))
}

/// The printed form of a time: `1h30m`, `600ms`, `0s`. Reads back exactly from 1 ns on.
pub fn format_duration(time: Duration) -> String {
    let mut text = String::new();
    let mut rest = time.as_nanos();
    for (unit, milliseconds) in TIME_UNITS {
        let unit_ns = u128::from(milliseconds) * 1_000_000;
        let count = rest / unit_ns;
        let weeks_are_rare = unit == "w" && !rest.is_multiple_of(unit_ns);
        if unit == "ms" && !rest.is_multiple_of(unit_ns) {
            let digits = format!("{:06}", rest % unit_ns);
            text += &format!("{count}.{}ms", digits.trim_end_matches('0'));
        } else if count > 0 && !weeks_are_rare {
            text += &format!("{count}{unit}");
        } else {
            continue;
        }
        rest %= unit_ns;
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Two times with `..` between them, as in `200ms..10s`.
///
/// Errors: as [`duration`], one value alone, or the first longer than the second.
pub fn duration_range(text: &str) -> Result<DurationRange, UnitError> {
    let Some((from, to)) = text.split_once("..") else {
        let hint = "write the shortest and the longest wait, as in `200ms..10s`";
        return Err(UnitError::new(format!("`{text}` is one value, a range is needed"), hint));
    };
    let (shortest, longest) = (duration(from.trim())?, duration(to.trim())?);
    if shortest > longest {
        return Err(UnitError::new(
            format!("`{text}` is a range that ends before it begins"),
            format!("write `{to}..{from}`"),
        ));
    }
    Ok(DurationRange { shortest, longest })
}

impl fmt::Display for DurationRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", format_duration(self.shortest), format_duration(self.longest))
    }
}

const RATES: &str = "rates look like `5k/s` or `300/m`";

/// A rate: a count and `/s`, `/m` or `/h`, as in `5k/s`.
///
/// Errors: no unit, not a number, not finite.
pub fn rate(text: &str) -> Result<Rate, UnitError> {
    let Some((amount, per)) = text.split_once('/') else {
        let hint = match number(text) {
            Some(_) => format!("write `{text}/s`, or `{text}/m` for minutes"),
            None => instead(meant::rate(text), RATES),
        };
        return Err(UnitError::new(format!("rate `{text}` does not say per what"), hint));
    };
    let seconds = match per {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => {
            let summary = format!("`{per}` in `{text}` is not a time that rates are given for");
            return Err(UnitError::new(
                summary,
                instead(meant::rate(text), "rates are per `/s`, `/m` or `/h`"),
            ));
        }
    };
    match number(amount) {
        Some(amount) => Ok(Rate { per_second: amount / seconds }),
        None => Err(UnitError::new(
            format!("`{amount}` in `{text}` is not a number"),
            instead(meant::rate(text), RATES),
        )),
    }
}

/// A count: a whole number, `k` for thousands, `M` for millions, as in `10k`.
///
/// Errors: not a number, not whole, more than 2^53.
pub fn count(text: &str) -> Result<u64, UnitError> {
    let hint = "counts look like `250`, `10k` or `1.5k`";
    match number(text) {
        None => Err(UnitError::new(format!("`{text}` is not a count"), instead(meant::count(text), hint))),
        Some(value) if value.fract() != 0.0 => {
            Err(UnitError::new(format!("`{text}` is not a whole number"), hint))
        }
        Some(value) if value > 9_007_199_254_740_992.0 => {
            Err(UnitError::new(format!("`{text}` is too large"), hint))
        }
        Some(value) => Ok(value as u64),
    }
}

/// A size in bytes: `128B`, `4KiB`, `1MiB`.
///
/// Errors: no unit, a decimal unit (kB), more than 2^53.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let digits = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (amount, unit) = text.split_at(digits);
    let factor = match unit {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        "" => {
            return Err(UnitError::new(
                format!("size `{text}` has no unit"),
                format!("write `{text}B` or `{text}KiB`"),
            ));
        }
        _ => {
            return Err(UnitError::new(
                format!("`{unit}` in `{text}` is not a unit of size"),
                instead(meant::size(text), "units: B KiB MiB GiB"),
            ));
        }
    };
    let bytes = plain_number(amount).map(|amount| amount * factor);
    match bytes.filter(|bytes| bytes.fract() == 0.0 && *bytes <= 9_007_199_254_740_992.0) {
        Some(bytes) => Ok(bytes as u64),
        None => Err(UnitError::new(
            format!("`{text}` is not a whole number of bytes"),
            "sizes look like `128B` or `4KiB`",
        )),
    }
}

/// The printed form of a size, in the largest unit that divides it.
pub fn format_size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// A share of a whole, `0%` to `100%`.
///
/// Errors: no `%`, more than 100 %.
pub fn share(text: &str) -> Result<Share, UnitError> {
    let Some(percent) = text.strip_suffix('%') else {
        let hint = match plain_number(text) {
            Some(value) if value < 1.0 => {
                format!("write `{text}%`, or `{}` if a part of one is meant", Share(value))
            }
            Some(_) => format!("write `{text}%`"),
            None => "shares look like `2%` or `0.1%`".to_owned(),
        };
        return Err(UnitError::new(format!("share `{text}` has no `%`"), hint));
    };
    match plain_number(percent.trim_end()) {
        Some(percent) if percent <= 100.0 => Ok(Share(percent / 100.0)),
        Some(_) => {
            Err(UnitError::new(format!("`{text}` is more than the whole"), "a share is at most `100%`"))
        }
        None => Err(UnitError::new(
            format!("`{percent}` in `{text}` is not a number"),
            "shares look like `2%` or `0.1%`",
        )),
    }
}

/// A share per minute, as of clients that leave and come back: `5%/m`. The value is per minute.
///
/// Errors: as [`share`], or another time than a minute.
pub fn share_per_minute(text: &str) -> Result<Share, UnitError> {
    match text.strip_suffix("/m") {
        Some(part) => share(part),
        None => {
            let start = text.split('/').next().unwrap_or_default().trim_end_matches('%');
            Err(UnitError::new(format!("`{text}` is not a share per minute"), format!("write `{start}%/m`")))
        }
    }
}

/// A factor, as of a phase's load: `1x`, `0.5x`.
///
/// Errors: no `x`, not a number.
pub fn factor(text: &str) -> Result<f64, UnitError> {
    match text.strip_suffix('x').and_then(plain_number) {
        Some(value) => Ok(value),
        None => {
            let hint = if is_number(text) {
                format!("write `{text}x`")
            } else {
                "factors look like `2x` or `0.5x`".into()
            };
            Err(UnitError::new(format!("`{text}` is not a factor"), hint))
        }
    }
}

/// A decimal number with an optional `k` or `M`.
fn number(text: &str) -> Option<f64> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1e3),
        b'M' => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    // Rounded, because 1.001 * 1000 is not quite 1001.
    plain_number(digits).map(|value| if factor == 1.0 { value } else { (value * factor * 1e3).round() / 1e3 })
}

/// A decimal number: digits, perhaps a point and digits. No sign, no exponent.
pub(crate) fn plain_number(text: &str) -> Option<f64> {
    is_number(text).then(|| text.parse().ok()).flatten().filter(|value: &f64| value.is_finite())
}

fn is_number(text: &str) -> bool {
    split_number(text).is_some_and(|(_, rest)| rest.is_empty())
}

/// The decimal number at the start of `text`, and what follows.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(text);
    let fraction = text[whole..].strip_prefix('.').map_or(0, digits);
    let length = if fraction == 0 { whole } else { whole + 1 + fraction };
    (whole > 0).then(|| text.split_at(length))
}

#[cfg(test)]
mod tests;
