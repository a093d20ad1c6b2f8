//! `junit.xml` for CI: a test case for every alert check, SLO, threshold and validity check, and one for the verdict,
//! so that a run that failed without a failed check (interrupted, say) is never green.

use crate::checklist::{self, Item, Section};
use crate::record::{Outcome, RunRecord};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::io;
use std::time::Duration;

/// Writes the report.
///
/// # Errors
/// Those of the writer.
pub fn write(record: &RunRecord, out: impl io::Write) -> io::Result<()> {
    let mut report = Report::new(format!("loadgen {}", record.scenario.name));
    // Not-a-number or a negative length is left out rather than made up.
    if let Ok(length) = Duration::try_from_secs_f64(record.wall_seconds) {
        report.set_time(length);
    }
    let items = checklist::items(&record.checks);
    for section in Section::ALL {
        let cases: Vec<TestCase> =
            items.iter().filter(|item| item.section == section).map(|item| case(record, item)).collect();
        if !cases.is_empty() {
            report.add_test_suite(suite(record, section.name(), cases));
        }
    }
    report.add_test_suite(suite(record, "verdict", vec![verdict(record)]));
    report.serialize(out).map_err(io::Error::other)
}

/// A test that is none of a run: a rule unit test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What it belongs to: the test file.
    pub suite: String,
    /// Its name.
    pub name: String,
    /// What is not as expected.
    pub failure: Option<String>,
    /// Why it was not judged.
    pub skipped: Option<String>,
}

/// Writes tests that are none of a run, suites in the order of their first test.
///
/// # Errors
/// Those of the writer.
pub fn write_cases(name: &str, cases: &[Case], out: impl io::Write) -> io::Result<()> {
    let mut report = Report::new(name);
    let mut suites: Vec<TestSuite> = Vec::new();
    for case in cases {
        let status = match (&case.failure, &case.skipped) {
            (Some(failure), _) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(failure.lines().next().unwrap_or_default());
                status.set_description(failure.clone());
                status
            }
            (None, Some(reason)) => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(reason.clone());
                status
            }
            (None, None) => TestCaseStatus::success(),
        };
        let test = TestCase::new(case.name.clone(), status);
        match suites.iter_mut().find(|suite| suite.name.as_str() == case.suite) {
            Some(suite) => {
                suite.add_test_case(test);
            }
            None => {
                let mut suite = TestSuite::new(case.suite.clone());
                suite.add_test_case(test);
                suites.push(suite);
            }
        }
    }
    report.add_test_suites(suites);
    report.serialize(out).map_err(io::Error::other)
}

/// A suite that carries how its results were obtained.
fn suite(record: &RunRecord, name: &str, cases: Vec<TestCase>) -> TestSuite {
    let mut suite = TestSuite::new(name);
    let scenario = &record.scenario;
    for (name, value) in [
        ("run", record.run_id.clone()),
        ("scenario", scenario.path.clone()),
        ("seed", scenario.seed.to_string()),
        ("obtained", record.honesty.label.clone()),
        ("history", record.honesty.history.clone()),
        ("exit_code", record.verdict.exit_code.to_string()),
    ] {
        suite.add_property((name, value.as_str()));
    }
    suite.add_test_cases(cases);
    suite
}

fn case(record: &RunRecord, item: &Item) -> TestCase {
    let status = match item.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::NotJudged => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(item.observed.clone());
            status
        }
        Outcome::Failed | Outcome::NoData => failure(item, &record.honesty.label),
    };
    named(record, item.title(), item.section.name(), status)
}

/// A failure whose text says what was seen, what was wanted, why, and where it was asked for.
fn failure(item: &Item, obtained: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type(checklist::word(item.outcome).replace(' ', "_"));
    status.set_message(format!("observed: {}; wanted: {}", item.observed, item.wanted_or_kept()));
    let mut text = format!("observed: {}\nwanted: {}\n", item.observed, item.wanted_or_kept());
    for detail in &item.details {
        text += &format!("{detail}\n");
    }
    if let Some(place) = &item.place {
        text += &format!("place: {place}\n");
    }
    text += &format!("obtained: {obtained}\n");
    status.set_description(text);
    status
}

fn verdict(record: &RunRecord) -> TestCase {
    let verdict = &record.verdict;
    let status = if verdict.passed {
        TestCaseStatus::success()
    } else {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_type(format!("exit_{}", verdict.exit_code));
        status.set_message(verdict.reason.clone());
        let hints = verdict.hints.iter().map(|hint| format!("{}: {}\n", hint.label, hint.command));
        status.set_description(hints.collect::<String>());
        status
    };
    named(record, format!("exit code {}", verdict.exit_code), "verdict", status)
}

fn named(record: &RunRecord, name: String, section: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("{}.{section}", record.scenario.name));
    case
}
