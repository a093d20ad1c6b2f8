//! Random expressions, proper and spoilt, against the real parser of Prometheus 2.42: `promtool check rules`.

use super::{mutated, soup};
use crate::promql::ast::Dialect;
use crate::promql::parse::parse;
use crate::promql::print::tests::any_expression;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::collections::BTreeSet;
use std::process::Command;

/// Texts for promtool, always the same ones for a number.
fn texts(number: usize) -> Vec<String> {
    let config =
        Config { rng_seed: RngSeed::Fixed(20_261_121), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let strategy = prop_oneof![3 => any_expression(), 3 => mutated(), 1 => soup()];
    (0..number).map(|_| strategy.new_tree(&mut runner).expect("a text").current()).collect()
}

/// A string of YAML.
fn yaml_string(text: &str) -> String {
    let mut string = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => string.extend(['\\', c]),
            c if c.is_control() => string += &format!("\\u{:04x}", c as u32),
            c => string.push(c),
        }
    }
    string + "\""
}

/// Which of the texts promtool refuses, with its reason.
fn refused(texts: &[String]) -> Vec<Option<String>> {
    let rules: Vec<String> = (0..texts.len())
        .map(|index| format!("  - {{record: 'r{index}', expr: {}}}\n", yaml_string(&texts[index])))
        .collect();
    let file = std::env::temp_dir().join(format!("grammar-{}.yml", std::process::id()));
    std::fs::write(&file, format!("groups:\n- name: g\n  rules:\n{}", rules.concat()))
        .expect("a file in the temporary folder");
    let output = Command::new("promtool").args(["check", "rules", "--lint=none"]).arg(&file).output();
    let output = output.expect("promtool, which comes with Prometheus: without it this test proves nothing");
    std::fs::remove_file(&file).expect("the file");
    let mut reasons = vec![None; texts.len()];
    let mut found = BTreeSet::new();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        let Some((_, rest)) = line.split_once(", \"r") else { continue };
        let Some((index, reason)) = rest.split_once("\": ") else { continue };
        let Ok(index) = index.parse::<usize>() else { continue };
        found.insert(index);
        reasons[index] = Some(reason.to_string());
    }
    assert_eq!(output.status.success(), found.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    reasons
}

/// Whether we refuse what promtool takes, and mean it.
fn is_meant(summary: &str) -> bool {
    summary.contains("native histograms")
        || summary.contains("`histogram_fraction` does not exist")
        || summary.contains("nested too deeply")
        || summary.contains("not UTF-8")
        || summary.contains("the moment is out of range")
}

#[test]
fn promtool_takes_what_we_take() {
    let number = std::env::var("PROMTOOL_TEXTS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    // An empty expression is refused by promtool's reader of rules, without the message of its parser.
    let texts: Vec<String> = texts(number).into_iter().filter(|text| !text.trim().is_empty()).collect();
    let mut differences = Vec::new();
    for (text, reason) in texts.iter().zip(refused(&texts)) {
        match (parse(text, Dialect::V2.into()), reason) {
            (Ok(expr), Some(reason)) => {
                differences.push(format!("{text:?} is taken for {expr}; promtool: {reason}"))
            }
            (Err(error), None) if !is_meant(&error.summary) => {
                differences.push(format!("{text:?} is refused: {error}; promtool takes it"));
            }
            _ => {}
        }
    }
    let canonical: Vec<String> = texts
        .iter()
        .filter_map(|text| parse(text, Dialect::V2.into()).ok())
        .map(|expr| expr.to_string())
        .collect();
    assert!(canonical.len() > texts.len() / 4, "only {} of {} are expressions", canonical.len(), texts.len());
    for (text, reason) in canonical.iter().zip(refused(&canonical)) {
        differences.extend(
            reason.map(|reason| format!("what we print, {text:?}, is refused by promtool: {reason}")),
        );
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}
