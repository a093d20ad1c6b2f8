use super::*;
use crate::notation;
use crate::rule;
use crate::timeline::Transition;
use scenarios::span::Source;

const STEP: i64 = 60_000;

fn engine(rules: &str) -> Engine {
    let source = Arc::new(Source { name: "rules.yml".into(), text: rules.into() });
    Engine::new(rule::load(&[source], Dialect::V2.into()).unwrap().rules, EngineSettings::default())
}

fn store(series: &[(&str, &str)]) -> Store {
    let mut store = Store::new();
    for (name, points) in series {
        let labels = notation::labels(name).unwrap();
        for (index, point) in notation::points(points).unwrap().into_iter().enumerate() {
            if let Some(value) = point {
                store.append(&labels, Millis(index as i64 * STEP), value).unwrap();
            }
        }
    }
    store
}

/// The events of `minutes` evaluations, as `minute alertname transition`.
fn events(engine: &mut Engine, store: &mut Store, minutes: i64) -> Vec<String> {
    let mut shown = Vec::new();
    for minute in 0..minutes {
        let evaluation = engine.evaluate(store, Millis(minute * STEP));
        shown.extend(evaluation.errors.iter().map(|error| format!("{minute} {} error", error.name)));
        for event in &evaluation.events {
            let what = match &event.transition {
                Transition::Resolved(reason) => format!("resolved {reason:?}"),
                other => format!("{other:?}"),
            };
            shown.push(format!("{minute} {} {what}", event.labels.get("alertname")));
        }
    }
    shown
}

fn check(rules: &str, series: &[(&str, &str)], minutes: i64, expected: &[&str]) {
    assert_eq!(events(&mut engine(rules), &mut store(series), minutes), expected, "{rules}");
}

fn one_rule(expr: &str) -> String {
    format!("groups: [{{name: g, rules: [{{alert: A, expr: '{expr}'}}]}}]")
}

#[test]
fn a_condition_that_ends_is_not_data_that_vanishes() {
    let ended = ["0 A Firing", "2 A resolved Condition"];
    let vanished = ["0 A Firing", "2 A resolved NoData"];
    check(&one_rule("x > 1"), &[("x", "2 2 1")], 3, &ended);
    check(&one_rule("x > 1"), &[("x", "2 2 stale")], 3, &vanished);
    check(&one_rule("x > 1"), &[("x", "2 2 NaN")], 3, &vanished);
    check(&one_rule("1 < x"), &[("x", "2 2 1")], 3, &ended);
    check(&one_rule("x > on(a) y"), &[("x{a=\"1\", b=\"2\"}", "2 2 1"), ("y{a=\"1\"}", "1x3")], 3, &ended);
    check(&one_rule("sum(x) / sum(y) > 1"), &[("x", "2x9"), ("y", "1 1 0 0")], 3, &["0 A Firing"]);
    check(&one_rule("sum(x) / sum(y) > 1"), &[("x", "2 2 0"), ("y", "1 1 0")], 3, &vanished);
    check(&one_rule("count(x == 0) > 0"), &[("x", "0 0 1")], 3, &ended);
    check(&one_rule("x > 1 and y > 1"), &[("x", "2 2 2"), ("y", "2 2 0")], 3, &ended);
    check(&one_rule("x > 1 unless y"), &[("x", "2 2 2"), ("y", "_ _ 1")], 3, &ended);
    check(&one_rule("absent(x)"), &[("x", "_ _ 1")], 3, &ended);
    check(&one_rule("x"), &[("x", "1 1 stale")], 3, &vanished);
}

#[test]
fn an_error_changes_nothing() {
    // Two series on the one side make the division an error at minute 1; the alert goes on and resolves at 3.
    check(
        &one_rule("x / on(a) y > 1"),
        &[("x{a=\"1\"}", "2 2 2 0"), ("y{a=\"1\"}", "1x3"), ("y{a=\"1\", b=\"2\"}", "_ 1 stale")],
        4,
        &["0 A Firing", "1 A error", "3 A resolved Condition"],
    );
}

#[test]
fn elements_that_make_the_same_alert_are_an_error() {
    let rules = "groups: [{name: g, rules: [{alert: A, expr: x > 1, labels: {b: same}}]}]";
    check(rules, &[("x{b=\"1\"}", "2"), ("x{b=\"2\"}", "2")], 1, &["0 A error"]);
}

#[test]
fn more_than_the_limit_is_an_error_and_the_alerts_begin_anew() {
    let rules = "
groups:
- name: g
  limit: 1
  rules: [{alert: A, expr: x > 1, for: 1m}, {record: r, expr: x}]";
    let series = [("x{a=\"1\"}", "2x9"), ("x{a=\"2\"}", "_ _ 2 stale")];
    let (mut engine, mut store) = (engine(rules), store(&series));
    let expected = ["0 A Pending", "1 A Firing", "2 A error", "2 r error", "3 A Pending", "4 A Firing"];
    assert_eq!(events(&mut engine, &mut store, 5), expected);
    let recorded = store.named("r").next().unwrap().samples.window(Millis(0), Millis(4 * STEP)).unwrap();
    assert_eq!(recorded.points().map(|point| point.at.0 / STEP).collect::<Vec<_>>(), [0, 1, 3, 4]);
    check(&rules.replace("limit: 1", "limit: 2"), &series, 3, &["0 A Pending", "1 A Firing", "2 A Pending"]);
}

