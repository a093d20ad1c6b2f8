//! The summary at the end of a run: k6's layout, with alerts before thresholds and the verdict in the last lines.

mod paper;
mod timeline;

use crate::checklist::{sign, word};
use crate::figures;
use crate::record::{
    Check, Fault, LatencySummary, MessageClasses, Outcome, Phase, RunRecord, SloCheck, ThresholdCheck,
};
use paper::{Ink, Paper, Run, tied};
use std::io;

/// How to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whether the reader's terminal shows colours and wants them.
    pub colour: bool,
    /// The terminal's width; under 40 it is taken as 40.
    pub columns: usize,
    /// Where the full report lies, if it was written.
    pub report_path: Option<String>,
}

/// Widest phase name that others are aligned to.
const PHASE_COLUMNS_MAX: usize = 24;
/// Columns of a metric's name, dots included.
const METRIC_COLUMNS: usize = 27;

/// Writes the summary.
///
/// # Errors
/// Those of the writer.
pub fn write(record: &RunRecord, options: &Options, out: impl io::Write) -> io::Result<()> {
    let mut paper = Paper::new(out, options.columns, options.colour);
    head(record, &mut paper)?;
    phases(record, &mut paper)?;
    alerts(record, &mut paper)?;
    slos(&record.checks.slos, &mut paper)?;
    thresholds(&record.checks.thresholds, &mut paper)?;
    validity(&record.checks.validity, &mut paper)?;
    totals(record, &mut paper)?;
    warnings(&record.warnings, &mut paper)?;
    if !record.verdict.passed {
        timeline::write(record, &mut paper)?;
    }
    verdict(record, options, &mut paper)
}

fn head<W: io::Write>(record: &RunRecord, paper: &mut Paper<W>) -> io::Result<()> {
    let scenario = &record.scenario;
    let sets: String = scenario.overrides.iter().map(|set| format!("  --set {set}")).collect();
    let mut facts = format!("{sets}  seed {}   {}", scenario.seed, record.target);
    if let Some(engine) = &record.engine {
        facts += &format!("   engine {}, PromQL dialect {}", engine.kind, engine.dialect);
    }
    let title = Run(Ink::Strong, format!("loadgen {}  {}", record.tool_version, scenario.name));
    paper.entry(&[], 0, &[title, facts.into()])?;

    let honesty = &record.honesty;
    let mut parts = vec![match honesty.meaning.as_str() {
        "" => honesty.label.clone(),
        meaning => format!("{}: {meaning}", honesty.label),
    }];
    if !honesty.history.is_empty() {
        parts.push(format!("history {}", honesty.history));
    }
    if let Some(engine) = &record.engine {
        let digest: String = engine.rules_sha256.chars().take(6).collect();
        parts.push(format!("{} (sha256 {digest})", figures::plural(engine.rules_count, "rule")));
    }
    paper.entry(&[], 0, &[parts.join(" · ").into()])
}

fn phases<W: io::Write>(record: &RunRecord, paper: &mut Paper<W>) -> io::Result<()> {
    let longest = record.phases.iter().map(|phase| phase.name.chars().count()).max().unwrap_or(0);
    let longest = longest.clamp("connect".len(), PHASE_COLUMNS_MAX);
    let body_at = longest + 7;
    if let Some(connect) = &record.connect {
        let mut text = format!(
            "{} clients in {}, {} failed",
            figures::count(connect.clients),
            figures::duration(connect.connect_seconds),
            figures::count(connect.failed)
        );
        if connect.warmup_seconds > 0.0 {
            text += &format!("; warm-up {}", figures::duration(connect.warmup_seconds));
        }
        let mark = if connect.failed == 0 { Run(Ink::Good, "✓".into()) } else { "!".into() };
        paper.entry(&[format!("  {:longest$}  ", "connect").into(), mark], body_at, &[text.into()])?;
    }
    for phase in &record.phases {
        let healed = phase.faults.iter().all(|fault| fault.healed_wall_seconds.is_some());
        let mark = signed(if healed { Outcome::Passed } else { Outcome::Failed });
        let label = [format!("  {:longest$}  ", phase.name).into(), mark];
        paper.entry(&label, body_at, &[phase_text(phase).into()])?;
    }
    Ok(())
}

