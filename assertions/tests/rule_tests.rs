//! The project's own rule unit tests, run as `loadgen rules test` runs them, and with promtool where it is installed:
//! the same verdicts. Files whose names begin with `fails-` must fail.

use assertions::promql::ast::Dialect;
use assertions::rule;
use assertions::rule_test::run::run;
use assertions::rule_test::{Filter, TestFile};
use scenarios::problem::Problems;
use scenarios::span::Source;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn source(path: &Path) -> Arc<Source> {
    let text = std::fs::read_to_string(path).expect("readable");
    Arc::new(Source { name: path.display().to_string(), text })
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.to_string_lossy().ends_with(".test.yml")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Every failure of a file.
fn failures(path: &Path) -> Vec<String> {
    let read = TestFile::read(source(path), Dialect::V2.into());
    let file = read.unwrap_or_else(|problems| panic!("{}", Problems(problems))).file;
    let folder = path.parent().expect("a folder");
    let sources: Vec<_> =
        file.rule_files.iter().map(|pattern| source(&folder.join(&pattern.value))).collect();
    let rules = rule::read(&sources, Dialect::V2.into());
    let rules = rules.unwrap_or_else(|problems| panic!("{}", Problems(problems))).rules;
    let outcomes = run(&file, &rules, Dialect::V2, &Filter::default());
    assert!(outcomes.iter().all(|outcome| outcome.not_judged.is_empty()));
    outcomes
        .iter()
        .flat_map(|outcome| &outcome.failures)
        .map(|failure| format!("{}\n{}", failure.title, failure.text))
        .collect()
}

/// `None` where promtool is not installed; CI installs it.
fn promtool_passes(path: &Path) -> Option<bool> {
    let output = Command::new("promtool").args(["test", "rules"]).arg(path).output();
    match output {
        Ok(output) => Some(output.status.success()),
        Err(_) => {
            eprintln!("promtool is not installed, so {} is not run with it", path.display());
            None
        }
    }
}

fn check_all(folder: &str) {
    for path in files(folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let must_pass = !name.starts_with("fails-");
        let found = failures(&path);
        assert_eq!(found.is_empty(), must_pass, "{name}:\n{}", found.join("\n"));
        if let Some(passes) = promtool_passes(&path) {
            assert_eq!(passes, must_pass, "promtool's verdict on {name}");
        }
    }
}

#[test]
fn own_tests_have_promtools_verdicts() {
    check_all("tests/rules");
}
