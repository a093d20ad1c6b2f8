//! Go's text templates as Prometheus' rules use them: `{{ $value | humanize }}`, `{{ range query "up" }} … {{ end }}`.
//!
//! A text is read once (`parse`) and filled in for every alert (`run`). What Prometheus refuses at load is a
//! [`Fault`] here; what fails later becomes the text that Prometheus would send, `<error expanding template: …>`.
//! Behaviour as of Go 1.19 and Prometheus 2.42 (dialect 2) and of Prometheus 3, checked against promtool.

use crate::labels::Labels;
use crate::promql::ast::Dialect;
use crate::time::Millis;
use std::ops::Range;
use std::sync::Arc;

mod builtins;
mod calls;
mod functions;
mod lex;
mod literal;
mod moments;
mod numbers;
mod parse;
mod pipeline;
mod print;
mod run;
mod tree;
mod uses;
mod value;

pub use numbers::go_float;
pub(crate) use numbers::significant;

use tree::Tree;
pub(crate) use uses::Uses;

/// What stands before every alert's text in Prometheus; columns of its messages count it.
const PREAMBLE: &str = concat!(
    "{{$labels := .Labels}}",
    "{{$externalLabels := .ExternalLabels}}",
    "{{$externalURL := .ExternalURL}}",
    "{{$value := .Value}}"
);
/// The variables it defines.
const VARIABLES: [&str; 4] = ["$labels", "$externalLabels", "$externalURL", "$value"];

/// A text with places to fill in.
#[derive(Debug, Clone, Default)]
pub struct Template {
    text: Arc<str>,
    body: Body,
}

#[derive(Debug, Clone, Default)]
enum Body {
    /// The text itself.
    #[default]
    Plain,
    /// What to do for it.
    Actions(Arc<Tree>),
}

/// Why Prometheus would refuse a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, lower case, no full stop.
    pub summary: String,
    /// The bytes of the text it is about.
    pub range: Range<usize>,
    /// What to write instead.
    pub hint: Option<String>,
}

/// Asks a query at the moment of the alert's evaluation.
pub type Ask<'a> = &'a dyn Fn(&str) -> Result<Vec<(Labels, f64)>, String>;

/// What a template may fill in.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The alert's name, for messages.
    pub alert: &'a str,
    /// `$value`.
    pub value: f64,
    /// `$labels`.
    pub labels: &'a Labels,
    /// `$externalLabels`.
    pub external_labels: &'a Labels,
    /// `$externalURL`.
    pub external_url: &'a str,
    /// The evaluation's moment.
    pub now: Millis,
    /// `query`.
    pub query: Ask<'a>,
}

impl Template {
    /// Reads a text. Errors: what Prometheus would not load.
    pub fn parse(text: &str, dialect: Dialect) -> Result<Template, Fault> {
        let body = match text.contains(lex::LEFT) {
            true => Body::Actions(Arc::new(parse::parse(text, dialect)?)),
            false => Body::Plain,
        };
        Ok(Template { text: text.into(), body })
    }

    /// A text in which nothing is filled in, whatever it looks like.
    pub fn plain(text: &str) -> Template {
        Template { text: text.into(), body: Body::Plain }
    }

    /// The text with everything filled in; if that fails, the message that Prometheus puts in its place.
    pub fn fill(&self, facts: &Facts<'_>) -> String {
        match &self.body {
            Body::Plain => self.text.to_string(),
            Body::Actions(tree) => run::run(tree, &self.text, facts)
                .unwrap_or_else(|error| format!("<error expanding template: {error}>")),
        }
    }

    /// The text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text, where it is the same for every alert.
    pub fn constant(&self) -> Option<&str> {
        matches!(self.body, Body::Plain).then_some(&*self.text)
    }
}

#[cfg(test)]
mod tests;
