use super::*;
use crate::notation;
use crate::promql::ast::Dialect;
use crate::rule;
use crate::series::is_stale;
use crate::timeline::{ResolveReason, Transition};
use scenarios::span::Source;
use std::time::Duration;

const MINUTE: i64 = 60_000;

fn rules(text: &str) -> RuleSet {
    let source = Arc::new(Source { name: "rules.yml".into(), text: text.into() });
    rule::load(&[source], Dialect::V2.into()).expect("readable").rules
}

/// One alert that holds as long as `x` is 1.
fn one(options: &str) -> RuleSet {
    rules(&format!("groups: [{{name: g, rules: [{{alert: A, expr: x == 1, {options}}}]}}]"))
}

fn plan(rules: RuleSet, minutes: i64) -> Plan {
    Plan {
        rules,
        settings: EngineSettings::default(),
        routes: None,
        from: Millis(0),
        until: Millis(minutes * MINUTE),
        outages: Vec::new(),
        reloads: Vec::new(),
    }
}

fn outage(from: i64, until: i64) -> Outage {
    Outage { from: Millis(from * MINUTE), until: Millis(until * MINUTE) }
}

/// A sample of `x` each minute, but while the server is down.
fn store(plan: &Plan, points: &str) -> Store {
    let mut store = Store::new();
    let labels = notation::labels("x").expect("a series");
    for (minute, point) in notation::points(points).expect("points").into_iter().enumerate() {
        let at = Millis(minute as i64 * MINUTE);
        if let Some(value) = point.filter(|_| !plan.is_down(at)) {
            store.append(&labels, at, value).expect("in order");
        }
    }
    store
}

fn shown(timeline: &Timeline) -> Vec<String> {
    let alerts = |alerts: &[(Labels, State)]| -> String {
        alerts.iter().map(|(labels, state)| format!(" {} {state:?}", labels.get("alertname"))).collect()
    };
    let line = |entry: &Entry| {
        let minute = entry.at.0 as f64 / MINUTE as f64;
        match &entry.what {
            Happening::Alert(event) => {
                let what = match event.transition {
                    Transition::Pending => "pending",
                    Transition::Firing => "firing",
                    Transition::Dropped => "dropped",
                    Transition::Resolved(ResolveReason::Condition) => "resolved",
                    Transition::Resolved(ResolveReason::NoData) => "no data",
                };
                format!("{minute} {what}")
            }
            Happening::Told(told) => {
                format!("{minute} told {} firing {} resolved", told.firing.len(), told.resolved.len())
            }
            Happening::Down { forgotten, .. } => format!("{minute} down{}", alerts(forgotten)),
            Happening::Reloaded { forgotten } => format!("{minute} reload{}", alerts(forgotten)),
            Happening::Failed(error) => format!("{minute} failed {}", error.name),
        }
    };
    timeline.entries.iter().map(line).collect()
}

#[track_caller]
fn check(plan: Plan, points: &str, expected: &[&str]) {
    let store = store(&plan, points);
    assert_eq!(shown(&plan.play(store)), expected);
}

#[test]
fn without_an_outage_nothing_is_forgotten() {
    check(plan(one("for: 5m"), 30), "1x19 0x20", &["0 pending", "5 firing", "20 resolved"]);
}

#[test]
fn what_lies_outside_is_not_played() {
    let outages = vec![outage(2, 4), outage(40, 41)];
    let short = Plan { from: Millis(10 * MINUTE), outages, ..plan(one("for: 5m"), 30) };
    check(short, "1x60", &["10 pending", "15 firing"]);
}

#[test]
fn a_short_for_starts_from_the_beginning_after_a_restart() {
    let restarted = Plan { outages: vec![outage(8, 10)], ..plan(one("for: 5m"), 30) };
    check(restarted, "1x40", &["0 pending", "5 firing", "8 down A Firing", "10 pending", "15 firing"]);
    let restarted = Plan { outages: vec![outage(8, 10)], ..plan(one("for: 0s"), 30) };
    check(restarted, "1x40", &["0 firing", "8 down A Firing", "10 firing"]);
}

#[test]
fn a_long_for_that_was_over_fires_again_at_the_third_evaluation() {
    let restarted = Plan { outages: vec![outage(20, 22)], ..plan(one("for: 15m"), 60) };
    check(restarted, "1x80", &["0 pending", "15 firing", "20 down A Firing", "22 pending", "24 firing"]);
}

#[test]
fn a_long_for_goes_on_without_the_outage() {
    // 5 of 30 minutes are over at the last evaluation before it, at 5; restored at the second after it, at 8: 3 minutes later.
    let restarted = Plan { outages: vec![outage(6, 7)], ..plan(one("for: 30m"), 60) };
    check(restarted, "1x80", &["0 pending", "6 down A Pending", "7 pending", "33 firing"]);
}

