//! alertmanager.yml: routes that nobody reaches, receivers that never learn of the end, inhibitions that mute too much.

use super::lints::{self, Level};
use super::rules::extent;
use super::{Context, Finding, Report};
use crate::alertmanager::{Alertmanager, InhibitRule, Route};
use crate::labels::Labels;
use crate::matcher::{Matcher, Op};
use scenarios::problem::Severity;
use scenarios::span::Source;
use scenarios::yaml::{self, Node};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

pub(super) fn check(context: &Context<'_>, source: &Arc<Source>, findings: &mut Vec<Finding>) {
    let problems = match Alertmanager::parse(source.clone()) {
        Ok((config, warnings)) => {
            if let Ok(tree) = yaml::parse(source.clone()) {
                let file = File { context, config: &config, tree: &tree };
                file.routes(findings);
                file.receivers(findings);
                file.inhibitions(findings);
            }
            warnings
        }
        Err(problems) => problems,
    };
    for problem in problems {
        let level = if problem.severity == Severity::Error { Level::Error } else { Level::Warning };
        Report { findings: &mut *findings, item: None }.push(level, &lints::ALERTMANAGER_INVALID, problem);
    }
}

struct File<'c> {
    context: &'c Context<'c>,
    config: &'c Alertmanager,
    tree: &'c Node,
}

