//! Grafana's variables in an expression: `$name`, `${name:format}`, `[[name]]`.
//!
//! What a variable stands for is known to Grafana only. Each gets a stand-in of its own length, so that places stay: in a
//! window a time, elsewhere what lets the expression be read: a name, a number, an operator, nothing. An expression that can
//! be read in one way is right; one that can be read in none is wrong only if no value could mend it.

use crate::check::Settings;
use crate::check::rules::Expression;
use crate::promql::parse::ParseError;
use scenarios::span::Span;
use scenarios::yaml::{Node, Scalar, Value};
use std::ops::Range;

/// Most ways in which an expression is tried.
const TRIES_MAX: usize = 256;

/// What came of an expression.
pub(super) enum Reading {
    /// It can be read; the variables whose values may make something else of it.
    Read(Box<Expression>, Vec<Span>),
    /// It is wrong, whatever the variables stand for.
    Refused(ParseError),
    /// It may be right: this variable decides.
    Open(Span),
}

/// A variable and what may stand in its place.
struct Slot {
    range: Range<usize>,
    /// Of the variable's length, the likeliest first; none if nothing fits.
    fills: Vec<String>,
    /// Whether its value cannot change what the expression is: in quotes, and for times.
    is_closed: bool,
}

/// Reads a node's text with its variables filled in.
pub(super) fn read(node: &Node, settings: &Settings) -> Reading {
    let (text, Value::Scalar(Scalar { style, .. })) = (node.text().unwrap_or_default(), &node.value) else {
        return Reading::Open(node.head());
    };
    let slots = slots(text);
    if let Some(slot) = slots.iter().find(|slot| slot.fills.is_empty()) {
        return Reading::Open(node.span_within(slot.range.clone()));
    }
    let mut first = None;
    for choice in choices(text, &slots) {
        let filled = filled(text, &slots, &choice);
        let tried = Node {
            span: node.span.clone(),
            value: Value::Scalar(Scalar { text: filled.clone(), style: *style }),
        };
        match Expression::read(&tried, settings) {
            Ok(expression) => {
                let open = slots.iter().filter(|slot| !slot.is_closed);
                let open = open.map(|slot| node.span_within(slot.range.clone())).collect();
                return Reading::Read(Box::new(expression), open);
            }
            Err(error) => first = first.or(Some((error, filled))),
        }
    }
    let Some((error, filled)) = first else { return Reading::Open(node.head()) };
    match slots.iter().find(|slot| !slot.is_closed).filter(|_| is_balanced(&filled)) {
        Some(slot) => Reading::Open(node.span_within(slot.range.clone())),
        None => Reading::Refused(error),
    }
}

/// Which fill each slot takes, one try after the other. Variables of one name take the same.
fn choices<'s>(text: &'s str, slots: &'s [Slot]) -> impl Iterator<Item = Vec<usize>> + use<'s> {
    let name = move |slot: &Slot| &text[slot.range.clone()];
    let mut names: Vec<&str> = Vec::new();
    for slot in slots.iter().filter(|slot| slot.fills.len() > 1) {
        if !names.contains(&name(slot)) {
            names.push(name(slot));
        }
    }
    let most = slots.iter().map(|slot| slot.fills.len()).max().unwrap_or(1);
    let tries = most.saturating_pow(u32::try_from(names.len()).unwrap_or(u32::MAX)).min(TRIES_MAX);
    (0..tries).map(move |number| {
        let digit = |slot: &Slot| {
            let place = names.iter().position(|known| *known == name(slot)).unwrap_or(0);
            let power = most.saturating_pow(u32::try_from(place).unwrap_or(u32::MAX));
            number / power % most % slot.fills.len().max(1)
        };
        slots.iter().map(digit).collect()
    })
}

fn filled(text: &str, slots: &[Slot], choice: &[usize]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut at = 0;
    for (slot, fill) in slots.iter().zip(choice) {
        filled += &text[at..slot.range.start];
        filled += &slot.fills[*fill];
        at = slot.range.end;
    }
    filled + &text[at..]
}

/// Bytes of the variable at the start: `$name`, `${name:format}`, `[[name]]`.
fn variable(text: &str) -> Option<usize> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| is_word(c) || ".:-".contains(c))
    };
    if let Some(inner) = text.strip_prefix("${") {
        let end = inner.find('}')?;
        return is_name(&inner[..end]).then_some(end + 3);
    }
    if let Some(inner) = text.strip_prefix("[[") {
        let end = inner.find("]]")?;
        return is_name(&inner[..end]).then_some(end + 4);
    }
    let rest = text.strip_prefix('$')?;
    let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    is_name(&rest[..length]).then_some(length + 1)
}

/// Where in an expression something stands.
#[derive(Default)]
struct Place {
    quote: Option<char>,
    in_comment: bool,
    /// Depth of `[` and of `{`.
    windows: usize,
    braces: usize,
}

