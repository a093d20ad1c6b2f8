//! A diagnostic: what is wrong, where, and what to write instead.

use crate::span::Span;

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
