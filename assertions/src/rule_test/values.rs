//! Single values of a test file: durations, numbers, moments, switches.

use crate::duration;
use crate::rule::{plain_number, yaml_number};
use crate::time::Millis;
use scenarios::problem::Problem;
use scenarios::yaml::Node;
use std::time::Duration;

/// The duration under `key`; `None` if there is none or it is wrong, which is then a problem.
pub(super) fn optional_duration(node: &Node, key: &str, problems: &mut Vec<Problem>) -> Option<Duration> {
    let value = node.get(key).filter(|value| !value.is_null())?;
    let text = value.expect_text(&format!("a duration for `{key}`"), problems)?;
    let parsed = duration::parse(text);
    if parsed.is_none() {
        let problem = Problem::error(format!("`{text}` is not a duration"), value.head());
        let hint = match text.parse::<u64>() {
            Ok(_) => format!("write the unit too: `{text}s` or `{text}m`"),
            Err(_) => "write it as in `30s`, `5m` or `1h30m`, larger units first".to_string(),
        };
        problems.push(problem.hint(hint));
    }
    parsed
}

/// The text under `key`; a number or `true` counts as the text written.
pub(super) fn optional_text(node: &Node, key: &str, problems: &mut Vec<Problem>) -> Option<String> {
    let value = node.get(key).filter(|value| !value.is_null())?;
    value.expect_text(&format!("text for `{key}`"), problems).map(str::to_string)
}

/// `true` or `false` under `key`; `false` if there is none.
pub(super) fn switch(node: &Node, key: &str, problems: &mut Vec<Problem>) -> bool {
    let Some(value) = node.get(key).filter(|value| !value.is_null()) else { return false };
    value.expect_bool(&format!("`true` or `false` for `{key}`"), problems).unwrap_or(false)
}

/// A number as YAML has it: `1`, `-0.5`, `1e3`, `0x10`, `1_000`, `.inf`, `.nan`.
pub(super) fn number(value: &Node, problems: &mut Vec<Problem>) -> Option<f64> {
    let text = value.expect_text("a number", problems)?;
    let parsed = plain_number(value);
    if parsed.is_none() {
        let problem = Problem::error(format!("`{text}` is not a number"), value.head());
        problems.push(problem.hint(
            match text.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str() {
                "inf" | "infinity" => {
                    format!("write `{}.inf`", if text.starts_with('-') { "-" } else { "" })
                }
                "nan" => "write `.nan`; but no expectation equals NaN, as in promtool".to_string(),
                _ if yaml_number(text).is_some() => format!("write `{text}` without quotes"),
                _ => "as in `1`, `0.25`, `1e3` or `.inf`".to_string(),
            },
        ));
    }
    parsed
}

/// A moment: seconds since the epoch, or RFC 3339.
pub(super) fn moment(value: &Node, problems: &mut Vec<Problem>) -> Option<Millis> {
    let text = value.expect_text("a moment", problems)?;
    let parsed = Millis::from_text(text);
    if parsed.is_none() {
        let problem = Problem::error(format!("`{text}` is not a moment"), value.head());
        problems.push(problem.hint("seconds since 1970, or as in `2026-01-31T12:00:00Z`"));
    }
    parsed
}