impl File<'_> {
    /// The smallest item of the lists under a key, at any depth for routes, that holds the place.
    fn item(&self, key: &str, at: usize) -> Option<Range<usize>> {
        fn within(node: &Node, at: usize) -> Option<Range<usize>> {
            let inner =
                node.get("routes").into_iter().flat_map(Node::items).find_map(|child| within(child, at));
            let own = extent(node);
            inner.or_else(|| own.contains(&at).then_some(own))
        }
        let node = self.tree.get(key)?;
        node.items().iter().find_map(|item| within(item, at)).or_else(|| within(node, at))
    }

    fn report<'f>(&self, findings: &'f mut Vec<Finding>, key: &str, at: usize) -> Report<'f> {
        Report { findings, item: self.item(key, at) }
    }

    fn routes(&self, findings: &mut Vec<Finding>) {
        for (index, route) in self.config.routes.iter().enumerate() {
            let mut report = self.report(findings, "route", route.span.start);
            if !self.unreachable(index, route, &mut report) {
                self.no_alert(route, &mut report);
            }
        }
    }

    /// All conditions of a route and of those above it.
    fn conditions(&self, index: usize) -> Vec<&Matcher> {
        let mut found = Vec::new();
        let mut next = Some(index);
        while let Some(index) = next {
            found.extend(&self.config.routes[index].matchers);
            next = self.config.routes[index].parent;
        }
        found
    }

    fn unreachable(&self, index: usize, route: &Route, report: &mut Report<'_>) -> bool {
        let conditions = self.conditions(index);
        let contradiction = route.matchers.iter().find_map(|matcher| {
            let other = conditions.iter().find(|other| contradict(matcher, other))?;
            Some((matcher, *other))
        });
        if let Some((matcher, other)) = contradiction {
            let summary = format!("no alert reaches this route: {matcher} and {other} cannot both hold");
            report.add(
                &lints::ROUTE_UNREACHABLE,
                route.span.clone(),
                summary,
                "remove one of the conditions, or move the route up",
            );
            return true;
        }
        let Some(parent) = route.parent else { return false };
        let siblings = self.config.routes[parent].children.iter().take_while(|child| **child != index);
        let taken = siblings.map(|child| &self.config.routes[*child]).find(|earlier| {
            !earlier.goes_on && earlier.matchers.iter().all(|matcher| implied(matcher, &conditions))
        });
        let Some(earlier) = taken else { return false };
        let summary = "no alert reaches this route: an earlier one takes all that it could have";
        let fix = "move it before that one, or let that one have `continue: true`";
        let problem = report.add(&lints::ROUTE_UNREACHABLE, route.span.clone(), summary, fix);
        problem.related.push((earlier.span.clone(), "this one takes them".to_owned()));
        true
    }

    /// A condition on a label that the rules set, with a value that none of them sets.
    fn no_alert(&self, route: &Route, report: &mut Report<'_>) {
        let rules: Vec<_> = self.context.all_rules().filter(|rule| rule.is_alert).collect();
        if rules.is_empty() {
            return;
        }
        for matcher in route.matchers.iter().filter(|matcher| matches!(matcher.op, Op::Equal | Op::Matches)) {
            let values: Option<BTreeSet<&str>> = match matcher.name.as_str() {
                "alertname" => Some(rules.iter().map(|rule| rule.name.as_str()).collect()),
                // A label that a rule does not set may come from the element, so the rest says nothing.
                name => rules.iter().map(|rule| rule.label(name)).collect(),
            };
            let Some(values) = values else { continue };
            let reached = values
                .iter()
                .any(|value| matcher.matches(&Labels::from_pairs([(matcher.name.as_str(), *value)])));
            if reached {
                continue;
            }
            let known = values.into_iter().collect::<Vec<_>>();
            let summary = format!("no rule makes an alert with {matcher}: nobody is told by this route");
            let fix = match scenarios::problem::nearest(&matcher.value, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the rules have {}", known.join(", ")),
            };
            report.add(&lints::ROUTE_NO_ALERT, route.span.clone(), summary, fix);
        }
    }

    fn receivers(&self, findings: &mut Vec<Finding>) {
        for (index, receiver) in self.config.receivers.iter().enumerate() {
            let mut report = self.report(findings, "receivers", receiver.span.start);
            if !self.config.routes.iter().any(|route| route.receiver == index) {
                let summary = format!("no route names the receiver {}", receiver.name);
                report.add(
                    &lints::RECEIVER_UNUSED,
                    receiver.span.clone(),
                    summary,
                    "add a route to it, or remove it",
                );
                continue;
            }
            for integration in receiver.integrations.iter().filter(|integration| !integration.send_resolved) {
                let is_written =
                    integration.span.start > 0 && self.writes_send_resolved(integration.span.start);
                let opens = ["pagerduty", "opsgenie", "victorops", "incidentio", "jira"]
                    .contains(&&*integration.kind);
                // Who writes `false` for a chat has decided; an incident that nobody closes is another matter.
                if is_written && !opens {
                    continue;
                }
                let (summary, fix) = match opens {
                    true => (
                        format!("{} is never told of the end: its incidents stay open", integration.kind),
                        "remove `send_resolved: false`",
                    ),
                    false => (
                        format!(
                            "{} is not told of the end of alerts, which is its default: nobody learns that it is over",
                            integration.kind
                        ),
                        "write `send_resolved: true`, or `false` if that is meant",
                    ),
                };
                report.add(&lints::SEND_RESOLVED, integration.span.clone(), summary, fix);
            }
        }
    }

    /// Whether the integration at that place says anything of `send_resolved`.
    fn writes_send_resolved(&self, at: usize) -> bool {
        let receivers = self.tree.get("receivers").map(Node::items).unwrap_or_default();
        let integrations = receivers.iter().flat_map(Node::entries).flat_map(|(_, list)| list.items());
        integrations.filter(|node| node.span.start == at).any(|node| node.get("send_resolved").is_some())
    }

    fn inhibitions(&self, findings: &mut Vec<Finding>) {
        for (index, rule) in self.config.inhibit_rules.iter().enumerate() {
            let mut report = self.report(findings, "inhibit_rules", rule.span.start);
            self.own_source(rule, &mut report);
            no_equal(rule, &mut report);
            self.no_source(rule, &mut report);
            let mutual = |earlier: &&InhibitRule| {
                can_be(&earlier.source, &rule.target)
                    && can_be(&rule.source, &earlier.target)
                    && !is_covered(&rule.source, &rule.target)
                    && !is_covered(&earlier.source, &earlier.target)
            };
            if let Some(earlier) = self.config.inhibit_rules[..index].iter().find(mutual) {
                let summary =
                    "two inhibitions mute each other's source: when both fire, nobody is told of either";
                let fix = "let only the cause mute its symptoms";
                let problem = report.add(&lints::INHIBIT_MUTUAL, rule.span.clone(), summary, fix);
                problem.related.push((earlier.span.clone(), "the other one".to_owned()));
            }
        }
    }

    /// Sources that are targets: those of one inhibition are spared, and whether they are depends on the version.
    fn own_source(&self, rule: &InhibitRule, report: &mut Report<'_>) {
        let made = self.context.all_rules().filter(|rule| rule.is_alert).find(|alert| {
            let own = alert.labels.iter().filter(|label| !label.text.contains("{{"));
            let own = own.map(|label| (label.name.as_str(), label.text.as_str()));
            let labels = Labels::from_pairs(own.chain([("alertname", alert.name.as_str())]));
            crate::matcher::all_match(&rule.source, &labels)
                && crate::matcher::all_match(&rule.target, &labels)
        });
        let who = match (made, is_covered(&rule.source, &rule.target)) {
            (Some(alert), _) => format!("{} is source and target of this inhibition", alert.name),
            (None, true) => "every source of this inhibition is one of its targets".to_owned(),
            (None, false) => return,
        };
        let summary = format!(
            "{who}: Alertmanager then spares it from its like, so what is muted is not what is written"
        );
        let fix = "exclude the source from the targets, as in `alertname!=\"…\"` or by its severity";
        report.add(&lints::INHIBIT_OWN_SOURCE, rule.span.clone(), summary, fix);
    }

    fn no_source(&self, rule: &InhibitRule, report: &mut Report<'_>) {
        let names: Vec<&str> =
            self.context.all_rules().filter(|rule| rule.is_alert).map(|rule| rule.name.as_str()).collect();
        let named = rule
            .source
            .iter()
            .find(|matcher| matcher.name == "alertname" && matches!(matcher.op, Op::Equal | Op::Matches));
        let Some(matcher) = named.filter(|_| !names.is_empty()) else { return };
        if names.iter().any(|name| matcher.matches(&Labels::from_pairs([("alertname", *name)]))) {
            return;
        }
        let summary = format!("no rule makes an alert with {matcher}: this mutes nothing");
        let fix = match scenarios::problem::nearest(&matcher.value, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name an alert of the rules".to_owned(),
        };
        report.add(&lints::INHIBIT_NO_SOURCE, rule.span.clone(), summary, fix);
    }
}