#[test]
fn at_least_the_grace_period_is_left() {
    // 14 of 15 minutes are over: 10 are left from the restoring at 17 on, not 1.
    let restarted = Plan { outages: vec![outage(15, 16)], ..plan(one("for: 15m"), 60) };
    let expected = ["0 pending", "15 down A Pending", "16 pending", "27 firing"];
    check(restarted.clone(), "1x80", &expected);
    let settings = EngineSettings { for_grace_period: Duration::from_secs(60), ..EngineSettings::default() };
    let expected = ["0 pending", "15 down A Pending", "16 pending", "18 firing"];
    check(Plan { settings, ..restarted }, "1x80", &expected);
}

#[test]
fn an_outage_beyond_the_tolerance_restores_nothing() {
    let long = |until| Plan { outages: vec![outage(20, until)], ..plan(one("for: 15m"), 120) };
    // The last sample is of 19, the second evaluation at 79 or 80: an hour and a minute later.
    check(long(78), "1x200", &["0 pending", "15 firing", "20 down A Firing", "78 pending", "80 firing"]);
    check(long(79), "1x200", &["0 pending", "15 firing", "20 down A Firing", "79 pending", "94 firing"]);
}

#[test]
fn an_alert_that_ended_before_the_outage_is_not_restored() {
    let restarted = Plan { outages: vec![outage(20, 22)], ..plan(one("for: 10m"), 60) };
    // It resolved at 15: the marker at the end of its series says so.
    let points = "1x14 0x6 1x40";
    let expected = ["0 pending", "10 firing", "15 resolved", "22 pending", "32 firing"];
    check(restarted, points, &[&expected[..3], &["20 down"], &expected[3..]].concat());
}

#[test]
fn keep_firing_for_does_not_outlive_a_restart() {
    let kept = plan(one("for: 10m, keep_firing_for: 20m"), 60);
    check(kept.clone(), "1x14 0x60", &["0 pending", "10 firing", "35 resolved"]);
    let restarted = Plan { outages: vec![outage(20, 22)], ..kept };
    check(restarted, "1x14 0x60", &["0 pending", "10 firing", "20 down A Firing"]);
}

/// The minutes at which the store has a sample of a series, markers as negative numbers.
fn minutes_of(store: &Store, series: &str) -> Vec<i64> {
    let id = store.find(&notation::labels(series).expect("a series")).expect("it was written");
    let samples = &store.get(id).samples;
    let newest = |at: &Millis| samples.latest(Millis(at.0 - 1)).map(|(at, _)| at);
    let times = std::iter::successors(samples.latest(Millis(i64::MAX)).map(|(at, _)| at), newest);
    let mut minutes: Vec<i64> = times
        .map(|at| {
            let marker = samples.latest(at).is_some_and(|(_, value)| is_stale(value));
            at.0 / MINUTE * if marker { -1 } else { 1 }
        })
        .collect();
    minutes.reverse();
    minutes
}

#[test]
fn a_fresh_server_writes_no_alerts_for_two_evaluations() {
    let mut engine = Engine::new(one("for: 0s"), EngineSettings::default());
    let mut store = store(&plan(one("for: 0s"), 9), "1x9");
    let minutes = |engine: &mut Engine, store: &mut Store, from: i64, until: i64| {
        for minute in from..until {
            assert_eq!(engine.evaluate(store, Millis(minute * MINUTE)).errors, []);
        }
    };
    minutes(&mut engine, &mut store, 0, 2);
    engine.restart();
    minutes(&mut engine, &mut store, 2, 6);
    assert_eq!(minutes_of(&store, "ALERTS{alertname=\"A\", alertstate=\"firing\"}"), [0, 1, 4, 5]);
    assert_eq!(minutes_of(&store, "ALERTS_FOR_STATE{alertname=\"A\"}"), [0, 1, 4, 5]);
}

#[test]
fn a_change_of_state_ends_the_series_of_the_old_one_at_once() {
    let mut engine = Engine::new(one("for: 2m"), EngineSettings::default());
    let mut store = store(&plan(one("for: 2m"), 9), "1x3 0x9");
    (0..6).for_each(|minute| drop(engine.evaluate(&mut store, Millis(minute * MINUTE))));
    assert_eq!(minutes_of(&store, "ALERTS{alertname=\"A\", alertstate=\"pending\"}"), [0, 1, -2]);
    assert_eq!(minutes_of(&store, "ALERTS{alertname=\"A\", alertstate=\"firing\"}"), [2, 3, -4]);
    assert_eq!(minutes_of(&store, "ALERTS_FOR_STATE{alertname=\"A\"}"), [0, 1, 2, 3, -4]);
}

fn reload(minute: i64, rules: RuleSet) -> Vec<Reload> {
    vec![Reload { at: Millis(minute * MINUTE - MINUTE / 2), rules }]
}

