//! A diagnostic: what is wrong, where, and what to write instead; its text form.
//!
//! The form is one header, the place, the line and the carets, with the hint behind them:
//!
//! ```text
//! error: unknown fault `gateway.latancy`
//!   --> scenarios/peak.yaml:27:16
//! 27 |       - fault: gateway.latancy
//!    |                ^^^^^^^^^^^^^^^ hint: did you mean `gateway.latency`?
//! ```
//!
//! It is drawn here and not by a library because the hint belongs behind the carets and a file with ten
//! problems should fit a screen. What is printed from a file never carries control characters.

use std::fmt::{self, Write};

use unicode_width::UnicodeWidthStr;

use crate::span::{Position, Span};

mod nearest;

pub use nearest::nearest;

/// Whether a problem stops the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The run is refused.
    Error,
    /// The run goes on; the user is told.
    Warning,
}

/// One thing wrong with the user's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// What happened, lower case, no full stop: ``unknown key `stand_for` ``.
    pub summary: String,
    /// The place it is about; `None` when there is none (a file that cannot be read).
    pub span: Option<Span>,
    /// What to write instead, without the word "hint".
    pub hint: Option<String>,
    /// Other places that matter, each with its role ("first defined here").
    pub related: Vec<(Span, String)>,
}

impl Problem {
    /// An error at a place.
    pub fn error(summary: impl Into<String>, span: Span) -> Problem {
        Problem {
            severity: Severity::Error,
            summary: summary.into(),
            span: Some(span),
            hint: None,
            related: Vec::new(),
        }
    }

    /// The same problem as a warning.
    #[must_use]
    pub fn warning(mut self) -> Problem {
        self.severity = Severity::Warning;
        self
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// Adds another place that matters.
    #[must_use]
    pub fn related(mut self, span: Span, role: impl Into<String>) -> Problem {
        self.related.push((span, role.into()));
        self
    }
}

/// Problems that are printed: a file with more of them is not what it was meant to be.
const SHOWN_MAX: usize = 100;

/// Everything wrong with a file, in the order found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Whether one of them stops the run.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// One after the other, at most a hundred; `colour` asks for ANSI colours.
    pub fn render(&self, colour: bool) -> String {
        let mut text: String = self.0.iter().take(SHOWN_MAX).map(|problem| problem.render(colour)).collect();
        if let Some(more) = self.0.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
            text += &format!("… and {more} more\n");
        }
        text
    }
}

