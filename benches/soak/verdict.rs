//! What must hold of a soak, and the table that says whether it does.

use crate::judge::{Bound, after_largest_pile, trend};
use crate::run::{Orders, Outcome, Sample};
use std::fmt::Write as _;

const MIB: f64 = 1024.0 * 1024.0;
/// Of the messages, so many must have been sent on time for the load to be the one that was asked for.
const SENT_SHARE_MIN: f64 = 0.99;
/// Of the users who come and go, at most one in so many may be coming or going at a moment, with a descriptor and no session.
const COMING_OR_GOING: u64 = 2;
/// Descriptors of the process itself, and of scrapes.
const DESCRIPTORS_BESIDE: u64 = 50;

/// One thing that must hold.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) what: &'static str,
    pub(crate) seen: String,
    pub(crate) bound: String,
    pub(crate) holds: bool,
}

/// Everything that must hold.
pub(crate) fn checks(orders: &Orders, outcome: &Outcome, bound: Bound) -> Vec<Check> {
    let mut checks = vec![
        flat("resident memory", orders, outcome, bound, |sample| sample.usage.memory.resident),
        flat("private memory", orders, outcome, bound, |sample| sample.usage.memory.private),
    ];
    if orders.data.is_some() {
        checks.push(flat("data folder", orders, outcome, bound, |sample| sample.usage.stored));
    }
    checks.extend(descriptors(orders, outcome));
    checks.extend(messages(orders, outcome));
    checks.push(Check {
        what: "end of the process",
        seen: if outcome.ended_well { "exit 0" } else { "not well" }.into(),
        bound: "exit 0".into(),
        holds: outcome.ended_well,
    });
    checks
}

fn flat(
    what: &'static str,
    orders: &Orders,
    outcome: &Outcome,
    bound: Bound,
    level: impl Fn(&Sample) -> u64,
) -> Check {
    let mut from = orders.warm_up.as_secs_f64();
    if orders.data.is_some() {
        let piles: Vec<_> = outcome.samples.iter().map(|sample| (sample.at, sample.in_flight)).collect();
        from = after_largest_pile(&piles, from);
    }
    let judged = outcome.samples.iter().filter(|sample| sample.at >= from);
    let levels: Vec<_> = judged.map(|sample| (sample.at, level(sample) as f64)).collect();
    let trend = trend(&levels, bound.over);
    Check {
        what,
        seen: trend.map_or("too few samples".into(), |trend| {
            format!(
                "{:+.2} % in {} s, judged from {from:.0} s on ({:.1} MiB, at most {:.1})",
                trend.growth * 100.0,
                bound.over.as_secs(),
                trend.median / MIB,
                trend.max / MIB
            )
        }),
        bound: format!("at most {bound}"),
        holds: trend.is_some_and(|trend| trend.growth <= bound.share),
    }
}

fn descriptors(orders: &Orders, outcome: &Outcome) -> [Check; 2] {
    let beside = |sample: &Sample| sample.usage.descriptors.saturating_sub(sample.connections as u64);
    let most = outcome.samples.iter().map(beside).max().unwrap_or_default();
    let (before, after) = outcome.descriptors;
    let bound = u64::from(orders.plan.churners) / COMING_OR_GOING + DESCRIPTORS_BESIDE;
    [
        Check {
            what: "descriptors that are no sessions",
            seen: format!("at most {most}"),
            bound: format!("at most {bound}"),
            holds: most <= bound,
        },
        Check {
            what: "descriptors and connections after all left",
            seen: format!("{after} and {}", outcome.connections_left),
            bound: format!("{before} and 0, as before the first came"),
            holds: after <= before && outcome.connections_left == 0.0,
        },
    ]
}

fn messages(orders: &Orders, outcome: &Outcome) -> Vec<Check> {
    let (report, totals, balance) = (&outcome.report, &outcome.report.totals, &outcome.balance);
    let none =
        |what, count: u64| Check { what, seen: count.to_string(), bound: "0".into(), holds: count == 0 };
    let (lost, unanswered) = report.unsettled;
    let asked = orders.rate * outcome.took.as_secs_f64();
    let share = (totals.sent - u64::from(crate::plan::VISITOR_MESSAGES) * report.visits) as f64 / asked;
    vec![
        Check {
            what: "messages sent on time",
            seen: format!("{} ({:.2} %)", totals.sent, share * 100.0),
            bound: format!("{:.0} % of {:.0}/s", SENT_SHARE_MIN * 100.0, orders.rate),
            holds: share >= SENT_SHARE_MIN,
        },
        none("confirmed, and not with everybody", lost),
        none("never answered", unanswered),
        none("refused", totals.refused),
        none("overtaken between two who stay", totals.overtaken),
        none("frames that make no sense", totals.unexpected),
        Check {
            what: "the gateway's account",
            seen: format!(
                "{} accepted = {} delivered + {} queued + {} expired + {} failed + {} in flight",
                balance.accepted,
                balance.delivered,
                balance.queued,
                balance.expired,
                balance.failed,
                balance.in_flight
            ),
            bound: "accepted = delivered".into(),
            holds: balance.is_even() && balance.accepted == balance.delivered,
        },
    ]
}

/// All of it, in Markdown.
pub(crate) fn table(orders: &Orders, outcome: &Outcome, checks: &[Check]) -> String {
    let (plan, report, totals) = (&orders.plan, &outcome.report, &outcome.report.totals);
    let mut text = String::new();
    let seconds = outcome.took.as_secs_f64();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:.0} s at {:.0} messages a second{}. {} users: {} stay, {} come and go, {} are mostly away, {} read slowly; {} groups of {}.\n\
         {} connects, {} visitors, {} deliveries arrived, {} came again; unwanted ends: {:?}; refusals: {:?} ({} sent once more); failures: {:?}.\n\
         CPU of the gateway: {:.1} % of a core, {:.2} µs a message. Samples of the first {:.0} s are not judged.\n",
        seconds,
        orders.rate,
        if orders.data.is_some() { ", with a store" } else { "" },
        plan.users(),
        plan.steady,
        plan.churners,
        plan.sleepers,
        plan.slow,
        plan.groups,
        crate::plan::MEMBERS,
        report.connects,
        report.visits,
        totals.arrived,
        totals.repeated,
        report.ends,
        report.refusals,
        totals.retried,
        outcome.failures,
        outcome.cpu.as_secs_f64() / seconds * 100.0,
        outcome.cpu.as_secs_f64() * 1e6 / totals.sent.max(1) as f64,
        orders.warm_up.as_secs_f64(),
    );
    let _ = writeln!(text, "| what | seen | bound | |\n| --- | --- | --- | --- |");
    for Check { what, seen, bound, holds } in checks {
        let _ =
            writeln!(text, "| {what} | {seen} | {bound} | {} |", if *holds { "holds" } else { "**missed**" });
    }
    text
}