fn phase_text(phase: &Phase) -> String {
    let wall = figures::duration(phase.wall_end_seconds - phase.wall_begin_seconds);
    let mut text = if phase.factor == 1.0 {
        wall
    } else {
        format!("{wall} for {}", figures::duration(phase.rule_end_seconds - phase.rule_begin_seconds))
    };
    for fault in &phase.faults {
        text += &format!(", {}", fault_text(fault));
    }
    text + &format!(
        ", {} of {} planned",
        figures::rate(phase.load.sent_per_second),
        figures::rate(phase.load.planned_per_second)
    )
}

fn fault_text(fault: &Fault) -> String {
    let name = format!("{} {}", fault.name, fault.parameters);
    let name = name.trim_end();
    let Some(effective) = fault.effective_wall_seconds else {
        // The run was over before it was due.
        let nothing = if fault.proof.is_empty() { "not put in" } else { &fault.proof };
        return format!("{name} NOT IN FORCE ({nothing})");
    };
    let after = figures::duration(effective - fault.asked_wall_seconds);
    let end = if fault.healed_wall_seconds.is_some() { "healed" } else { "NOT PROVEN HEALED" };
    format!("{name} in force after {after}, {end}, {}", fault.proof)
}

fn alerts<W: io::Write>(record: &RunRecord, paper: &mut Paper<W>) -> io::Result<()> {
    let checks = &record.checks;
    if checks.alerts.is_empty() && checks.silence.is_empty() {
        return Ok(());
    }
    let honesty = &record.honesty;
    let mut terms = format!("   rule time, {}", honesty.label);
    if let Some(tolerance) = honesty.tolerance_seconds {
        terms += &format!(", +-{}", figures::duration(tolerance));
        if !honesty.tolerance_parts.is_empty() {
            terms += &format!(" ({})", honesty.tolerance_parts);
        }
    }
    if !honesty.detection_time_claimed {
        terms += ": no time to detect is claimed";
    }
    heading(paper, "ALERTS", terms)?;
    let mut last = None;
    for check in &checks.alerts {
        let about = (&check.alert, &check.cause);
        if last != Some(about) {
            let mut title = vec![Run(Ink::Strong, check.alert.clone().unwrap_or_default())];
            if let Some(cause) = &check.cause {
                title.push(format!("   cause: {cause}").into());
            }
            paper.entry(&[], 4, &title)?;
            last = Some(about);
        }
        judged(paper, check, 6, 28)?;
    }
    checks.silence.iter().try_for_each(|check| judged(paper, check, 4, 28))
}

/// A check in a line: sign, name, what was seen and wanted; under it why, if it did not hold.
fn judged<W: io::Write>(
    paper: &mut Paper<W>,
    check: &Check,
    indent: usize,
    body_at: usize,
) -> io::Result<()> {
    let label = [" ".repeat(indent).into(), signed(check.outcome), format!(" {}", check.name).into()];
    let mut body = vec![Run(weight(check.outcome), check.observed.clone())];
    if !check.bound.is_empty() {
        let separator = if check.observed.is_empty() { "" } else { ", " };
        body.push(format!("{separator}{}", check.bound).into());
    }
    if check.outcome == Outcome::NoData {
        body.push(Run(Ink::Bad, "  no data".into()));
    }
    if let Some(place) = check.place.as_ref().filter(|_| check.outcome.fails_the_run()) {
        body.push(wanted_by(place));
    }
    paper.entry(&label, body_at, &body)?;
    details(paper, &check.details, body_at)
}

fn details<W: io::Write>(paper: &mut Paper<W>, details: &[String], body_at: usize) -> io::Result<()> {
    details.iter().try_for_each(|detail| paper.entry(&[], body_at, &[detail.as_str().into()]))
}

