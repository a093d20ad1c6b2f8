//! YAML read into a tree in which every key and value knows its place in the file.
//!
//! Used for scenarios and for the operators' own files (Prometheus rules, alertmanager.yml) alike, so it
//! knows the grammar of YAML 1.2 and nothing of any key. Anchors, aliases and merge keys are resolved here;
//! what is left is scalars, lists and maps. Depth, size and the number of values are bounded, because an
//! alias can multiply a small file. Events come from `saphyr-parser`; it counts characters, we count bytes.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use crate::problem::Problem;
use crate::span::{Source, Span};

mod builder;
mod json;
mod place;

/// Largest file read, in bytes.
pub const FILE_BYTES_MAX: usize = 8 << 20;
/// Deepest nesting of lists and maps.
pub const DEPTH_MAX: usize = 64;
/// Most values in a tree, aliases counted as often as they are used.
pub const NODES_MAX: usize = 500_000;

/// One value of a YAML document and the place it was written at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The text of the value itself: quotes, brackets and a block scalar's header included, anchor and tag not.
    pub span: Span,
    /// What stands there.
    pub value: Value,
}

/// The three kinds of value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text; what it means is for the reader to say.
    Scalar(Scalar),
    /// A list, in order.
    Sequence(Vec<Node>),
    /// A map, in the order written, no key twice.
    Mapping(Vec<(Key, Node)>),
}

/// The text of a scalar after quotes, escapes and folding are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text.
    pub text: String,
    /// How it was written.
    pub style: Style,
}

/// How a scalar was written; only a plain one can be null, a number or a truth value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// In single or double quotes, or tagged `!!str`.
    Quoted,
    /// A block scalar that keeps its line ends, `|`.
    Literal,
    /// A block scalar whose lines are folded, `>`.
    Folded,
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key's text.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// Reads one YAML document.
///
/// An empty file is a null scalar at its start. Errors: everything found wrong, at least one problem; a
/// syntax error ends the reading, so it is the last one. More than one document is an error.
pub fn parse(source: Arc<Source>) -> Result<Node, Vec<Problem>> {
    let empty = Node {
        span: Span::new(source.clone(), 0, 0),
        value: Value::Scalar(Scalar { text: String::new(), style: Style::Plain }),
    };
    Ok(documents(&source, 1)?.into_iter().next().unwrap_or(empty))
}

/// Reads all YAML documents of a file, as Kubernetes' objects are written; those with nothing in them are left out.
///
/// Errors: as of [`parse`].
pub fn parse_all(source: Arc<Source>) -> Result<Vec<Node>, Vec<Problem>> {
    let mut documents = documents(&source, usize::MAX)?;
    documents.retain(|document| !document.is_null());
    Ok(documents)
}

fn documents(source: &Arc<Source>, documents_max: usize) -> Result<Vec<Node>, Vec<Problem>> {
    if let Some(problem) = unreadable(source) {
        return Err(vec![problem]);
    }
    builder::build(source, documents_max)
}

/// What no YAML parser should be asked to read: a file too large, or one with control characters.
fn unreadable(source: &Arc<Source>) -> Option<Problem> {
    if source.text.len() > FILE_BYTES_MAX {
        let summary = format!("the file has {} bytes, more than {FILE_BYTES_MAX}", source.text.len());
        return Some(Problem::error(summary, Span::new(source.clone(), 0, 0)));
    }
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}');
    let at = source.text.find(is_control)?;
    let found = source.text[at..].chars().next().unwrap_or_default();
    let span = Span::new(source.clone(), at, at + found.len_utf8());
    let problem = Problem::error(format!("control character U+{:04X} in the file", u32::from(found)), span);
    Some(problem.hint("remove it; inside double quotes it can be written as an escape such as \"\\x07\""))
}

impl Node {
    /// The value under `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().find(|(found, _)| found.text == key).map(|(_, value)| value)
    }

    /// The entries of a map; none if it is something else.
    pub fn entries(&self) -> impl Iterator<Item = &(Key, Node)> {
        match &self.value {
            Value::Mapping(entries) => entries.as_slice(),
            _ => &[],
        }
        .iter()
    }

    /// The items of a list; none if it is something else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// Whether it is nothing at all: `key:`, `key: ~` or `key: null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(Scalar { text, style: Style::Plain })
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What it is, for "found ...": `a list`, `a map`, `text`, `nothing`.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a map",
            Value::Scalar(_) if self.is_null() => "nothing",
            Value::Scalar(_) => "a single value",
        }
    }

    /// The entries of a map, or a problem that says what was found. `wanted` completes "expected ...".
    pub fn expect_mapping(&self, wanted: &str, problems: &mut Vec<Problem>) -> Option<&[(Key, Node)]> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            _ => self.unexpected(wanted, problems),
        }
    }

    /// The items of a list, or a problem that says what was found. `wanted` completes "expected ...".
    pub fn expect_sequence(&self, wanted: &str, problems: &mut Vec<Problem>) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => self.unexpected(wanted, problems),
        }
    }

    /// The text of a scalar that is not null, or a problem. `wanted` completes "expected ...".
    pub fn expect_text(&self, wanted: &str, problems: &mut Vec<Problem>) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if !self.is_null() => Some(&scalar.text),
            _ => self.unexpected(wanted, problems),
        }
    }

    /// `true` or `false` written plainly, or a problem.
    pub fn expect_bool(&self, wanted: &str, problems: &mut Vec<Problem>) -> Option<bool> {
        match &self.value {
            Value::Scalar(Scalar { text, style: Style::Plain }) if text == "true" => Some(true),
            Value::Scalar(Scalar { text, style: Style::Plain }) if text == "false" => Some(false),
            _ => self.unexpected(wanted, problems),
        }
    }

    fn unexpected<T>(&self, wanted: &str, problems: &mut Vec<Problem>) -> Option<T> {
        let summary = format!("expected {wanted}, found {}", self.kind());
        problems.push(Problem::error(summary, self.head()));
        None
    }

    /// The first line of the span: what carets can mark.
    pub fn head(&self) -> Span {
        let first = self.span.text().lines().next().unwrap_or_default().trim_end();
        Span { end: self.span.start + first.len(), ..self.span.clone() }
    }

    /// The place in the file of the bytes `range` of this scalar's text.
    ///
    /// Best effort through quotes, escapes, indentation and folding: exact for every character that is not
    /// white space. For a list or a map, and for a range beyond the text, the whole value.
    pub fn span_within(&self, range: std::ops::Range<usize>) -> Span {
        match &self.value {
            Value::Scalar(scalar) => place::within(scalar, &self.span, range),
            _ => self.span.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
