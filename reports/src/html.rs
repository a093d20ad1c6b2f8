//! `report.html`: one file that shows a run to somebody who was not there.
//!
//! It asks nothing of the network, reads without scripts, follows the reader's light or dark, and prints. All text
//! is escaped by the template; drawings hold numbers only. The script adds a cursor with a readout and a switch
//! between light and dark, nothing else.

mod charts;
mod lanes;
mod scale;
mod tables;

use crate::checklist::{self, Item, Section, Tally};
use crate::figures;
use crate::record::{Outcome, RunRecord, SeriesPoint};
use askama::Template;
use charts::Chart;
use lanes::{BarLane, MarkLane};
use scale::{Tick, TimeAxis};
use std::io;
use tables::{AuditRow, LatencyRow, MessageRow, Told};

/// Writes the page.
///
/// # Errors
/// Those of the writer.
pub fn write(record: &RunRecord, mut out: impl io::Write) -> io::Result<()> {
    let page = Page::of(record).render().map_err(io::Error::other)?;
    out.write_all(visible(&page).as_bytes())
}

/// The page as the template sees it.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    record: &'a RunRecord,
    style: &'static str,
    script: &'static str,
    facts: Vec<(&'static str, String)>,
    key_figures: Vec<KeyFigure>,
    checks: Vec<CheckRow>,
    bands: Vec<Band>,
    wall_ticks: Vec<Tick>,
    rule_ticks: Vec<Tick>,
    charts: Vec<Chart>,
    seconds_per_point: usize,
    faults: Vec<BarLane>,
    alerts: Vec<BarLane>,
    silent: String,
    receivers: Vec<MarkLane>,
    told: Vec<Told>,
    audit: Vec<AuditRow>,
    messages: Vec<MessageRow>,
    latencies: Vec<LatencyRow>,
    generator: String,
    again: String,
    readout: String,
}

/// A figure at the head of the page.
struct KeyFigure {
    name: &'static str,
    value: String,
    note: String,
    bad: bool,
}

/// A check with its sign.
struct CheckRow {
    item: Item,
    /// What is judged, in bold.
    title: String,
    /// Of what, or what kind of check it is.
    about: String,
    class: &'static str,
    sign: &'static str,
    word: &'static str,
}

/// A phase behind the lanes.
struct Band {
    left: f64,
    width: f64,
    name: String,
    length: String,
    faulty: bool,
}

impl<'a> Page<'a> {
    fn of(record: &'a RunRecord) -> Page<'a> {
        let axis = TimeAxis::of(record);
        let (points, seconds_per_point) = charts::thinned(&record.series);
        let items = checklist::items(&record.checks);
        Page {
            record,
            style: include_str!("../templates/report.css"),
            script: include_str!("../templates/report.js"),
            facts: facts(record),
            key_figures: key_figures(record, &items),
            checks: check_rows(items),
            bands: bands(record, &axis),
            wall_ticks: axis.wall_ticks(),
            rule_ticks: axis.rule_ticks(record),
            charts: charts::charts(record, &points, &axis),
            seconds_per_point,
            faults: lanes::faults(record, &axis),
            alerts: lanes::alerts(record, &axis),
            silent: lanes::silent(record).join(", "),
            receivers: lanes::receivers(record, &axis),
            told: tables::told(record),
            audit: tables::audit(record),
            messages: tables::messages(record),
            latencies: tables::latencies(record),
            generator: generator(record),
            again: tables::again(&record.scenario),
            readout: readout(record, &points, &axis),
        }
    }

    /// A name in parts between which a line may break: before a capital that follows a small letter, after punctuation.
    fn parts(&self, name: &str) -> Vec<String> {
        let mut parts = vec![String::new()];
        let mut before = ' ';
        for character in name.chars() {
            let hump = before.is_lowercase() && character.is_uppercase();
            if hump || matches!(before, '_' | '-' | '/' | '.' | ',' | '{' | '=' | ':') {
                parts.push(String::new());
            }
            if let Some(part) = parts.last_mut() {
                part.push(character);
            }
            before = character;
        }
        parts
    }

    /// On which side of its tick a label stands, so that it keeps within the lane.
    fn side(&self, percent: &f64) -> &'static str {
        match *percent {
            percent if percent < 2.0 => "first",
            percent if percent > 98.0 => "last",
            _ => "",
        }
    }

