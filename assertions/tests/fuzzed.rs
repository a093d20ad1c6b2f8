//! The fuzz targets without a fuzzer: cargo-fuzz needs nightly; this does not. `ci/fuzz` runs more of them.
//!
//! Good inputs are the tests' own files, and those of the folders in FUZZ_CORPUS (separated by `:`): rule files, or texts with rules.

#[path = "../../ci/mutations.rs"]
mod mutations;
#[path = "../fuzz/targets.rs"]
mod targets;

use assertions::check::Kind;
use scenarios::span::Source;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Mutations of each kind of seeds; FUZZ_INPUTS asks for more.
const INPUTS: u64 = 300;
/// A file is cut into good inputs of about so many bytes.
const PIECE: usize = 1500;

fn survives(name: &str, corpus: &[Vec<u8>], target: fn(&[u8])) {
    mutations::survives("assertions", name, INPUTS, corpus, target);
}

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Texts of the files in a folder whose names end so, folders in it included, by name.
fn texts(folder: &Path, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    gather(folder, endings, &mut found);
    assert!(!found.is_empty(), "nothing in {} ends in {endings:?}", folder.display());
    found
}

fn gather(folder: &Path, endings: &[&str], found: &mut Vec<String>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            gather(&path, endings, found);
        } else if endings.iter().any(|end| path.to_string_lossy().ends_with(end)) {
            found.push(std::fs::read_to_string(&path).expect("a text"));
        }
    }
}

/// The folders that are asked for besides.
fn more() -> Vec<PathBuf> {
    let folders = std::env::var("FUZZ_CORPUS").unwrap_or_default();
    folders.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

/// The lines of a text that belong together where `starts` says that something new begins, in pieces; what stands before the
/// first is left out.
fn pieces(text: &str, starts: impl Fn(&str) -> bool) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for line in text.lines() {
        let begins = starts(line);
        match pieces.last_mut() {
            Some(piece) if !begins || piece.len() + line.len() < PIECE => *piece += &format!("{line}\n"),
            None if !begins => {}
            _ => pieces.push(format!("{line}\n")),
        }
    }
    pieces
}

/// Rules as files of a few rules each. The end of a text that comes after a rule stays with it: not all that is fed need be good.
fn rule_files(text: &str) -> Vec<Vec<u8>> {
    let is_rule = |line: &str| {
        let item = line.trim_start().trim_start_matches(['-', ' ', '{']);
        line.trim_start().starts_with('-') && (item.starts_with("alert:") || item.starts_with("record:"))
    };
    let file = |rules: String| format!("groups:\n- name: g\n  rules:\n{rules}").into_bytes();
    pieces(text, is_rule).into_iter().map(file).collect()
}

fn bytes(texts: Vec<String>) -> Vec<Vec<u8>> {
    texts.into_iter().map(String::into_bytes).collect()
}

/// Every expression of the tests' own scripts.
fn expressions() -> Vec<Vec<u8>> {
    let scripts = texts(&folder("tests"), &["tors.test", "tions.test", "corners.test", "queries.test"]);
    let evaluated = |line: &str| {
        let rest = line.strip_prefix("eval instant at ")?;
        Some(rest.split_once(' ')?.1.as_bytes().to_vec())
    };
    scripts.iter().flat_map(|text| text.lines()).filter_map(evaluated).collect()
}

#[test]
fn promql() {
    survives("promql", &expressions(), targets::promql);
}

#[test]
fn rules() {
    let mut found = texts(&folder("tests/rules"), &[".rules.yml"]);
    found.extend(texts(&folder("../scenarios/packs"), &["rules.yml", "rules.corrected.yml"]));
    found.extend(more().iter().flat_map(|folder| texts(folder, &[".yml", ".yaml", ".md"])));
    let corpus: Vec<Vec<u8>> = found.iter().flat_map(|text| rule_files(text)).collect();
    survives("rules", &corpus, targets::rules);
}

/// The files in the cases of `tests/check`, each behind the byte of its kind.
#[test]
fn checks() {
    let cases = texts(&folder("tests/check"), &[".test"]);
    let sections = cases.iter().flat_map(|text| text.split("\n>>> ").skip(1));
    let files = sections.filter_map(|section| {
        let (name, rest) = section.split_once('\n')?;
        let text = rest.split("\n--- ").next()?.to_string();
        let source = Arc::new(Source { name: name.to_string(), text: text.clone() });
        let kind = Kind::detect(&source)?;
        let byte = Kind::ALL.iter().position(|(_, known)| *known == kind)?;
        Some([&[u8::try_from(byte).ok()?], text.as_bytes()].concat())
    });
    survives("checks", &files.collect::<Vec<_>>(), targets::checks);
}

#[test]
fn rule_tests() {
    let files = texts(&folder("tests/rules"), &[".test.yml"]);
    let head = "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n";
    let tests = files.iter().flat_map(|text| pieces(text, |line| line.starts_with("- ")));
    let corpus = tests.map(|tests| format!("{head}{tests}").into_bytes());
    survives("rule_tests", &corpus.collect::<Vec<_>>(), targets::rule_tests);
}

#[test]
fn alertmanager() {
    let mut found = texts(&folder("tests/routing"), &[".yml"]);
    found.extend(texts(&folder("../scenarios/packs"), &["alertmanager.yml"]));
    survives("alertmanager", &bytes(found), targets::alertmanager);
}

/// The annotations of the tests' own rules.
#[test]
fn templates() {
    let files = texts(&folder("tests/rules"), &[".rules.yml"]);
    let lines = files.iter().flat_map(|text| text.lines()).filter(|line| line.contains("{{"));
    let quoted = lines.filter_map(|line| line.split_once(": ")).map(|(_, text)| {
        text.trim_matches(['"', '\'']).replace("\\\"", "\"").replace("\\\\", "\\").into_bytes()
    });
    survives("templates", &quoted.collect::<Vec<_>>(), targets::templates);
}

#[test]
fn exposition() {
    let good = [
        "# HELP a_total Things.\n# TYPE a_total counter\na_total{b=\"c\",d=\"e\\\"\\n\"} 5 1700000000000\na_total{b=\"d\"} 7e3\n",
        "# TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_sum 0.7\nh_count 3\n",
        "# TYPE s summary\ns{quantile=\"0.5\"} NaN\ns_sum 1\ns_count 1\nup -Inf\n",
        "# TYPE a counter\n# UNIT a seconds\na_total 17.0 1520879607.789 # {trace=\"x\"} 0.5\na_created 1.5\n# EOF\n",
    ];
    survives("exposition", &bytes(good.map(String::from).to_vec()), targets::exposition);
}

#[test]
fn script() {
    let scripts =
        texts(&folder("tests"), &["tors.test", "tions.test", "corners.test", "queries.test", "labels.test"]);
    let starts = |line: &str| line.starts_with("load") || line.starts_with("eval");
    let corpus: Vec<String> = scripts.iter().flat_map(|text| pieces(text, starts)).collect();
    survives("script", &bytes(corpus), targets::script);
}