fn slos<W: io::Write>(slos: &[SloCheck], paper: &mut Paper<W>) -> io::Result<()> {
    if slos.is_empty() {
        return Ok(());
    }
    heading(paper, "SLOS", "   clients, from intended send time".into())?;
    let body_at = 9 + slos.iter().map(|slo| slo.slo.chars().count()).max().unwrap_or(0);
    for slo in slos {
        let label = ["    ".into(), signed(slo.outcome), format!(" {}", slo.slo).into()];
        let mut body: Vec<Run> = Vec::new();
        for phase in slo.phases.iter().filter(|phase| phase.outcome != Outcome::NotJudged) {
            let separator = if body.is_empty() { "" } else { " · " };
            body.push(separator.into());
            let text = tied(&format!("{} {}", phase.phase, phase.observed));
            body.push(Run(weight(phase.outcome), text));
        }
        for phase in slo.phases.iter().filter(|phase| phase.outcome == Outcome::NotJudged) {
            let text = format!("({} {}, {})", phase.phase, phase.observed, word(phase.outcome));
            body.push(Run(Ink::Faint, format!("   {}", tied(&text))));
        }
        if let Some(place) = slo.place.as_ref().filter(|_| slo.outcome.fails_the_run()) {
            body.push(wanted_by(place));
        }
        paper.entry(&label, body_at, &body)?;
        details(paper, &slo.details, body_at)?;
    }
    Ok(())
}

fn thresholds<W: io::Write>(thresholds: &[ThresholdCheck], paper: &mut Paper<W>) -> io::Result<()> {
    if thresholds.is_empty() {
        return Ok(());
    }
    heading(paper, "THRESHOLDS", String::new())?;
    let longest = thresholds.iter().map(|threshold| threshold.metric.chars().count()).max().unwrap_or(0);
    let body_at = 7 + longest;
    let mut last: Option<&str> = None;
    for threshold in thresholds {
        let metric = if last == Some(&threshold.metric) { "" } else { &threshold.metric };
        last = Some(&threshold.metric);
        let mut body = vec![
            signed(threshold.outcome),
            format!(" '{}' ", threshold.expression).into(),
            Run(weight(threshold.outcome), threshold.observed.clone()),
        ];
        if let Some(place) = threshold.place.as_ref().filter(|_| threshold.outcome.fails_the_run()) {
            body.push(wanted_by(place));
        }
        paper.entry(&[format!("    {metric}").into()], body_at, &body)?;
        details(paper, &threshold.details, body_at)?;
    }
    Ok(())
}

/// Only what casts doubt on the run; a sound one says so in its verdict.
fn validity<W: io::Write>(checks: &[Check], paper: &mut Paper<W>) -> io::Result<()> {
    if checks.iter().all(|check| check.outcome == Outcome::Passed) {
        return Ok(());
    }
    heading(paper, "VALIDITY", "   is the run to be believed?".into())?;
    checks.iter().try_for_each(|check| judged(paper, check, 4, 28))
}

fn totals<W: io::Write>(record: &RunRecord, paper: &mut Paper<W>) -> io::Result<()> {
    heading(paper, "TOTAL RESULTS", String::new())?;
    let total = &record.total;
    if let Some(latency) = &total.latency {
        metric(paper, "ws_msg_latency", trend(latency))?;
    }
    if let Some(latency) = &total.latency_uncorrected {
        metric(paper, "ws_msg_latency_uncorrected", trend(latency))?;
    }
    let sent = figures::count(total.messages.sent());
    let sent = format!("{sent}  {}    {}", figures::rate(total.sent_per_second), became(&total.messages));
    metric(paper, "ws_msgs_sent", sent)?;
    let failures = &record.failures;
    for (name, reasons) in
        [("ws_msgs_refused", &failures.messages), ("ws_connect_failures", &failures.connects)]
    {
        if !reasons.is_empty() {
            metric(paper, name, figures::by_reason(reasons))?;
        }
    }
    let mut own = match &total.send_lag {
        Some(lag) => format!(
            "p(99)={} (void above {}) max={}    ",
            figures::milliseconds(lag.p99_ms),
            figures::milliseconds(lag.limit_ms),
            figures::milliseconds(lag.max_ms)
        ),
        None => "nothing was attempted    ".to_owned(),
    };
    own += &tied(&format!("generator {} CPU", figures::quantity(record.generator.cpu_cores)));
    if let Some(bytes) = record.generator.bytes_per_client {
        own += &format!(", {}", tied(&format!("{} B a client", figures::quantity(bytes))));
    }
    metric(paper, "send_lag", own)
}

