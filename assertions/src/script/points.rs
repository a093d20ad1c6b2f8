//! The small parts of a script's lines: durations, strings, and points with native histograms among them.

use crate::duration;
use crate::notation::POINTS_MAX;

/// `5m`, `1m30s`, `10` (seconds), `-1m`, in ms.
pub(super) fn millis(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = seconds * 1000.0;
        return (ms.abs() <= 9e15).then_some(ms.round() as i64);
    }
    match text.strip_prefix('-') {
        Some(rest) => duration::millis(rest).ok().map(|ms| -ms),
        None => duration::millis(text).ok(),
    }
}

/// `metric{a="b"} 1 2 3` into series and points.
pub(super) fn split_series(line: &str) -> (&str, &str) {
    let mut quote = None;
    let mut escaped = false;
    let mut braces = 0_i32;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(open), '\\') => escaped = open != '`',
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => braces += 1,
            (None, '}') => braces -= 1,
            (None, c) if c.is_whitespace() && braces == 0 => return (&line[..at], line[at..].trim()),
            _ => {}
        }
    }
    (line, "")
}

/// The points without native histograms, each of those a stale marker, and whether there were any.
///
/// A marker ends what came before it, as a histogram does, and no function counts it, as few count a histogram.
/// `{{sum:1}}+{{sum:1}}x2 5` becomes `stale stale stale 5`. Of text that is no histogram's everything stays.
pub(super) fn without_histograms(points: &str) -> (String, bool) {
    let mut text = String::with_capacity(points.len());
    let mut rest = points;
    let mut found = false;
    while let Some(open) = rest.find("{{") {
        text.push_str(&rest[..open]);
        let Some(end) = end_of_histogram(&rest[open..]) else { break };
        let word = &rest[open..open + end];
        // Repeated n times it is n + 1 points. More than any series may have are refused later.
        let times = word
            .rsplit_once("}}x")
            .and_then(|(_, times)| times.parse::<usize>().ok())
            .map_or(1, |n| n.saturating_add(1).min(POINTS_MAX + 1));
        text.push(' ');
        text.push_str(&"stale ".repeat(times));
        rest = &rest[open + end..];
        found = true;
    }
    text.push_str(rest);
    (text, found)
}

/// The length of `{{...}}`, `{{...}}x3` or `{{...}}+{{...}}x3` at the start of a text.
fn end_of_histogram(text: &str) -> Option<usize> {
    let mut end = text.find("}}")? + 2;
    if text[end..].starts_with("+{{") || text[end..].starts_with("-{{") {
        end += text[end..].find("}}")? + 2;
    }
    let rest = &text[end..];
    Some(end + rest.find(char::is_whitespace).unwrap_or(rest.len()))
}
