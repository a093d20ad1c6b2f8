//! From the merged tree to a [`Scenario`], by hand, collecting every problem on the way.
//!
//! Each part has its file. Nothing here reads a file or asks what an alert is called.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::pack::Pack;
use crate::problem::{Problem, nearest};
use crate::scenario::*;
use crate::span::{Span, Spanned};
use crate::units::{self, UnitError};
use crate::yaml::{Node, Value};

mod alerts;
mod expect;
pub(crate) mod fields;
mod load;
mod phases;
mod target;
mod thresholds;

use fields::{Context, Fields};

/// Version of the language that this crate reads.
const VERSION: u64 = 1;

/// The names of phases and of their faults, as far as they could be read, with their indexes.
pub(crate) struct Names {
    /// Names of phases, by index.
    pub(crate) phases: Vec<String>,
    /// Names of each phase's faults.
    pub(crate) faults: Vec<Vec<String>>,
}

impl Names {
    /// The index of a phase, or a problem with the nearest name.
    fn phase(&self, name: &str, place: &Span, cx: &Context) -> Option<usize> {
        let found = self.phases.iter().position(|phase| phase == name);
        if found.is_none() {
            cx.report(unknown("phase", name, self.phases.iter().map(String::as_str), place));
        }
        found
    }

    /// A list of phases, one phase, or `all`.
    fn phase_set(&self, fields: &Fields<'_>, node: &Node) -> PhaseSet {
        if node.text() == Some("all") {
            return PhaseSet::All;
        }
        let texts = fields.texts_of(node).into_iter();
        let index = |text: Spanned<String>| {
            let span = text.span?;
            Some(Spanned::at(self.phase(&text.value, &span, fields.cx)?, span))
        };
        PhaseSet::These(texts.filter_map(index).collect())
    }

    /// The phases under `key`; all of them if it is absent.
    fn during(&self, fields: &Fields<'_>, key: &str) -> PhaseSet {
        fields.get(key).map_or(PhaseSet::All, |node| self.phase_set(fields, node))
    }
}

/// A problem for a name that is not among the known ones.
fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    place: &Span,
) -> Problem {
    let problem = Problem::error(format!("no {what} `{name}`"), place.clone());
    // What could not be read has no name.
    let known = known.filter(|name| !name.is_empty());
    match nearest(name, known.clone()) {
        Some(name) => problem.hint(format!("did you mean `{name}`?")),
        None if known.clone().next().is_none() => problem.hint("there is none yet"),
        None => problem.hint(format!("there are: {}", known.take(12).collect::<Vec<_>>().join(", "))),
    }
}

/// The scenario in `root`; `None` if something is missing or unreadable, in which case a problem says so.
///
/// `stem` is its name unless it has one; `pack` is the pack it names, if that was found.
pub(crate) fn scenario(cx: &Context, root: &Node, stem: &str, pack: Option<&Pack>) -> Option<Scenario> {
    let fields = Fields::new(cx, root, "");
    version(&fields);
    let alerts = alerts::lower(&fields.map("alerts"), pack);
    let population = load::population(&fields);
    let traffic = load::traffic(&fields, &population);
    let target = target::lower(&fields);
    let clock = phases::clock(&fields);
    let interval = alerts.as_ref().map(|alerts| alerts.scrape_interval.value);
    let ramp = load::longest_ramp(&population, &traffic);
    let (phases, names) = phases::lower(&fields, clock.as_ref().map(|clock| clock.value), interval, ramp);
    phases::check_target(cx, &phases, target.as_ref());
    let alerts = alerts.map(|alerts| alerts::silences(&fields.map("alerts"), &names, alerts));
    let expect = expect::lower(&fields.map("expect"), &names);
    let thresholds = thresholds::lower(&fields, &names);
    let history = history(&fields.map("history"));
    let seed = fields.read("seed", fields::integer);
    let times = ["settle", "settle_max", "late_after"].map(|key| fields.read(key, units::duration));
    let [settle, settle_max, late_after] = times.map(|time| time.map(|time| time.value));
    let name = fields.word("name");
    let pack_name = fields.word("pack");
    let starts_at = starts_at(&fields, clock.as_ref());
    // Everything has been read, so nothing wrong goes unreported; only now may something missing end it.
    Some(Scenario {
        name: name.map_or_else(|| stem.to_owned(), |name| name.value),
        seed: seed?.value,
        clock: clock?,
        starts_at,
        history: history?,
        target: target?,
        pack: pack_name,
        alerts: alerts?,
        population,
        traffic,
        settle: settle?,
        settle_max: settle_max?,
        late_after: late_after?,
        phases,
        expect: expect?,
        thresholds,
    })
}

fn history(fields: &Fields<'_>) -> Option<History> {
    let warmup = fields.read("warmup", units::duration);
    let length = fields.read("length", units::duration);
    Some(History { warmup: warmup?.value, length })
}

fn version(fields: &Fields<'_>) {
    let Some(version) = fields.read("version", fields::integer) else { return };
    if version.value != VERSION {
        let place = version.span.unwrap_or_else(|| fields.place());
        let problem =
            Problem::error(format!("version {} of the language is not known", version.value), place);
        fields.cx.report(
            problem.hint(format!("this loadgen reads version {VERSION}; a newer one reads newer files")),
        );
    }
}

fn starts_at(fields: &Fields<'_>, clock: Option<&Spanned<Clock>>) -> Option<Spanned<jiff::Timestamp>> {
    let timestamp = |text: &str| {
        text.parse::<jiff::Timestamp>().map_err(|_| UnitError {
            summary: format!("`{text}` is not a timestamp"),
            hint: "write it as `2026-01-01T00:00:00Z`".to_owned(),
        })
    };
    let found = fields.read("starts_at", timestamp)?;
    if clock.is_some_and(|clock| clock.value == Clock::Real) {
        let place = found.span.clone().unwrap_or_else(|| fields.place());
        let problem = Problem::error("`starts_at` on the real clock, which cannot be set", place);
        fields.cx.report(problem.hint("remove it, or give the phases a `stands_for`"));
    }
    Some(found)
}

/// A path as the scenario writes it, relative to the file that names it.
fn file_ref(text: &Spanned<String>) -> FileRef {
    let folder = text.span.as_ref().map(|span| crate::load::folder_of(&span.source)).unwrap_or_default();
    FileRef { path: folder.join(&text.value), embedded: None }
}

#[cfg(test)]
mod tests;
