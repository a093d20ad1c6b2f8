//! The part of Go's templates that rule files use: `{{ $value | humanize }}`, `{{ $labels.x }}`, `printf`.
//!
//! What is beyond it is reported once, when the file is loaded, and stays in the text as written: annotations
//! are for people, and identity and timing of alerts must not depend on a guess.

use crate::labels::Labels;
use std::ops::Range;

mod format;

pub use format::go_float;

/// A text with places to fill in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    Action(Action),
}

/// A source and the functions it is piped through.
#[derive(Debug, Clone, PartialEq)]
struct Action {
    source: Source,
    functions: Vec<TextFunction>,
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    Value,
    Label(String),
    ExternalLabel(String),
    Text(String),
    Printf(String, Box<Source>),
}

#[derive(Debug, Clone, PartialEq)]
enum TextFunction {
    Humanize,
    Humanize1024,
    HumanizeDuration,
    HumanizePercentage,
    Printf(String),
    ToUpper,
    ToLower,
    Title,
}

/// What a template may fill in.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// `$value`.
    pub value: f64,
    /// `$labels`.
    pub labels: &'a Labels,
    /// `$externalLabels`.
    pub external_labels: &'a Labels,
}

/// A value on its way through the functions.
enum Filled {
    Number(f64),
    Text(String),
}

impl Template {
    /// Reads a text; also what cannot be filled in, with its place in the text.
    pub fn parse(text: &str) -> (Template, Vec<(String, Range<usize>)>) {
        let mut pieces = Vec::new();
        let mut trouble = Vec::new();
        let mut at = 0;
        while let Some(open) = text[at..].find("{{").map(|offset| at + offset) {
            let Some(length) = text[open..].find("}}").map(|length| length + 2) else {
                trouble.push(("`{{` without `}}` in a template".to_string(), open..text.len()));
                break;
            };
            let (before, action, after) = (&text[at..open], &text[open..open + length], open + length);
            match parse_action(&action[2..length - 2]) {
                Some(action) => {
                    pieces.push(Piece::Text(before.to_string()));
                    pieces.push(Piece::Action(action));
                }
                None => {
                    trouble.push((format!("template action `{action}` is not supported"), open..after));
                    pieces.push(Piece::Text(text[at..after].to_string()));
                }
            }
            at = after;
        }
        pieces.push(Piece::Text(text[at..].to_string()));
        (Template { pieces }, trouble)
    }

    /// The text with everything filled in.
    pub fn fill(&self, facts: &Facts<'_>) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Action(action) => text.push_str(&action.fill(facts)),
            }
        }
        text
    }

    /// The text, where it is the same for every alert.
    pub fn constant(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

fn parse_action(inner: &str) -> Option<Action> {
    // The trimming markers `{{-` and `-}}` change white space around, which this subset leaves alone.
    if inner.starts_with('-') || inner.ends_with('-') {
        return None;
    }
    let mut stages = split_pipes(inner)?.into_iter();
    let source = parse_stage(&words(&stages.next()?)?);
    let mut functions: Vec<TextFunction> = Vec::new();
    let source = match source? {
        Stage::Source(source) => source,
        Stage::Applied(function, source) => {
            functions.push(function);
            source
        }
        Stage::Function(_) => return None,
    };
    for stage in stages {
        match parse_stage(&words(&stage)?)? {
            Stage::Function(function) => functions.push(function),
            Stage::Source(_) | Stage::Applied(..) => return None,
        }
    }
    Some(Action { source, functions })
}

enum Stage {
    Source(Source),
    Function(TextFunction),
    Applied(TextFunction, Source),
}

fn parse_stage(words: &[String]) -> Option<Stage> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Some(match words.as_slice() {
        ["printf", format] => Stage::Function(TextFunction::Printf(unquoted(format)?)),
        ["printf", format, source] => {
            Stage::Source(Source::Printf(unquoted(format)?, Box::new(parse_source(source)?)))
        }
        [function] if text_function(function).is_some() => Stage::Function(text_function(function)?),
        [source] => Stage::Source(parse_source(source)?),
        [function, source] => Stage::Applied(text_function(function)?, parse_source(source)?),
        _ => return None,
    })
}

fn text_function(name: &str) -> Option<TextFunction> {
    Some(match name {
        "humanize" => TextFunction::Humanize,
        "humanize1024" => TextFunction::Humanize1024,
        "humanizeDuration" => TextFunction::HumanizeDuration,
        "humanizePercentage" => TextFunction::HumanizePercentage,
        "toUpper" => TextFunction::ToUpper,
        "toLower" => TextFunction::ToLower,
        "title" => TextFunction::Title,
        _ => return None,
    })
}

