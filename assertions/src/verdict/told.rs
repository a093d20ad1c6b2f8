//! Who was told of an alert, who was not and why, and who was told too.

use super::check::{Bound, Check, Kind, Seen, Why, at_least, within};
use super::episode::Episode;
use super::fires::Entry;
use super::observed::Observed;
use crate::alertmanager::Alertmanager;
use crate::labels::Labels;
use crate::notify::{Reason, Suppression};
use crate::route::{decide, place};
use crate::slo::Outcome;
use crate::time::Millis;
use crate::timeline::Notification;
use scenarios::scenario::{Escalation, Notifies, ReceiverRef};
use scenarios::span::Spanned;
use scenarios::units::format_duration;
use std::collections::BTreeMap;
use std::time::Duration;

/// Receiver and integration.
type Who = (String, String);

/// The checks of an entry that are about being told that the alert fires.
pub(super) fn judge(entry: &Entry<'_>) -> Vec<Option<Check>> {
    let mut checks = vec![notified(entry), notifications(entry), inhibited(entry)];
    checks.extend(entry.entry.escalates.iter().map(|step| Some(escalated(entry, step))));
    checks
}

/// The first notification to each integration that one of the episodes fires.
fn told_firing(entry: &Entry<'_>) -> BTreeMap<Who, Millis> {
    let mut told = BTreeMap::new();
    for notification in about(entry, |notification| &notification.firing) {
        let who = (notification.receiver.to_string(), notification.integration.to_string());
        told.entry(who).or_insert(notification.at);
    }
    told
}

/// Notifications since the first firing whose list holds one of the entry's instances.
fn about<'a>(
    entry: &'a Entry<'_>,
    list: impl Fn(&Notification) -> &Vec<Labels> + 'a,
) -> impl Iterator<Item = &'a Notification> {
    let since = entry.fired.map(|(at, _)| at);
    let fired: Vec<&Labels> =
        entry.own.iter().filter(|episode| episode.firing.is_some()).map(|episode| &episode.labels).collect();
    entry.observed.notifications.iter().filter(move |notification| {
        Some(notification.at) >= since && list(notification).iter().any(|labels| fired.contains(&labels))
    })
}

fn notified(entry: &Entry<'_>) -> Option<Check> {
    let bound = entry.entry.notified_within.as_ref();
    let span = match (&entry.entry.notifies, bound) {
        (Some(Notifies::Nobody(span)), _) => Some(span),
        (Some(Notifies::Exactly(wanted)), _) => wanted.first().and_then(|wanted| wanted.span.as_ref()),
        (None, Some(bound)) => bound.span.as_ref(),
        (None, None) => return None,
    };
    let mut check = entry.check(Kind::Notified, span);
    let Some((fired, _)) = entry.fired else {
        check.outcome = Outcome::NotJudged;
        check.why.push(Why::NeverFired);
        return Some(check);
    };
    let told = told_firing(entry);
    match &entry.entry.notifies {
        Some(Notifies::Nobody(_)) => told_too(entry, &told, &[], &mut check),
        Some(Notifies::Exactly(wanted)) => {
            wanted.iter().for_each(|wanted| not_told(entry, &told, wanted, &mut check));
            told_too(entry, &told, wanted, &mut check);
        }
        None if told.is_empty() => {
            check.outcome = Outcome::Failed;
            let because = why_nobody(entry);
            check.why.push(Why::NotTold { who: "anybody".to_owned(), because });
        }
        None => {}
    }
    for (who, at) in &told {
        let seen = Seen {
            who: short(entry.observed.routes, who),
            at: *at,
            after: at.since(fired),
            value: None,
            count: None,
        };
        if let Some(bound) = bound {
            let (factor, tolerance) = entry.tolerance(*at);
            let (outcome, why) = within(seen.after, bound.value, tolerance, factor);
            check.tolerance = check.tolerance.max(tolerance);
            check.outcome = if outcome == Outcome::Failed { outcome } else { check.outcome };
            check.why.extend(why);
        }
        check.seen.push(seen);
    }
    check.seen.sort_by(|left, right| (left.at, &left.who).cmp(&(right.at, &right.who)));
    check.bound = bound.map(|bound| Bound::Within(bound.value));
    Some(check)
}

/// Everyone told whom no reference covers.
fn told_too(
    entry: &Entry<'_>,
    told: &BTreeMap<Who, Millis>,
    wanted: &[Spanned<ReceiverRef>],
    check: &mut Check,
) {
    for (who, at) in told.iter().filter(|(who, _)| !wanted.iter().any(|wanted| covers(&wanted.value, who))) {
        check.outcome = Outcome::Failed;
        check.why.push(Why::ToldToo { who: short(entry.observed.routes, who), at: *at });
    }
}

