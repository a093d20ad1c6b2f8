//! The alerts of the im-gateway pack, evaluation for evaluation, against Prometheus' own `promtool test rules`.
//!
//! Seeded random samples with gaps, stale markers, counter resets and faults go through our engine; what it says of
//! `ALERTS` and `ALERTS_FOR_STATE` at every evaluation becomes the expectation of a rule unit test, which promtool must
//! accept. Then one expectation is falsified, and promtool must refuse. Without promtool the test fails: an oracle that
//! is missing proves nothing. `PROMTOOL_SEEDS=200` runs more seeds (`ci/promtool-agreement`).

mod dice;
mod promtool_agreement {
    pub(crate) mod samples;
}

use assertions::engine::{Engine, EngineSettings};
use assertions::promql::ast::Dialect;
use assertions::rule;
use assertions::series::is_stale;
use assertions::store::{METRIC_NAME, Store};
use assertions::time::Millis;
use promtool_agreement::samples::{Plan, Sampled, generate};
use scenarios::span::Source;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/packs/im-gateway/rules.yml");

/// Everything that exists in `ALERTS` and `ALERTS_FOR_STATE` at one evaluation, as promtool writes it.
type AtEvaluation = (i64, Vec<(String, f64)>);

fn seeds(default: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("PROMTOOL_SEEDS").ok().and_then(|text| text.parse().ok());
    0..wanted.unwrap_or(default)
}

fn engine(plan: &Plan) -> Engine {
    let text = std::fs::read_to_string(RULES).expect("the im-gateway pack is in the repository");
    let source = Arc::new(Source { name: "rules.yml".into(), text });
    let loaded = rule::load(&[source], Dialect::V2.into()).expect("the pack's rules load");
    let evaluation_interval = Duration::from_millis(plan.step_ms as u64);
    Engine::new(loaded.rules, EngineSettings { evaluation_interval, ..EngineSettings::default() })
}

/// Our engine's timeline over the samples, and the names of the alerts that fired.
fn timeline(plan: &Plan, sampled: &[Sampled]) -> (Vec<AtEvaluation>, BTreeSet<String>) {
    let mut store = Store::new();
    for series in sampled {
        for (index, point) in series.points.iter().enumerate() {
            if let Some(value) = point {
                store.append(&series.labels, Millis(plan.step_ms * index as i64), *value).expect("in order");
            }
        }
    }
    let mut engine = engine(plan);
    let mut evaluations = Vec::new();
    let mut fired = BTreeSet::new();
    for index in 0..plan.steps {
        let at = Millis(plan.step_ms * index as i64);
        let evaluation = engine.evaluate(&mut store, at);
        assert!(evaluation.errors.is_empty(), "{:?}", evaluation.errors);
        fired.extend(evaluation.sends.iter().map(|sent| sent.labels.get("alertname").to_string()));
        evaluations.push((at.0, alerts_at(&store, at)));
    }
    (evaluations, fired)
}

fn alerts_at(store: &Store, at: Millis) -> Vec<(String, f64)> {
    let series = ["ALERTS", "ALERTS_FOR_STATE"].into_iter().flat_map(|name| store.named(name));
    let newest = series.filter_map(|named| match named.samples.latest(at) {
        Some((sampled, value)) if sampled == at && !is_stale(value) => Some((named, value)),
        _ => None,
    });
    newest
        .map(|(named, value)| (format!("{}{}", named.labels.get(METRIC_NAME), named.unnamed), value))
        .collect()
}

/// The rule unit test that says what our engine says.
fn unit_test(plan: &Plan, sampled: &[Sampled], evaluations: &[AtEvaluation]) -> String {
    let mut text = format!(
        "rule_files: [rules.yml]\nevaluation_interval: {}ms\ntests:\n- interval: {}ms\n  input_series:\n",
        plan.step_ms, plan.step_ms
    );
    for series in sampled {
        let points: Vec<String> = series.points.iter().map(notation).collect();
        let name = series.labels.get(METRIC_NAME);
        let labels = series.labels.filter(|label| label != METRIC_NAME);
        let _ = writeln!(text, "  - series: '{name}{labels}'\n    values: '{}'", points.join(" "));
    }
    text.push_str("  promql_expr_test:\n");
    for (at, alerts) in evaluations {
        let _ = writeln!(
            text,
            "  - expr: '{{__name__=~\"ALERTS|ALERTS_FOR_STATE\"}}'\n    eval_time: {at}ms\n    exp_samples:"
        );
        for (labels, value) in alerts {
            let _ = writeln!(text, "    - {{labels: '{labels}', value: {value}}}");
        }
    }
    text
}

