//! `loadgen rules test FILE...`: promtool's rule unit test files, with promtool's verdicts.

use super::{Version, files, tell};
use crate::terminal;
use assertions::exit;
use assertions::promql::parse::ParseOptions;
use assertions::rule::{self, RuleSet};
use assertions::rule_test::run::{Outcome, run};
use assertions::rule_test::{Filter, TestFile};
use reports::junit::{self, Case};
use scenarios::problem::{Problem, Severity};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Test files, as `promtool test rules` takes them
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Only tests whose name this regular expression finds
    #[arg(long = "run", value_name = "REGEX")]
    wanted: Option<String>,
    /// Whose answers: Prometheus 2 or 3
    #[arg(long, default_value = "2")]
    dialect: Version,
    /// Write the results here as JUnit XML too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// What all files came to.
#[derive(Default)]
struct Score {
    tests: usize,
    judged: usize,
    failed: usize,
    not_judged: usize,
    broken: usize,
}

pub(super) fn test(arguments: &Arguments) -> u8 {
    let filter = match Filter::new(arguments.wanted.as_deref()) {
        Ok(filter) => filter,
        Err(error) => {
            terminal::tell(&format!("error: --run: {error}"));
            return exit::USAGE;
        }
    };
    let mut score = Score::default();
    let mut cases = Vec::new();
    for path in &arguments.files {
        match outcomes(path, arguments.dialect.options(), &filter) {
            Ok((outcomes, warnings)) => {
                tell(&warnings);
                let mut report = file_report(path, &outcomes);
                if failures(&outcomes) > 0 && holds_elsewhere(path, arguments.dialect, &filter) {
                    let other = arguments.dialect.other();
                    report += &format!("  hint: nothing fails with --dialect {}\n", other.name());
                }
                if !terminal::print(&report) {
                    return exit::TOOL_FAILED;
                }
                outcomes.iter().for_each(|outcome| score.add(outcome));
                cases.extend(outcomes.iter().map(|outcome| case(path, outcome)));
            }
            Err(problems) => {
                tell(&problems);
                score.broken += 1;
                let text: Vec<String> = problems.iter().map(|problem| problem.render(false)).collect();
                cases.push(Case {
                    suite: path.display().to_string(),
                    name: "the file is readable".into(),
                    failure: Some(text.concat()),
                    skipped: None,
                });
            }
        }
    }
    if let Some(file) = &arguments.junit
        && let Err(error) = write_junit(file, &cases)
    {
        terminal::tell(&format!("error: cannot write {}: {error}", file.display()));
        return exit::TOOL_FAILED;
    }
    score.tell(&arguments.files)
}

/// Reads a test file and its rules, and runs the tests; warnings too.
fn outcomes(
    path: &Path,
    options: ParseOptions,
    filter: &Filter,
) -> Result<(Vec<Outcome>, Vec<Problem>), Vec<Problem>> {
    let source = files::read(path).map_err(|problem| vec![problem])?;
    let read = TestFile::read(source, options)?;
    let mut problems = read.warnings;
    let sources = files::of_test(&read.file, path, &mut problems);
    let mut rules = RuleSet::default();
    match rule::read(&sources, options) {
        Ok(loaded) => {
            problems.extend(loaded.warnings);
            rules = loaded.rules;
        }
        Err(found) => problems.extend(found),
    }
    problems.extend(read.file.unknown_names(&rules));
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    Ok((run(&read.file, &rules, options.dialect, filter), problems))
}

fn failures(outcomes: &[Outcome]) -> usize {
    outcomes.iter().map(|outcome| outcome.failures.len()).sum()
}

/// Whether the tests pass on the other Prometheus: then they were written for it.
fn holds_elsewhere(path: &Path, dialect: Version, filter: &Filter) -> bool {
    outcomes(path, dialect.other().options(), filter).is_ok_and(|(outcomes, _)| failures(&outcomes) == 0)
}

impl Score {
    fn add(&mut self, outcome: &Outcome) {
        self.tests += 1;
        self.judged += outcome.judged;
        self.failed += outcome.failures.len();
        self.not_judged += outcome.not_judged.len();
    }

    /// The last line. Gives the exit code.
    fn tell(&self, files: &[PathBuf]) -> u8 {
        let (code, said) = match self {
            Score { broken: 1.., .. } => {
                (exit::INVALID, format!("{} of {} files cannot be read", self.broken, files.len()))
            }
            Score { failed: 1.., .. } => (exit::ALERTS_FAILED, format!("{} failures", self.failed)),
            _ => (exit::PASSED, "all as expected".to_string()),
        };
        let mut line = format!("{} files, {} tests, {} checks: {said}", files.len(), self.tests, self.judged);
        if self.not_judged > 0 {
            let _ = write!(line, "; {} checks not judged", self.not_judged);
        }
        terminal::print(&format!("{line}. exit {code}\n"));
        code
    }
}

/// What a file came to: one line, and every failure.
fn file_report(path: &Path, outcomes: &[Outcome]) -> String {
    let failed = failures(outcomes);
    let judged: usize = outcomes.iter().map(|outcome| outcome.judged).sum();
    let verdict = if failed == 0 { "SUCCESS" } else { "FAILED" };
    let mut text = format!("{}\n  {verdict}: {judged} checks", path.display());
    if failed > 0 {
        text += &format!(", {failed} failures");
    }
    text.push('\n');
    for outcome in outcomes {
        for failure in &outcome.failures {
            text += &indented(&failure_text(outcome, failure), "  ");
        }
        for place in &outcome.not_judged {
            text += &format!("  {place}: not judged, it is about native histograms\n");
        }
    }
    text
}

fn failure_text(outcome: &Outcome, failure: &assertions::rule_test::run::Failure) -> String {
    let place = failure.span.as_ref().unwrap_or(&outcome.span);
    let mut text = format!("{place}: {}\n", failure.title);
    if outcome.name != outcome.span.to_string() {
        text += &format!("  name: {}\n", outcome.name);
    }
    text + &indented(&failure.text, "  ")
}

fn indented(text: &str, by: &str) -> String {
    text.lines().map(|line| format!("{by}{line}\n")).collect()
}

fn case(path: &Path, outcome: &Outcome) -> Case {
    let failures: Vec<String> =
        outcome.failures.iter().map(|failure| failure_text(outcome, failure)).collect();
    let only_skipped = outcome.judged == 0 && !outcome.not_judged.is_empty();
    Case {
        suite: path.display().to_string(),
        name: outcome.name.clone(),
        failure: (!failures.is_empty()).then(|| failures.concat()),
        skipped: only_skipped.then(|| "native histograms".to_string()),
    }
}

fn write_junit(file: &Path, cases: &[Case]) -> std::io::Result<()> {
    let out = std::fs::File::create(file)?;
    junit::write_cases("loadgen rules test", cases, std::io::BufWriter::new(out))
}
