//! Expressions that cannot be read: in whose language they are written, and for which Prometheus.

use super::lints::{self, Level};
use super::{Report, Settings};
use crate::promql::ast::Dialect;
use crate::promql::parse::{ParseError, parse};
use scenarios::problem::Problem;
use scenarios::yaml::Node;

/// A language and what gives it away; all marks in lower case.
const LANGUAGES: &[(&str, &[&str])] = &[
    (
        "LogQL, the language of log queries (Loki)",
        &[
            "|=",
            "|~",
            "| json",
            "| logfmt",
            "| pattern",
            "| regexp",
            "| line_format",
            "| label_format",
            "| unwrap",
            "!= `",
        ],
    ),
    ("Flux (InfluxDB)", &["from(bucket", "|> range", "|> filter"]),
    ("SQL", &["select ", "insert "]),
    ("a Datadog monitor", &["(last_1", "(last_2", "(last_3", "(last_4", "(last_5"]),
    ("a search query (Lucene, KQL)", &[" status:", " level:", " message:"]),
    (
        "MetricsQL (VictoriaMetrics)",
        &[
            "rollup_rate(",
            "rollup(",
            "increase_pure(",
            "median_over_time(",
            "with (",
            "keep_metric_names",
            " default ",
        ],
    ),
    ("Graphite", &["summarize(", "aliasbynode(", "movingaverage(", "nonnegativederivative("]),
    ("TraceQL (Tempo)", &["{ span.", "{ resource.", "{.http", "{ .http", "{span.", "{resource."]),
];

/// The language an expression is probably written in, if it is none of Prometheus'.
pub(super) fn other_language(text: &str) -> Option<&'static str> {
    // A word at the start stands after a blank, too.
    let text = format!(" {}", without_texts(&text.to_lowercase()));
    let found = LANGUAGES.iter().find(|(_, marks)| marks.iter().any(|mark| text.contains(mark)));
    found.map(|(language, _)| *language)
}

/// The expression with everything in quotes made blank, so that a label's value gives nothing away.
fn without_texts(text: &str) -> String {
    let mut quote = None;
    let blank = |c: char| {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => return 'x',
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None => {}
        }
        c
    };
    text.chars().map(blank).collect()
}

/// A finding for an expression that could not be read.
pub(super) fn refused(node: &Node, error: &ParseError, settings: &Settings, report: &mut Report<'_>) {
    let text = node.text().unwrap_or_default();
    let span = node.span_within(error.range.clone());
    if let Some(language) = other_language(text) {
        let summary = format!("this is {language}, not PromQL: Prometheus refuses the whole file");
        let fix =
            "count what it looks for in a metric and alert on that, or move it to a rule of its own system";
        report.add(&lints::PROMQL_LANGUAGE, span, summary, fix);
        return;
    }
    let in_other = |dialect: Dialect| parse(text, dialect.into()).is_ok();
    match settings.dialect {
        Some(Dialect::V2) if in_other(Dialect::V3) => only(node, "3", Level::Error, report),
        Some(Dialect::V3) if in_other(Dialect::V2) => only(node, "2", Level::Error, report),
        _ => {
            let fix = error.hint.clone().unwrap_or_else(|| "Prometheus refuses the whole file".to_owned());
            // What is experimental there loads there, behind a flag.
            let level = match error.summary.contains("experimental") {
                true => Level::Warning,
                false => Level::Error,
            };
            report.add_as(level, &lints::PROMQL_SYNTAX, span, error.summary.clone(), fix);
        }
    }
}

/// A finding for an expression that only one Prometheus understands, where nothing says which one runs.
pub(super) fn only_of(node: &Node, settings: &Settings, report: &mut Report<'_>) {
    let text = node.text().unwrap_or_default();
    if settings.dialect.is_some() {
        return;
    }
    match (parse(text, Dialect::V2.into()).is_ok(), parse(text, Dialect::V3.into()).is_ok()) {
        (true, false) => only(node, "2", Level::Warning, report),
        (false, true) => only(node, "3", Level::Warning, report),
        _ => {}
    }
}

fn only(node: &Node, version: &str, level: Level, report: &mut Report<'_>) {
    let summary = format!("only Prometheus {version} understands this expression");
    report.add_as(level, &lints::PROMQL_DIALECT, node.head(), summary, say_which(version));
}

fn say_which(version: &str) -> String {
    format!("say which one runs with `--prometheus {version}`, or write it so that both do")
}

/// What one Prometheus refuses and the one of `version` takes, where nothing says which one runs.
pub(super) fn only_for(problem: Problem, version: &str) -> Problem {
    let summary = format!("only Prometheus {version} takes this: {}", problem.summary);
    Problem { summary, hint: Some(say_which(version)), ..problem.warning() }
}
