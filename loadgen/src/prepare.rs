//! Everything that is read and checked before anything is started.

use assertions::alertmanager::Alertmanager;
use assertions::rule::{self, Group, Rule};
use assertions::threshold;
use scenarios::problem::{Problem, Problems, nearest};
use scenarios::scenario::{FileRef, Notifies, Scenario};
use scenarios::span::{Source, Spanned};
use scenarios::{Loaded, Options};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;

/// A scenario with its rules and routes, ready to run.
#[derive(Debug)]
pub struct Prepared {
    /// The scenario and where its values come from.
    pub loaded: Loaded,
    /// SHA-256 of the scenario's file, lower-case hex.
    pub scenario_sha256: String,
    /// Rules, in the order of the files.
    pub groups: Vec<Group>,
    /// SHA-256 over the rule files, lower-case hex.
    pub rules_sha256: String,
    /// Routes; `None` where nobody is told of anything.
    pub routes: Option<Arc<Alertmanager>>,
    /// What the user should know.
    pub warnings: Vec<Problem>,
}

impl Prepared {
    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.loaded.scenario
    }

    /// All rules in order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.groups.iter().flat_map(|group| &group.rules)
    }
}

/// Reads a scenario, its rules and routes, and holds them against each other. Errors: everything found wrong, in all files.
pub fn prepare(path: &Path, options: &Options) -> Result<Prepared, Problems> {
    let loaded = scenarios::load(path, options)?;
    let mut problems: Vec<Problem> = loaded.problems.0.clone();
    let mut hash = Sha256::new();
    let mut groups = Vec::new();
    for file in &loaded.scenario.alerts.rules {
        let Some(source) = read(file, &mut problems) else { continue };
        hash.update(source.text.as_bytes());
        match rule::read(source) {
            Ok((read, warnings)) => {
                groups.extend(read);
                problems.extend(warnings);
            }
            Err(found) => problems.extend(found),
        }
    }
    let routes = loaded.scenario.alerts.alertmanager.as_ref().and_then(|file| {
        let source = read(file, &mut problems)?;
        match Alertmanager::parse(source) {
            Ok((routes, warnings)) => {
                problems.extend(warnings);
                Some(Arc::new(routes))
            }
            Err(found) => {
                problems.extend(found);
                None
            }
        }
    });
    let rules_are_sound = !Problems(problems.clone()).has_errors();
    if rules_are_sound {
        check_names(&loaded.scenario, &groups, routes.as_deref(), &mut problems);
    }
    problems.extend(loaded.scenario.thresholds.iter().flat_map(threshold::problems));
    let problems = Problems(problems);
    if problems.has_errors() {
        return Err(problems);
    }
    let scenario_sha256 =
        loaded.sources.first().map_or_else(String::new, |source| sha256(source.text.as_bytes()));
    let rules_sha256 = hex(&hash.finalize());
    Ok(Prepared { loaded, scenario_sha256, groups, rules_sha256, routes, warnings: problems.0 })
}

fn read(file: &Spanned<FileRef>, problems: &mut Vec<Problem>) -> Option<Arc<Source>> {
    let name = file.value.path.display().to_string();
    let text = match file.value.embedded {
        Some(text) => Ok(text.to_owned()),
        None => std::fs::read_to_string(&file.value.path),
    };
    match (text, &file.span) {
        (Ok(text), _) => Some(Arc::new(Source { name, text })),
        (Err(error), span) => {
            let mut problem = Problem {
                span: span.clone(),
                ..Problem::error(
                    format!("cannot read {name}: {error}"),
                    scenarios::span::Span::new(Arc::new(Source { name, text: String::new() }), 0, 0),
                )
            };
            problem.hint = Some("the path is relative to the folder of the scenario".into());
            problems.push(problem);
            None
        }
    }
}

/// Alerts and receivers that the scenario names must exist.
fn check_names(
    scenario: &Scenario,
    groups: &[Group],
    routes: Option<&Alertmanager>,
    problems: &mut Vec<Problem>,
) {
    let alerts: Vec<&Rule> =
        groups.iter().flat_map(|group| &group.rules).filter(|rule| rule.is_alert()).collect();
    let expect = &scenario.expect;
    let named = expect.fires.iter().map(|entry| &entry.alert);
    let named = named.chain(expect.may_fire.iter().map(|entry| &entry.alert));
    let named = named.chain(expect.silent.iter().map(|(alert, _)| alert)).chain(&scenario.alerts.background);
    for alert in named.filter(|alert| alerts.iter().all(|rule| rule.name != alert.value)) {
        let Some(span) = &alert.span else { continue };
        let summary = format!("no alert `{}` in the rules ({} alerts)", alert.value, alerts.len());
        let hint = match nearest(&alert.value, alerts.iter().map(|rule| rule.name.as_str())) {
            Some(name) => {
                let place = alerts.iter().find(|rule| rule.name == name).map(|rule| rule.span.to_string());
                format!("did you mean `{name}` ({})?", place.unwrap_or_default())
            }
            None if alerts.is_empty() => "name a `pack`, or rule files under `alerts.rules`".into(),
            None => "the rules' alerts are listed by `loadgen explain`".into(),
        };
        problems.push(Problem::error(summary, span.clone()).hint(hint));
    }
    for entry in &expect.fires {
        check_bounds(entry, &alerts, problems);
        let Some(Notifies::Exactly(receivers)) = &entry.notifies else { continue };
        for receiver in receivers {
            check_receiver(receiver, routes, problems);
        }
    }
}

/// A bound shorter than the rule's own `for` can never be met.
fn check_bounds(entry: &scenarios::scenario::Fires, alerts: &[&Rule], problems: &mut Vec<Problem>) {
    let labelled = |rule: &&&Rule| {
        entry
            .labels
            .iter()
            .all(|(name, value)| rule.label(&name.value).is_none_or(|label| label == value.value))
    };
    let meant: Vec<_> =
        alerts.iter().filter(|rule| rule.name == entry.alert.value).filter(labelled).collect();
    let Some(hold) = meant.iter().map(|rule| rule.hold()).min() else { return };
    if let Some(bound) = entry.fires_within.as_ref().filter(|bound| bound.value < hold)
        && let Some(span) = &bound.span
    {
        let hold = scenarios::units::format_duration(hold);
        let problem = Problem::error(
            format!("no run could meet this: the rule holds `for: {hold}` first"),
            span.clone(),
        );
        problems.push(problem.hint(format!("allow more than {hold}")));
    }
}

fn check_receiver(
    receiver: &Spanned<scenarios::scenario::ReceiverRef>,
    routes: Option<&Alertmanager>,
    problems: &mut Vec<Problem>,
) {
    let (Some(span), name) = (&receiver.span, &receiver.value.receiver) else { return };
    let Some(routes) = routes else {
        let problem = Problem::error(format!("receiver `{name}`, but there are no routes"), span.clone());
        return problems.push(problem.hint("name a `pack`, or a file under `alerts.alertmanager`"));
    };
    let known = routes.receivers.iter().map(|receiver| receiver.name.as_ref());
    if routes.receiver(name).is_none() {
        let problem = Problem::error(format!("no receiver `{name}` in the routes"), span.clone());
        problems.push(match nearest(name, known.clone()) {
            Some(name) => problem.hint(format!("did you mean `{name}`?")),
            None => problem.hint(format!("there are {}", known.collect::<Vec<_>>().join(", "))),
        });
    }
}

/// SHA-256 as lower-case hex.
fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
