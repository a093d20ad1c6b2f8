//! Names in a scenario that its rules and routes do not have.

use super::{RuleFacts, is_meant};
use crate::alertmanager::Alertmanager;
use scenarios::problem::{Problem, nearest};
use scenarios::scenario::{Notifies, ReceiverRef, Scenario};
use scenarios::span::Spanned;

/// A problem for every alert, receiver and integration that a scenario names and that does not exist.
///
/// `rules_file` is how the rules are called in a message: `packs/im-gateway/rules.yml`.
pub fn unknown_names(
    scenario: &Scenario,
    rules: &[RuleFacts],
    rules_file: &str,
    routes: Option<&Alertmanager>,
) -> Vec<Problem> {
    let expect = &scenario.expect;
    let mut alerts: Vec<&Spanned<String>> = expect.fires.iter().map(|entry| &entry.alert).collect();
    alerts.extend(expect.may_fire.iter().map(|entry| &entry.alert));
    alerts.extend(expect.silent.iter().map(|(alert, _)| alert));
    alerts.extend(scenario.alerts.background.iter());
    alerts.extend(expect.fires.iter().filter_map(|entry| entry.inhibited_by.as_ref()));
    let mut problems: Vec<Problem> =
        alerts.into_iter().filter_map(|alert| unknown_alert(alert, rules, rules_file)).collect();
    problems.extend(expect.fires.iter().filter_map(|entry| {
        let known = rules.iter().any(|rule| rule.name == entry.alert.value);
        let (name, value) = entry.labels.first()?;
        let meant = rules.iter().any(|rule| is_meant(entry, rule));
        let span = value.span.clone().or_else(|| name.span.clone())?;
        let summary = format!("no rule `{}` has these labels", entry.alert.value);
        (known && !meant).then(|| Problem::error(summary, span).hint("leave out what the rule does not set"))
    }));
    if let Some(routes) = routes {
        problems.extend(unknown_receivers(scenario, routes));
    }
    problems
}

fn unknown_alert(alert: &Spanned<String>, rules: &[RuleFacts], rules_file: &str) -> Option<Problem> {
    if rules.iter().any(|rule| rule.name == alert.value) {
        return None;
    }
    let summary = format!("no alert `{}` in {rules_file} ({} alerts)", alert.value, rules.len());
    let problem = Problem::error(summary, alert.span.clone()?);
    Some(hinted(problem, &alert.value, rules.iter().map(|rule| rule.name.as_str())))
}

fn unknown_receivers(scenario: &Scenario, routes: &Alertmanager) -> Vec<Problem> {
    let mut problems = Vec::new();
    for entry in &scenario.expect.fires {
        let Some(Notifies::Exactly(wanted)) = &entry.notifies else { continue };
        problems.extend(wanted.iter().filter_map(|wanted| unknown_receiver(wanted, routes)));
        for step in &entry.escalates {
            let reference = ReceiverRef { receiver: step.to.value.clone(), integration: None };
            problems
                .extend(unknown_receiver(&Spanned { value: reference, span: step.to.span.clone() }, routes));
        }
    }
    for (receiver, _) in &scenario.alerts.receivers {
        let reference = ReceiverRef { receiver: receiver.value.clone(), integration: None };
        problems.extend(unknown_receiver(&Spanned { value: reference, span: receiver.span.clone() }, routes));
    }
    problems
}

fn unknown_receiver(wanted: &Spanned<ReceiverRef>, routes: &Alertmanager) -> Option<Problem> {
    let span = wanted.span.clone()?;
    let name = &wanted.value.receiver;
    let Some(index) = routes.receiver(name) else {
        let problem = Problem::error(format!("no receiver `{name}` in the routes"), span);
        return Some(hinted(problem, name, routes.receivers.iter().map(|receiver| &*receiver.name)));
    };
    let kind = wanted.value.integration.as_ref()?;
    let integrations = &routes.receivers[index].integrations;
    if integrations.iter().any(|integration| *integration.kind == **kind) {
        return None;
    }
    let kinds: Vec<&str> = integrations.iter().map(|integration| &*integration.kind).collect();
    let problem = Problem::error(format!("receiver `{name}` has no {kind} integration"), span);
    Some(problem.hint(format!("it has: {}", kinds.join(", "))))
}

fn hinted<'a>(problem: Problem, word: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    match nearest(word, known) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem,
    }
}
