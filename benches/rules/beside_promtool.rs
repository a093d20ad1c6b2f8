//! The same rule file and samples through our engine and through `promtool test rules`, turn by turn in one run.
//!
//! `cargo run --release -p benches --bin rules-beside-promtool [ROUNDS]`. Each side is a process of its own that reads the rule file and
//! the test file with the series, and evaluates every rule at every interval. Prints the medians of wall and CPU time, rules and
//! samples a second, and the ratios. Exit: 0; 1 if promtool is missing or a side fails the test.

use anyhow::{Context, Result, ensure};
use assertions::promql::ast::Dialect;
use assertions::rule;
use assertions::rule_test::run::run;
use assertions::rule_test::{Filter, TestFile};
use benches::usage;
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

const RULES: &str = include_str!("rules.yml");
const RULE_COUNT: usize = 8;
const RULE_FILE: &str = "rules.yml";
const TEST_FILE: &str = "test.yml";
/// The word that makes this program the engine's side.
const ENGINE: &str = "engine";

/// What one run of one side took.
#[derive(Clone, Copy)]
struct Took {
    wall: Duration,
    cpu: Duration,
}

fn main() -> Result<()> {
    let first = std::env::args().nth(1);
    if first.as_deref() == Some(ENGINE) {
        return engine();
    }
    let rounds: usize = first.map_or(Ok(5), |text| text.parse()).context("ROUNDS is a number")?;
    let folder = std::env::temp_dir().join(format!("rules-beside-promtool-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = compare(&folder, rounds.max(1));
    std::fs::remove_dir_all(&folder)?;
    outcome
}

fn compare(folder: &Path, rounds: usize) -> Result<()> {
    std::fs::write(folder.join(RULE_FILE), RULES)?;
    std::fs::write(folder.join(TEST_FILE), unit_test())?;
    let ourselves = std::env::current_exe()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut promtool = Command::new("promtool");
        promtool.args(["test", "rules", TEST_FILE]);
        theirs.push(timed(promtool, folder).context("promtool comes with Prometheus")?);
        let mut engine = Command::new(&ourselves);
        engine.arg(ENGINE);
        ours.push(timed(engine, folder)?);
    }
    println!("{RULE_COUNT} rules, {POINTS} evaluations, {} series, medians of {rounds}", 2 * NODES);
    let (ours, theirs) = (medians(&ours), medians(&theirs));
    row("promtool", theirs);
    row("engine", ours);
    let ratio = |theirs: Duration, ours: Duration| theirs.as_secs_f64() / ours.as_secs_f64();
    println!(
        "ratio      {:8.1} wall  {:8.1} CPU",
        ratio(theirs.wall, ours.wall),
        ratio(theirs.cpu, ours.cpu)
    );
    Ok(())
}

fn row(name: &str, took: Took) {
    let (wall, cpu) = (took.wall.as_secs_f64(), took.cpu.as_secs_f64());
    println!(
        "{name:10} {wall:8.3} s  {cpu:8.3} s CPU  {:10.0} rules/s  {:10.0} samples/s",
        (RULE_COUNT * POINTS) as f64 / wall,
        (2 * NODES * POINTS) as f64 / wall
    );
}

/// 25 series of each of two counters, and one check that all of it was evaluated.
fn unit_test() -> String {
    let mut text = format!(
        "rule_files: [{RULE_FILE}]\nevaluation_interval: 15s\ntests:\n- interval: 15s\n  input_series:\n"
    );
    for node in 0..NODES {
        for (name, growth) in [("all_total", 100), ("failed_total", 1)] {
            let _infallible = write!(text, "  - {{series: '{name}{{node=\"gw-{node}\"}}', values: '");
            let mut value = 0;
            for point in 0..POINTS {
                value += growth + (point * 7 + node) % 5;
                let _infallible = write!(text, "{value} ");
            }
            text.push_str("'}\n");
        }
    }
    let end = INTERVAL.as_secs() as usize * (POINTS - 1);
    // The nodes lose about 3 in 102: both burn alerts have fired since their `for` was over.
    let _infallible = write!(
        text,
        "  promql_expr_test:
  - {{expr: 'count(ALERTS{{alertstate=\"firing\"}})', eval_time: {end}s, exp_samples: [{{labels: '{{}}', value: {}}}]}}
",
        NODES + 2
    );
    text
}

fn timed(mut command: Command, folder: &Path) -> Result<Took> {
    let (start, cpu_before) = (Instant::now(), usage::cpu_of_children()?);
    let output = command.current_dir(folder).output()?;
    let took = Took { wall: start.elapsed(), cpu: usage::cpu_of_children()?.saturating_sub(cpu_before) };
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
    Ok(took)
}

/// The engine's side, in the folder of the two files.
fn engine() -> Result<()> {
    let Ok(test) = TestFile::read(read(TEST_FILE)?, Dialect::V2.into()) else {
        anyhow::bail!("the test file cannot be read")
    };
    let Ok(loaded) = rule::load(&[read(RULE_FILE)?], Dialect::V2.into()) else {
        anyhow::bail!("the rules do not load")
    };
    for outcome in run(&test.file, &loaded.rules, Dialect::V2, &Filter::default()) {
        ensure!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    }
    Ok(())
}

fn read(name: &str) -> Result<Arc<Source>> {
    Ok(Arc::new(Source { name: name.into(), text: std::fs::read_to_string(name)? }))
}

/// The medians of both, each by itself.
fn medians(took: &[Took]) -> Took {
    let median = |of: fn(&Took) -> Duration| {
        let mut times: Vec<Duration> = took.iter().map(of).collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    Took { wall: median(|took| took.wall), cpu: median(|took| took.cpu) }
}