#[test]
fn rules_see_what_earlier_rules_wrote() {
    let rules = "
groups:
- name: g
  rules:
  - {record: 'job:x', expr: sum(x), labels: {team: core}}
  - {alert: High, expr: 'job:x{team=\"core\"} > 3', for: 1m}
  - {alert: Second, expr: 'ALERTS{alertname=\"High\", alertstate=\"firing\"}'}";
    let series = [("x{a=\"1\"}", "2x9"), ("x{a=\"2\"}", "1 2 2 2 1")];
    check(
        rules,
        &series,
        6,
        &[
            "1 High Pending",
            "2 High Firing",
            "2 Second Firing",
            "4 High resolved Condition",
            "4 Second resolved NoData",
        ],
    );
}

#[test]
fn a_recorded_series_ends_when_its_rule_makes_it_no_longer() {
    let mut engine = engine("groups: [{name: g, rules: [{record: r, expr: x > 1}]}]");
    let mut store = store(&[("x", "2 0")]);
    events(&mut engine, &mut store, 2);
    let series = store.named("r").next().unwrap();
    assert_eq!(series.samples.latest(Millis(0)).unwrap().1, 2.0);
    assert!(crate::series::is_stale(series.samples.latest(Millis(STEP)).unwrap().1));
}

#[test]
fn recorded_series_get_a_past() {
    let rules = "
groups:
- name: g
  rules:
  - {record: 'job:x', expr: sum(x)}
  - {record: 'job:y', expr: 2 * job:x}
  - {alert: A, expr: 'avg_over_time(job:y[1h]) > 5.9'}";
    let mut engine = engine(rules);
    let mut store = store(&[("x", "2x60 60x9")]);
    engine.lay_history(&mut store, Duration::from_secs(3600), Millis(60 * STEP));
    let fired = (61..64).find(|minute| !engine.evaluate(&mut store, Millis(minute * STEP)).sends.is_empty());
    // One sample of 120 among 61 of 4 is a mean of 5.9016.
    assert_eq!(fired, Some(61));
    let points = store.named("job:y").next().unwrap().samples.window(Millis(0), Millis(60 * STEP)).unwrap();
    assert_eq!((points.count(), points.points().map(|point| point.value).sum::<f64>()), (61, 244.0));
}

#[test]
fn groups_keep_their_own_interval() {
    let rules = "groups: [{name: g, interval: 2m, rules: [{alert: A, expr: x > 1}]}]";
    check(rules, &[("x", "0 2 2 0 2 0 0")], 7, &["2 A Firing", "6 A resolved Condition"]);
    assert_eq!(engine(rules).next_evaluation(Millis(0)), Some(Millis(2 * STEP)));
}

#[test]
fn the_observation_tells_value_threshold_and_events() {
    let engine = engine(&one_rule("sum(rate(bad[2m])) / sum(rate(all[2m])) > 0.1"));
    let store = store(&[("bad", "0+6x9"), ("all", "0+600x9")]);
    let found = engine.observations(&store, 0, Millis(5 * STEP)).unwrap();
    assert_eq!(found.len(), 1);
    assert!((found[0].value - 0.01).abs() < 1e-12);
    assert_eq!((found[0].threshold, found[0].events), (Some(0.1), Some(12.0)));
}

#[test]
fn a_threshold_means_a_number_of_events() {
    let store = store(&[
        ("bad{i=\"1\"}", "0+6x9"),
        ("all{i=\"1\"}", "0+600x9"),
        ("all{i=\"2\"}", "0+60x9"),
        ("gauge", "1x9"),
    ]);
    for (expr, behind, needed) in [
        ("sum(rate(bad[2m])) / sum(rate(all[2m])) > 0.1", Some(12.0), Some(132.0)),
        ("100 * sum(rate(bad[2m])) / sum(rate(all[2m])) > 10", Some(12.0), Some(132.0)),
        ("sum(rate(bad[2m])) / sum(rate(all[2m])) * 100 > 10", Some(12.0), Some(132.0)),
        // 1 - good / all: the counted are the others.
        ("1 - sum(rate(bad[2m])) / sum(rate(all[2m])) > 0.5", Some(1308.0), Some(660.0)),
        (
            "sum(increase(bad[2m])) / sum(increase(all[2m])) > 0.1 and sum(rate(bad[1m])) > 0",
            Some(12.0),
            Some(132.0),
        ),
        // Of several elements the one with the fewest.
        ("rate(bad[2m]) / rate(all[2m]) > 0.1", Some(12.0), Some(12.0)),
        ("sum(rate(bad[2m])) / sum(gauge) > 0.1", Some(12.0), None),
        ("sum(rate(bad[2m])) > 0.1", None, None),
    ] {
        let engine = engine(&one_rule(expr));
        let found = engine.observations(&store, 0, Millis(5 * STEP)).unwrap();
        assert_eq!(found[0].events, behind, "{expr}");
        assert_eq!(engine.threshold_events(&store, 0, Millis(5 * STEP)), Ok(needed), "{expr}");
    }
}

#[test]
fn evaluation_is_deterministic() {
    let run = || {
        let mut engine = engine(&one_rule("sum by (a) (rate(x[5m])) > 0"));
        let mut store =
            store(&[("x{a=\"1\"}", "0+1x50"), ("x{a=\"2\"}", "0+3x20 1 2 3"), ("x{a=\"3\"}", "1 2 _ 3")]);
        let mut all = Vec::new();
        for minute in 0..50 {
            let evaluation = engine.evaluate(&mut store, Millis(minute * STEP));
            all.push(format!("{:?} {:?}", evaluation.events, evaluation.sends));
        }
        all
    };
    assert_eq!(run(), run());
}
