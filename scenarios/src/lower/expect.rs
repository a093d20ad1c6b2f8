//! `expect`: the alerts that must, may and must not fire, and what clients must have seen.

use super::*;
use crate::slo;
use crate::threshold::SyntaxError;

pub(super) fn lower(fields: &Fields<'_>, names: &Names) -> Option<Expect> {
    let fires = fields.list("fires").iter().filter_map(|item| one(item, names)).collect();
    let may = |(key, node): (&crate::yaml::Key, &Node)| MayFire {
        alert: fields::spanned(key),
        during: names.phase_set(fields, node),
    };
    let may_fire = fields.named("may_fire").into_iter().map(may).collect();
    let silent =
        fields.named_texts("silent").into_iter().map(|(alert, reason)| (alert, reason.value)).collect();
    let pending = [("report", UnlistedPending::Report), ("fail", UnlistedPending::Fail)];
    let unlisted_pending = fields.one_of("unlisted_pending", &pending);
    let slos = fields.list("slos").iter().filter_map(|item| slo(item, names)).collect();
    let expect = Expect { fires, may_fire, silent, unlisted_pending: unlisted_pending?.value, slos };
    check_sets(fields.cx, &expect);
    Some(expect)
}

fn one(item: &Fields<'_>, names: &Names) -> Option<Fires> {
    let time = |key: &str| item.read(key, units::duration);
    let alert = item.text("alert");
    let cause = item.text("cause").and_then(|written| cause(item, names, &written));
    for key in ["pending_within", "fires_within", "fires_not_before", "resolves_within"] {
        if item.get(key).is_some() && item.get("cause").is_none() {
            let place = item.key_span(key).unwrap_or_else(|| item.place());
            let problem = Problem::error(format!("`{key}` without a `cause`"), place);
            item.cx.report(problem.hint("say which phase sets the alert off: `cause: PHASE`"));
        }
    }
    let fires = Fires {
        labels: item.named_texts("labels"),
        cause,
        pending_within: time("pending_within"),
        fires_within: time("fires_within"),
        fires_not_before: time("fires_not_before"),
        holds_for: time("holds_for"),
        resolves_within: time("resolves_within"),
        notifies: notifies(item),
        notified_within: time("notified_within"),
        resolved_notice_within: time("resolved_notice_within"),
        notifications: item.read("notifications", fields::integer),
        payload: item.named_texts("payload"),
        max_instances: item.read("max_instances", fields::integer),
        inhibited_by: item.text("inhibited_by"),
        escalates: item.list("escalates").iter().filter_map(escalation).collect(),
        alert: alert?,
    };
    check_order(item, &fires);
    Some(fires)
}

/// Bounds that contradict each other.
fn check_order(item: &Fields<'_>, fires: &Fires) {
    let pairs = [
        ("fires_not_before", &fires.fires_not_before, "fires_within", &fires.fires_within),
        ("pending_within", &fires.pending_within, "fires_within", &fires.fires_within),
    ];
    for (early, from, late, to) in pairs {
        if let (Some(from), Some(to)) = (from, to)
            && from.value > to.value
        {
            let place = from.span.clone().unwrap_or_else(|| item.place());
            let problem = Problem::error(format!("`{early}` is later than `{late}`"), place)
                .hint("swap or correct them");
            item.cx.report(match &to.span {
                Some(other) => problem.related(other.clone(), "the other bound"),
                None => problem,
            });
        }
    }
}

fn cause(item: &Fields<'_>, names: &Names, written: &Spanned<String>) -> Option<Spanned<Cause>> {
    let place = written.span.clone()?;
    let (phase, fault) =
        written.value.split_once('/').map_or((written.value.as_str(), None), |(p, f)| (p, Some(f)));
    let phase = names.phase(phase, &place, item.cx)?;
    let faults = &names.faults[phase];
    if faults.is_empty() {
        let problem =
            Problem::error(format!("phase `{}` has no fault to be a cause", names.phases[phase]), place);
        item.cx.report(problem.hint("name a phase that has `faults`"));
        return None;
    }
    let fault = match fault {
        None => None,
        Some(name) => match faults.iter().position(|known| known == name) {
            Some(found) => Some(found),
            None => {
                item.cx.report(unknown("fault", name, faults.iter().map(String::as_str), &place));
                return None;
            }
        },
    };
    Some(Spanned::at(Cause { phase, fault }, place))
}

fn notifies(item: &Fields<'_>) -> Option<Notifies> {
    let node = item.get("notifies")?;
    if node.text() == Some("nobody") {
        return Some(Notifies::Nobody(node.span.clone()));
    }
    let receiver = |text: Spanned<String>| {
        let (receiver, integration) = match text.value.split_once('/') {
            Some((receiver, integration)) => (receiver.to_owned(), Some(integration.to_owned())),
            None => (text.value, None),
        };
        Spanned { value: ReceiverRef { receiver, integration }, span: text.span }
    };
    let receivers: Vec<_> = item.texts("notifies").into_iter().map(receiver).collect();
    if node.items().is_empty() && matches!(node.value, Value::Sequence(_)) {
        item.cx.report(
            Problem::error("nobody is named", node.head()).hint("write `notifies: nobody` if that is meant"),
        );
    }
    Some(Notifies::Exactly(receivers))
}

fn escalation(item: &Fields<'_>) -> Option<Escalation> {
    let to = item.text("to");
    let after = item.read("after", units::duration);
    Some(Escalation { to: to?, after: after? })
}

fn slo(item: &Fields<'_>, names: &Names) -> Option<Slo> {
    let during = names.during(item, "during");
    let from = item.one_of("from", &[("clients", SloSource::Clients), ("metrics", SloSource::Metrics)]);
    let text = item.text("slo")?;
    let objective = match slo::objective(&text.value) {
        Ok(objective) => objective,
        Err(error) => {
            syntax(item, item.get("slo")?, error);
            return None;
        }
    };
    Some(Slo { objective: Spanned { value: objective, span: text.span }, during, from: from?.value })
}

/// A problem inside a scalar, with its place in the file.
pub(super) fn syntax(fields: &Fields<'_>, node: &Node, error: SyntaxError) {
    fields.cx.report(Problem::error(error.summary, node.span_within(error.range)).hint(error.hint));
}

/// No alert in two of the three sets.
fn check_sets(cx: &Context, expect: &Expect) {
    let fires =
        expect.fires.iter().filter(|fires| fires.labels.is_empty()).map(|fires| (&fires.alert, "fires"));
    let may = expect.may_fire.iter().map(|may| (&may.alert, "may_fire"));
    let silent = expect.silent.iter().map(|(alert, _)| (alert, "silent"));
    let mut seen: BTreeMap<&str, (&Spanned<String>, &str)> = BTreeMap::new();
    for (alert, set) in fires.chain(may).chain(silent) {
        let Some((first, other)) = seen.insert(&alert.value, (alert, set)) else { continue };
        let (Some(place), Some(first)) = (&alert.span, &first.span) else { continue };
        if other == set && set == "fires" {
            let problem = Problem::error(format!("`{}` is expected twice", alert.value), place.clone());
            cx.report(problem.hint("tell them apart by `labels`").related(first.clone(), "the other one"));
        } else {
            let summary = format!("`{}` is in both `{other}` and `{set}`", alert.value);
            cx.report(
                Problem::error(summary, place.clone())
                    .hint("keep one")
                    .related(first.clone(), "the other one"),
            );
        }
    }
}