impl Place {
    /// Goes past a character. Returns whether the next one is escaped.
    fn pass(&mut self, c: char) -> bool {
        match (self.quote, c) {
            _ if self.in_comment => self.in_comment = c != '\n',
            (Some(quote), _) if c == quote => self.quote = None,
            (Some(quote), '\\') => return quote != '`',
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => self.quote = Some(c),
            (None, '#') => self.in_comment = true,
            (None, '[') => self.windows += 1,
            (None, ']') => self.windows = self.windows.saturating_sub(1),
            (None, '{') => self.braces += 1,
            (None, '}') => self.braces = self.braces.saturating_sub(1),
            (None, _) => {}
        }
        false
    }
}

fn slots(text: &str) -> Vec<Slot> {
    let (mut slots, mut place, mut at) = (Vec::new(), Place::default(), 0);
    while let Some(c) = text[at..].chars().next() {
        if let Some(length) = variable(&text[at..]) {
            let range = at..at + length;
            let (fills, is_closed) = fills(text, &range, &place, slots.len());
            slots.push(Slot { range, fills, is_closed });
            at += length;
            continue;
        }
        at += c.len_utf8();
        if place.pass(c) {
            at += text[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    slots
}

/// What may stand for a variable, and whether its value cannot change what the expression is. `index` makes names differ.
fn fills(text: &str, range: &Range<usize>, place: &Place, index: usize) -> (Vec<String>, bool) {
    let length = range.len();
    let (before, after) = (&text[..range.start], &text[range.end..]);
    let (left, right) = (before.trim_end(), after.trim_start());
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (follows_digit, follows_word) =
        (before.ends_with(|c: char| c.is_ascii_digit()), before.ends_with(|c: char| is_word(c) || c == ':'));
    let leads_word = after.starts_with(|c: char| is_word(c) || c == ':');
    let padded = |fill: &str| (fill.len() <= length).then(|| format!("{fill:<length$}"));
    let digits = |fill: &str| (fill.len() <= length).then(|| format!("{fill:0>length$}"));
    let name = || {
        let letter = char::from(b"abcdefghijklmnopqrstuvwxyz"[index % 26]);
        Some(format!("{letter:_>length$}"))
    };
    let open = |fills: &[Option<String>]| (fills.iter().flatten().cloned().collect::<Vec<_>>(), false);
    let closed = |fill: Option<String>| (fill.into_iter().collect::<Vec<_>>(), true);
    if place.quote.is_some() || place.in_comment {
        return closed(name());
    }
    if place.windows > 0 || left.ends_with("offset") || left.ends_with("offset -") {
        return closed(match (follows_digit, leads_word) {
            (true, _) => padded("m"),
            // Long enough for any scrape interval, of whichever unit follows.
            (false, true) => digits("3600"),
            (false, false) => padded("1h"),
        });
    }
    if place.braces > 0 {
        return open(&[match right.chars().next() {
            Some('=' | '!') => name(),
            Some('"' | '\'' | '`') => padded("="),
            _ if left.ends_with(['=', '~']) => padded("\"\""),
            _ if follows_word || leads_word => name(),
            Some(',') => padded("_=\"\""),
            _ => padded(""),
        }]);
    }
    if left.ends_with('@') {
        return closed(digits("0"));
    }
    let number = before.len() - before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    if number > 0 && !before[..before.len() - number].ends_with(|c: char| is_word(c) || c == ':') {
        return open(&[digits("1")]);
    }
    if follows_word || leads_word {
        // `${how}_over_time` is a function's name, and the rest of it says which could be meant.
        let over_time = after.starts_with("_over_time").then(|| format!("{:>length$}", "max"));
        let scaled = after.starts_with(['e', 'E']).then(|| digits("1")).flatten();
        return open(&[over_time.filter(|_| length >= 3 && !follows_word), name(), scaled]);
    }
    let function = right.starts_with('(') || right.starts_with("by") || right.starts_with("without");
    let functions =
        if function { [padded("rate"), padded("sum"), padded("abs")] } else { [None, None, None] };
    let [rate, sum, abs] = functions;
    // What is compared with is a threshold rather than a metric.
    let is_compared = left.ends_with(['<', '>', '=']);
    let (first, second) = if is_compared { (padded("1"), name()) } else { (name(), padded("1")) };
    open(&[first, second, padded("+"), padded(""), rate, sum, abs])
}

/// Whether every bracket and quote is closed: what a variable's value hardly ever mends.
fn is_balanced(text: &str) -> bool {
    let (mut place, mut round, mut at) = (Place::default(), 0_usize, 0);
    while let Some(c) = text[at..].chars().next() {
        match c {
            _ if place.quote.is_some() || place.in_comment => {}
            '(' => round += 1,
            ')' if round == 0 => return false,
            ')' => round -= 1,
            _ => {}
        }
        at += c.len_utf8();
        if place.pass(c) {
            at += text[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    round == 0 && place.windows == 0 && place.braces == 0 && place.quote.is_none()
}
