//! The page's tables: what became of the messages, latencies, notifications, and how to run it again.

use super::lanes;
use crate::figures;
use crate::record::{LatencySummary, LoadFigures, MessageClasses, RunRecord, Scenario};

/// One class of messages over the phases and the run.
pub(super) struct MessageRow {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    /// One for each phase, then the total.
    pub(super) numbers: Vec<String>,
    /// Whether the row adds up to the plan or is counted beside it.
    pub(super) beside: bool,
    /// Whether it is all zero.
    pub(super) none: bool,
}

/// One latency distribution.
pub(super) struct LatencyRow {
    pub(super) phase: String,
    pub(super) from: &'static str,
    pub(super) figures: Vec<String>,
}

/// One notification.
pub(super) struct Told {
    pub(super) rule: String,
    pub(super) wall: String,
    pub(super) receiver: String,
    pub(super) integration: String,
    pub(super) content: String,
}

/// One act on the target.
pub(super) struct AuditRow {
    pub(super) at: String,
    pub(super) fault: String,
    pub(super) action: String,
    pub(super) detail: String,
    pub(super) who: String,
}

/// Name, meaning, number, whether it is counted beside the classes.
type Class = (&'static str, &'static str, fn(&MessageClasses) -> u64, bool);

const CLASSES: [Class; 13] = [
    ("planned", "the sum of the nine classes below", |messages| messages.planned, false),
    ("delivered", "arrived", |messages| messages.delivered, false),
    ("lost", "confirmed, never delivered", |messages| messages.lost, false),
    ("queued", "confirmed, recipient absent", |messages| messages.queued, false),
    ("expired", "confirmed, given up with notice", |messages| messages.expired, false),
    ("unconfirmed", "connection ended before the confirmation", |messages| messages.unconfirmed, false),
    ("refused", "refused by the target", |messages| messages.refused, false),
    ("blocked", "socket full", |messages| messages.blocked, false),
    ("offline", "sender not connected", |messages| messages.offline, false),
    ("missed", "generator late or stopped", |messages| messages.missed, false),
    ("duplicates", "arrivals beyond the first", |messages| messages.duplicates, true),
    ("reordered", "overtaken by a later message of the same sender", |messages| messages.reordered, true),
    ("late", "delivered after the scenario's patience", |messages| messages.late, true),
];

/// A row for each class, a column for each phase and the total.
pub(super) fn messages(record: &RunRecord) -> Vec<MessageRow> {
    let row = |(name, meaning, number, beside): Class| {
        let columns = loads(record).map(|(_, load)| number(&load.messages));
        let numbers: Vec<u64> = columns.collect();
        MessageRow {
            name,
            meaning,
            none: numbers.iter().all(|number| *number == 0),
            numbers: numbers.into_iter().map(figures::count).collect(),
            beside,
        }
    };
    CLASSES.into_iter().map(row).collect()
}

/// Two rows for each phase and the total: from the intended and from the actual send time.
pub(super) fn latencies(record: &RunRecord) -> Vec<LatencyRow> {
    let rows = loads(record).flat_map(|(phase, load)| {
        [("intended send", &load.latency), ("actual send", &load.latency_uncorrected)].map(
            |(from, summary)| LatencyRow {
                phase: phase.to_owned(),
                from,
                figures: summary.as_ref().map_or_else(|| vec!["none".to_owned(); 9], row_figures),
            },
        )
    });
    rows.collect()
}

fn row_figures(latency: &LatencySummary) -> Vec<String> {
    let values = [
        latency.average_ms,
        latency.min_ms,
        latency.median_ms,
        latency.p90_ms,
        latency.p95_ms,
        latency.p99_ms,
        latency.p999_ms,
        latency.max_ms,
    ];
    [figures::count(latency.count)].into_iter().chain(values.map(figures::milliseconds)).collect()
}

fn loads(record: &RunRecord) -> impl Iterator<Item = (&str, &LoadFigures)> {
    let phases = record.phases.iter().map(|phase| (phase.name.as_str(), &phase.load));
    phases.chain([("whole run", &record.total)])
}

/// Every notification.
pub(super) fn told(record: &RunRecord) -> Vec<Told> {
    let row = |one: &crate::record::Notification| Told {
        rule: figures::duration(one.rule_seconds),
        wall: figures::duration(one.wall_seconds),
        receiver: one.receiver.clone(),
        integration: one.integration.clone(),
        content: lanes::told(one),
    };
    record.notifications.iter().map(row).collect()
}

/// Every act on the target.
pub(super) fn audit(record: &RunRecord) -> Vec<AuditRow> {
    let row = |line: &crate::record::AuditLine| AuditRow {
        at: line.at.clone(),
        fault: format!("{} {}", line.number, line.fault),
        action: line.action.clone(),
        detail: line.detail.clone(),
        who: format!("{} of {}@{}", line.by, line.user, line.host),
    };
    record.audit.iter().map(row).collect()
}

/// The command that runs the scenario again, quoted for a shell.
pub(super) fn again(scenario: &Scenario) -> String {
    let mut command = format!("loadgen run {} --seed {}", quoted(&scenario.path), scenario.seed);
    for set in &scenario.overrides {
        command += &format!(" --set {}", quoted(set));
    }
    command
}

/// A word as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    let harmless = |character: char| character.is_ascii_alphanumeric() || "._-/=:+,%@".contains(character);
    if !word.is_empty() && word.chars().all(harmless) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        let check = |word: &str, expected: &str| assert_eq!(quoted(word), expected);
        check("scenarios/peak.yaml", "scenarios/peak.yaml");
        check(
            "phases.slow.faults[gateway.latency].delay=650ms",
            "'phases.slow.faults[gateway.latency].delay=650ms'",
        );
        check("it's", r"'it'\''s'");
        check("$(reboot)", "'$(reboot)'");
        check("", "''");
    }
}
