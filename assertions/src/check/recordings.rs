//! Recording rules and groups: what is recorded twice, used too early, or evaluated too rarely.

use super::labels::{self, LabelSet};
use super::lints;
use super::rules::{GroupView, RuleView};
use super::tree;
use super::{Context, Finding, Report};
use scenarios::units::format_duration;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long an instant selector looks back for a sample.
const LOOKBACK: Duration = Duration::from_secs(300);

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let mut seen = BTreeMap::new();
    for file in &context.rules {
        for group in &file.groups {
            interval(context, group, findings);
            order(group, findings);
        }
    }
    for rule in context.all_rules().filter(|rule| !rule.is_alert) {
        duplicate(rule, &mut seen, findings);
    }
}

fn interval(context: &Context<'_>, group: &GroupView, findings: &mut Vec<Finding>) -> Option<()> {
    let (interval, span) = group.interval.clone()?;
    // Below the look-back every sample lives until the next. An alert stays as it is between evaluations.
    let records = group.rules.iter().any(|rule| !rule.is_alert);
    if interval <= LOOKBACK || !records {
        return None;
    }
    let (shown, lookback) = (format_duration(interval), format_duration(LOOKBACK));
    let summary = format!(
        "evaluated every {shown}, and a sample is seen for {lookback}: between evaluations what it records has no value"
    );
    let fix = format!(
        "evaluate it every {lookback} or more often; the global interval is {}",
        match context.settings.evaluation_interval {
            Some(interval) => format_duration(interval),
            None => "1m unless set".to_owned(),
        }
    );
    Report { findings, item: Some(group.item.clone()) }.add(&lints::GROUP_INTERVAL, span, summary, fix);
    Some(())
}

/// Rules run one after the other: what is recorded further down is that of the evaluation before.
fn order(group: &GroupView, findings: &mut Vec<Finding>) {
    for (index, rule) in group.rules.iter().enumerate() {
        let Some(expression) = &rule.expr else { continue };
        let before: BTreeSet<&str> = group.rules[..index]
            .iter()
            .filter(|rule| !rule.is_alert)
            .map(|rule| rule.name.as_str())
            .collect();
        let later = group.rules[index + 1..].iter().filter(|later| !later.is_alert);
        let later: BTreeMap<&str, &RuleView> = later.map(|later| (later.name.as_str(), later)).collect();
        for visit in tree::visits(&expression.expr) {
            let Some(name) = tree::selector(visit.node).and_then(|selector| selector.name.as_deref()) else {
                continue;
            };
            let Some(made) = later.get(name).filter(|_| !before.contains(name)) else { continue };
            let windowed = visit.above.iter().chain([&visit.node]).any(|node| tree::range(node).is_some());
            if windowed || rule.name == name {
                continue;
            }
            let mut report = rule.report(findings);
            let summary = format!(
                "{name} is made further down in the group: this sees the value of the evaluation before"
            );
            let problem = report.add(
                &lints::RECORD_ORDER,
                expression.place(visit.node),
                summary,
                "move the recording above it",
            );
            problem.related.push((made.name_span.clone(), "made here".to_owned()));
        }
    }
}

/// The rules of each recorded name and labels.
type Recorded<'c> = BTreeMap<(&'c str, BTreeSet<(String, String)>), Vec<&'c RuleView>>;

fn duplicate<'c>(rule: &'c RuleView, seen: &mut Recorded<'c>, findings: &mut Vec<Finding>) {
    let Some(expression) = &rule.expr else { return };
    let labels = rule.labels.iter().map(|label| (label.name.clone(), label.text.clone())).collect();
    let earlier = seen.entry((rule.name.as_str(), labels)).or_default();
    // Different conditions may record disjoint elements under one name.
    let collides = |first: &&&RuleView| {
        first.expr.as_ref().is_some_and(|other| {
            tree::text(&expression.expr) == tree::text(&other.expr) || may_collide(expression, other)
        })
    };
    let first = earlier.iter().find(collides).copied();
    earlier.push(rule);
    let Some(first) = first else { return };
    let mut report = rule.report(findings);
    let summary = format!("{} is recorded twice: the later sample is refused as a duplicate", rule.name);
    let problem = report.add(
        &lints::RECORD_DUPLICATE,
        rule.name_span.clone(),
        summary,
        "rename one, or give one a label of its own",
    );
    problem.related.push((first.name_span.clone(), "the first".to_owned()));
}

/// Whether both give one element without labels.
fn may_collide(left: &super::rules::Expression, right: &super::rules::Expression) -> bool {
    let none = LabelSet::Only(BTreeSet::new());
    labels::possible(&left.expr) == none && labels::possible(&right.expr) == none
}
