//! Every check: its id, how grave what it finds is, what it needs to know, and its title. A flat table.

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing, often meant; shown on request.
    Note,
    /// Probably not what is meant.
    Warning,
    /// Cannot do what it is there for.
    Error,
}

impl Level {
    /// `error`, `warning` or `note`.
    pub fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        }
    }
}

/// What a check must know besides the file, so that what it does not find is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// What the targets export; without it, it finds nothing.
    Metrics,
    /// The same; without it, it finds what names and documentation give away.
    MoreWithMetrics,
    /// How often they are scraped.
    ScrapeInterval,
    /// Which Prometheus runs.
    Dialect,
    /// Not which Prometheus runs: then what only one of them takes is found.
    NoDialect,
    /// Rules.
    Rules,
    /// More than one run can know: all the other files, or for how long samples are kept wherever the rules run.
    Everything,
}

/// A check.
#[derive(Debug, PartialEq, Eq)]
pub struct Lint {
    /// `family/name`, stable: comments in users' files and SARIF results name it. docs/checks has a page of this name.
    pub id: &'static str,
    /// How grave its findings are, unless one says otherwise.
    pub level: Level,
    /// What it must know.
    pub needs: Needs,
    /// What it finds.
    pub title: &'static str,
}

/// The check of that id.
pub fn find(id: &str) -> Option<&'static Lint> {
    ALL.iter().copied().find(|lint| lint.id == id)
}

const fn lint(id: &'static str, level: Level, needs: Needs, title: &'static str) -> Lint {
    Lint { id, level, needs, title }
}

use Level::{Error, Note, Warning};
use Needs::{Dialect, Everything, Metrics, MoreWithMetrics, NoDialect, Nothing, Rules, ScrapeInterval};

pub(super) static FILE_UNREADABLE: Lint = lint(
    "file/unreadable",
    Error,
    Nothing,
    "a file that cannot be read, or of which nothing tells what it is",
);
pub(super) static FILE_UNCHECKED: Lint =
    lint("file/unchecked", Warning, Nothing, "a file, or an object in it, of which nothing is checked");
pub(super) static RULE_INVALID: Lint =
    lint("rule/invalid", Error, Nothing, "a rule file that Prometheus does not load, or not as meant");
pub(super) static PROMQL_SYNTAX: Lint =
    lint("promql/syntax", Error, Nothing, "an expression that is no PromQL");
pub(super) static PROMQL_LANGUAGE: Lint = lint(
    "promql/language",
    Error,
    Nothing,
    "an expression in another query language: LogQL, Flux, SQL, MetricsQL",
);
pub(super) static PROMQL_DIALECT: Lint =
    lint("promql/dialect", Warning, NoDialect, "what only Prometheus 2, or only 3, understands");
pub(super) static RATE_OF_GAUGE: Lint =
    lint("promql/rate-of-gauge", Error, MoreWithMetrics, "`rate`, `increase` or `irate` of a gauge");
pub(super) static COUNTER_WITHOUT_RATE: Lint =
    lint("promql/counter-without-rate", Warning, MoreWithMetrics, "a counter that is compared as it is");
pub(super) static RATE_OF_SUM: Lint =
    lint("promql/rate-of-sum", Error, Nothing, "`rate` over something aggregated, which hides resets");
pub(super) static UNKNOWN_METRIC: Lint =
    lint("promql/unknown-metric", Warning, Metrics, "a metric that is not exported");
pub(super) static UNKNOWN_LABEL: Lint =
    lint("promql/unknown-label", Warning, Metrics, "a label that the metric does not have");
pub(super) static RANGE_TOO_SHORT: Lint =
    lint("promql/range-too-short", Warning, ScrapeInterval, "a window with too few scrapes");
pub(super) static RANGE_BEYOND_RETENTION: Lint =
    lint("promql/range-beyond-retention", Warning, Everything, "a window longer than samples are kept");
