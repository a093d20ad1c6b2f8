//! The same rule file and samples through our engine and through `promtool test rules`, turn by turn in one run.
//!
//! `cargo run --release -p benches --bin rules-beside-promtool [ROUNDS]`. Both read the rule file and the series, and evaluate
//! every rule at every interval. Prints the medians, rules and samples a second, and the ratio. Exit: 0, or 2 without promtool.

use anyhow::{Context, Result, ensure};
use assertions::engine::{Engine, EngineSettings};
use assertions::notation;
use assertions::promql::ast::Dialect;
use assertions::rule;
use assertions::store::Store;
use assertions::time::Millis;
use scenarios::span::Source;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NODES: usize = 25;
/// Six hours at 15 s.
const POINTS: usize = 1_440;
const INTERVAL: Duration = Duration::from_secs(15);

const RULES: &str = "
groups:
- name: burn
  rules:
  - {record: 'node:loss:ratio5m', expr: 'sum by (node) (rate(failed_total[5m])) / sum by (node) (rate(all_total[5m]))'}
  - {alert: Burn, expr: 'sum(rate(failed_total[1h])) / sum(rate(all_total[1h])) > 0.00144', for: 2m}
  - {alert: SlowBurn, expr: 'sum(rate(failed_total[6h])) / sum(rate(all_total[6h])) > 0.0006', for: 15m}
  - {alert: NodeLoss, expr: 'node:loss:ratio5m > 0.01', for: 1m}
  - {alert: Quiet, expr: 'sum(increase(all_total[10m])) == 0', for: 5m}
  - {alert: Gone, expr: 'absent(all_total)'}
  - {alert: Peak, expr: 'max_over_time(all_total[30m]) - min_over_time(all_total[30m]) > 1e9'}
  - {alert: Uneven, expr: 'rate(all_total[5m]) > 3 * scalar(avg(rate(all_total[5m])))'}
";
const RULE_COUNT: usize = 8;

fn main() -> Result<()> {
    let rounds: usize =
        std::env::args().nth(1).map_or(Ok(5), |text| text.parse()).context("ROUNDS is a number")?;
    let folder = std::env::temp_dir().join(format!("rules-beside-promtool-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = compare(&folder, rounds.max(1));
    std::fs::remove_dir_all(&folder)?;
    outcome
}

fn compare(folder: &Path, rounds: usize) -> Result<()> {
    let series = series();
    std::fs::write(folder.join("rules.yml"), RULES)?;
    std::fs::write(folder.join("test.yml"), unit_test(&series))?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        theirs.push(promtool(folder)?);
        ours.push(engine(&folder.join("rules.yml"), &series)?);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let evaluations = (RULE_COUNT * POINTS) as f64;
    let samples = (series.len() * POINTS) as f64;
    let row = |name: &str, time: Duration| {
        let seconds = time.as_secs_f64();
        println!(
            "{name:10} {seconds:8.3} s  {:10.0} rules/s  {:10.0} samples/s",
            evaluations / seconds,
            samples / seconds
        );
    };
    println!("{RULE_COUNT} rules, {POINTS} evaluations, {} series, medians of {rounds}", series.len());
    row("promtool", theirs);
    row("engine", ours);
    println!("ratio      {:8.1}", theirs.as_secs_f64() / ours.as_secs_f64());
    Ok(())
}

/// Names and points, as test files have them.
fn series() -> Vec<(String, String)> {
    let mut series = Vec::new();
    for node in 0..NODES {
        for (name, growth) in [("all_total", 100), ("failed_total", 1)] {
            let mut value = 0;
            let points = (0..POINTS).map(|point| {
                value += growth + (point * 7 + node) % 5;
                value.to_string()
            });
            let points: Vec<String> = points.collect();
            series.push((format!("{name}{{node=\"gw-{node}\"}}"), points.join(" ")));
        }
    }
    series
}

fn unit_test(series: &[(String, String)]) -> String {
    let mut text =
        "rule_files: [rules.yml]\nevaluation_interval: 15s\ntests:\n- interval: 15s\n  input_series:\n"
            .to_string();
    for (name, points) in series {
        let _infallible = writeln!(text, "  - {{series: '{name}', values: '{points}'}}");
    }
    let end = INTERVAL.as_secs() as usize * (POINTS - 1);
    let _infallible = writeln!(text, "  alert_rule_test:\n  - {{alertname: Gone, eval_time: {end}s}}");
    text
}

fn promtool(folder: &Path) -> Result<Duration> {
    let start = Instant::now();
    let output = Command::new("promtool").args(["test", "rules", "test.yml"]).current_dir(folder).output();
    let output = output.context("promtool is missing; it comes with Prometheus")?;
    let took = start.elapsed();
    ensure!(output.status.success(), "promtool: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

fn engine(rules: &Path, series: &[(String, String)]) -> Result<Duration> {
    let start = Instant::now();
    let text = std::fs::read_to_string(rules)?;
    let source = Arc::new(Source { name: "rules.yml".into(), text });
    let Ok(loaded) = rule::load(&[source], Dialect::V2.into()) else {
        anyhow::bail!("the rules do not load")
    };
    let read = series.iter().map(|(name, points)| Ok((notation::labels(name)?, notation::points(points)?)));
    let read: Vec<_> = read.collect::<Result<_>>()?;
    let mut engine = Engine::new(
        loaded.rules,
        EngineSettings { evaluation_interval: INTERVAL, ..EngineSettings::default() },
    );
    let mut store = Store::new();
    for index in 0..POINTS {
        let at = Millis::default().after(INTERVAL * u32::try_from(index)?);
        for (labels, points) in &read {
            if let Some(Some(value)) = points.get(index) {
                store.append(labels, at, *value)?;
            }
        }
        let evaluation = engine.evaluate(&mut store, at);
        ensure!(evaluation.errors.is_empty(), "a rule has no answer: {:?}", evaluation.errors);
    }
    Ok(start.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
