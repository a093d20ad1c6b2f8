//! Findings that a file switches off itself: `# loadgen: disable=ID reason`.
//!
//! A directive counts for the rule, route, test or panel that it stands in or directly above, and for the whole file when it
//! stands before the first line that is no comment. The YAML reader drops comments, so lines are scanned; in JSON, which has
//! none, a directive may stand in any text. One that is misspelt, names no check, gives no reason or switches nothing off is
//! a finding.

use super::lints::{self, Lint, Needs};
use super::{Context, Finding, Report};
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
pub(super) fn apply(context: &Context<'_>, source: &Arc<Source>, findings: &mut Vec<Finding>) {
    let mut directives = read(&source.text);
    findings.retain(|finding| {
        let Some(span) = finding.problem.span.as_ref().filter(|span| span.source.name == source.name) else {
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
        complain(context, directive, span, findings);
    }
    misspelt(source, findings);
}

fn complain(context: &Context<'_>, directive: &Directive, span: Span, findings: &mut Vec<Finding>) {
    let mut report = Report { findings, item: None };
    let id = span.text().to_owned();
    let Some(lint) = directive.lint else {
        let (summary, hint) = match nearest(&id, lints::ALL.iter().map(|lint| lint.id)) {
            Some(near) => (format!("no check is called `{id}`"), format!("did you mean `{near}`?")),
            None if id.is_empty() => ("no check is named here".to_owned(), LIST.to_owned()),
            None => (format!("no check is called `{id}`"), LIST.to_owned()),
        };
        report.add(&lints::UNKNOWN_ID, span, summary, hint);
        return;
    };
    if !directive.has_reason {
        let summary = format!("`{id}` is switched off without a reason");
        let fix = format!("write why behind it: `# {MARK}{id} the exporter is being replaced`");
        report.add(&lints::NO_REASON, span.clone(), summary, fix);
    }
    if !directive.used && is_settled(context, lint) {
        let summary = format!("`{id}` is switched off here and finds nothing here");
        report.add(&lints::UNUSED_DISABLE, span, summary, "remove the comment");
    }
}

const LIST: &str = "`loadgen check --list` shows all of them";

/// Whether a check that finds nothing now would find nothing either if more were known or more files were given.
fn is_settled(context: &Context<'_>, lint: &Lint) -> bool {
    match lint.needs {
        Needs::Nothing => true,
        Needs::Metrics | Needs::MoreWithMetrics => context.metrics.is_some(),
        Needs::ScrapeInterval => context.settings.scrape_interval.is_some(),
        Needs::Dialect => context.settings.dialect.is_some(),
        Needs::NoDialect => context.settings.dialect.is_none(),
        Needs::Rules => context.all_rules().next().is_some(),
        Needs::Everything => false,
    }
}

/// Comments that look as if they switched something off: `# loadgen-check: disable=ID`, `# loadgen: disable ID`.
fn misspelt(source: &Arc<Source>, findings: &mut Vec<Finding>) {
    let mut line = 0;
    for content in source.text.split_inclusive('\n') {
        if let Some(range) = misspelling(content) {
            let span = Span::new(source.clone(), line + range.start, line + range.end);
            let named = span.text().split([' ', '=', ',', ':']).find(|word| word.contains('/'));
            let id = named.and_then(|id| nearest(id, lints::ALL.iter().map(|lint| lint.id))).unwrap_or("ID");
            let summary = "this switches nothing off";
            let fix = format!("write `# {MARK}{id} the reason`");
            Report { findings: &mut *findings, item: None }.add(&lints::MISSPELT, span, summary, fix);
        }
        line += content.len();
    }
}

/// The bytes of such a comment, without its mark.
fn misspelling(line: &str) -> Option<Range<usize>> {
    let starts = line.match_indices('#').filter(|(at, _)| is_comment(&line[..=*at]));
    let (at, _) = starts.min_by_key(|(at, _)| *at)?;
    let comment = line[at + 1..].trim();
    if comment.starts_with(MARK) {
        return None;
    }
    let lower = comment.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    // pint's own, some of whose checks have names of ours.
    if words.first() == Some(&"pint") {
        return None;
    }
    let asks = words.iter().take(4).any(|word| nearest(word, ["disable", "ignore"]).is_some());
    let names_us = words.first().is_some_and(|word| nearest(word, ["loadgen"]).is_some());
    let names_check = lints::ALL.iter().any(|lint| lower.contains(lint.id));
    let start = at + 1 + (line[at + 1..].len() - line[at + 1..].trim_start().len());
    (asks && (names_check || names_us && lower.contains(['=', '/']))).then_some(start..start + comment.len())
}

/// Whether a directive on the line that begins at `line` counts for the item: inside of it, or above with nothing but comments between.
fn is_at(line: usize, item: &Range<usize>, text: &str) -> bool {
    let first_line = line_start(text, item.start);
    if line >= first_line {
        return line < item.end.max(first_line + 1);
    }
    text[line..first_line].lines().all(|line| line.trim_start().starts_with(['#', '<']))
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
        in_head &= trimmed.is_empty() || trimmed.starts_with(['#', '<']) || trimmed == "---";
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
    let before = before.trim_end();
    is_comment(before) || before.ends_with("<!--") || before.ends_with('"') || before.ends_with("\\n")
}

/// Whether it ends with the mark of a comment.
fn is_comment(text: &str) -> bool {
    let Some(before) = text.strip_suffix('#') else { return false };
    before.chars().next_back().is_none_or(|c| c.is_whitespace() || c == '#')
}

fn ids(content: &str, line: usize, from: usize, in_head: bool, found: &mut Vec<Directive>) {
    let ends = |c: char| c.is_whitespace() || "\"\\,".contains(c);
    let mut ranges = Vec::new();
    let mut at = from;
    loop {
        let end = content[at..].find(ends).map_or(content.len(), |length| at + length);
        ranges.push(at..end);
        let Some(rest) = content[end..].strip_prefix(',') else {
            at = end;
            break;
        };
        // A blank may follow the comma, and then either another id or, after a comma too many, the reason.
        at = content.len() - rest.trim_start_matches(' ').len();
        let word = content[at..].split(ends).next().unwrap_or_default();
        if rest.starts_with(' ') && !word.contains('/') {
            break;
        }
    }
    let reason = content[at..].split(['"', '\\']).next().unwrap_or_default();
    let has_reason = reason.chars().any(char::is_alphanumeric);
    for range in ranges {
        let lint = lints::find(&content[range.clone()]);
        let id = line + range.start..line + range.end;
        found.push(Directive { id, lint, has_reason, line, in_head, used: false });
    }
}