pub(super) static NO_NAME: Lint =
    lint("promql/no-name", Warning, Nothing, "a selector without a metric name");
pub(super) static NEVER_MATCHES: Lint =
    lint("promql/never-matches", Warning, Nothing, "two sides whose labels cannot be equal");
pub(super) static RATIO_OF_ITSELF: Lint =
    lint("promql/ratio-of-itself", Error, Nothing, "a share that is 1 wherever it has a value");
pub(super) static UNBORN_COUNTER: Lint = lint(
    "promql/unborn-counter",
    Warning,
    Nothing,
    "a sum that has no value before one of its counters is born",
);
pub(super) static QUANTILE_PER_SERIES: Lint = lint(
    "promql/quantile-per-series",
    Warning,
    Nothing,
    "a quantile of each series instead of the service's",
);
pub(super) static QUANTILE_WITHOUT_LE: Lint =
    lint("promql/quantile-without-le", Error, Nothing, "a quantile of buckets that have lost their `le`");
pub(super) static QUANTILE_OUT_OF_RANGE: Lint =
    lint("promql/quantile-out-of-range", Error, Nothing, "a quantile that is not between 0 and 1");
pub(super) static AVERAGE_OF_QUANTILES: Lint =
    lint("promql/average-of-quantiles", Warning, Nothing, "quantiles that are averaged or added");
pub(super) static UNKNOWN_BUCKET: Lint =
    lint("promql/unknown-bucket", Error, Metrics, "a bucket that the histogram does not have");
pub(super) static INTEGER_LE: Lint =
    lint("promql/integer-le", Error, Dialect, "`le=\"1\"` where Prometheus 3 stores `le=\"1.0\"`");
pub(super) static NO_COMPARISON: Lint =
    lint("alert/no-comparison", Warning, Nothing, "an alert that fires as long as a series exists");
pub(super) static IMPOSSIBLE_THRESHOLD: Lint =
    lint("alert/impossible-threshold", Error, Nothing, "a threshold that the value cannot cross");
pub(super) static ALWAYS_FIRES: Lint =
    lint("alert/always-fires", Error, Nothing, "a condition that always holds");
pub(super) static OFF_BUCKET: Lint =
    lint("alert/threshold-off-bucket", Warning, Metrics, "a quantile compared with what is no bucket bound");
pub(super) static ABOVE_TOP_BUCKET: Lint =
    lint("alert/threshold-above-top-bucket", Error, Metrics, "a quantile compared with more than it can be");
pub(super) static SILENT_WITHOUT_TRAFFIC: Lint = lint(
    "alert/silent-without-traffic",
    Warning,
    Nothing,
    "a share of good events that has no value in an outage",
);
pub(super) static ABSENT: Lint =
    lint("alert/absent", Warning, Nothing, "a comparison with 0 that the series' end silences");
pub(super) static VALUE_IN_LABEL: Lint =
    lint("alert/value-in-label", Error, Nothing, "a value in a label, which makes every change a new alert");
pub(super) static UNBOUNDED_LABEL: Lint =
    lint("alert/unbounded-label", Warning, MoreWithMetrics, "an alert for each user, client or request");
pub(super) static DUPLICATE: Lint = lint("alert/duplicate", Error, Everything, "the same alert twice");
pub(super) static SHADOWED: Lint =
    lint("alert/shadowed", Warning, Everything, "an alert that another one of the same labels covers");
pub(super) static CONTRADICTORY_SEVERITY: Lint =
    lint("alert/contradictory-severity", Error, Everything, "a graver alert with the lower threshold");
pub(super) static WINDOW_BELOW_FOR: Lint =
    lint("alert/window-below-for", Warning, Nothing, "`for` longer than an event stays in the window");
pub(super) static MINIMUM_TRAFFIC: Lint =
    lint("alert/minimum-traffic", Warning, Nothing, "a ratio that one event at night can make 100 %");
