//! Single fields of a rule file: texts, durations, label maps.

use super::Reader;
use crate::duration::{self, DurationFlaw};
use crate::promql::ast::Dialect;
use crate::template::Template;
use scenarios::problem::{Problem, nearest};
use scenarios::span::Spanned;
use scenarios::yaml::{Key, Node, Style, Value};
use std::collections::BTreeMap;
use std::time::Duration;

impl Reader<'_> {
    /// Whether an item of a list is empty: Prometheus passes over it.
    pub(super) fn is_nothing(&mut self, item: &Node, what: &str) -> bool {
        if item.is_null() {
            let problem = Problem::error(format!("a {what} without anything in it"), item.head()).warning();
            self.problems.push(problem.hint("Prometheus passes over it; remove the `-`"));
        }
        item.is_null()
    }

    pub(super) fn group_name(&mut self, node: &Node) -> Option<Spanned<String>> {
        let Some(value) = node.get("name").filter(|name| !name.is_null()) else {
            self.problems.push(Problem::error("a group has no `name`", node.head()));
            return None;
        };
        let text = value.expect_text("text for `name`", self.problems)?;
        if text.is_empty() {
            let problem = Problem::error("a group's name is empty", value.head());
            self.problems.push(problem.hint("a name that no other group of the file has"));
            return None;
        }
        Some(Spanned::at(text.to_string(), value.head()))
    }

    pub(super) fn optional_duration(&mut self, node: &Node, key: &str) -> Option<Duration> {
        let value = node.get(key).filter(|value| !value.is_null())?;
        let text = value.expect_text(&format!("a duration for `{key}`"), self.problems)?;
        let parsed = duration::parse(text);
        if parsed.is_none() {
            let problem = Problem::error(format!("`{text}` is not a duration"), value.head());
            let hint = match duration::millis(text) {
                Err(DurationFlaw::TooLong) => "about 292 years are the longest",
                _ => "write it as in `30s`, `5m` or `1h30m`, larger units first",
            };
            self.problems.push(problem.hint(hint));
        }
        parsed
    }

    /// A whole number as YAML has it; what is below zero limits nothing.
    pub(super) fn limit(&mut self, value: &Node) -> Option<usize> {
        if value.is_null() {
            return None;
        }
        let text = value.expect_text("a number of alerts", self.problems)?;
        let parsed = plain_number(value).map(f64::trunc).filter(|number| number.abs() < i64::MAX as f64);
        if parsed.is_none() {
            let problem = Problem::error(format!("`{text}` is not a number of alerts"), value.head());
            self.problems.push(problem.hint("a whole number, without quotes; 0 is no limit"));
        }
        parsed.map(|number| number.max(0.0) as usize)
    }

    pub(super) fn labels(&mut self, node: &Node) -> BTreeMap<String, Template> {
        let labels = self.templates(node, "labels");
        self.check_label_names(node, "labels", "a label here");
        labels
    }

    pub(super) fn annotations(&mut self, node: &Node) -> BTreeMap<String, Template> {
        let annotations = self.templates(node, "annotations");
        self.check_label_names(node, "annotations", "an annotation");
        annotations
    }

    /// Refuses names that Prometheus does not take: from 3 on all but the empty one are names.
    fn check_label_names(&mut self, node: &Node, map: &str, what: &str) {
        for (key, _) in node.get(map).map(Node::entries).into_iter().flatten() {
            let name = key.text.as_str();
            let is_classic = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let is_name = is_classic || (self.options.dialect == Dialect::V3 && !name.is_empty());
            let is_metric = map == "labels" && name == "__name__";
            if !is_name || is_metric {
                let problem = Problem::error(format!("`{name}` cannot be {what}"), key.span.clone());
                self.problems.push(problem.hint(match is_metric {
                    true => "it is the metric's name",
                    false => "letters, digits and `_`, no digit first",
                }));
            }
        }
    }

    /// What to write instead of a text that Prometheus does not take for a metric's name.
    pub(super) fn not_a_metric(&self, text: &str) -> Option<&'static str> {
        if self.options.dialect == Dialect::V3 {
            let has_braces = text.contains(['{', '}']);
            return has_braces.then_some("braces belong into `expr`, labels into `labels`");
        }
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || "_:".contains(c));
        let is_name = starts_well && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b));
        (!is_name).then_some("letters, digits, `_` and `:`, no digit first")
    }

    /// A text that is filled in, if it is an alert's: in a recording rule braces are text.
    fn template(&mut self, node: &Node, value: &Node, text: &str) -> Template {
        if node.get("record").is_some() {
            return Template::plain(text);
        }
        match Template::parse(text, self.options.dialect) {
            Ok(template) => template,
            Err(fault) => {
                let mut problem = Problem::error(fault.summary, value.span_within(fault.range));
                let refused = "Prometheus does not load the file so".to_string();
                problem.hint = Some(fault.hint.unwrap_or(refused));
                self.problems.push(problem);
                Template::plain(text)
            }
        }
    }

    pub(super) fn templates(&mut self, node: &Node, key: &str) -> BTreeMap<String, Template> {
        let Some(map) = node.get(key).filter(|map| !map.is_null()) else { return BTreeMap::new() };
        let wanted = format!("a map of {key}");
        let Some(entries) = map.expect_mapping(&wanted, self.problems) else { return BTreeMap::new() };
        let mut templates = BTreeMap::new();
        for (name, value) in entries {
            if value.is_null() {
                templates.insert(name.text.clone(), Template::default());
                continue;
            }
            let Some(text) = value.expect_text("text", self.problems) else { continue };
            templates.insert(name.text.clone(), self.template(node, value, text));
        }
        templates
    }
}

/// Complains of every key that is not known. `what` completes "unknown field ... in".
pub(crate) fn check_keys(entries: &[(Key, Node)], known: &[&str], what: &str, problems: &mut Vec<Problem>) {
    for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.text.as_str())) {
        let problem = Problem::error(format!("unknown field `{}` in {what}", key.text), key.span.clone());
        problems.push(problem.hint(match nearest(&key.text, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", known.join(", ")),
        }));
    }
}

/// A number that stands without quotes: `1`, `-0.5`, `1e3`, `0x10`, `1_000`, `.inf`, `.nan`.
pub(crate) fn plain_number(value: &Node) -> Option<f64> {
    let Value::Scalar(scalar) = &value.value else { return None };
    (scalar.style == Style::Plain).then(|| value.text().and_then(yaml_number)).flatten()
}

/// A number as YAML spells it.
pub(crate) fn yaml_number(text: &str) -> Option<f64> {
    let (sign, bare) = match text.strip_prefix('-') {
        Some(bare) => (-1.0, bare),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    match bare {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    let digits = bare.replace('_', "");
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = digits.strip_prefix(prefix) {
            return u64::from_str_radix(digits, radix).ok().map(|whole| sign * whole as f64);
        }
    }
    let starts_well = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    starts_well.then(|| digits.parse::<f64>().ok()).flatten().map(|value| sign * value)
}
