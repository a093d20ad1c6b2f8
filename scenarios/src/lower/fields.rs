//! One map of the tree, read key by key against the table of keys.
//!
//! A reader gets a typed value or notes a problem and goes on; defaults come from the table, so that what
//! the reference says is what is in force.

use std::cell::RefCell;

use crate::keys::{self, Default, Kind};
use crate::problem::{Problem, nearest};
use crate::span::{Span, Spanned};
use crate::units::UnitError;
use crate::yaml::{Key, Node, Value};

/// Where problems gather while a tree is lowered.
#[derive(Default)]
pub(crate) struct Context {
    problems: RefCell<Vec<Problem>>,
    /// Every pattern asked for, for the test that holds table and lowering together.
    #[cfg(test)]
    pub(crate) reads: RefCell<std::collections::BTreeSet<String>>,
}

impl Context {
    pub(crate) fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// The keys of one map.
pub(crate) struct Fields<'a> {
    pub(crate) cx: &'a Context,
    /// The map; absent ones read as empty, so that defaults hold.
    node: Option<&'a Node>,
    /// Its pattern in the table.
    pattern: String,
    /// Where a missing key is reported.
    place: Span,
    /// Something else stands where the map should; that has been said, what is missing need not be.
    is_wrong: bool,
}

impl<'a> Fields<'a> {
    /// The keys of `node`; a problem and no keys if it is not a map.
    pub(crate) fn new(cx: &'a Context, node: &'a Node, pattern: &str) -> Fields<'a> {
        let is_map = matches!(node.value, Value::Mapping(_));
        if !is_map {
            let keys: Vec<_> = keys::children(pattern).map(|(name, _)| name).take(3).collect();
            let problem = Problem::error(format!("expected a map, found {}", node.kind()), node.head());
            cx.report(problem.hint(format!("its keys are {}, ...", keys.join(", "))));
        }
        Fields {
            cx,
            node: is_map.then_some(node),
            pattern: pattern.to_owned(),
            place: node.head(),
            is_wrong: !is_map,
        }
    }

    pub(crate) fn place(&self) -> Span {
        self.place.clone()
    }

    /// The map under `key`, empty if it is absent.
    pub(crate) fn map(&self, key: &str) -> Fields<'a> {
        let pattern = keys::join(&self.pattern, key);
        match self.get(key) {
            Some(node) => Fields::new(self.cx, node, &pattern),
            None => Fields {
                cx: self.cx,
                node: None,
                pattern,
                place: self.place.clone(),
                is_wrong: self.is_wrong,
            },
        }
    }

    /// The node under `key`; null counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Node> {
        let pattern = keys::join(&self.pattern, key);
        debug_assert!(keys::row(&pattern).is_some(), "{pattern} is not in the table of keys");
        #[cfg(test)]
        self.cx.reads.borrow_mut().insert(pattern);
        let node = self.node?.get(key)?;
        if node.is_null() && lost_to_comment(&node.span) {
            let problem = Problem::error(format!("`{key}` has no value"), node.span.clone());
            self.cx.report(problem.hint("YAML takes # for a comment: quote a value that begins with it"));
        }
        (!node.is_null()).then_some(node)
    }

    /// The key itself, as written.
    pub(crate) fn key_span(&self, key: &str) -> Option<Span> {
        self.node?.entries().find(|(found, _)| found.text == key).map(|(key, _)| key.span.clone())
    }

    /// As [`Fields::get`], with a problem if the table says that it must be there.
    fn wanted(&self, key: &str) -> Option<&'a Node> {
        let node = self.get(key);
        let row = keys::row(&keys::join(&self.pattern, key));
        if node.is_none() && row.is_some_and(|row| row.default == Default::Required) {
            self.missing(key);
        }
        node
    }

    /// Reports that `key` must be there.
    pub(crate) fn missing(&self, key: &str) {
        if self.is_wrong {
            return;
        }
        let row = keys::row(&keys::join(&self.pattern, key));
        let example = row.map(|row| row.example).filter(|example| !example.is_empty()).unwrap_or("...");
        let problem = Problem::error(format!("`{key}` is missing"), self.place.clone());
        self.cx.report(problem.hint(format!("write, for example, `{key}: {example}`")));
    }

    /// A scalar read by `parse`, or the table's default. `None`: absent, or a problem was noted.
    pub(crate) fn read<T>(&self, key: &str, parse: fn(&str) -> Result<T, UnitError>) -> Option<Spanned<T>> {
        match self.wanted(key) {
            Some(node) => self.scalar(node, parse),
            None => match keys::row(&keys::join(&self.pattern, key))?.default {
                Default::Is(text) => parse(text).ok().map(Spanned::default_value),
                _ => None,
            },
        }
    }

    /// A scalar that is there, read by `parse`.
    pub(crate) fn scalar<T>(
        &self,
        node: &Node,
        parse: fn(&str) -> Result<T, UnitError>,
    ) -> Option<Spanned<T>> {
        let text = self.text_of(node)?;
        match parse(&text.value) {
            Ok(value) => Some(Spanned::at(value, node.span.clone())),
            Err(error) => {
                self.cx.report(Problem::error(error.summary, node.span.clone()).hint(error.hint));
                None
            }
        }
    }

    /// The text of a scalar.
    pub(crate) fn text_of(&self, node: &Node) -> Option<Spanned<String>> {
        let mut problems = Vec::new();
        let text = node.expect_text("a single value", &mut problems);
        for problem in problems {
            let hint = lost_to_comment(&node.span)
                .then_some("YAML takes # for a comment: quote a value that begins with it");
            self.cx.report(Problem { hint: hint.map(str::to_owned), ..problem });
        }
        text.map(|text| Spanned::at(text.to_owned(), node.span.clone()))
    }

    pub(crate) fn text(&self, key: &str) -> Option<Spanned<String>> {
        self.read(key, |text| Ok(text.to_owned()))
    }

    /// A name of `[a-z0-9-]`.
    pub(crate) fn word(&self, key: &str) -> Option<Spanned<String>> {
        self.read(key, word)
    }

    /// One of the words that the table lists, as whatever `values` gives it.
    pub(crate) fn one_of<T: Copy>(&self, key: &str, values: &[(&str, T)]) -> Option<Spanned<T>> {
        let row = keys::row(&keys::join(&self.pattern, key))?;
        let found = self.text(key)?;
        if let Some((_, value)) = values.iter().find(|(word, _)| *word == found.value) {
            return Some(Spanned { value: *value, span: found.span });
        }
        let Kind::OneOf(words) = row.kind else { return None };
        let place = found.span.unwrap_or(self.place.clone());
        if words.contains(&found.value.as_str()) {
            let summary = format!("`{key}: {}` is not supported by this version", found.value);
            let known: Vec<_> = values.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.cx.report(Problem::error(summary, place).hint(format!("it runs {}", known.join(" and "))));
            return None;
        }
        let problem = Problem::error(format!("unknown {key} `{}`", found.value), place);
        self.cx.report(match nearest(&found.value, words.iter().copied()) {
            Some(word) => problem.hint(format!("did you mean `{word}`?")),
            None => problem.hint(format!("known are {}", words.join(", "))),
        });
        None
    }

    /// A list of texts; one text is a list of one.
    pub(crate) fn texts(&self, key: &str) -> Vec<Spanned<String>> {
        self.wanted(key).map(|node| self.texts_of(node)).unwrap_or_default()
    }

    pub(crate) fn texts_of(&self, node: &Node) -> Vec<Spanned<String>> {
        match &node.value {
            Value::Sequence(items) => items.iter().filter_map(|item| self.text_of(item)).collect(),
            _ => self.text_of(node).into_iter().collect(),
        }
    }

    /// The items of a list of maps.
    pub(crate) fn list(&self, key: &str) -> Vec<Fields<'a>> {
        let Some(node) = self.wanted(key) else { return Vec::new() };
        let mut problems = Vec::new();
        let items = node.expect_sequence("a list", &mut problems).unwrap_or_default();
        problems.into_iter().for_each(|problem| self.cx.report(problem.hint("write each item after a `- `")));
        let pattern = keys::join(&keys::join(&self.pattern, key), "[]");
        items.iter().map(|item| Fields::new(self.cx, item, &pattern)).collect()
    }

    /// The entries of a map by name; entries that are null are left out.
    pub(crate) fn named(&self, key: &str) -> Vec<(&'a Key, &'a Node)> {
        let Some(node) = self.wanted(key) else { return Vec::new() };
        #[cfg(test)]
        self.cx.reads.borrow_mut().insert(keys::join(&keys::join(&self.pattern, key), "*"));
        let mut problems = Vec::new();
        let entries = node.expect_mapping("a map", &mut problems).unwrap_or_default();
        problems.into_iter().for_each(|problem| self.cx.report(problem));
        entries.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key, value)).collect()
    }

    /// The entries of a map from names to texts.
    pub(crate) fn named_texts(&self, key: &str) -> Vec<(Spanned<String>, Spanned<String>)> {
        let entry = |(key, node): (&Key, &Node)| Some((spanned(key), self.text_of(node)?));
        self.named(key).into_iter().filter_map(entry).collect()
    }
}

/// A key as a value with its place.
pub(crate) fn spanned(key: &Key) -> Spanned<String> {
    Spanned::at(key.text.clone(), key.span.clone())
}

/// A name of `[a-z0-9-]`.
pub(crate) fn word(text: &str) -> Result<String, UnitError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty() && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    let summary = format!("`{text}` is not a name");
    Err(UnitError { summary, hint: "names are made of a-z, 0-9 and `-`".to_owned() })
}

/// A whole number.
pub(crate) fn integer(text: &str) -> Result<u64, UnitError> {
    text.parse().map_err(|_| UnitError {
        summary: format!("`{text}` is not a whole number"),
        hint: "write it in digits".to_owned(),
    })
}

/// Whether what follows an empty value on its line is a comment.
fn lost_to_comment(span: &Span) -> bool {
    let rest = &span.source.text[span.end..];
    let line = rest.lines().next().unwrap_or_default();
    let comment = line.trim_start_matches([':', '-', ' ']);
    comment.starts_with('#') && comment[1..].starts_with(|c: char| c.is_alphanumeric())
}