fn covers(wanted: &ReceiverRef, (receiver, integration): &Who) -> bool {
    wanted.receiver == *receiver && wanted.integration.as_ref().is_none_or(|wanted| wanted == integration)
}

/// Each integration that a reference means and that was not told, with the reason.
fn not_told(
    entry: &Entry<'_>,
    told: &BTreeMap<Who, Millis>,
    wanted: &Spanned<ReceiverRef>,
    check: &mut Check,
) {
    let reference = &wanted.value;
    for integration in integrations(entry.observed.routes, reference) {
        let is_told = told.keys().any(|(receiver, kind)| {
            *receiver == reference.receiver && integration.as_ref().is_none_or(|wanted| wanted == kind)
        });
        if is_told {
            continue;
        }
        let (outcome, because) = why_not(entry, &reference.receiver, integration.as_deref());
        if check.why.is_empty() {
            check.span = wanted.span.clone();
        }
        check.outcome = if check.outcome == Outcome::Failed { check.outcome } else { outcome };
        let who = match (&reference.integration, &integration) {
            (None, Some(kind)) => short(entry.observed.routes, &(reference.receiver.clone(), kind.clone())),
            (Some(kind), _) => format!("{}/{kind}", reference.receiver),
            (None, None) => reference.receiver.clone(),
        };
        check.why.push(Why::NotTold { who, because });
    }
}

