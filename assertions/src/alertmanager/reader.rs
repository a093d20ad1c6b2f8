//! From the YAML tree to an [`Alertmanager`], gathering problems on the way.

use super::{Alertmanager, InhibitRule, Integration, Receiver, keys, routes};
use crate::duration;
use crate::interval;
use crate::matcher::{Matcher, Op};
use scenarios::problem::{Problem, Severity};
use scenarios::span::Span;
use scenarios::yaml::{Key, Node};
use std::sync::Arc;
use std::time::Duration;

type Read = Result<(Alertmanager, Vec<Problem>), Vec<Problem>>;

pub(super) fn read(root: &Node) -> Read {
    let mut problems = Vec::new();
    if root.expect_mapping("a map with `route` and `receivers`", &mut problems).is_none() {
        return Err(problems);
    }
    known_keys(root, keys::FILE, "", &mut problems);
    let mut config = Alertmanager {
        resolve_timeout: global(root.get("global"), &mut problems),
        routes: Vec::new(),
        receivers: receivers(root.get("receivers"), &mut problems),
        inhibit_rules: inhibit_rules(root.get("inhibit_rules"), &mut problems),
        intervals: interval::read_sections(root, &mut problems),
    };
    match root.get("route") {
        Some(route) => routes::read(route, &mut config, &mut problems),
        None => problems.push(
            Problem::error("no `route`: nobody would be told of anything", root.head())
                .hint("add `route: {receiver: NAME}`"),
        ),
    }
    match problems.iter().any(|problem| problem.severity == Severity::Error) {
        true => Err(problems),
        false => Ok((config, problems)),
    }
}

fn global(node: Option<&Node>, problems: &mut Vec<Problem>) -> Duration {
    let default = Duration::from_secs(300);
    let Some(node) = present(node) else { return default };
    node.expect_mapping("a map of defaults", problems);
    known_keys(node, keys::GLOBAL, " in `global`", problems);
    node.get("resolve_timeout").and_then(|node| read_duration(node, problems)).unwrap_or(default)
}

fn receivers(node: Option<&Node>, problems: &mut Vec<Problem>) -> Vec<Receiver> {
    let mut found: Vec<Receiver> = Vec::new();
    let Some(node) = present(node) else { return found };
    for item in node.expect_sequence("a list of receivers", problems).unwrap_or_default() {
        let Some(receiver) = receiver(item, problems) else { continue };
        match found.iter().find(|earlier| earlier.name == receiver.name) {
            Some(earlier) => problems.push(
                Problem::error(format!("receiver `{}` is defined twice", receiver.name), receiver.span)
                    .related(earlier.span.clone(), "first defined here"),
            ),
            None => found.push(receiver),
        }
    }
    found
}

fn receiver(item: &Node, problems: &mut Vec<Problem>) -> Option<Receiver> {
    let entries = item.expect_mapping("a receiver: a map with `name`", problems)?;
    let mut integrations = Vec::new();
    for (key, value) in entries.iter().filter(|(key, _)| key.text != "name") {
        let kind = key.text.strip_suffix("_configs");
        match kind.and_then(|kind| keys::INTEGRATIONS.iter().find(|(known, _)| *known == kind)) {
            Some((kind, default)) => integrations.extend(integrations_of(kind, *default, value, problems)),
            None => {
                let known: Vec<String> =
                    keys::INTEGRATIONS.iter().map(|(kind, _)| format!("{kind}_configs")).collect();
                problems.push(unknown(key, " in a receiver", known.iter().map(String::as_str)));
            }
        }
    }
    let Some(name) = item.get("name") else {
        problems.push(Problem::error("a receiver without `name`", item.head()));
        return None;
    };
    let text = name.expect_text("the receiver's name", problems)?;
    Some(Receiver { name: Arc::from(text), span: name.span.clone(), integrations })
}

fn integrations_of(kind: &str, default: bool, node: &Node, problems: &mut Vec<Problem>) -> Vec<Integration> {
    if node.is_null() {
        return Vec::new();
    }
    let wanted = format!("a list of {kind} settings");
    let items = node.expect_sequence(&wanted, problems).unwrap_or_default();
    let mut found = Vec::new();
    for item in items {
        if !item.is_null() && item.expect_mapping(&format!("a map of {kind} settings"), problems).is_none() {
            continue;
        }
        let written = present(item.get("send_resolved"));
        let written = written.and_then(|node| node.expect_bool("true or false", problems));
        found.push(Integration {
            kind: Arc::from(kind),
            send_resolved: written.unwrap_or(default),
            span: item.head(),
        });
    }
    found
}

