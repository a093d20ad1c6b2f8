//! The timeline of a failed run in characters: phases, faults, alerts and who was told, on one axis.

use super::paper::{Paper, clean};
use crate::figures;
use crate::record::{AlertInstance, AlertState, RunRecord};
use std::io;

/// Widest name shown whole.
const LABEL_COLUMNS_MAX: usize = 30;
/// Widest drawing; beyond it nothing is easier to see.
const PLOT_COLUMNS_MAX: usize = 80;

/// Wall seconds onto columns.
struct Axis {
    begin: f64,
    end: f64,
    columns: usize,
}

impl Axis {
    /// The column of a moment; the edge columns take what lies outside.
    fn column(&self, wall_seconds: f64) -> usize {
        let share = (wall_seconds - self.begin) / (self.end - self.begin);
        // A float-to-integer cast saturates; not-a-number becomes column 0.
        ((share * self.columns as f64) as usize).min(self.columns - 1)
    }
}

/// Writes the drawing under its heading; nothing in a run without phases.
pub(super) fn write<W: io::Write>(record: &RunRecord, paper: &mut Paper<W>) -> io::Result<()> {
    let (Some(first), Some(last)) = (record.phases.first(), record.phases.last()) else {
        return Ok(());
    };
    let rows = names(record);
    let longest = rows.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let label_columns = longest.min(LABEL_COLUMNS_MAX).min(paper.columns() / 3).max(5);
    let columns = (paper.columns() - label_columns - 7).min(PLOT_COLUMNS_MAX);
    let moments = record.alerts.iter().flat_map(|alert| &alert.instances).flat_map(|one| &one.transitions);
    let end = moments.map(|step| step.wall_seconds).fold(last.wall_end_seconds, f64::max);
    let axis = Axis { begin: first.wall_begin_seconds, end, columns };

    super::heading(paper, "TIMELINE", "   ░ pending  ▓ firing  F told: firing  r told: resolved".into())?;
    let row = |paper: &mut Paper<W>, name: &str, drawing: String| {
        let label = shortened(name, label_columns);
        paper.verbatim(&[format!("    {label:label_columns$}  {drawing}").into()])
    };
    row(paper, "", scale(record, &axis))?;
    row(paper, "phase", phases(record, &axis))?;
    for fault in record.phases.iter().flat_map(|phase| &phase.faults) {
        let mut cells = vec![' '; columns];
        if let Some(effective) = fault.effective_wall_seconds {
            fill(&mut cells, &axis, effective, fault.healed_wall_seconds.unwrap_or(end), '█');
        }
        row(paper, &fault.name, cells.into_iter().collect())?;
    }
    for alert in record.alerts.iter().filter(|alert| !alert.instances.is_empty()) {
        row(paper, &alert.name, states(&alert.instances, &axis))?;
    }
    for receiver in &record.receivers {
        row(paper, &format!("-> {receiver}"), told(record, receiver, &axis))?;
    }
    paper.blank()
}

/// Every row's name, to measure.
fn names(record: &RunRecord) -> Vec<String> {
    let faults = record.phases.iter().flat_map(|phase| &phase.faults).map(|fault| clean(&fault.name));
    let alerts =
        record.alerts.iter().filter(|alert| !alert.instances.is_empty()).map(|alert| clean(&alert.name));
    let receivers = record.receivers.iter().map(|receiver| clean(&format!("-> {receiver}")));
    faults.chain(alerts).chain(receivers).collect()
}

/// Rule time at the begin of each phase and at the end.
fn scale(record: &RunRecord, axis: &Axis) -> String {
    let mut line = String::new();
    let ends = record.phases.last().map(|last| (last.wall_end_seconds, last.rule_end_seconds));
    let begins = record.phases.iter().map(|phase| (phase.wall_begin_seconds, phase.rule_begin_seconds));
    for (wall, rule) in begins.chain(ends) {
        let label = figures::duration(rule);
        let column = axis.column(wall).min(axis.columns.saturating_sub(label.len()));
        if line.is_empty() || line.len() < column {
            line += &" ".repeat(column - line.len());
            line += &label;
        }
    }
    line
}

fn phases(record: &RunRecord, axis: &Axis) -> String {
    let mut cells = vec![' '; axis.columns];
    for phase in &record.phases {
        let (from, to) = (axis.column(phase.wall_begin_seconds), axis.column(phase.wall_end_seconds));
        let name = shortened(&clean(&phase.name), to.saturating_sub(from + 1));
        for (cell, character) in cells[from..].iter_mut().zip("|".chars().chain(name.chars())) {
            *cell = character;
        }
    }
    cells.into_iter().collect()
}

/// All instances of an alert in one row; where one fires, the row does.
fn states(instances: &[AlertInstance], axis: &Axis) -> String {
    let mut cells = vec![' '; axis.columns];
    for wanted in [AlertState::Pending, AlertState::Firing] {
        let mark = if wanted == AlertState::Firing { '▓' } else { '░' };
        for instance in instances {
            for (index, step) in instance.transitions.iter().enumerate() {
                if step.state == wanted {
                    let end = instance.transitions.get(index + 1).map_or(axis.end, |next| next.wall_seconds);
                    fill(&mut cells, axis, step.wall_seconds, end, mark);
                }
            }
        }
    }
    cells.into_iter().collect()
}

fn told(record: &RunRecord, receiver: &str, axis: &Axis) -> String {
    let mut cells = vec![' '; axis.columns];
    let mut never = true;
    for notification in record.notifications.iter().filter(|one| one.receiver == receiver) {
        never = false;
        let cell = &mut cells[axis.column(notification.wall_seconds)];
        if !notification.firing.is_empty() {
            *cell = 'F';
        } else if *cell != 'F' {
            *cell = 'r';
        }
    }
    if never { "(never told)".to_owned() } else { cells.into_iter().collect() }
}

/// At least one cell, so that nothing short disappears.
fn fill(cells: &mut [char], axis: &Axis, begin: f64, end: f64, mark: char) {
    let (from, to) = (axis.column(begin), axis.column(end));
    cells[from..=to.saturating_sub(1).max(from)].fill(mark);
}

/// The first `columns` characters, the last of them an ellipsis if something was cut.
fn shortened(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    if columns == 0 { kept } else { format!("{kept}…") }
}