fn parse_source(word: &str) -> Option<Source> {
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if matches!(word, "$value" | ".Value") {
        return Some(Source::Value);
    }
    if let Some(name) = word.strip_prefix("$labels.").or(word.strip_prefix(".Labels.")) {
        return is_name(name).then(|| Source::Label(name.to_string()));
    }
    if let Some(name) = word.strip_prefix("$externalLabels.").or(word.strip_prefix(".ExternalLabels.")) {
        return is_name(name).then(|| Source::ExternalLabel(name.to_string()));
    }
    unquoted(word).map(Source::Text)
}

/// The text of a Go string literal; `None` if it is none or has an escape beyond the common ones.
fn unquoted(word: &str) -> Option<String> {
    if let Some(raw) = word.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
        return Some(raw.to_string());
    }
    let inner = word.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                't' => '\t',
                other @ ('"' | '\\' | '\'') => other,
                _ => return None,
            },
            c => c,
        });
    }
    Some(text)
}

/// The stages between `|`, outside quotes.
fn split_pipes(inner: &str) -> Option<Vec<String>> {
    split(inner, |c| c == '|', false)
}

/// The words of a stage, quotes kept together. `None` for parentheses, which this subset does not have.
fn words(stage: &str) -> Option<Vec<String>> {
    let words = split(stage, char::is_whitespace, true)?;
    (!words.is_empty() && !stage.starts_with('(') && !words.iter().any(|w| w.starts_with('(')))
        .then_some(words)
}

fn split(text: &str, is_separator: impl Fn(char) -> bool, skip_empty: bool) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for c in text.chars() {
        if quote.is_none() && is_separator(c) {
            parts.push(String::new());
            continue;
        }
        match quote {
            Some(open) if c == open && !escaped => quote = None,
            None if matches!(c, '"' | '`') => quote = Some(c),
            _ => {}
        }
        escaped = c == '\\' && !escaped && quote == Some('"');
        parts.last_mut()?.push(c);
    }
    if skip_empty {
        parts.retain(|part| !part.is_empty());
    }
    quote.is_none().then(|| parts.into_iter().map(|part| part.trim().to_string()).collect())
}

impl Action {
    fn fill(&self, facts: &Facts<'_>) -> String {
        let mut filled = self.source.fill(facts);
        for function in &self.functions {
            filled = Filled::Text(function.apply(filled));
        }
        match filled {
            Filled::Number(number) => go_float(number),
            Filled::Text(text) => text,
        }
    }
}

impl Source {
    fn fill(&self, facts: &Facts<'_>) -> Filled {
        match self {
            Source::Value => Filled::Number(facts.value),
            Source::Label(name) => Filled::Text(facts.labels.get(name).to_string()),
            Source::ExternalLabel(name) => Filled::Text(facts.external_labels.get(name).to_string()),
            Source::Text(text) => Filled::Text(text.clone()),
            Source::Printf(format, source) => Filled::Text(printed(format, source.fill(facts))),
        }
    }
}

impl TextFunction {
    fn apply(&self, filled: Filled) -> String {
        let humanized = |of_number: fn(f64) -> String| match &filled {
            Filled::Number(number) => of_number(*number),
            Filled::Text(text) => text.parse().map_or_else(|_| text.clone(), of_number),
        };
        match self {
            TextFunction::Humanize => humanized(format::humanize),
            TextFunction::Humanize1024 => humanized(format::humanize_1024),
            TextFunction::HumanizeDuration => humanized(format::humanize_duration),
            TextFunction::HumanizePercentage => humanized(format::humanize_percentage),
            TextFunction::Printf(format) => printed(format, filled),
            TextFunction::ToUpper => as_text(filled).to_uppercase(),
            TextFunction::ToLower => as_text(filled).to_lowercase(),
            TextFunction::Title => title(&as_text(filled)),
        }
    }
}

fn as_text(filled: Filled) -> String {
    match filled {
        Filled::Number(number) => go_float(number),
        Filled::Text(text) => text,
    }
}

fn title(text: &str) -> String {
    let mut starts = true;
    text.chars()
        .map(|c| {
            let changed = if starts { c.to_ascii_uppercase() } else { c };
            starts = !c.is_alphanumeric() && c != '_' && c != '\'';
            changed
        })
        .collect()
}

fn printed(format: &str, filled: Filled) -> String {
    match filled {
        Filled::Number(number) => format::print_number(format, number),
        Filled::Text(text) => format::print_text(format, &text),
    }
}

#[cfg(test)]
mod tests;
