//! Keys that do not exist, stand in the wrong place, or belong to a later version.

use super::{Kind, Status, TABLE, children, join, row, split};
use crate::problem::{Problem, nearest};
use crate::yaml::{Key, Node, Value};

/// Reports every unknown or not yet runnable key below `node`, whose own pattern is `pattern`.
pub(crate) fn check(node: &Node, pattern: &str, problems: &mut Vec<Problem>) {
    match &node.value {
        Value::Mapping(entries) => {
            for (key, value) in entries {
                if let Some(found) = check_key(key, pattern, problems) {
                    check(value, &found, problems);
                }
            }
        }
        Value::Sequence(items) => {
            let item = join(pattern, "[]");
            items.iter().for_each(|value| check(value, &item, problems));
        }
        Value::Scalar(_) => {}
    }
}

/// The pattern of a key under `parent`; `None` if what stands below it is not to be looked at.
fn check_key(key: &Key, parent: &str, problems: &mut Vec<Problem>) -> Option<String> {
    if parent == "environments" {
        // An overlay is a file of its own: its keys are those of a file.
        return Some(String::new());
    }
    let mut known = children(parent).peekable();
    known.peek()?;
    if known.any(|(last, _)| last == "*") {
        return Some(join(parent, "*"));
    }
    let pattern = join(parent, &key.text);
    // A key that is spelled like a pattern must not find the pattern's row.
    match row(&pattern).filter(|_| !key.text.contains(['.', '[', '*'])) {
        Some(row) if row.status == Status::Later => {
            let summary = format!("`{}` is not supported by this version", key.text);
            problems.push(
                Problem::error(summary, key.span.clone())
                    .hint("remove it; its name is kept for a later version"),
            );
            None
        }
        Some(row) => (row.kind != Kind::Any).then_some(pattern),
        None => {
            problems.push(unknown(key, parent));
            None
        }
    }
}

fn unknown(key: &Key, parent: &str) -> Problem {
    let problem = Problem::error(format!("unknown key `{}`", key.text), key.span.clone());
    match advice(&key.text, parent) {
        Some(hint) => problem.hint(hint),
        None => problem.hint(format!("known here: {}", listed(parent))),
    }
}

fn listed(parent: &str) -> String {
    let names: Vec<_> =
        children(parent).filter(|(_, row)| row.status == Status::Runs).map(|(name, _)| name).collect();
    names.join(", ")
}

/// What was probably meant: words of other tools first, then a slip, then a right key in the wrong place.
fn advice(key: &str, parent: &str) -> Option<String> {
    let foreign = match (parent, key) {
        ("traffic.*", "timeUnit") => "the unit is part of the rate: write 5000/m for a `timeUnit` of 1m",
        ("traffic.*", "duration") | ("population.*", "duration") => {
            "it lasts as long as the phases; write `for` in `phases`"
        }
        ("traffic.*", "vus" | "preAllocatedVUs" | "maxVUs") => {
            "clients belong in `population`, traffic is open loop"
        }
        ("population.*", "rate") => "messages belong in `traffic`; for connects write `connect_rate`",
        (_, "gracefulStop" | "gracefulRampDown") => "write `settle` at the top of the file",
        ("", "scenarios") => "k6's scenarios are `population` (who) and `traffic` (what) here",
        ("phases[]", "duration") => "write `for`",
        _ => "",
    };
    if !foreign.is_empty() {
        return Some(foreign.to_owned());
    }
    let candidates = children(parent).filter(|(_, row)| row.status == Status::Runs).map(|(name, _)| name);
    match nearest(key, candidates) {
        Some("stands_for") => Some(
            "did you mean `stands_for`? a phase of a stretched run must say what it stands for".to_owned(),
        ),
        Some(name) => Some(format!("did you mean `{name}`?")),
        None => elsewhere(key),
    }
}

fn elsewhere(key: &str) -> Option<String> {
    let found = TABLE.iter().find(|row| row.status == Status::Runs && split(row.path).1 == key)?;
    match split(found.path).0 {
        "" => Some(format!("`{key}` belongs at the top of the file")),
        parent => Some(format!("`{key}` belongs under `{parent}`")),
    }
}