    /// Percent as CSS and SVG take it.
    fn percent(&self, value: &f64) -> String {
        format!("{value:.3}%")
    }
}

/// How the verdict was obtained, as pairs of a list.
fn facts(record: &RunRecord) -> Vec<(&'static str, String)> {
    let honesty = &record.honesty;
    let mut facts = vec![("Target", record.target.clone())];
    facts.push(("Obtained", joined([&honesty.label, &honesty.meaning], ": ")));
    if let Some(engine) = &record.engine {
        let digest: String = engine.rules_sha256.chars().take(12).collect();
        let rules = figures::plural(engine.rules_count, "rule");
        facts.push((
            "Rules",
            format!("{rules} (sha256 {digest}), engine {}, PromQL dialect {}", engine.kind, engine.dialect),
        ));
    }
    if !honesty.history.is_empty() {
        facts.push(("History", honesty.history.clone()));
    }
    if let Some(tolerance) = honesty.tolerance_seconds {
        let parts = match honesty.tolerance_parts.as_str() {
            "" => String::new(),
            parts => format!(" ({parts})"),
        };
        let claim = if honesty.detection_time_claimed { "" } else { "; no time to detect is claimed" };
        facts.push(("Alert times", format!("±{} in rule time{parts}{claim}", figures::duration(tolerance))));
    }
    if let Some(connect) = &record.connect {
        let clients = figures::count(connect.clients);
        let length = figures::duration(connect.connect_seconds);
        let rate = figures::rate(connect.connects_per_second);
        let failed = figures::count(connect.failed);
        facts.push(("Clients", format!("{clients} in {length} ({rate}), {failed} failed")));
    }
    let failures = &record.failures;
    for (name, reasons) in
        [("Connects that failed", &failures.connects), ("Messages refused", &failures.messages)]
    {
        if !reasons.is_empty() {
            facts.push((name, figures::by_reason(reasons)));
        }
    }
    facts
}

fn generator(record: &RunRecord) -> String {
    let cpu = format!("{} CPU", figures::quantity(record.generator.cpu_cores));
    match record.generator.bytes_per_client {
        Some(bytes) => format!("{cpu}, {} B a client", figures::quantity(bytes)),
        None => cpu,
    }
}

fn joined(parts: [&str; 2], separator: &str) -> String {
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(separator)
}

fn key_figures(record: &RunRecord, items: &[Item]) -> Vec<KeyFigure> {
    let mut shown = Vec::new();
    for (section, name) in
        [(Section::Alerts, "Alert checks"), (Section::Slos, "SLOs"), (Section::Thresholds, "Thresholds")]
    {
        let Tally { passed, failed, not_judged } = checklist::tally(items, section);
        let total = passed + failed + not_judged;
        if total == 0 {
            continue;
        }
        let note = match (failed, not_judged) {
            (0, 0) => "passed".to_owned(),
            (0, open) => format!("passed, {open} not judged"),
            (failed, 0) => format!("passed, {failed} failed"),
            (failed, open) => format!("passed, {failed} failed, {open} not judged"),
        };
        shown.push(KeyFigure { name, value: format!("{passed} of {total}"), note, bad: failed > 0 });
    }
    let messages = &record.total.messages;
    shown.push(KeyFigure {
        name: "Delivered",
        value: figures::count(messages.delivered),
        note: format!(
            "of {} planned, {} lost",
            figures::count(messages.planned),
            figures::count(messages.lost)
        ),
        bad: false,
    });
    if let Some(latency) = &record.total.latency {
        shown.push(KeyFigure {
            name: "Latency p99",
            value: figures::milliseconds(latency.p99_ms),
            note: format!("whole run; median {}", figures::milliseconds(latency.median_ms)),
            bad: false,
        });
    }
    if let Some(lag) = &record.total.send_lag {
        shown.push(KeyFigure {
            name: "Send lag p99",
            value: figures::milliseconds(lag.p99_ms),
            note: format!("void above {}", figures::milliseconds(lag.limit_ms)),
            bad: lag.p99_ms > lag.limit_ms,
        });
    }
    shown
}

