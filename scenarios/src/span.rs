//! Where a value stands in a file of the user's.

use std::sync::Arc;

/// One file as read: the name shown to the user and its text.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Path as the user wrote it, or [`COMMAND_LINE`] for an argument.
    pub name: String,
    /// The whole text, UTF-8; of an argument, all of it: `--set phases.slow.for=3s`.
    pub text: String,
}

/// Name of the [`Source`] of a command line argument.
pub const COMMAND_LINE: &str = "command line";

/// A range of bytes in a [`Source`]; `start..end`, both on character boundaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub source: Arc<Source>,
    /// First byte.
    pub start: usize,
    /// One past the last byte; equal to `start` for a place between characters.
    pub end: usize,
}

/// Line and column of a place, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Span {
    /// A span over `start..end` of `source`, clamped to the text.
    pub fn new(source: Arc<Source>, start: usize, end: usize) -> Span {
        let len = source.text.len();
        let start = floor_char_boundary(&source.text, start.min(len));
        let end = floor_char_boundary(&source.text, end.clamp(start, len));
        Span { source, start, end }
    }

    /// Line and column of the first byte.
    pub fn position(&self) -> Position {
        let before = &self.source.text[..self.start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }

    /// The text it covers.
    pub fn text(&self) -> &str {
        &self.source.text[self.start..self.end]
    }
}

/// `file:line:column`, as compilers print it.
impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Position { line, column } = self.position();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

fn floor_char_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A value together with the place it was written at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands. `None` for a built-in default.
    pub span: Option<Span>,
}

impl<T> Spanned<T> {
    /// A value as read from a file.
    pub fn at(value: T, span: Span) -> Spanned<T> {
        Spanned { value, span: Some(span) }
    }

    /// A built-in default, written nowhere.
    pub fn default_value(value: T) -> Spanned<T> {
        Spanned { value, span: None }
    }
}