fn inhibit_rules(node: Option<&Node>, problems: &mut Vec<Problem>) -> Vec<InhibitRule> {
    let Some(node) = present(node) else { return Vec::new() };
    let items = node.expect_sequence("a list of inhibitions", problems).unwrap_or_default();
    let mut found = Vec::new();
    for item in items {
        if item.expect_mapping("an inhibition: a map", problems).is_none() {
            continue;
        }
        known_keys(item, keys::INHIBIT_RULE, " in an inhibition", problems);
        let side = |prefix: &str, problems: &mut Vec<Problem>| {
            let key = |suffix: &str| item.get(&format!("{prefix}_{suffix}"));
            read_matchers(key("match"), key("match_re"), key("matchers"), problems)
        };
        found.push(InhibitRule {
            span: item.head(),
            source: side("source", problems),
            target: side("target", problems),
            equal: words(item.get("equal"), "a list of label names", problems)
                .into_iter()
                .map(|(name, _)| name)
                .collect(),
        });
    }
    found
}

/// The three ways of writing conditions, all of which must hold.
pub(super) fn read_matchers(
    exact: Option<&Node>,
    regex: Option<&Node>,
    list: Option<&Node>,
    problems: &mut Vec<Problem>,
) -> Vec<Matcher> {
    let mut found = Vec::new();
    for (node, op) in [(exact, Op::Equal), (regex, Op::Matches)] {
        let Some(node) = present(node) else { continue };
        for (name, value) in node.expect_mapping("a map of labels to values", problems).unwrap_or_default() {
            // `match: {team: }` is the empty string, "no such label".
            let Some(text) = value.text() else {
                value.expect_text("a value", problems);
                continue;
            };
            match Matcher::new(&name.text, op, text) {
                Ok(matcher) => found.push(matcher),
                Err(problem) => problems.push(Problem::error(problem.to_string(), value.head())),
            }
        }
    }
    let Some(list) = present(list) else { return found };
    for item in list.expect_sequence("a list of matchers", problems).unwrap_or_default() {
        let Some(text) = item.expect_text("a matcher such as `severity=\"critical\"`", problems) else {
            continue;
        };
        match Matcher::parse_all(text) {
            Ok(matchers) => found.extend(matchers),
            Err(error) => problems.push(
                Problem::error(format!("bad matcher: {}", error.problem), item.span_within(error.range))
                    .hint("write it like `severity=\"critical\"` or `service=~\"im-.+\"`"),
            ),
        }
    }
    found
}

/// A list of words with their places.
pub(super) fn words(node: Option<&Node>, wanted: &str, problems: &mut Vec<Problem>) -> Vec<(String, Span)> {
    let Some(node) = present(node) else { return Vec::new() };
    let items = node.expect_sequence(wanted, problems).unwrap_or_default();
    let mut found = Vec::new();
    for item in items {
        if let Some(text) = item.expect_text("a word", problems) {
            found.push((text.to_owned(), item.span.clone()));
        }
    }
    found
}

pub(super) fn read_duration(node: &Node, problems: &mut Vec<Problem>) -> Option<Duration> {
    let text = node.expect_text("a duration such as `5m`", problems)?;
    let found = duration::parse(text);
    if found.is_none() {
        let problem = Problem::error(format!("bad duration `{text}`"), node.head());
        problems.push(problem.hint("units are ms s m h d w y, large before small: `1h30m`"));
    }
    found
}

/// A problem for each key that is not in the table; `place` completes "unknown key `x`".
pub(super) fn known_keys(node: &Node, known: &[&str], place: &str, problems: &mut Vec<Problem>) {
    for (key, _) in node.entries() {
        if !known.contains(&key.text.as_str()) {
            problems.push(unknown(key, place, known.iter().copied()));
        }
    }
}

fn unknown<'a>(key: &Key, place: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let problem = Problem::error(format!("unknown key `{}`{place}", key.text), key.span.clone());
    match nearest(&key.text, known) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem,
    }
}

/// What the user may have meant.
pub(super) use scenarios::problem::nearest;

/// A node that is there and not null: `receivers:` with nothing after it is as good as absent.
pub(super) fn present(node: Option<&Node>) -> Option<&Node> {
    node.filter(|node| !node.is_null())
}