/// What failed first, then what was not judged, then the rest; each in the scenario's order.
fn check_rows(mut items: Vec<Item>) -> Vec<CheckRow> {
    items.sort_by_key(|item| match item.outcome {
        Outcome::Failed => 0,
        Outcome::NoData => 1,
        Outcome::NotJudged => 2,
        Outcome::Passed => 3,
    });
    let row = |item: Item| CheckRow {
        title: if item.name.is_empty() { item.subject.clone() } else { item.name.clone() },
        about: match (item.section, item.name.is_empty()) {
            (_, false) => item.subject.clone(),
            (Section::Alerts, true) => "alerts".to_owned(),
            (Section::Slos, true) => "SLO, as clients saw it".to_owned(),
            (Section::Thresholds, true) => "threshold".to_owned(),
            (Section::Validity, true) => "validity of the run".to_owned(),
        },
        class: match item.outcome {
            Outcome::Passed => "good",
            Outcome::Failed | Outcome::NoData => "bad",
            Outcome::NotJudged => "open",
        },
        sign: checklist::sign(item.outcome),
        word: checklist::word(item.outcome),
        item,
    };
    items.into_iter().map(row).collect()
}

fn bands(record: &RunRecord, axis: &TimeAxis) -> Vec<Band> {
    let band = |phase: &crate::record::Phase| {
        let left = axis.percent(phase.wall_begin_seconds);
        let wall = figures::duration(phase.wall_end_seconds - phase.wall_begin_seconds);
        Band {
            left,
            width: axis.percent(phase.wall_end_seconds) - left,
            name: phase.name.clone(),
            length: if phase.factor == 1.0 {
                wall
            } else {
                let rule = figures::duration(phase.rule_end_seconds - phase.rule_begin_seconds);
                format!("{wall} for {rule}")
            },
            faulty: !phase.faults.is_empty(),
        }
    };
    record.phases.iter().map(band).collect()
}

/// What the script shows beside the cursor: a place in percent and lines of name and value for each point, as JSON that
/// cannot end the script element it stands in.
fn readout(record: &RunRecord, points: &[SeriesPoint], axis: &TimeAxis) -> String {
    let latency = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), figures::milliseconds);
    let rows = points.iter().map(|point| {
        let rule = record
            .rule_seconds_at(point.wall_seconds)
            .filter(|_| record.phases.iter().any(|p| p.factor != 1.0));
        let phase = record.phase_at(point.wall_seconds).map_or("", |phase| phase.name.as_str());
        serde_json::json!([
            (axis.percent(point.wall_seconds) * 1000.0).round() / 1000.0,
            figures::duration(point.wall_seconds),
            rule.map(figures::duration),
            phase,
            figures::rate(point.planned_per_second),
            figures::rate(point.sent_per_second),
            figures::rate(point.received_per_second),
            latency(point.latency_p50_ms),
            latency(point.latency_p99_ms),
            latency(point.latency_p999_ms),
            figures::count(point.connected_clients),
        ])
    });
    serde_json::Value::from_iter(rows).to_string().replace('<', "\\u003c")
}

/// The page with control characters and directional marks made visible: they are invalid in HTML or would let a name
/// rewrite the line it stands in.
fn visible(page: &str) -> String {
    page.chars()
        .map(|character| match character {
            '\n' => '\n',
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            control if control.is_control() => '\u{fffd}',
            plain => plain,
        })
        .collect()
}