pub(super) static MEAN_LATENCY: Lint =
    lint("alert/mean-latency", Warning, Nothing, "a mean that hides the tail");
pub(super) static PER_SERIES: Lint =
    lint("alert/per-series", Warning, Nothing, "a threshold that each series has for itself");
pub(super) static STATE_EQUALITY: Lint =
    lint("alert/state-equality", Warning, Nothing, "one of several states, and `for`");
pub(super) static SIZE_AS_FREE: Lint =
    lint("alert/size-as-free", Warning, Nothing, "a size where what is free is meant");
pub(super) static LOST_LABEL: Lint =
    lint("alert/lost-label", Warning, Nothing, "a text with a label that the expression drops");
pub(super) static TEMPLATE: Lint =
    lint("alert/template", Error, Nothing, "a template that Prometheus refuses");
pub(super) static BURN_UNREACHABLE: Lint =
    lint("slo/burn-unreachable", Error, Nothing, "a burn rate that no loss can reach");
pub(super) static BURN_ONE_WINDOW: Lint =
    lint("slo/burn-one-window", Warning, Nothing, "a burn alert with a single window");
pub(super) static BURN_TEXT: Lint =
    lint("slo/burn-text", Warning, Nothing, "a text that contradicts the burn rate's numbers");
pub(super) static LATENCY_QUANTILE: Lint =
    lint("slo/latency-quantile", Warning, Nothing, "a latency objective tested by a quantile");
pub(super) static RECORD_DUPLICATE: Lint =
    lint("record/duplicate", Error, Everything, "two rules that record the same series");
pub(super) static RECORD_ORDER: Lint =
    lint("record/order", Warning, Everything, "a recording that is used before it is made");
pub(super) static GROUP_INTERVAL: Lint =
    lint("group/interval", Warning, Nothing, "a group evaluated more rarely than samples live");
pub(super) static ALERTMANAGER_INVALID: Lint =
    lint("alertmanager/invalid", Error, Nothing, "an alertmanager.yml that does not load, or not as meant");
pub(super) static API_V1: Lint =
    lint("alertmanager/api-v1", Error, Nothing, "an alert posted to the interface that is gone");
pub(super) static ROUTE_UNREACHABLE: Lint =
    lint("route/unreachable", Error, Nothing, "a route that no alert reaches");
pub(super) static ROUTE_NO_ALERT: Lint =
    lint("route/no-alert", Warning, Rules, "a route for a label that no rule sets");
pub(super) static SEND_RESOLVED: Lint =
    lint("receiver/send-resolved", Warning, Nothing, "a receiver that is never told of the end");
pub(super) static RECEIVER_UNUSED: Lint =
    lint("receiver/unused", Warning, Nothing, "a receiver that no route names");
pub(super) static INHIBIT_OWN_SOURCE: Lint =
    lint("inhibit/own-source", Warning, Everything, "an inhibition whose sources are targets too");
pub(super) static INHIBIT_MUTUAL: Lint =
    lint("inhibit/mutual", Error, Nothing, "two inhibitions that mute each other's source");
pub(super) static INHIBIT_NO_EQUAL: Lint =
    lint("inhibit/no-equal", Warning, Nothing, "an inhibition across everything");
pub(super) static INHIBIT_NO_SOURCE: Lint =
    lint("inhibit/no-source", Warning, Rules, "an inhibition by an alert that no rule makes");
pub(super) static DASHBOARD_INVALID: Lint =
    lint("dashboard/invalid", Error, Nothing, "a dashboard or a panel's expression that cannot be read");
pub(super) static DASHBOARD_UNREAD: Lint =
    lint("dashboard/unread", Note, Nothing, "a panel's expression that was not checked");
pub(super) static TEST_INVALID: Lint =
    lint("test/invalid", Error, Nothing, "a test file that cannot be read");
pub(super) static TEST_UNKNOWN_ALERT: Lint =
    lint("test/unknown-alert", Error, Everything, "a test of an alert that no rule makes");
