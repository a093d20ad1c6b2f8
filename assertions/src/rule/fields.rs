//! Single fields of a rule file: texts, durations, label maps.

use super::Reader;
use crate::duration;
use crate::template::Template;
use scenarios::problem::{Problem, nearest};
use scenarios::span::Spanned;
use scenarios::yaml::{Key, Node};
use std::collections::BTreeMap;
use std::time::Duration;

impl Reader<'_> {
    pub(super) fn required_text(&mut self, node: &Node, key: &str, what: &str) -> Option<Spanned<String>> {
        let Some(value) = node.get(key) else {
            self.problems.push(Problem::error(format!("{what} has no `{key}`"), node.head()));
            return None;
        };
        let text = value.expect_text(&format!("text for `{key}`"), self.problems)?;
        Some(Spanned::at(text.to_string(), value.head()))
    }

    pub(super) fn optional_duration(&mut self, node: &Node, key: &str) -> Option<Duration> {
        let value = node.get(key)?;
        let text = value.expect_text(&format!("a duration for `{key}`"), self.problems)?;
        let parsed = duration::parse(text);
        if parsed.is_none() {
            let problem = Problem::error(format!("`{text}` is not a duration"), value.head());
            self.problems.push(problem.hint("write it as in `30s`, `5m` or `1h30m`, larger units first"));
        }
        parsed
    }

    pub(super) fn limit(&mut self, value: &Node) -> Option<usize> {
        let text = value.expect_text("a number of alerts", self.problems)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let problem = Problem::error(format!("`{text}` is not a number of alerts"), value.head());
            self.problems.push(problem.hint("a whole number; 0 is no limit"));
        }
        parsed
    }

    pub(super) fn labels(&mut self, node: &Node) -> BTreeMap<String, Template> {
        let labels = self.templates(node, "labels");
        for (key, _) in node.get("labels").map(Node::entries).into_iter().flatten() {
            let name = key.text.as_str();
            let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            let well = starts_well && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !well || name == "__name__" {
                self.problems
                    .push(Problem::error(format!("`{name}` cannot be a label here"), key.span.clone()));
            }
        }
        labels
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
