//! Runs promqltest scripts against the evaluator and prints the score.
//!
//! `cargo run --release -p assertions --example promqltest -- DIR|FILE... [--dialect 2|3]`
//!
//! Without `--dialect` a script is of the dialect that its name says (`x.v2.test`), else of 3. Prometheus' own scripts stay
//! outside the repository; the project's are in `assertions/tests`. Exit: 0 all passed, 1 some failed, 2 nothing to run.

use assertions::promql::ast::Dialect;
use assertions::script::{self, Case, Outcome, Runner, Script, Skip};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Default)]
struct Score {
    passed: usize,
    failed: usize,
    skipped: BTreeMap<Skip, usize>,
    unchecked: usize,
}

struct Arguments {
    dialect: Option<Dialect>,
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("promqltest: {problem}\nusage: promqltest DIR|FILE... [--dialect 2|3]");
            return ExitCode::from(2);
        }
    };
    let mut total = Score::default();
    for file in &arguments.files {
        match run(file, &arguments) {
            Ok(score) => {
                println!("{:32} {}", file.file_name().unwrap_or_default().to_string_lossy(), score.line());
                total.add(score);
            }
            Err(problem) => {
                eprintln!("{problem}");
                return ExitCode::from(2);
            }
        }
    }
    if total.unchecked > 0 {
        println!("not checked: {} warnings and infos about native histograms", total.unchecked);
    }
    for (reason, count) in &total.skipped {
        println!("skipped: {count} for {reason}");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut arguments = Arguments { dialect: None, files: Vec::new() };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--dialect" => {
                    arguments.dialect = match words.next().as_deref() {
                        Some("2") => Some(Dialect::V2),
                        Some("3") => Some(Dialect::V3),
                        _ => return Err("--dialect is 2 or 3".into()),
                    }
                }
                flag if flag.starts_with('-') => return Err(format!("unknown flag {flag}")),
                path => arguments.files.extend(scripts(Path::new(path))?),
            }
        }
        if arguments.files.is_empty() { Err("no script to run".into()) } else { Ok(arguments) }
    }
}

/// A file itself, or the scripts in a folder by name.
fn scripts(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let files = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut found: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|e| e == "test")).collect();
    found.sort();
    if found.is_empty() { Err(format!("{}: no *.test in it", path.display())) } else { Ok(found) }
}

fn run(file: &Path, arguments: &Arguments) -> Result<Score, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
    let (script, wrong) = Script::read_what_can_be(&text);
    let by_name = script::dialect_of(&file.file_name().unwrap_or_default().to_string_lossy());
    let dialect = arguments.dialect.or(by_name).unwrap_or(Dialect::V3);
    let mut score = Score { failed: wrong.len(), ..Score::default() };
    for error in wrong {
        println!("{shown}:{}: {error}", error.line);
    }
    for case in Runner::new(dialect).run(&script) {
        score.count(&case);
        let place = format!("{shown}:{}", case.line);
        match &case.outcome {
            Outcome::Failed { expected, got } => {
                println!(
                    "{place}: {}\n  expected:\n{}\n  got:\n{}",
                    case.head,
                    indented(expected),
                    indented(got)
                );
            }
            Outcome::Skipped(skip) => println!("{place}: skipped ({skip}): {}", case.head),
            Outcome::Passed => {}
        }
    }
    Ok(score)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

impl Score {
    fn count(&mut self, case: &Case) {
        self.unchecked += case.unchecked;
        match &case.outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed { .. } => self.failed += 1,
            Outcome::Skipped(skip) => *self.skipped.entry(*skip).or_default() += 1,
        }
    }

    fn add(&mut self, other: Score) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.unchecked += other.unchecked;
        other.skipped.into_iter().for_each(|(skip, count)| *self.skipped.entry(skip).or_default() += count);
    }

    fn line(&self) -> String {
        let skipped: usize = self.skipped.values().sum();
        let skips = if skipped == 0 { String::new() } else { format!(" ({skipped} skipped)") };
        format!("{} passed, {} failed{skips}", self.passed, self.failed)
    }
}
