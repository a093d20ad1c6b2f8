//! Findings as SARIF 2.1.0 (OASIS), which code review systems show beside the lines they are about.

use assertions::check::{Finding, Level, Lint, lints};
use scenarios::span::Span;
use serde_json::{Value, json};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The document, with a line end. `docs_url`: where the pages are.
pub(super) fn text(findings: &[Finding], docs_url: &str) -> String {
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "loadgen",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "rules": lints::ALL.iter().map(|lint| rule(lint, docs_url)).collect::<Vec<_>>(),
                },
            },
            "columnKind": "unicodeCodePoints",
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    });
    format!("{document:#}\n")
}

fn rule(lint: &Lint, docs_url: &str) -> Value {
    let title = lint.title;
    let mut rule = json!({
        "id": lint.id,
        "shortDescription": { "text": title },
        "help": { "text": format!("See docs/checks/{}.md: what it finds, why it matters, how to fix it and how to switch it off.", lint.id) },
        "defaultConfiguration": { "level": level(lint.level) },
    });
    // SARIF wants an absolute address there.
    if docs_url.contains("://") {
        rule["helpUri"] = format!("{}/{}.md", docs_url.trim_end_matches('/'), lint.id).into();
    }
    rule
}

fn level(level: Level) -> &'static str {
    level.word()
}

fn result(finding: &Finding) -> Value {
    let problem = &finding.problem;
    let message = match &problem.hint {
        Some(fix) => format!("{}. Fix: {fix}", problem.summary),
        None => problem.summary.clone(),
    };
    let related = problem.related.iter().enumerate().map(|(index, (span, role))| {
        json!({ "id": index, "message": { "text": role }, "physicalLocation": physical(span) })
    });
    json!({
        "ruleId": finding.lint.id,
        "ruleIndex": lints::ALL.iter().position(|lint| lint.id == finding.lint.id),
        "level": level(finding.level),
        "message": { "text": message },
        "locations": problem.span.iter().map(|span| json!({ "physicalLocation": physical(span) })).collect::<Vec<_>>(),
        "relatedLocations": related.collect::<Vec<_>>(),
    })
}

fn physical(span: &Span) -> Value {
    let (start, end) = (span.position(), Span::new(span.source.clone(), span.end, span.end).position());
    json!({
        "artifactLocation": { "uri": uri(&span.source.name) },
        "region": {
            "startLine": start.line,
            "startColumn": start.column,
            "endLine": end.line,
            "endColumn": end.column,
        },
    })
}

/// A path as a URI reference: what may not stand there is escaped.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let path = path.strip_prefix("./").unwrap_or(path);
    let escaped: String = path
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    if path.starts_with('/') { format!("file://{escaped}") } else { escaped }
}
