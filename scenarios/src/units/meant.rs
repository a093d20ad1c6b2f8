//! What was most likely meant by a text that the language does not take: `10 seconds` is `10s`, `1,000` is `1000`.
//!
//! Whatever is given here is a text that reads; what can mean two things is left alone.

use super::split_number;

/// A unit, and how else it is written, in lower case.
type Spellings = (&'static str, &'static [&'static str]);

const TIMES: &[Spellings] = &[
    ("ms", &["ms", "msec", "msecs", "milli", "millis", "millisecond", "milliseconds"]),
    ("s", &["s", "sec", "secs", "second", "seconds"]),
    ("m", &["m", "min", "mins", "minute", "minutes"]),
    ("h", &["h", "hr", "hrs", "hour", "hours"]),
    ("d", &["d", "day", "days"]),
    ("w", &["w", "wk", "wks", "week", "weeks"]),
];
const RATES: &[Spellings] = &[
    ("/s", &["/s", "/sec", "/second", "per s", "per sec", "per second", "ps", "rps", "hz"]),
    ("/m", &["/m", "/min", "/minute", "per m", "per min", "per minute", "rpm"]),
    ("/h", &["/h", "/hr", "/hour", "per h", "per hour"]),
];
const SIZES: &[Spellings] = &[
    ("B", &["b", "byte", "bytes"]),
    ("KiB", &["k", "kb", "kib", "kilobyte", "kilobytes"]),
    ("MiB", &["mb", "mib", "megabyte", "megabytes"]),
    ("GiB", &["g", "gb", "gib", "gigabyte", "gigabytes"]),
];

/// The time that `text` means.
pub(super) fn time(text: &str) -> Option<String> {
    let mut meant = String::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        meant = meant + number + unit(TIMES, &after[..letters])?;
        rest = after[letters..].trim_start_matches([' ', ',']);
    }
    (!meant.is_empty() && super::duration(&meant).is_ok()).then_some(meant)
}

/// The count that `text` means: `1_000`, `1,000`, `1 000`, `10K`.
pub(super) fn count(text: &str) -> Option<String> {
    let mut groups = text.trim().split(['_', ',', ' ', '\'']);
    let mut meant = groups.next()?.to_owned();
    for group in groups {
        // Two digits after a comma may be a fraction.
        let digits = group.bytes().take_while(u8::is_ascii_digit).count();
        if digits != 3 && !(digits == 0 && group.eq_ignore_ascii_case("k")) {
            return None;
        }
        meant += group;
    }
    if let Some(thousands) = meant.strip_suffix('K') {
        meant = format!("{thousands}k");
    }
    super::number(&meant).is_some_and(|value| value.fract() == 0.0).then_some(meant)
}

/// The rate that `text` means.
pub(super) fn rate(text: &str) -> Option<String> {
    let begin = text.find(['/', 'p', 'r', 'h', 'P', 'R', 'H'])?;
    let (amount, per) = text.split_at(begin);
    let words: Vec<&str> = per.split_whitespace().collect();
    let per = unit(RATES, &words.join(" ").replace("/ ", "/"))?;
    let amount = amount.trim();
    let amount = if super::number(amount).is_some() { amount.to_owned() } else { count(amount)? };
    Some(amount + per)
}

/// The size that `text` means.
pub(super) fn size(text: &str) -> Option<String> {
    let (number, after) = split_number(text.trim())?;
    let meant = format!("{number}{}", unit(SIZES, after.trim())?);
    super::size(&meant).is_ok().then_some(meant)
}

fn unit(units: &[Spellings], word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    units.iter().find(|(_, spellings)| spellings.contains(&word.as_str())).map(|(unit, _)| *unit)
}