impl From<Vec<Problem>> for Problems {
    fn from(problems: Vec<Problem>) -> Problems {
        Problems(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// ANSI sequences, all empty without colour.
struct Paint {
    title: &'static str,
    frame: &'static str,
    mark: &'static str,
    off: &'static str,
}

impl Paint {
    fn new(severity: Severity, colour: bool) -> Paint {
        let title = match severity {
            Severity::Error => "\x1b[1;31m",
            Severity::Warning => "\x1b[1;33m",
        };
        match colour {
            true => Paint { title, frame: "\x1b[34m", mark: title, off: "\x1b[0m" },
            false => Paint { title: "", frame: "", mark: "", off: "" },
        }
    }
}

impl Problem {
    /// The text form, each line ended; `colour` asks for ANSI colours.
    pub fn render(&self, colour: bool) -> String {
        let paint = Paint::new(self.severity, colour);
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut text =
            format!("{}{word}{}: {}\n", paint.title, paint.off, clipped(&printable(&self.summary)));
        let places = self.span.iter().chain(self.related.iter().map(|(span, _)| span));
        let gutter = places.map(|span| span.position().line.to_string().len()).max().unwrap_or(1);
        let hint = self.hint.as_ref().map(|hint| format!("hint: {}", printable(hint)));
        match (&self.span, &hint) {
            (Some(span), _) => excerpt(&mut text, span, "-->", '^', hint.as_deref(), gutter, &paint),
            (None, Some(hint)) => text = text + "  " + hint + "\n",
            (None, None) => {}
        }
        for (span, role) in &self.related {
            excerpt(&mut text, span, ":::", '-', Some(&printable(role)), gutter, &paint);
        }
        text
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Columns of a source line that are printed; the marked place is always among them.
const COLUMNS_MAX: usize = 150;

/// The place, its line and the marks under it.
fn excerpt(
    text: &mut String,
    span: &Span,
    arrow: &str,
    mark: char,
    label: Option<&str>,
    gutter: usize,
    paint: &Paint,
) {
    let Position { line, column } = span.position();
    let Paint { frame, mark: marked, off, .. } = paint;
    let place = printable(&span.to_string());
    let whole = span.source.text.lines().nth(line - 1).unwrap_or_default();
    let skipped = if column > COLUMNS_MAX { column - COLUMNS_MAX / 2 } else { 0 };
    let shown: String = whole.chars().skip(skipped).take(COLUMNS_MAX).collect();
    let shown = printable(&shown);
    let indent: String = shown.chars().take(column - 1 - skipped).collect();
    let covered = span.text().lines().next().unwrap_or_default();
    let room = shown.width().saturating_sub(indent.width()).max(1);
    let marks = mark.to_string().repeat(printable(covered).width().clamp(1, room));
    let label = label.map(|label| format!(" {label}")).unwrap_or_default();
    let blank = " ".repeat(indent.width());
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{:gutter$}{frame}{arrow}{off} {place}", "");
    let _ = writeln!(text, "{}", format!("{frame}{line:>gutter$} |{off} {shown}").trim_end());
    let _ = writeln!(text, "{frame}{:gutter$} |{off} {blank}{marked}{marks}{off}{label}", "");
}

/// Letters of a summary that are printed: it may quote a value of any length.
const SUMMARY_MAX: usize = 500;

/// The text, its middle taken out if it is longer than anybody reads.
fn clipped(text: &str) -> String {
    let letters = text.chars().count();
    if letters <= SUMMARY_MAX {
        return text.to_owned();
    }
    let half = SUMMARY_MAX / 2;
    text.chars().take(half).chain(['…']).chain(text.chars().skip(letters - half)).collect()
}

/// The text without what could steer a terminal: tabs are one blank, other control characters are replaced.
fn printable(text: &str) -> String {
    let replace = |c: char| match c {
        '\t' => ' ',
        '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            '\u{fffd}'
        }
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(replace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Source;
    use std::sync::Arc;

    fn at(text: &str, needle: &str) -> Span {
        let source = Arc::new(Source { name: "scenarios/peak.yaml".to_owned(), text: text.to_owned() });
        let start = text.find(needle).expect("the needle is in the text");
        Span::new(source, start, start + needle.len())
    }

    #[track_caller]
    fn check(problem: &Problem, expected: &str) {
        assert_eq!(problem.to_string(), expected);
    }

    #[test]
    fn the_form_is_header_place_line_and_carets() {
        let text = "\n".repeat(26) + "      - fault: gateway.latancy\n";
        check(
            &Problem::error("unknown fault `gateway.latancy`", at(&text, "gateway.latancy"))
                .hint("did you mean `gateway.latency`?"),
            "error: unknown fault `gateway.latancy`\n  --> scenarios/peak.yaml:27:16\n\
             27 |       - fault: gateway.latancy\n   |                ^^^^^^^^^^^^^^^ hint: did you mean `gateway.latency`?\n",
        );
    }

    #[test]
    fn other_places_follow() {
        check(
            &Problem::error("key `a` is written twice", at("a: 1\nb: 2\n", "b"))
                .related(at("a: 1\nb: 2\n", "a"), "here"),
            "error: key `a` is written twice\n --> scenarios/peak.yaml:2:1\n2 | b: 2\n  | ^\n \
             ::: scenarios/peak.yaml:1:1\n1 | a: 1\n  | - here\n",
        );
    }

    #[test]
    fn wide_hostile_and_long_lines_keep_the_carets_in_place() {
        check(
            &Problem::error("x", at("消息: \x1b[2Jy\n", "y")).warning(),
            "warning: x\n --> scenarios/peak.yaml:1:9\n1 | 消息: \u{fffd}[2Jy\n  |           ^\n",
        );
        let long = "-".repeat(400) + "X";
        let rendered = Problem::error("x", at(&long, "X")).to_string();
        let lines: Vec<_> = rendered.lines().collect();
        assert_eq!(lines[2].find('X'), lines[3].find('^'));
        check(
            &Problem { span: None, ..Problem::error("no file", at("x", "x")) }.hint("y"),
            "error: no file\n  hint: y\n",
        );
        check(
            &Problem::error("end", at("a\n", "\n")),
            "error: end\n --> scenarios/peak.yaml:1:2\n1 | a\n  |  ^\n",
        );
    }

    #[test]
    fn a_value_of_any_length_leaves_room_for_what_is_wrong() {
        let rendered =
            Problem::error(format!("`{}` is no number", "ü".repeat(5_000_000)), at("x", "x")).to_string();
        assert!(rendered.len() < 1200 && rendered.contains("ü` is no number\n"), "{}", rendered.len());
    }

    #[test]
    fn a_hundred_problems_are_enough_to_see() {
        let problems = |number| Problems(vec![Problem::error("x", at("x", "x")); number]).to_string();
        assert!(problems(100).ends_with("| ^\n"));
        assert!(problems(101).ends_with("| ^\n… and 1 more\n"));
    }

    #[test]
    fn colour_only_on_request() {
        let problem = Problem::error("x", at("x", "x"));
        assert!(problem.render(true).contains("\x1b[1;31merror"));
        assert!(!problem.render(false).contains('\x1b'));
    }
}
