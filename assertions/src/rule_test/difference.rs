//! Expected against found, for people: both lists as promtool prints them, and which labels or values are not the same.

use super::ExpectedAlert;
use crate::labels::Labels;
use crate::store::METRIC_NAME;
use crate::template::go_float;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A sample of an answer.
pub(super) type Answer = (Labels, f64);

/// Whether two values are the same; `fuzzy` lets the last bit differ. NaN equals nothing, as in promtool.
pub(super) fn same_value(expected: f64, found: f64, fuzzy: bool) -> bool {
    expected == found || (fuzzy && (expected.next_up() == found || expected.next_down() == found))
}

pub(super) fn of_alerts(expected: &[ExpectedAlert], found: &[ExpectedAlert]) -> String {
    let mut text = String::new();
    list(&mut text, "exp", expected.iter().map(shown_alert));
    list(&mut text, "got", found.iter().map(shown_alert));
    for (wanted, got) in nearest_pairs(expected, found, distance) {
        compare(&mut text, "label", pairs(&wanted.labels), pairs(&got.labels));
        compare(&mut text, "annotation", wanted.annotations.clone(), got.annotations.clone());
    }
    text
}

pub(super) fn of_samples(expected: &[Answer], found: &[Answer], fuzzy: bool) -> String {
    let mut text = String::new();
    list(&mut text, "exp", expected.iter().map(shown_sample));
    list(&mut text, "got", found.iter().map(shown_sample));
    let apart = |wanted: &Answer, got: &Answer| {
        different(&pairs(&wanted.0), &pairs(&got.0)) + usize::from(!same_value(wanted.1, got.1, fuzzy))
    };
    for (wanted, got) in nearest_pairs(expected, found, apart) {
        compare(&mut text, "label", pairs(&wanted.0), pairs(&got.0));
        if !same_value(wanted.1, got.1, fuzzy) {
            let _ = writeln!(
                text,
                "  value of {}: expected {}, got {}",
                series(&got.0),
                value(wanted.1),
                value(got.1)
            );
        }
    }
    text
}

fn list(text: &mut String, head: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.collect();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{head}:{}", if items.is_empty() { " []" } else { "" });
    for item in items {
        let _ = writeln!(text, "  {item}");
    }
}

fn shown_alert(alert: &ExpectedAlert) -> String {
    let annotations: Vec<String> =
        alert.annotations.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("Labels:{} Annotations:{{{}}}", alert.labels, annotations.join(", "))
}

fn shown_sample((labels, number): &Answer) -> String {
    format!("{} {}", series(labels), value(*number))
}

/// A value that reads back as the same.
pub fn value(number: f64) -> String {
    if number.is_infinite() { go_float(number) } else { number.to_string() }
}

/// `name{a="b"}`.
pub fn series(labels: &Labels) -> String {
    let name = labels.get(METRIC_NAME);
    let others = labels.filter(|label| label != METRIC_NAME);
    if others.is_empty() && !name.is_empty() { name.to_string() } else { format!("{name}{others}") }
}

fn pairs(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// Names whose values differ.
fn different(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> usize {
    let missing = other.keys().filter(|name| !one.contains_key(*name)).count();
    one.iter().filter(|(name, value)| other.get(*name) != Some(value)).count() + missing
}

fn distance(one: &ExpectedAlert, other: &ExpectedAlert) -> usize {
    // Who it is weighs more than what it says.
    8 * different(&pairs(&one.labels), &pairs(&other.labels))
        + different(&one.annotations, &other.annotations)
}

fn compare(text: &mut String, what: &str, wanted: BTreeMap<String, String>, got: BTreeMap<String, String>) {
    let names: std::collections::BTreeSet<&String> = wanted.keys().chain(got.keys()).collect();
    for name in names {
        let said = match (wanted.get(name), got.get(name)) {
            (one, other) if one == other => continue,
            (Some(wanted), Some(got)) => format!("expected {wanted:?}, got {got:?}"),
            (Some(wanted), None) => format!("expected {wanted:?}, got none"),
            (None, got) => format!("not expected, got {:?}", got.map(String::as_str).unwrap_or_default()),
        };
        let _ = writeln!(text, "  {what} {name}: {said}");
    }
}

/// Items to compare one at a time, those that are the same on both sides left out; long lists are not paired.
const PAIRED_MAX: usize = 20;

/// Each left item with the nearest right one, none used twice.
fn nearest_pairs<'i, T: Clone>(
    left: &'i [T],
    right: &'i [T],
    distance: impl Fn(&T, &T) -> usize,
) -> Vec<(&'i T, &'i T)> {
    if left.len() > PAIRED_MAX || right.len() > PAIRED_MAX {
        return Vec::new();
    }
    let mut left: Vec<&T> = left.iter().collect();
    let mut right: Vec<&T> = right.iter().collect();
    let mut pairs = Vec::new();
    while let Some((_, at, other)) = left
        .iter()
        .enumerate()
        .flat_map(|(at, item)| {
            let to = |(other, found): (usize, &&T)| (distance(item, found), at, other);
            right.iter().enumerate().map(to).collect::<Vec<_>>()
        })
        .min()
    {
        pairs.push((left.remove(at), right.remove(other)));
    }
    pairs
}
