//! `loadgen explain FILE`: what would run, value by value, and what the rules are.

use super::ScenarioArguments;
use crate::prepare::{Prepared, prepare};
use crate::terminal;
use assertions::bounds::{self, Forecast, Notice, Window};
use scenarios::scenario::Scenario;
use scenarios::units::format_duration;
use std::fmt::{self, Write as _};
use std::time::Duration;

pub(super) fn explain(arguments: &ScenarioArguments) -> u8 {
    let prepared = match prepare(&arguments.file, &arguments.options()) {
        Ok(prepared) => prepared,
        Err(problems) => {
            return super::run::refuse(&problems, terminal::wants_colour(&std::io::stderr()));
        }
    };
    for warning in &prepared.warnings {
        let colour = terminal::wants_colour(&std::io::stderr());
        terminal::tell(warning.render(colour).trim_end());
    }
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, &prepared);
    super::print(&text)
}

fn write(text: &mut String, prepared: &Prepared) -> fmt::Result {
    let settings = &prepared.loaded.provenance;
    let width = settings.iter().map(|setting| setting.path.len()).max().unwrap_or(0).min(48);
    for setting in settings {
        writeln!(text, "{:<width$}  {}  ({})", setting.path, setting.value, setting.origin)?;
    }
    writeln!(text, "\nphases")?;
    for phase in &prepared.scenario().phases {
        writeln!(
            text,
            "  {:<12} {} on the wall stand for {} (x{})",
            phase.name.value,
            format_duration(phase.real),
            format_duration(phase.stands_for),
            phase.factor
        )?;
    }
    writeln!(text, "\nalerts ({})", prepared.alerts().count())?;
    for (_, alert) in prepared.alerts() {
        let place = alert.name.span.as_ref().map(ToString::to_string).unwrap_or_default();
        writeln!(text, "  {:<32} for {:<6} {place}", alert.name.value, format_duration(alert.hold))?;
    }
    for forecast in &prepared.forecasts {
        write_forecast(text, prepared.scenario(), forecast)?;
    }
    Ok(())
}

/// When an expected alert can come, rule time and wall time since the first phase, and what is left to each bound.
fn write_forecast(text: &mut String, scenario: &Scenario, forecast: &Forecast) -> fmt::Result {
    let moment = |at: Duration| {
        let wall = bounds::wall_time(scenario, at);
        format!("{} ({:.1} s)", whole_seconds(at), wall.as_secs_f64())
    };
    let (begin, end) = forecast.cause;
    writeln!(text, "\n{}: its cause lasts from {} to {}", forecast.alert, moment(begin), moment(end))?;
    writeln!(
        text,
        "  (earliest: it shows at once; latest: it shows when the rule's whole window lies within it)"
    )?;
    let windows = windows(forecast);
    let width = windows.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
    for (what, window) in windows {
        let latest = window.latest.map_or("not known".to_owned(), moment);
        writeln!(text, "  {what:<width$} earliest {:<22} latest {latest}", moment(window.earliest))?;
    }
    for margin in &forecast.margins {
        let left = match margin.seconds() {
            Some(seconds) if seconds < 0.0 => {
                format!("could come up to {} too late", whole_seconds(Duration::from_secs_f64(-seconds)))
            }
            Some(seconds) => format!("{} to spare", whole_seconds(Duration::from_secs_f64(seconds))),
            None => "depends on how the expression falls".into(),
        };
        writeln!(
            text,
            "  {:<width$} within {:<24} {left}",
            margin.kind.words(),
            format_duration(margin.bound)
        )?;
    }
    Ok(())
}

/// What can come, in the order of time, and when.
fn windows(forecast: &Forecast) -> Vec<(String, &Window)> {
    let pending = forecast.pending.iter().map(|pending| ("pending".to_owned(), pending));
    pending
        .chain([("firing".to_owned(), &forecast.firing)])
        .chain(told("notice", &forecast.notices))
        .chain([("resolved".to_owned(), &forecast.resolved)])
        .chain(told("resolved notice", &forecast.resolved_notices))
        .collect()
}

fn told<'a>(what: &'a str, notices: &'a [Notice]) -> impl Iterator<Item = (String, &'a Window)> {
    notices.iter().map(move |notice| (format!("{what} {}", notice.who), &notice.window))
}

fn whole_seconds(duration: Duration) -> String {
    format_duration(Duration::from_secs(duration.as_secs_f64().round() as u64))
}
