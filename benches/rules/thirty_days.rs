//! Thirty days of rule time through grid and engine.
//!
//! `cargo run --release -p benches --bin thirty-days [DAYS]`: 50 series scraped every 15 s, four burn-rate rules evaluated at every
//! scrape; 172,800 scrapes, 691,200 evaluations. Prints the time, samples and rules a second, the bytes that samples hold and the most
//! that the process did, and what fired, so that nothing is computed in vain. `thirty-days 3` stops after three days, to be counted by
//! callgrind.

use anyhow::{Context, Result, ensure};
use assertions::engine::{Engine, EngineSettings};
use assertions::exposition::{FamilyType, Sample};
use assertions::grid::{Grid, Outcome, Scrape};
use assertions::promql::ast::Dialect;
use assertions::rule;
use assertions::store::Store;
use assertions::time::Millis;
use benches::usage;
use scenarios::span::Source;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(15);
const SCRAPES_A_DAY: u32 = 86_400 / 15;

const RULES: &str = "
groups:
- name: burn
  rules:
  - {alert: Burn1h, expr: 'sum(rate(failed_total[1h])) / sum(rate(all_total[1h])) > 14.4 * 0.0001', for: 2m}
  - {alert: Burn6h, expr: 'sum(rate(failed_total[6h])) / sum(rate(all_total[6h])) > 6 * 0.0001', for: 15m}
  - {alert: Burn3d, expr: 'sum(rate(failed_total[3d])) / sum(rate(all_total[3d])) > 0.0001', for: 1h}
  - {alert: Budget, expr: 'sum(increase(failed_total[30d])) / sum(increase(all_total[30d])) > 0.00008', for: 5m}
";

fn main() -> Result<()> {
    let days: u32 =
        std::env::args().nth(1).map_or(Ok(30), |text| text.parse()).context("DAYS is a number")?;
    let scrapes = days * SCRAPES_A_DAY;
    let source = Arc::new(Source { name: "burn.yml".into(), text: RULES.into() });
    let Ok(loaded) = rule::load(&[source], Dialect::V2.into()) else {
        anyhow::bail!("the rules of this program do not load")
    };
    let settings = EngineSettings { evaluation_interval: INTERVAL, ..EngineSettings::default() };
    let mut engine = Engine::new(loaded.rules, settings);
    let mut store = Store::new();
    let mut grid = Grid::new("im-gateway", "gw-1:8080", INTERVAL);
    let mut samples = samples();
    let mut events = 0;
    let (start, cpu_before) = (Instant::now(), usage::cpu(std::process::id())?);
    for slot in 0..scrapes {
        advance(&mut samples, slot);
        let at = Millis::default().after(INTERVAL * slot);
        let scrape = Scrape {
            at,
            stretch: 1.0,
            duration: Duration::from_millis(3),
            outcome: Outcome::Answered(&samples),
        };
        grid.record(&mut store, &scrape)?;
        let evaluation = engine.evaluate(&mut store, at);
        ensure!(evaluation.errors.is_empty(), "a rule has no answer: {:?}", evaluation.errors);
        events += evaluation.events.len();
    }
    let (wall, cpu) = (start.elapsed(), usage::cpu(std::process::id())? - cpu_before);
    ensure!(events > 0, "nothing fired");
    let a_second = |count: u32| f64::from(count) / wall.as_secs_f64();
    println!("{scrapes} scrapes, {} series, {events} alert events", store.len());
    println!(
        "{:.2} s, {:.2} s CPU, {:.0} samples/s, {:.0} rules/s",
        wall.as_secs_f64(),
        cpu.as_secs_f64(),
        a_second(scrapes * samples.len() as u32),
        a_second(scrapes * 4)
    );
    println!("{} MiB of samples, {} MiB at most in all", store.bytes() >> 20, usage::peak()? >> 20);
    Ok(())
}

/// 25 counters of each kind.
fn samples() -> Vec<Sample<'static>> {
    let sample = |name: &'static str, node: usize| Sample {
        name: Cow::Borrowed(name),
        labels: vec![(Cow::Borrowed("node"), Cow::Owned(format!("gw-{node}")))],
        value: 0.0,
        timestamp: None,
        family: FamilyType::Counter,
    };
    (0..25).flat_map(|node| [sample("all_total", node), sample("failed_total", node)]).collect()
}

/// Some 15 messages a scrape and node; now and then an hour in which one in a hundred is lost, or a restart.
fn advance(samples: &mut [Sample<'_>], slot: u32) {
    let lossy = slot % 20_000 > 19_760;
    for (index, sample) in samples.iter_mut().enumerate() {
        let noise = f64::from(slot.wrapping_mul(2_654_435_761).wrapping_add(index as u32 * 40_503) >> 28);
        let grown = if index % 2 == 0 {
            100.0 + noise
        } else if lossy {
            1.0
        } else {
            0.0
        };
        sample.value = if slot % 50_000 == 49_999 { 0.0 } else { sample.value + grown };
    }
}