/// The integrations that a reference means; `None` stands for "any", where the routes are not known.
fn integrations(routes: Option<&Alertmanager>, reference: &ReceiverRef) -> Vec<Option<String>> {
    if reference.integration.is_some() {
        return vec![reference.integration.clone()];
    }
    let receiver = routes.and_then(|routes| Some(&routes.receivers[routes.receiver(&reference.receiver)?]));
    let mut kinds: Vec<Option<String>> = Vec::new();
    for integration in receiver.map(|receiver| receiver.integrations.as_slice()).unwrap_or_default() {
        let kind = Some(integration.kind.to_string());
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.is_empty() { vec![None] } else { kinds }
}

/// `pagerduty`, or `on-call/pagerduty` where the receiver has several kinds of integration.
fn short(routes: Option<&Alertmanager>, (receiver, kind): &Who) -> String {
    let all = integrations(routes, &ReceiverRef { receiver: receiver.clone(), integration: None });
    if all.len() == 1 { receiver.clone() } else { format!("{receiver}/{kind}") }
}

fn why_nobody(entry: &Entry<'_>) -> String {
    let Some(routes) = entry.observed.routes else { return "there are no routes".to_owned() };
    let first = entry.own.iter().find(|episode| episode.firing.is_some());
    let receiver =
        first.and_then(|episode| decide(routes, &episode.labels).receivers(routes).first().copied());
    receiver.map_or_else(String::new, |receiver| why_not(entry, &routes.receivers[receiver].name, None).1)
}

/// Why a receiver heard nothing: its routes, the pipeline, or time.
fn why_not(entry: &Entry<'_>, receiver: &str, integration: Option<&str>) -> (Outcome, String) {
    let failed = |because: String| (Outcome::Failed, because);
    let Some(routes) = entry.observed.routes else { return failed("there are no routes".to_owned()) };
    let Some(index) = routes.receiver(receiver) else {
        return failed("the routes have no receiver of that name".to_owned());
    };
    let kinds = &routes.receivers[index].integrations;
    if kinds.is_empty() {
        return failed("the receiver has no integration: nothing is ever sent".to_owned());
    }
    if let Some(kind) = integration.filter(|kind| !kinds.iter().any(|found| &*found.kind == *kind)) {
        return failed(format!("the receiver has no {kind} integration"));
    }
    let Some(first) = entry.own.iter().find(|episode| episode.firing.is_some()) else {
        return failed("it never fired".to_owned());
    };
    let decision = decide(routes, &first.labels);
    if let Some(reason) = decision.why_not(routes, index) {
        return failed(reason.explain(routes));
    }
    let taker =
        decision.takers.iter().copied().find(|taker| routes.routes[*taker].receiver == index).unwrap_or(0);
    let suppressed =
        entry.observed.suppressions.iter().find(|found| {
            found.route == taker && found.labels == first.labels && Some(found.at) >= first.firing
        });
    match suppressed {
        Some(suppression) => failed(suppression_words(routes, suppression)),
        None => too_short(entry, routes, taker, first),
    }
}

/// It went the right way and nothing was sent: it was over, or the run was.
fn too_short(entry: &Entry<'_>, routes: &Alertmanager, taker: usize, episode: &Episode) -> (Outcome, String) {
    let route = &routes.routes[taker];
    let lasted = episode.end.unwrap_or(entry.observed.end).since(episode.firing.unwrap_or(episode.pending));
    let words = format!(
        "it fired for {}; {} waits {} for a new group and {} for a known one",
        format_duration(lasted),
        place(routes, taker),
        format_duration(route.group_wait),
        format_duration(route.group_interval)
    );
    match episode.end {
        Some(_) => (Outcome::Failed, words),
        None if lasted <= route.group_wait.max(route.group_interval) => {
            (Outcome::NoData, format!("the run ended first: {words}"))
        }
        None => (Outcome::Failed, words),
    }
}

/// What kept the pipeline from telling.
pub(super) fn suppression_words(routes: &Alertmanager, suppression: &Suppression) -> String {
    let interval =
        |index: usize| routes.intervals.get(index).map(|found| found.name.clone()).unwrap_or_default();
    match &suppression.reason {
        Reason::Inhibited(by) => {
            let rule = routes
                .inhibit_rules
                .get(by.rule)
                .map(|rule| format!("{}:{}", rule.span.source.name, rule.span.position().line));
            format!("inhibited by {} ({})", by.source, rule.unwrap_or_default())
        }
        Reason::Muted(index) => format!("muted by the time interval `{}`", interval(*index)),
        Reason::Inactive => "outside of its route's active time intervals".to_owned(),
        Reason::Silenced(index) => format!("silenced by silence {}", index + 1),
    }
}

fn notifications(entry: &Entry<'_>) -> Option<Check> {
    let bound = entry.entry.notifications.as_ref()?;
    let mut check = entry.check(Kind::Notifications, bound.span.as_ref());
    check.bound = Some(Bound::Exactly(bound.value));
    let Some((fired, _)) = entry.fired else {
        check.outcome = Outcome::NotJudged;
        check.why.push(Why::NeverFired);
        return Some(check);
    };
    let mut counts: BTreeMap<Who, (u64, Millis)> = BTreeMap::new();
    for notification in about(entry, |notification| &notification.firing) {
        let who = (notification.receiver.to_string(), notification.integration.to_string());
        let counted = counts.entry(who).or_insert((0, notification.at));
        *counted = (counted.0 + 1, notification.at);
    }
    for (who, (count, at)) in &counts {
        let who = short(entry.observed.routes, who);
        check.seen.push(Seen { who, at: *at, after: at.since(fired), value: None, count: Some(*count) });
    }
    let held =
        counts.values().all(|(count, _)| *count == bound.value) && (bound.value == 0 || !counts.is_empty());
    check.outcome = if held { Outcome::Passed } else { Outcome::Failed };
    Some(check)
}

fn inhibited(entry: &Entry<'_>) -> Option<Check> {
    let by = entry.entry.inhibited_by.as_ref()?;
    let mut check = entry.check(Kind::Inhibited, by.span.as_ref());
    let Some((fired, _)) = entry.fired else {
        check.outcome = Outcome::NotJudged;
        check.why.push(Why::NeverFired);
        return Some(check);
    };
    let muted = |suppression: &&Suppression| {
        matches!(&suppression.reason, Reason::Inhibited(found) if found.source.get("alertname") == by.value)
            && entry
                .own
                .iter()
                .any(|episode| episode.labels == suppression.labels && episode.fires_at(suppression.at))
    };
    match entry.observed.suppressions.iter().find(muted) {
        Some(found) => {
            let after = found.at.since(fired);
            check.seen.push(Seen { who: by.value.clone(), at: found.at, after, value: None, count: None });
        }
        None => check.outcome = Outcome::Failed,
    }
    told_too(entry, &told_firing(entry), &[], &mut check);
    Some(check)
}

fn escalated(entry: &Entry<'_>, step: &Escalation) -> Check {
    let mut check = entry.check(Kind::Escalated, step.to.span.as_ref());
    check.bound = Some(Bound::AtLeast(step.after.value));
    let Some((fired, end)) = entry.fired else {
        check.outcome = Outcome::NotJudged;
        check.why.push(Why::NeverFired);
        return check;
    };
    let told = told_firing(entry);
    let first =
        told.iter().filter(|((receiver, _), _)| *receiver == step.to.value).min_by_key(|(_, at)| **at);
    match first {
        Some((who, at)) => {
            let after = at.since(fired);
            let (factor, tolerance) = entry.tolerance(*at);
            let (outcome, why) = at_least(after, step.after.value, tolerance, factor);
            check.outcome = outcome;
            check.tolerance = tolerance;
            check.why.extend(why);
            check.seen.push(Seen {
                who: short(entry.observed.routes, who),
                at: *at,
                after,
                value: None,
                count: None,
            });
        }
        None if end.unwrap_or(entry.observed.end).since(fired) < step.after.value => {
            check.outcome = Outcome::NoData;
            check.why.push(Why::RunEnded);
        }
        None => {
            let (outcome, because) = why_not(entry, &step.to.value, None);
            check.outcome = outcome;
            check.why.push(Why::NotTold { who: step.to.value.clone(), because });
        }
    }
    check
}

/// Whether everyone who was told, and wants to know, was told of the end.
pub(super) fn resolved_notice(entry: &Entry<'_>) -> Option<Check> {
    let bound = entry.entry.resolved_notice_within.as_ref()?;
    let mut check = entry.check(Kind::ResolvedNotice, bound.span.as_ref());
    check.bound = Some(Bound::Within(bound.value));
    if entry.fired.is_none() {
        check.outcome = Outcome::NotJudged;
        check.why.push(Why::NeverFired);
        return Some(check);
    }
    let told = told_firing(entry);
    let listeners: Vec<&Who> = told.keys().filter(|who| wants_resolved(entry.observed, who)).collect();
    let never_told = wanted_but_not_told(entry, &told);
    let ends: Vec<&Episode> = entry
        .own
        .iter()
        .copied()
        .filter(|episode| episode.firing.is_some() && episode.end.is_some())
        .collect();
    let mut outcomes: Vec<Outcome> = never_told.iter().map(|_| Outcome::NotJudged).collect();
    for who in &listeners {
        outcomes.push(notice_of_end(entry, who, &ends, bound, &mut check));
    }
    if listeners.is_empty() && never_told.is_empty() {
        check.why.push(Why::NobodyWantsResolved);
        outcomes.push(Outcome::NoData);
    }
    check.why.extend(never_told.into_iter().map(|who| Why::NeverTold { who }));
    let worst_first = [Outcome::Failed, Outcome::NoData, Outcome::NotJudged, Outcome::Passed];
    check.outcome =
        worst_first.into_iter().find(|outcome| outcomes.contains(outcome)).unwrap_or(Outcome::NoData);
    Some(check)
}

/// The slowest notice of an end to one integration.
fn notice_of_end(
    entry: &Entry<'_>,
    who: &Who,
    ends: &[&Episode],
    bound: &Spanned<Duration>,
    check: &mut Check,
) -> Outcome {
    let Some(last) = ends.iter().filter_map(|episode| episode.end).max() else {
        check.why.push(Why::StillFiring);
        return Outcome::NoData;
    };
    let notices: Vec<(Duration, Millis)> = ends
        .iter()
        .filter_map(|episode| {
            let end = episode.end?;
            let notice = entry.observed.notifications.iter().find(|notification| {
                notification.at >= end
                    && *notification.receiver == *who.0
                    && *notification.integration == *who.1
                    && notification.resolved.contains(&episode.labels)
            })?;
            Some((notice.at.since(end), notice.at))
        })
        .collect();
    let name = short(entry.observed.routes, who);
    if notices.len() < ends.len() {
        let had_time = last.after(bound.value) <= entry.observed.end;
        let because = if had_time { "its end was not told" } else { "the run ended first" };
        check.why.push(Why::NotTold { who: name, because: because.to_owned() });
        return if had_time { Outcome::Failed } else { Outcome::NoData };
    }
    let Some((after, at)) = notices.into_iter().max() else { return Outcome::NoData };
    let (factor, tolerance) = entry.tolerance(at);
    let (outcome, why) = within(after, bound.value, tolerance, factor);
    check.tolerance = check.tolerance.max(tolerance);
    check.why.extend(why);
    check.seen.push(Seen { who: name, at, after, value: None, count: None });
    outcome
}

fn wants_resolved(observed: &Observed<'_>, (receiver, kind): &Who) -> bool {
    let found = observed.routes.and_then(|routes| Some(&routes.receivers[routes.receiver(receiver)?]));
    // Without routes the notifications themselves are all that is known.
    found.is_none_or(|found| found.integrations.iter().any(|one| *one.kind == **kind && one.send_resolved))
}

/// Integrations that the entry wants told, that want to know of the end, and that never heard of the beginning.
fn wanted_but_not_told(entry: &Entry<'_>, told: &BTreeMap<Who, Millis>) -> Vec<String> {
    let Some(Notifies::Exactly(wanted)) = &entry.entry.notifies else { return Vec::new() };
    let mut missing = Vec::new();
    for reference in wanted {
        for kind in integrations(entry.observed.routes, &reference.value).into_iter().flatten() {
            let who = (reference.value.receiver.clone(), kind);
            if wants_resolved(entry.observed, &who) && !told.contains_key(&who) {
                missing.push(short(entry.observed.routes, &who));
            }
        }
    }
    missing
}

/// The receivers told that an instance fires, from one moment to another, each once.
pub(super) fn receivers_told(
    observed: &Observed<'_>,
    labels: &Labels,
    from: Millis,
    to: Option<Millis>,
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for notification in observed.notifications {
        let inside = from <= notification.at && to.is_none_or(|to| notification.at <= to);
        let receiver = notification.receiver.to_string();
        if inside && notification.firing.contains(labels) && !found.contains(&receiver) {
            found.push(receiver);
        }
    }
    found
}