fn notation(point: &Option<f64>) -> String {
    match point {
        None => "_".into(),
        Some(value) if is_stale(*value) => "stale".into(),
        Some(value) => format!("{value}"),
    }
}

/// Whether promtool accepts a unit test, and what it says.
fn promtool(folder: &Path, test: &str) -> (bool, String) {
    std::fs::write(folder.join("agreement.test.yml"), test).expect("the target folder can be written");
    std::fs::copy(RULES, folder.join("rules.yml")).expect("the rules can be copied");
    let output = Command::new("promtool")
        .args(["test", "rules", "agreement.test.yml"])
        .current_dir(folder)
        .output()
        .expect("promtool is installed (Debian: package prometheus); without it nothing is proven");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// All seeds of a plan; returns the alerts that fired in any.
fn agree(name: &str, plan: Plan, seeds: std::ops::Range<u64>) -> BTreeSet<String> {
    let folder = folder(name);
    let mut all_fired = BTreeSet::new();
    for seed in seeds {
        let sampled = generate(&plan, seed);
        let (evaluations, fired) = timeline(&plan, &sampled);
        let (accepted, said) = promtool(&folder, &unit_test(&plan, &sampled, &evaluations));
        let excerpt: String = said.chars().take(4000).collect();
        assert!(accepted, "{name}, seed {seed}: promtool disagrees\n{excerpt}");
        all_fired.extend(fired);
    }
    all_fired
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| name.to_string()).collect()
}

/// The alerts that look back hours at most.
const SHORT: [&str; 12] = [
    "HighAckTimeoutRate",
    "HighConnectionErrorRate",
    "HighMessageDeliveryLatency",
    "HighMessageDuplicationRate",
    "HighMessageLossRate",
    "HighOfflineQueueBacklog",
    "IMGatewayServiceDown",
    "LatencySLOViolation",
    "LowCacheHitRate",
    "SLOFastBurn",
    "SLOSlowBurn",
    "TooManyActiveConnections",
];

#[test]
fn ninety_minutes_at_15_seconds() {
    let fired = agree("15s", Plan { step_ms: 15_000, steps: 360, bursts: 5, nodes: 2 }, seeds(3));
    assert!(fired.is_superset(&names(&SHORT)), "the samples are too tame: only {fired:?} fired");
}

#[test]
fn eight_hours_at_1_minute() {
    let fired = agree("1m", Plan { step_ms: 60_000, steps: 480, bursts: 6, nodes: 2 }, seeds(3));
    assert!(fired.is_superset(&names(&SHORT)), "the samples are too tame: only {fired:?} fired");
}

#[test]
fn thirty_one_days_at_5_minutes() {
    // One node and one day beyond the window: promtool needs half a minute for it already.
    let plan = Plan { step_ms: 300_000, steps: 31 * 288, bursts: 8, nodes: 1 };
    let fired = agree("5m", plan, 0..seeds(1).end.div_ceil(20));
    let wanted = names(&[
        "AvailabilitySLOViolation",
        "ErrorBudget50PercentConsumed",
        "ErrorBudget80PercentConsumed",
        "SuccessRateSLOViolation",
    ]);
    assert!(fired.is_superset(&wanted), "the samples are too tame: only {fired:?} fired");
}

#[test]
fn promtool_refuses_a_falsified_timeline() {
    let plan = Plan { step_ms: 15_000, steps: 360, bursts: 5, nodes: 2 };
    let sampled = generate(&plan, 0);
    let (evaluations, _) = timeline(&plan, &sampled);
    let with_alerts =
        evaluations.iter().rposition(|(_, alerts)| !alerts.is_empty()).expect("an alert is active");
    let falsified = |change: fn(&mut Vec<(String, f64)>)| {
        let mut falsified = evaluations.clone();
        change(&mut falsified[with_alerts].1);
        promtool(&folder("negative"), &unit_test(&plan, &sampled, &falsified)).0
    };
    assert!(!falsified(|alerts| alerts.truncate(alerts.len() - 1)), "a missing alert must be refused");
    assert!(!falsified(|alerts| alerts[0].1 += 1.0), "another value must be refused");
    assert!(
        !falsified(|alerts| alerts.push(("ALERTS{alertname=\"Nobody\"}".into(), 1.0))),
        "an extra alert must be refused"
    );
}
