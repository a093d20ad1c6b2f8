//! The one serialised form of a run: `result.json`.
//!
//! Plain public data with a version. It holds no samples (those are kept as OpenMetrics text beside it) and
//! nothing secret. Two clocks, told apart by name: `wall` seconds count from the start of the run, when the first
//! client connects, on the clock the sockets live by (simulated under the virtual clock); `rule` seconds count
//! from the begin of the first phase, on the clock the rules see, and are negative before it.
//!
//! Every number is finite; where there may be none, the field is an `Option`. Text fields carry what a reader
//! should see and are escaped by the report that prints them, not here.

mod alerts;
mod checks;
mod load;

pub use alerts::{AlertInstance, AlertRecord, AlertState, Expected, Notification, Transition};
pub use checks::{Check, Checks, Hint, LatencyBound, Outcome, SloCheck, SloPhase, ThresholdCheck, Verdict};
pub use load::{
    Connect, Failures, Generator, LatencySummary, LoadFigures, MessageClasses, SendLag, SeriesPoint,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the record's form that this crate writes and reads.
pub const SCHEMA: u32 = 1;

/// Everything a report may say about one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// Version of this form; [`SCHEMA`].
    pub schema: u32,
    /// Version of loadgen that ran: `0.1.0`.
    pub tool_version: String,
    /// Names the run among others: `peak-20261121-031407`.
    pub run_id: String,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// From the first connect to the last settled message.
    pub wall_seconds: f64,
    /// What was asked for.
    pub scenario: Scenario,
    /// The system under test in a few words: `own gateway, 2 shards`.
    pub target: String,
    /// What evaluated the rules; `None` in a run without rules.
    pub engine: Option<Engine>,
    /// How the verdict was obtained, and what it may therefore claim.
    pub honesty: Honesty,
    /// Machine and versions, as name and value, in the order to print them.
    pub environment: Vec<Fact>,
    /// How the clients came in; `None` where there are no clients.
    pub connect: Option<Connect>,
    /// In order of time. Gaps between them (proving a heal) belong to none.
    pub phases: Vec<Phase>,
    /// Load of the whole run.
    pub total: LoadFigures,
    /// What did not come about, and why.
    #[serde(default)]
    pub failures: Failures,
    /// What the generator cost.
    pub generator: Generator,
    /// One point a second for the charts, in order of time.
    pub series: Vec<SeriesPoint>,
    /// Every alerting rule judged, in the order of the rule files; also those that stayed silent.
    pub alerts: Vec<AlertRecord>,
    /// Receivers that were told or should have been, in the order to show them.
    pub receivers: Vec<String>,
    /// Every notification captured, in order of time.
    pub notifications: Vec<Notification>,
    /// What was done to the target, in order of time; the lines of `audit.jsonl`.
    #[serde(default)]
    pub audit: Vec<AuditLine>,
    /// What was judged.
    pub checks: Checks,
    /// What came of it.
    pub verdict: Verdict,
    /// What the reader should know besides: a window with few scrapes, a rule that cannot be stretched.
    pub warnings: Vec<String>,
}

/// The scenario as it was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scenario {
    /// Its name: `peak`.
    pub name: String,
    /// Its file, as given: `scenarios/peak.yaml`.
    pub path: String,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// Seed of everything random in the run.
    pub seed: u64,
    /// The clock the run lived by.
    pub clock: Clock,
    /// What the command line changed, as typed after `--set`: `phases.slow.for=20s`.
    pub overrides: Vec<String>,
}

/// Which clock the rules saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Rule time is wall time.
    Real,
    /// Rule time runs faster than the wall, by a factor of each phase.
    Stretched,
    /// Everything is simulated.
    Virtual,
}

/// What evaluated the rules and routed the alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Engine {
    /// `embedded`, `prometheus` or `attach`.
    pub kind: String,
    /// PromQL dialect by Prometheus' major version: `2`.
    pub dialect: String,
    /// Alerting rules loaded.
    pub rules_count: u64,
    /// SHA-256 over the rule files, lower-case hex.
    pub rules_sha256: String,
}

/// How the verdict was obtained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Honesty {
    /// The short form that accompanies every verdict: `real clock`, `stretched x60`, `virtual clock`.
    pub label: String,
    /// What it means in this run: `50 s stand for 50 min`; empty when the label says it all.
    pub meaning: String,
    /// What the rules saw before the run: `30 d synthetic, from warm-up`; empty when there was none.
    pub history: String,
    /// How far an observed time of an alert may be from the truth, in rule time; `None` where no alerts were judged.
    pub tolerance_seconds: Option<f64>,
    /// What the tolerance is made of: `scrape 15s + evaluation 15s + 600ms x60`.
    pub tolerance_parts: String,
    /// Whether the run may claim a time to detect (real and virtual clocks only).
    pub detection_time_claimed: bool,
}

