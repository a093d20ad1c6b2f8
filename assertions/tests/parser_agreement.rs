//! Our parser against `promql-parser`, a second one that others wrote: the same trees, the same refusals.
//!
//! The expressions of the packs always; those of the folder `PROMQL_CORPUS` too (`ci/parser-agreement`). What is known to differ is
//! in [`is_known`], with its reason; everything else fails the test.

mod parser_agreement {
    pub(crate) mod convert;
    pub(crate) mod corpus;
}

use assertions::promql::ast::Dialect;
use assertions::promql::parse::{ParseError, ParseOptions, parse};
use parser_agreement::{convert, corpus};
use std::path::{Path, PathBuf};

/// How the two parsers differ over an expression.
enum Difference {
    /// Only the other one takes it.
    WeRefuse(ParseError),
    /// Only we take it.
    TheyRefuse(String),
    /// Both take it, for different trees: ours and theirs, as text.
    Trees(String, String),
}

fn difference(text: &str) -> Option<Difference> {
    let ours = parse(text, ParseOptions { dialect: Dialect::V3, experimental: true });
    let theirs = promql_parser::parser::parse(text);
    match (ours, theirs) {
        (Err(_), Err(_)) => None,
        (Err(error), Ok(_)) => Some(Difference::WeRefuse(error)),
        (Ok(_), Err(error)) => Some(Difference::TheyRefuse(error)),
        (Ok(ours), Ok(theirs)) => {
            let ours = ours.to_string();
            let theirs = convert::expr(&theirs)
                .map_or_else(|what| format!("not convertible: {what}"), |expr| expr.to_string());
            (ours != theirs).then_some(Difference::Trees(ours, theirs))
        }
    }
}

/// Whether a difference is meant, and why.
fn is_known(text: &str, difference: &Difference) -> bool {
    match difference {
        // They take all functions of Prometheus; ours refuses what it could not evaluate.
        Difference::WeRefuse(error) => {
            error.summary.contains("native histograms")
                || error.summary.contains("is experimental in Prometheus")
                // Renamed in 3.
                || error.summary.contains("`holt_winters` does not exist")
                // They make infinity of it; Prometheus refuses the number.
                || error.summary.contains("too large a number")
                // Go's strings hold any bytes, a label's value is UTF-8: they keep something else than what was written.
                || error.summary.contains("not UTF-8")
                // They let the second name win; Prometheus refuses it.
                || error.summary.contains("name is given twice")
        }
        // They know no number with underscores, no `0o`, no durations as numbers, and no other sign before an offset than minus.
        Difference::TheyRefuse(_) => {
            let has_duration_number = text.contains("offset +")
                || text.contains('_') && text.contains(|c: char| c.is_ascii_digit());
            // Nor what Prometheus has behind a flag since.
            let behind_flag =
                ["start()", "end()", "step()", "range()", "max_of", "min_of", "histogram_quantiles"];
            has_duration_number
                || text.contains("holt_winters")
                || behind_flag.iter().any(|name| text.contains(name))
        }
        Difference::Trees(..) => false,
    }
}

/// The differences over a corpus that are not meant, as text; prints how many there were.
fn unknown_differences(name: &str, texts: &[String]) -> Vec<String> {
    let found: Vec<_> = texts.iter().filter_map(|text| difference(text).map(|found| (text, found))).collect();
    let (known, unknown): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(text, found)| is_known(text, found));
    println!(
        "{name}: {} expressions, {} differ as meant, {} otherwise",
        texts.len(),
        known.len(),
        unknown.len()
    );
    for (text, found) in &known {
        println!("  as meant: {text}\n    {}", shown(found));
    }
    unknown.into_iter().map(|(text, found)| format!("{text}\n    {}", shown(&found))).collect()
}

fn shown(difference: &Difference) -> String {
    match difference {
        Difference::WeRefuse(error) => format!("we refuse: {error}"),
        Difference::TheyRefuse(error) => format!("they refuse: {error}"),
        Difference::Trees(ours, theirs) => format!("ours:   {ours}\n    theirs: {theirs}"),
    }
}

#[test]
fn the_expressions_of_the_packs_have_the_same_trees() {
    let packs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/packs");
    let texts = corpus::expressions(&packs);
    assert!(texts.len() > 20, "{} expressions", texts.len());
    let unknown = unknown_differences("packs", &texts);
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn the_expressions_of_a_corpus_have_the_same_trees() {
    let Some(folder) = std::env::var_os("PROMQL_CORPUS").map(PathBuf::from) else { return };
    let texts = corpus::expressions(&folder);
    assert!(!texts.is_empty(), "no expressions below {}", folder.display());
    let unknown = unknown_differences(&folder.display().to_string(), &texts);
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}