#[test]
fn a_raised_for_makes_a_firing_alert_pending_again_in_prometheus_3() {
    let raised = Plan { reloads: reload(8, one("for: 12m")), ..plan(one("for: 5m"), 30) };
    check(raised.clone(), "1x40", &["0 pending", "5 firing", "7.5 reload"]);
    let settings = EngineSettings { dialect: Dialect::V3, ..EngineSettings::default() };
    let raised = Plan { settings, ..raised };
    check(raised.clone(), "1x40", &["0 pending", "5 firing", "7.5 reload", "8 pending", "12 firing"]);
    // Older than the new `for`, it goes on.
    let raised = Plan { reloads: reload(14, one("for: 12m")), ..raised };
    check(raised, "1x40", &["0 pending", "5 firing", "13.5 reload"]);
}

#[test]
fn a_rule_that_is_gone_takes_its_alerts_along_and_its_series_end() {
    let text = "
groups:
- name: g
  rules: [{record: r, expr: x}, {record: kept, expr: x}, {alert: A, expr: x == 1, for: 3m}]
- name: gone
  rules: [{record: late, expr: x}, {record: moved, expr: x}]";
    let new = "
groups:
- name: g
  rules: [{record: kept, expr: x + 1}, {alert: A, expr: x == 1, labels: {a: b}, for: 3m}]
- name: new
  rules: [{record: moved, expr: x}]";
    let plan = plan(rules(text), 9);
    let mut store = store(&plan, "1x20");
    let mut engine = Engine::new(plan.rules, EngineSettings::default());
    (0..5).for_each(|minute| drop(engine.evaluate(&mut store, Millis(minute * MINUTE))));
    assert_eq!(engine.active().count(), 1);
    engine.reload(rules(new), Millis(4 * MINUTE + 1));
    assert_eq!(engine.active().count(), 0, "other labels make another rule");
    (5..9).for_each(|minute| drop(engine.evaluate(&mut store, Millis(minute * MINUTE))));
    assert_eq!(minutes_of(&store, "r"), [0, 1, 2, 3, 4, -5]);
    assert_eq!(minutes_of(&store, "kept"), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(minutes_of(&store, "ALERTS{alertname=\"A\", alertstate=\"firing\"}"), [3, 4, -5]);
    assert_eq!(minutes_of(&store, "late"), [0, 1, 2, 3, 4, -4], "a removed group's, as of the reload");
    assert_eq!(minutes_of(&store, "moved"), [0, 1, 2, 3, 4, 5, 6, 7, 8], "another group writes it");
}

#[test]
fn rules_read_while_the_server_is_down_begin_afresh() {
    let changed = Plan {
        outages: vec![outage(8, 10)],
        reloads: reload(9, one("for: 3m, labels: {a: b}")),
        ..plan(one("for: 5m"), 30)
    };
    let expected = ["0 pending", "5 firing", "8 down A Firing", "8.5 reload", "10 pending", "13 firing"];
    check(changed, "1x40", &expected);
}

#[test]
fn a_failure_is_told_once() {
    let text = "groups: [{name: g, rules: [{alert: A, expr: 'label_replace({x=~\".*\", __name__=~\"x|y\"}, \"__name__\", \"z\", \"\", \"\")'}]}]";
    let plan = plan(rules(text), 5);
    let mut store = store(&plan, "1x9");
    let other = notation::labels("y").expect("a series");
    (0..5).for_each(|minute| store.append(&other, Millis(minute * MINUTE), 1.0).expect("in order"));
    assert_eq!(shown(&plan.play(store)), ["0 failed A"]);
}

#[test]
fn people_are_told_of_an_end_that_was_none() {
    let text = "route: {receiver: a, group_wait: 30s, group_interval: 3m30s}\nreceivers: [{name: a, webhook_configs: [{}]}]\n";
    let source = Arc::new(Source { name: "am.yml".into(), text: text.into() });
    let routes = Some(Arc::new(Alertmanager::parse(source).expect("readable").0));
    let quick = Plan { routes: routes.clone(), ..plan(one("for: 5m"), 40) };
    check(quick.clone(), "1x60", &["0 pending", "5 firing", "5.5 told 1 firing 0 resolved"]);
    // Sent last at 7, it ends at 11 for the Alertmanager: before the new server has waited its 5 minutes. That is told at the
    // next look at the group.
    let restarted = Plan { outages: vec![outage(8, 9)], ..quick };
    let expected = [
        "0 pending",
        "5 firing",
        "5.5 told 1 firing 0 resolved",
        "8 down A Firing",
        "9 pending",
        "12.5 told 0 firing 1 resolved",
        "14 firing",
        "14.5 told 1 firing 0 resolved",
    ];
    check(restarted, "1x60", &expected);
}
