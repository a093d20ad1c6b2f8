//! Findings that a file switches off itself: `# loadgen: disable=ID reason`.
//!
//! A directive counts for the rule, route, test or panel that it stands in or directly above, and for the whole file when it
//! stands before the first line that is no comment. The YAML reader drops comments, so lines are scanned; in JSON, which has
//! none, a directive may stand in any text. One that names no check, gives no reason or switches nothing off is a finding.

use super::lints::{self, Lint, Needs};
use super::{Finding, Report, Settings};
use scenarios::problem::nearest;
use scenarios::span::{Source, Span};
use std::ops::Range;
use std::sync::Arc;

const MARK: &str = "loadgen: disable=";

/// One id in a directive.
struct Directive {
    /// Where the id stands.
    id: Range<usize>,
    /// The check; `None` if there is none of that id.
    lint: Option<&'static Lint>,
    has_reason: bool,
    /// Its line's first byte.
    line: usize,
    in_head: bool,
    used: bool,
}

/// Takes out what the file switches off, and adds what is wrong with how it does.
pub(super) fn apply(
    source: &Arc<Source>,
    has_metrics: bool,
    settings: &Settings,
    findings: &mut Vec<Finding>,
) {
    let mut directives = read(&source.text);
    findings.retain(|finding| {
        let Some(span) = finding.problem.span.as_ref().filter(|span| Arc::ptr_eq(&span.source, source))
        else {
            return true;
        };
        let item = finding.item.clone().unwrap_or(span.start..span.end);
        let covers = |directive: &&mut Directive| {
            directive.lint.is_some_and(|lint| lint.id == finding.lint.id)
                && (directive.in_head || is_at(directive.line, &item, &source.text))
        };
        // Every directive that covers it has its use, not only the first.
        directives.iter_mut().filter(covers).map(|directive| directive.used = true).count() == 0
    });
    for directive in &directives {
        let span = Span::new(source.clone(), directive.id.start, directive.id.end);
        complain(directive, span, has_metrics, settings, findings);
    }
}

fn complain(
    directive: &Directive,
    span: Span,
    has_metrics: bool,
    settings: &Settings,
    findings: &mut Vec<Finding>,
) {
    let mut report = Report { findings, item: None };
    let id = span.text().to_owned();
    let Some(lint) = directive.lint else {
        let hint = match nearest(&id, lints::ALL.iter().map(|lint| lint.id)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`loadgen check --list` shows all of them".to_owned(),
        };
        report.add(&lints::UNKNOWN_ID, span, format!("no check is called `{id}`"), hint);
        return;
    };
    if !directive.has_reason {
        let summary = format!("`{id}` is switched off without a reason");
        let fix = format!("write why behind it: `# {MARK}{id} the exporter is being replaced`");
        report.add(&lints::NO_REASON, span.clone(), summary, fix);
    }
    let could_run = match lint.needs {
        Needs::Nothing => true,
        Needs::Metrics => has_metrics,
        Needs::ScrapeInterval => settings.scrape_interval.is_some(),
        Needs::Dialect => settings.dialect.is_some(),
    };
    if !directive.used && could_run {
        let summary = format!("`{id}` is switched off here and finds nothing here");
        report.add(&lints::UNUSED_DISABLE, span, summary, "remove the comment");
    }
}

/// Whether a directive on the line that begins at `line` counts for the item: inside of it, or above with nothing but comments between.
fn is_at(line: usize, item: &Range<usize>, text: &str) -> bool {
    let first_line = line_start(text, item.start);
    if line >= first_line {
        return line < item.end.max(first_line + 1);
    }
    text[line..first_line].lines().all(|line| line.trim_start().starts_with('#'))
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

fn read(text: &str) -> Vec<Directive> {
    let mut found = Vec::new();
    let mut line = 0;
    let mut in_head = true;
    for content in text.split_inclusive('\n') {
        let trimmed = content.trim();
        in_head &= trimmed.is_empty() || trimmed.starts_with('#') || trimmed == "---";
        for (at, _) in content.match_indices(MARK) {
            if is_directive(&content[..at]) {
                ids(content, line, at + MARK.len(), in_head, &mut found);
            }
        }
        line += content.len();
    }
    found
}

/// Whether what stands before makes it a comment, or the start of a JSON text.
fn is_directive(before: &str) -> bool {
    before.trim_end().ends_with('#') || before.trim_end().ends_with('"') || before.ends_with("\\n")
}

fn ids(content: &str, line: usize, from: usize, in_head: bool, found: &mut Vec<Directive>) {
    let rest = &content[from..];
    let end = rest.find(|c: char| c.is_whitespace() || "\"\\".contains(c)).unwrap_or(rest.len());
    let after = rest[end..].split(['"', '\\']).next().unwrap_or_default();
    let has_reason = after.chars().any(char::is_alphanumeric);
    let mut at = from;
    for id in rest[..end].split(',') {
        let range = line + at..line + at + id.len();
        at += id.len() + 1;
        let lint = lints::find(id);
        found.push(Directive { id: range, lint, has_reason, line, in_head, used: false });
    }
}