fn metric<W: io::Write>(paper: &mut Paper<W>, name: &str, figures: String) -> io::Result<()> {
    let label = format!("    {name:.<METRIC_COLUMNS$}:");
    paper.entry(&[label.into()], METRIC_COLUMNS + 6, &[figures.into()])
}

/// k6's trend line, with the percentiles k6 leaves out.
fn trend(latency: &LatencySummary) -> String {
    let shown = [
        ("avg", latency.average_ms),
        ("min", latency.min_ms),
        ("med", latency.median_ms),
        ("max", latency.max_ms),
        ("p(90)", latency.p90_ms),
        ("p(95)", latency.p95_ms),
        ("p(99)", latency.p99_ms),
        ("p(99.9)", latency.p999_ms),
    ];
    shown.map(|(name, value)| format!("{name}={}", figures::milliseconds(value))).join(" ")
}

/// What became of the messages: the usual classes always, the others where there were any.
fn became(messages: &MessageClasses) -> String {
    let shown = [
        ("received", messages.delivered, true),
        ("lost", messages.lost, true),
        ("offline", messages.offline, true),
        ("refused", messages.refused, true),
        ("missed", messages.missed, false),
        ("blocked", messages.blocked, false),
        ("unconfirmed", messages.unconfirmed, false),
        ("expired", messages.expired, false),
        ("queued", messages.queued, false),
        ("duplicated", messages.duplicates, true),
        ("reordered", messages.reordered, true),
        ("late", messages.late, true),
    ];
    let shown = shown.into_iter().filter(|(_, number, always)| *always || *number > 0);
    let shown = shown.map(|(name, number, _)| tied(&format!("{name} {}", figures::count(number))));
    shown.collect::<Vec<_>>().join("   ")
}

fn warnings<W: io::Write>(warnings: &[String], paper: &mut Paper<W>) -> io::Result<()> {
    let label = || [Run(Ink::Strong, "  warning:".into())];
    warnings.iter().try_for_each(|warning| paper.entry(&label(), 11, &[warning.as_str().into()]))
}

fn verdict<W: io::Write>(record: &RunRecord, options: &Options, paper: &mut Paper<W>) -> io::Result<()> {
    let verdict = &record.verdict;
    let (ink, text) = if verdict.passed { (Ink::Good, "PASSED") } else { (Ink::Bad, "FAILED") };
    let label = [Run(ink, format!("{text}  exit {}", verdict.exit_code))];
    let report = options.report_path.as_ref().map(|path| Run::from(format!("report: {path}")));
    let mut body = vec![Run::from(verdict.reason.as_str())];
    if let Some(report) = report.clone().filter(|_| verdict.passed) {
        body.extend(["    ".into(), report]);
    }
    paper.entry(&label, 18, &body)?;
    for hint in &verdict.hints {
        paper.verbatim(&[format!("  {:<6} {}", hint.label, hint.command).into()])?;
    }
    match report.filter(|_| !verdict.passed) {
        Some(Run(ink, path)) => paper.verbatim(&[Run(ink, format!("  {path}"))]),
        None => Ok(()),
    }
}

/// Where a promise stands that was not kept.
fn wanted_by(place: &str) -> Run {
    Run(Ink::Faint, format!("   {}", tied(&format!("wanted by {place}"))))
}

fn heading<W: io::Write>(paper: &mut Paper<W>, title: &str, terms: String) -> io::Result<()> {
    paper.blank()?;
    paper.entry(&[], 2, &[Run(Ink::Strong, format!("█ {title}")), Run(Ink::Faint, terms)])
}

fn signed(outcome: Outcome) -> Run {
    let ink = match outcome {
        Outcome::Passed => Ink::Good,
        Outcome::Failed | Outcome::NoData => Ink::Bad,
        Outcome::NotJudged => Ink::Faint,
    };
    Run(ink, sign(outcome).to_owned())
}

fn weight(outcome: Outcome) -> Ink {
    if outcome.fails_the_run() { Ink::Bad } else { Ink::Plain }
}
