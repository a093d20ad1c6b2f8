//! From an offset in a scalar's text back to the place in the file.
//!
//! Folding, indentation and line ends change white space only, so the n-th character of the text that is
//! not white space is the n-th such character of the source, once quotes and escapes are read as units.

use std::ops::Range;

use super::{Scalar, Style, json};
use crate::span::Span;

/// One character that is not white space: the bytes it takes up in the source.
struct Unit {
    start: usize,
    end: usize,
}

/// The place of `range`, given in bytes of the scalar's text.
pub(super) fn within(scalar: &Scalar, span: &Span, range: Range<usize>) -> Span {
    let units = units(scalar.style, span);
    let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
    let (Some(before), Some(inside)) = (scalar.text.get(..range.start), scalar.text.get(range)) else {
        return span.clone();
    };
    let first = solid(before);
    let count = solid(inside);
    let (start, end) = match (units.get(first), units.get(first + count.saturating_sub(1))) {
        (Some(from), Some(_)) if count == 0 => (from.start, from.start),
        (Some(from), Some(to)) => (from.start, to.end),
        _ if count == 0 => units.last().map_or((span.start, span.end), |last| (last.end, last.end)),
        _ => (span.start, span.end),
    };
    Span::new(span.source.clone(), start, end)
}

fn units(style: Style, span: &Span) -> Vec<Unit> {
    let text = span.text();
    let quote = text.chars().next().filter(|_| style == Style::Quoted && text.len() >= 2);
    let (from, to) = match (style, quote) {
        (Style::Literal | Style::Folded, _) => {
            (text.find('\n').map_or(text.len(), |end| end + 1), text.len())
        }
        (_, Some('"' | '\'')) => (1, text.len() - 1),
        _ => (0, text.len()),
    };
    let mut units = Vec::new();
    let mut rest = &text[from..to];
    while let Some(c) = rest.chars().next() {
        let (length, solid) = match (quote, c) {
            (Some('\''), '\'') => (rest.len().min(2), true),
            (Some('"'), '\\') => escape(rest),
            _ => (c.len_utf8(), !c.is_whitespace()),
        };
        let start = span.start + to - rest.len();
        if solid {
            units.push(Unit { start, end: start + length });
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    units
}

/// Length of the escape at the start of `rest`, and whether it stands for something other than white space.
fn escape(rest: &str) -> (usize, bool) {
    let Some(kind) = rest[1..].chars().next() else { return (1, true) };
    if json::pair(rest).is_some() {
        return (json::PAIR_BYTES, true);
    }
    let digits = match kind {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => 0,
    };
    let length = 1 + kind.len_utf8() + digits;
    let code = rest.get(2..length).and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
    let white = match kind {
        'x' | 'u' | 'U' => code.is_some_and(char::is_whitespace),
        'n' | 't' | 'r' | 'v' | 'f' | ' ' | '_' | 'N' | 'L' | 'P' | '\t' | '\n' | '\r' => true,
        _ => false,
    };
    (length, !white)
}