/// The values that a condition allows, where they can be listed.
fn values(matcher: &Matcher) -> Option<Vec<&str>> {
    match matcher.op {
        Op::Equal => Some(vec![matcher.value.as_str()]),
        Op::Matches => {
            let is_plain =
                !matcher.value.contains(['.', '*', '+', '?', '(', ')', '[', ']', '\\', '^', '$', '{']);
            is_plain.then(|| matcher.value.split('|').collect())
        }
        Op::NotEqual | Op::MatchesNot => None,
    }
}

fn allows(matcher: &Matcher, value: &str) -> bool {
    matcher.matches(&Labels::from_pairs([(matcher.name.as_str(), value)]))
}

/// Whether no alert can fulfil both.
fn contradict(left: &Matcher, right: &Matcher) -> bool {
    if left.name != right.name {
        return false;
    }
    match (values(left), values(right)) {
        (Some(values), _) => !values.iter().any(|value| allows(right, value)),
        (None, Some(values)) => !values.iter().any(|value| allows(left, value)),
        (None, None) => false,
    }
}

/// Whether every alert that fulfils the conditions fulfils this one.
fn implied(matcher: &Matcher, conditions: &[&Matcher]) -> bool {
    conditions.iter().any(|condition| {
        condition.name == matcher.name
            && match values(condition) {
                Some(values) => values.iter().all(|value| allows(matcher, value)),
                None => *condition == matcher,
            }
    })
}

/// Whether every source is a target.
fn is_covered(source: &[Matcher], target: &[Matcher]) -> bool {
    let source: Vec<&Matcher> = source.iter().collect();
    target.iter().all(|matcher| implied(matcher, &source))
}

/// Whether an alert that fulfils the first also fulfils all of the second.
fn can_be(first: &[Matcher], second: &[Matcher]) -> bool {
    is_covered(first, second)
}

fn no_equal(rule: &InhibitRule, report: &mut Report<'_>) {
    if !rule.equal.is_empty() {
        return;
    }
    let summary = "without `equal` one such alert anywhere mutes all of these everywhere";
    let fix = "name what both have in common: `equal: [service]`";
    report.add(&lints::INHIBIT_NO_EQUAL, rule.span.clone(), summary, fix);
}