pub(super) static TEST_FOREIGN_BUCKET: Lint =
    lint("test/foreign-bucket", Warning, Metrics, "a test with buckets that production does not have");
pub(super) static HAND_TEST_UNREACHABLE: Lint =
    lint("hand-test/unreachable", Error, Everything, "a test by hand that cannot reach the threshold");
pub(super) static SCENARIO: Lint =
    lint("scenario/invalid", Error, Nothing, "a scenario that cannot do what it says");
pub(super) static MISSPELT: Lint =
    lint("check/misspelt", Error, Nothing, "a comment that looks as if it switched off a check and does not");
pub(super) static UNKNOWN_ID: Lint =
    lint("check/unknown-id", Error, Nothing, "a comment that switches off a check that does not exist");
pub(super) static NO_REASON: Lint =
    lint("check/no-reason", Warning, Nothing, "a check that is switched off without a reason");
pub(super) static UNUSED_DISABLE: Lint =
    lint("check/unused-disable", Warning, Nothing, "a check that is switched off where it finds nothing");

/// All checks, by family.
pub static ALL: &[&Lint] = &[
    &FILE_UNREADABLE,
    &FILE_UNCHECKED,
    &RULE_INVALID,
    &PROMQL_SYNTAX,
    &PROMQL_LANGUAGE,
    &PROMQL_DIALECT,
    &RATE_OF_GAUGE,
    &COUNTER_WITHOUT_RATE,
    &RATE_OF_SUM,
    &UNKNOWN_METRIC,
    &UNKNOWN_LABEL,
    &RANGE_TOO_SHORT,
    &RANGE_BEYOND_RETENTION,
    &NO_NAME,
    &NEVER_MATCHES,
    &RATIO_OF_ITSELF,
    &UNBORN_COUNTER,
    &QUANTILE_PER_SERIES,
    &QUANTILE_WITHOUT_LE,
    &QUANTILE_OUT_OF_RANGE,
    &AVERAGE_OF_QUANTILES,
    &UNKNOWN_BUCKET,
    &INTEGER_LE,
    &NO_COMPARISON,
    &IMPOSSIBLE_THRESHOLD,
    &ALWAYS_FIRES,
    &OFF_BUCKET,
    &ABOVE_TOP_BUCKET,
    &SILENT_WITHOUT_TRAFFIC,
    &ABSENT,
    &VALUE_IN_LABEL,
    &UNBOUNDED_LABEL,
    &DUPLICATE,
    &SHADOWED,
    &CONTRADICTORY_SEVERITY,
    &WINDOW_BELOW_FOR,
    &MINIMUM_TRAFFIC,
    &MEAN_LATENCY,
    &PER_SERIES,
    &STATE_EQUALITY,
    &SIZE_AS_FREE,
    &LOST_LABEL,
    &TEMPLATE,
    &BURN_UNREACHABLE,
    &BURN_ONE_WINDOW,
    &BURN_TEXT,
    &LATENCY_QUANTILE,
    &RECORD_DUPLICATE,
    &RECORD_ORDER,
    &GROUP_INTERVAL,
    &ALERTMANAGER_INVALID,
    &API_V1,
    &ROUTE_UNREACHABLE,
    &ROUTE_NO_ALERT,
    &SEND_RESOLVED,
    &RECEIVER_UNUSED,
    &INHIBIT_OWN_SOURCE,
    &INHIBIT_MUTUAL,
    &INHIBIT_NO_EQUAL,
    &INHIBIT_NO_SOURCE,
    &DASHBOARD_INVALID,
    &DASHBOARD_UNREAD,
    &TEST_INVALID,
    &TEST_UNKNOWN_ALERT,
    &TEST_FOREIGN_BUCKET,
    &HAND_TEST_UNREACHABLE,
    &SCENARIO,
    &MISSPELT,
    &UNKNOWN_ID,
    &NO_REASON,
    &UNUSED_DISABLE,
];
