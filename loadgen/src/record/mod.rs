//! From facts to the record of a run: judged, then written in every form.
//!
//! The record is plain data of `reports`; nothing of the inner types is serialised. One verdict stands in all forms.

mod alerts;
mod audit;
mod figures;
mod judge;
mod validity;

use crate::conduct::{Cut, Facts};
use crate::prepare::Prepared;
use crate::run::Settings;
use crate::terminal;
use assertions::exit::{self, Finding};
use reports::record::{self, Fact, Honesty, RunRecord};
use scenarios::scenario::Clock;
use scenarios::units::format_duration;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;
use wire::time::Time;

/// The whole record of a run.
pub fn tell(
    prepared: &Prepared,
    settings: &Settings,
    run_id: &str,
    started: jiff::Timestamp,
    facts: &Facts,
) -> RunRecord {
    let scenario = prepared.scenario();
    let judged = judge::judge(prepared, settings, facts);
    let wall = |at: Time| at.since(facts.start).as_secs_f64();
    let (total_counts, total_figures) = facts.figures.total();
    let traffic_seconds = facts.phases.iter().map(|log| log.end.since(log.begin).as_secs_f64()).sum();
    RunRecord {
        schema: record::SCHEMA,
        tool_version: env!("CARGO_PKG_VERSION").into(),
        run_id: run_id.into(),
        started_at: started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        wall_seconds: wall(facts.end),
        scenario: record::Scenario {
            name: scenario.name.clone(),
            path: settings.path.display().to_string(),
            sha256: prepared.scenario_sha256.clone(),
            seed: scenario.seed,
            clock: match scenario.clock.value {
                Clock::Real => record::Clock::Real,
                Clock::Stretched => record::Clock::Stretched,
            },
            overrides: settings.sets.clone(),
        },
        target: "own gateway".into(),
        engine: Some(record::Engine {
            kind: "embedded".into(),
            dialect: "2".into(),
            rules_count: prepared.alerts().count() as u64,
            rules_sha256: prepared.rules_sha256.clone(),
        }),
        honesty: honesty(prepared, facts),
        environment: environment(),
        connect: Some(record::Connect {
            clients: facts.clients_in,
            failed: facts.failed_at_first,
            connect_seconds: facts.connected.since(facts.start).as_secs_f64(),
            connects_per_second: rate(facts.clients_in, facts.connected.since(facts.start)),
            warmup_seconds: facts.first_phase.since(facts.connected).as_secs_f64(),
        }),
        phases: figures::phases(prepared, facts, &wall),
        total: figures::load(&total_counts, &total_figures, traffic_seconds),
        failures: record::Failures {
            connects: facts
                .figures
                .connect_errors
                .iter()
                .map(|(why, count)| (why.to_string(), *count))
                .collect(),
            messages: facts.figures.refusals.clone(),
        },
        generator: record::Generator {
            cpu_cores: facts.cpu.as_secs_f64() / wall(facts.end).max(1e-9),
            bytes_per_client: facts.bytes_per_client,
        },
        series: figures::series(facts),
        alerts: alerts::alerts(prepared, facts),
        receivers: alerts::receivers(prepared, facts),
        notifications: alerts::notifications(facts),
        audit: audit::audit(&settings.out.join(run_id)),
        checks: judged.checks,
        verdict: record::Verdict {
            passed: judged.code == exit::PASSED,
            exit_code: judged.code,
            reason: judged.reason,
            hints: hints(settings, scenario.seed, judged.code),
        },
        warnings: prepared
            .warnings
            .iter()
            .map(|problem| problem.summary.clone())
            .chain(facts.incidents.clone())
            .chain(judges_nothing(prepared))
            .chain(blind_alerts(facts))
            .collect(),
    }
}

/// A warning for a scenario whose run passes whatever happens.
fn judges_nothing(prepared: &Prepared) -> Option<String> {
    let scenario = prepared.scenario();
    let has_rules = prepared.alerts().next().is_some();
    let judges = has_rules || !scenario.expect.slos.is_empty() || !scenario.thresholds.is_empty();
    (!judges).then(|| "nothing was judged: the scenario has no rules, no SLOs and no thresholds".to_owned())
}

/// Alerts that could not fire, because what they read is not there.
fn blind_alerts(facts: &Facts) -> Vec<String> {
    if facts.watch.scrapes == 0 {
        return Vec::new();
    }
    let reads_nothing = facts.watch.reads_nothing().into_iter();
    reads_nothing
        .map(|(alert, metric)| {
            format!("{alert} reads `{metric}`, which the target never exposed: its silence proves nothing")
        })
        .collect()
}