/// One fact about the environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fact {
    /// `kernel`.
    pub name: String,
    /// `6.1.0`.
    pub value: String,
}

/// One phase of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// Its name in the scenario.
    pub name: String,
    /// Begin on the wall.
    pub wall_begin_seconds: f64,
    /// End on the wall.
    pub wall_end_seconds: f64,
    /// Begin in rule time.
    pub rule_begin_seconds: f64,
    /// End in rule time.
    pub rule_end_seconds: f64,
    /// Rule seconds in one wall second; 1 where nothing is stretched.
    pub factor: f64,
    /// Faults that the phase put in.
    pub faults: Vec<Fault>,
    /// Load of the messages intended in this phase.
    pub load: LoadFigures,
}

/// One fault, from the order to the proof that it is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// Its kind: `gateway.latency`.
    pub name: String,
    /// Its parameters as one reads them: `600ms`, `2%, even`.
    pub parameters: String,
    /// When it was ordered.
    pub asked_wall_seconds: f64,
    /// When proxy, kernel or daemon acknowledged it; `None` if it never took effect.
    pub effective_wall_seconds: Option<f64>,
    /// When the heal was proven; `None` if it was not.
    pub healed_wall_seconds: Option<f64>,
    /// How the end was proven: `read back`; or why it was not.
    pub proof: String,
}

/// One act on the target, for those who ask later who did what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditLine {
    /// When, RFC 3339 in UTC, to the microsecond.
    pub at: String,
    /// For whom: the user of the machine.
    pub user: String,
    /// The machine.
    pub host: String,
    /// What acted: `run`, its `guardian`, or `recover`.
    pub by: String,
    /// The fault among those of the run, from 1.
    pub number: u64,
    /// Its name in the scenario: `gateway.latency`.
    pub fault: String,
    /// `asked`, `effective`, `healed` or `failed`.
    pub action: String,
    /// The target that was asked for it, the proof that it is healed, or why something failed.
    pub detail: String,
}

impl RunRecord {
    /// The rule second at a wall second: linear inside a phase, held still in a gap, at the edge phases' pace outside.
    ///
    /// `None` in a run without phases.
    pub fn rule_seconds_at(&self, wall_seconds: f64) -> Option<f64> {
        let first = self.phases.first()?;
        if wall_seconds <= first.wall_begin_seconds {
            return Some(first.rule_begin_seconds - (first.wall_begin_seconds - wall_seconds) * first.factor);
        }
        let phase = self.phases.iter().rev().find(|phase| phase.wall_begin_seconds <= wall_seconds)?;
        let is_last = self.phases.last().is_some_and(|last| std::ptr::eq(last, phase));
        let rule = phase.rule_begin_seconds + (wall_seconds - phase.wall_begin_seconds) * phase.factor;
        Some(if is_last { rule } else { rule.min(phase.rule_end_seconds) })
    }

    /// The phase a wall second lies in.
    pub fn phase_at(&self, wall_seconds: f64) -> Option<&Phase> {
        self.phases
            .iter()
            .find(|phase| phase.wall_begin_seconds <= wall_seconds && wall_seconds < phase.wall_end_seconds)
    }
}

#[cfg(test)]
mod tests {
    use crate::json;

    /// Wall 10..20 stands for rule 0..600, wall 21..31 for 600..610.
    #[test]
    fn rule_time_follows_the_phases() {
        let record = json::read(include_str!("../tests/data/smallest.json")).expect("a record");
        let check = |wall, expected| assert_eq!(record.rule_seconds_at(wall), Some(expected), "wall {wall}");
        check(9.0, -60.0);
        check(10.0, 0.0);
        check(15.0, 300.0);
        check(20.5, 600.0);
        check(21.0, 600.0);
        check(26.0, 605.0);
        check(33.0, 612.0);
        let phase = |wall| record.phase_at(wall).map(|phase| phase.name.as_str());
        assert_eq!([9.0, 10.0, 20.5, 21.0, 31.0].map(phase), [None, Some("fast"), None, Some("plain"), None]);
    }

    #[test]
    fn a_run_without_phases_has_no_rule_time() {
        let mut record = json::read(include_str!("../tests/data/smallest.json")).expect("a record");
        record.phases.clear();
        assert_eq!(record.rule_seconds_at(1.0), None);
    }
}
