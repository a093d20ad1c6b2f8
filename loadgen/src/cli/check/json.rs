//! Findings as JSON: `{version, findings: [...], summary}`.

use assertions::check::{Finding, Level};
use scenarios::span::Span;
use serde_json::{Value, json};

/// The document, with a line end.
pub(super) fn text(findings: &[Finding], hidden: usize) -> String {
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let document = json!({
        "version": 1,
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
        "summary": {
            "errors": count(Level::Error),
            "warnings": count(Level::Warning),
            "notes": count(Level::Note),
            "notes_not_shown": hidden,
        },
    });
    format!("{document:#}\n")
}

fn finding(finding: &Finding) -> Value {
    let related = finding.problem.related.iter().map(|(span, role)| {
        let mut place = place(span);
        place["role"] = json!(role);
        place
    });
    json!({
        "id": finding.lint.id,
        "level": finding.level.word(),
        "summary": finding.problem.summary,
        "fix": finding.problem.hint,
        "place": finding.problem.span.as_ref().map(place),
        "related": related.collect::<Vec<_>>(),
        "page": format!("docs/checks/{}.md", finding.lint.id),
    })
}

/// Lines and columns from 1, columns in characters, the end after the last one.
pub(super) fn place(span: &Span) -> Value {
    let (start, end) = (span.position(), Span::new(span.source.clone(), span.end, span.end).position());
    json!({
        "file": span.source.name,
        "line": start.line,
        "column": start.column,
        "end_line": end.line,
        "end_column": end.column,
    })
}