fn rate(count: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

fn honesty(prepared: &Prepared, facts: &Facts) -> Honesty {
    let scenario = prepared.scenario();
    let is_stretched = scenario.clock.value == Clock::Stretched;
    let factor = scenario.phases.iter().map(|phase| phase.factor).fold(1.0, f64::max);
    let real: Duration = scenario.phases.iter().map(|phase| phase.real).sum();
    let stands_for: Duration = scenario.phases.iter().map(|phase| phase.stands_for).sum();
    let faults = scenario.phases.iter().flat_map(|phase| &phase.faults);
    let delay = faults.map(|fault| crate::faults::socket_delay(&fault.kind)).max().unwrap_or_default();
    let tolerance = judge::tolerance(scenario);
    let mut parts = format!(
        "scrape {} + evaluation {}",
        format_duration(scenario.alerts.scrape_interval.value),
        format_duration(scenario.alerts.evaluation_interval.value)
    );
    if !delay.is_zero() {
        parts += &format!(" + {} x{factor}", format_duration(delay));
    }
    let history =
        facts.watch.history.map(|length| format!("{} synthetic, from warm-up", format_duration(length)));
    Honesty {
        label: if is_stretched { format!("stretched x{factor}") } else { "real clock".into() },
        meaning: if is_stretched {
            format!("{} stand for {}", format_duration(real), format_duration(stands_for))
        } else {
            String::new()
        },
        history: history.unwrap_or_default(),
        tolerance_seconds: is_stretched.then(|| tolerance.at(factor, delay).as_secs_f64()),
        tolerance_parts: if is_stretched { parts } else { String::new() },
        detection_time_claimed: !is_stretched,
    }
}

fn environment() -> Vec<Fact> {
    let read =
        |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let fact = |name: &str, value: String| Fact { name: name.into(), value };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![fact("kernel", read("/proc/sys/kernel/osrelease")), fact("cores", cores.to_string())]
}

fn hints(settings: &Settings, seed: u64, code: u8) -> Vec<record::Hint> {
    if code == exit::PASSED {
        return Vec::new();
    }
    let mut command = format!("loadgen run {} --seed {seed}", quoted(&settings.path.display().to_string()));
    if let Some(env) = &settings.env {
        command += &format!(" --env {}", quoted(env));
    }
    for set in settings.sets.iter().filter(|set| !set.starts_with("seed=")) {
        command += &format!(" --set {}", quoted(set));
    }
    if settings.no_faults {
        command += " --no-faults";
    }
    vec![record::Hint { label: "again".into(), command }]
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Why the run came to its code, in one line.
fn reason(findings: &[Finding], facts: &Facts, checks: &record::Checks) -> String {
    let failed =
        |checks: &[record::Check]| checks.iter().filter(|check| check.outcome.fails_the_run()).count();
    let alerts = checks.alerts.len() + checks.silence.len();
    let slos = checks.slos.iter().filter(|check| check.outcome.fails_the_run()).count();
    let thresholds = checks.thresholds.iter().filter(|check| check.outcome.fails_the_run()).count();
    match exit::deciding(findings) {
        None => format!(
            "{alerts} alert checks, {} SLOs, {} thresholds",
            checks.slos.len(),
            checks.thresholds.len()
        ),
        Some(Finding::NotHealed) => format!("a fault is not proven healed: {}", facts.unhealed.join("; ")),
        Some(Finding::Interrupted) => "interrupted; judged is what there was until then".into(),
        Some(Finding::Void) => format!("the run is void: {}", doubts(checks)),
        Some(Finding::ToolFailed) => format!("loadgen itself failed: {}", doubts(checks)),
        Some(_) => match &facts.cut {
            Some(Cut::ActiveBeforeFault(names)) => {
                format!("stopped before the first fault: {} was pending or firing", names.join(", "))
            }
            _ => {
                let judged = format!(
                    "{} of {alerts} alert checks failed; {slos} of {} SLOs and {thresholds} of {} thresholds failed",
                    failed(&checks.alerts) + failed(&checks.silence),
                    checks.slos.len(),
                    checks.thresholds.len()
                );
                match doubts(checks) {
                    doubts if doubts.is_empty() => judged,
                    doubts => format!("{doubts}; {judged}"),
                }
            }
        },
    }
}

/// The failed checks of whether the run took place as planned: `send lag p99 31ms in slow`.
fn doubts(checks: &record::Checks) -> String {
    let failed = checks.validity.iter().filter(|check| check.outcome.fails_the_run());
    failed.map(|check| format!("{} {}", check.name, check.observed)).collect::<Vec<_>>().join(", ")
}

/// The exit code alone, where the user will not wait for a report.
pub fn exit_code(prepared: &Prepared, settings: &Settings, facts: &Facts) -> u8 {
    judge::judge(prepared, settings, facts).code
}

/// Writes every form of the record into `folder`, and the summary to standard output.
pub fn write(record: &RunRecord, folder: &Path, settings: &Settings) -> io::Result<()> {
    let file = |name: &str| File::create(folder.join(name)).map(BufWriter::new);
    let mut json = file("result.json")?;
    reports::json::write(record, &mut json)?;
    json.flush()?;
    let mut junit = file("junit.xml")?;
    reports::junit::write(record, &mut junit)?;
    junit.flush()?;
    let mut markdown = file("summary.md")?;
    reports::markdown::write(record, &mut markdown)?;
    markdown.flush()?;
    let mut html = file("report.html")?;
    reports::html::write(record, &mut html)?;
    html.flush()?;
    if settings.quiet {
        return Ok(());
    }
    let options = reports::terminal::Options {
        colour: terminal::wants_colour(&io::stdout()),
        columns: terminal::columns(),
        report_path: Some(folder.join("report.html").display().to_string()),
    };
    let mut summary = Vec::new();
    reports::terminal::write(record, &options, &mut summary)?;
    // The files hold all of it, so a summary that nobody can read changes neither verdict nor code.
    terminal::print(&String::from_utf8_lossy(&summary));
    Ok(())
}
