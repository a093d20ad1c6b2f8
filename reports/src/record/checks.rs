//! What was judged, and the verdict.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Held.
    Passed,
    /// Did not hold.
    Failed,
    /// There was nothing to judge by; fails the run.
    NoData,
    /// Another check's failure made it meaningless, or the scenario excludes it; does not fail the run.
    NotJudged,
}

impl Outcome {
    /// Whether the run cannot pass with it.
    pub fn fails_the_run(self) -> bool {
        matches!(self, Outcome::Failed | Outcome::NoData)
    }
}

/// Everything that was judged, in the order of the scenario.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Checks {
    /// Of `expect.fires`, one for each promise; those of one alert and cause stand together.
    pub alerts: Vec<Check>,
    /// That all else stayed silent: usually one, or one for each offender.
    pub silence: Vec<Check>,
    /// Of `expect.slos`.
    pub slos: Vec<SloCheck>,
    /// Of `thresholds`.
    pub thresholds: Vec<ThresholdCheck>,
    /// Whether the run itself is to be believed: send lag, missed sends, scrape gaps, faults proven healed.
    pub validity: Vec<Check>,
}

/// One judged statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What is judged, in a word or two: `fired`, `resolved notice`, `send lag`.
    pub name: String,
    /// The alert as one reads it: `HighMessageDeliveryLatency{severity="P1"}`; `None` where it is about no single one.
    pub alert: Option<String>,
    /// The phase or fault it is measured from.
    pub cause: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen: `after 6m30s`.
    pub observed: String,
    /// What was wanted: `within 8m`; empty where the name says it.
    pub bound: String,
    /// Why, and what else helps, a line each.
    pub details: Vec<String>,
    /// Where it was asked for: `peak.yaml:37:18`.
    pub place: Option<String>,
}

/// One service level objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SloCheck {
    /// As written: `latency p99 < 200ms`.
    pub slo: String,
    /// How it ended over all judged phases.
    pub outcome: Outcome,
    /// What each phase showed.
    pub phases: Vec<SloPhase>,
    /// The line to draw into the latency chart, if it bounds a latency.
    pub latency_bound: Option<LatencyBound>,
    /// Why, a line each.
    pub details: Vec<String>,
    /// Where it was asked for.
    pub place: Option<String>,
}

/// One objective in one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SloPhase {
    /// The phase.
    pub phase: String,
    /// What was seen: `3.9ms`, `0 of 100,000`.
    pub observed: String,
    /// How it ended here.
    pub outcome: Outcome,
}

/// One threshold in k6's syntax.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThresholdCheck {
    /// `ws_msg_latency{phase:slow}`.
    pub metric: String,
    /// `p(99)<900`.
    pub expression: String,
    /// `p(99)=604.0ms`.
    pub observed: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The line to draw into the latency chart, if it bounds a latency from above.
    pub latency_bound: Option<LatencyBound>,
    /// Why, a line each.
    pub details: Vec<String>,
    /// Where it was asked for.
    pub place: Option<String>,
}

/// A latency not to be exceeded, for the chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyBound {
    /// Which percentile: `p99`.
    pub percentile: String,
    /// The bound.
    pub limit_ms: f64,
    /// Phases it holds in; empty means all.
    pub phases: Vec<String>,
}

/// What came of the run. The same words and code stand in every report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Whether everything held and the run is sound.
    pub passed: bool,
    /// The process' exit code.
    pub exit_code: u8,
    /// One line: `1 alert as expected, 2 SLOs, 4 thresholds`.
    pub reason: String,
    /// Commands that help from here.
    pub hints: Vec<Hint>,
}

/// A command worth typing next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hint {
    /// What for: `why`, `again`.
    pub label: String,
    /// The command line.
    pub command: String,
}
