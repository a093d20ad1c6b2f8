//! All checks of a record as one list, for the reports that show them in one table or one suite.

use crate::record::{Checks, Outcome};

/// What kind of promise a check belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    Alerts,
    Slos,
    Thresholds,
    Validity,
}

impl Section {
    pub(crate) const ALL: [Section; 4] =
        [Section::Alerts, Section::Slos, Section::Thresholds, Section::Validity];

    /// As a word for people and for suite names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Section::Alerts => "alerts",
            Section::Slos => "slos",
            Section::Thresholds => "thresholds",
            Section::Validity => "validity",
        }
    }
}

/// One check in the common form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) section: Section,
    /// What it is about: the alert, or the objective itself.
    pub(crate) subject: String,
    /// What is judged of it; empty where the subject says it.
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) observed: String,
    pub(crate) wanted: String,
    pub(crate) details: Vec<String>,
    pub(crate) place: Option<String>,
}

impl Item {
    /// What was wanted; what the title says, where there is no more to it.
    pub(crate) fn wanted_or_kept(&self) -> &str {
        if self.wanted.is_empty() { "as the title says" } else { &self.wanted }
    }

    /// Subject and name in one line.
    pub(crate) fn title(&self) -> String {
        if self.name.is_empty() { self.subject.clone() } else { format!("{}: {}", self.subject, self.name) }
    }
}

/// Passed and total, of those judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) not_judged: u64,
}

impl Tally {
    pub(crate) fn total(self) -> u64 {
        self.passed + self.failed + self.not_judged
    }
}

/// Counts the outcomes of a section.
pub(crate) fn tally(items: &[Item], section: Section) -> Tally {
    let mut tally = Tally::default();
    for item in items.iter().filter(|item| item.section == section) {
        match item.outcome {
            Outcome::Passed => tally.passed += 1,
            Outcome::Failed | Outcome::NoData => tally.failed += 1,
            Outcome::NotJudged => tally.not_judged += 1,
        }
    }
    tally
}

/// Every check, by section and then in the scenario's order.
pub(crate) fn items(checks: &Checks) -> Vec<Item> {
    let judged = |section, check: &crate::record::Check| {
        let (observed, details) = observed(check);
        Item {
            section,
            subject: match (&check.alert, &check.cause) {
                (Some(alert), Some(cause)) => format!("{alert}, cause {cause}"),
                (Some(alert), None) => alert.clone(),
                (None, _) => check.name.clone(),
            },
            name: if check.alert.is_some() { check.name.clone() } else { String::new() },
            outcome: check.outcome,
            observed,
            wanted: check.bound.clone(),
            details,
            place: check.place.clone(),
        }
    };
    let alerts = checks.alerts.iter().chain(&checks.silence).map(|check| judged(Section::Alerts, check));
    let slos = checks.slos.iter().map(|slo| Item {
        section: Section::Slos,
        subject: slo.slo.clone(),
        name: String::new(),
        outcome: slo.outcome,
        observed: slo
            .phases
            .iter()
            .map(|phase| match phase.outcome {
                Outcome::Passed => format!("{} {}", phase.phase, phase.observed),
                other => format!("{} {} ({})", phase.phase, phase.observed, word(other)),
            })
            .collect::<Vec<_>>()
            .join(", "),
        wanted: slo.slo.clone(),
        details: slo.details.clone(),
        place: slo.place.clone(),
    });
    let thresholds = checks.thresholds.iter().map(|threshold| Item {
        section: Section::Thresholds,
        subject: threshold.metric.clone(),
        name: threshold.expression.clone(),
        outcome: threshold.outcome,
        observed: threshold.observed.clone(),
        wanted: threshold.expression.clone(),
        details: threshold.details.clone(),
        place: threshold.place.clone(),
    });
    let validity = checks.validity.iter().map(|check| judged(Section::Validity, check));
    alerts.chain(slos).chain(thresholds).chain(validity).collect()
}

/// What was observed, and more to it. Where nothing came that could be, the reason is what there is to see.
fn observed(check: &crate::record::Check) -> (String, Vec<String>) {
    match check.details.split_first() {
        Some((reason, more)) if check.observed.is_empty() && check.outcome != Outcome::Passed => {
            (reason.clone(), more.to_vec())
        }
        _ => (check.observed.clone(), check.details.clone()),
    }
}

/// `passed`, `failed`, `no data`, `not judged`.
pub(crate) fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::NoData => "no data",
        Outcome::NotJudged => "not judged",
    }
}

/// `✓`, `✗`, `?`, `-`.
pub(crate) fn sign(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "✓",
        Outcome::Failed => "✗",
        Outcome::NoData => "?",
        Outcome::NotJudged => "-",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Check;

    #[track_caller]
    fn check(outcome: Outcome, seen: &str, details: &[&str], expected: (&str, &[&str])) {
        let check = Check {
            name: "fired".into(),
            alert: None,
            cause: None,
            outcome,
            observed: seen.into(),
            bound: String::new(),
            details: details.iter().map(ToString::to_string).collect(),
            place: None,
        };
        let (shown, more) = observed(&check);
        assert_eq!(
            (shown.as_str(), more.iter().map(String::as_str).collect::<Vec<_>>()),
            (expected.0, expected.1.to_vec())
        );
    }

    #[test]
    fn a_check_that_saw_nothing_shows_its_reason() {
        check(Outcome::Failed, "", &["it never fired", "more"], ("it never fired", &["more"]));
        check(Outcome::NotJudged, "", &["it never fired"], ("it never fired", &[]));
        check(Outcome::Failed, "after 9m", &["too late"], ("after 9m", &["too late"]));
        check(Outcome::Passed, "", &["not significant"], ("", &["not significant"]));
        check(Outcome::Failed, "", &[], ("", &[]));
    }
}
