use super::*;
use crate::labels::Labels;
use scenarios::span::Source;
use std::path::Path;
use std::sync::Arc;

const ROUTES: &str = "
route:
  receiver: slack
  group_by: [alertname]
  routes:
    - {matchers: [severity=P1], receiver: pagerduty, continue: true}
    - {matchers: [severity=P1], receiver: slack}
    - {matchers: [severity=shared], receiver: pagerduty, group_by: [service]}
    - {matchers: [severity=alone], receiver: pagerduty, group_by: ['...']}
receivers: [{name: slack, slack_configs: [{}]}, {name: pagerduty, pagerduty_configs: [{}]}]
";

/// Steady for 20m, slow for 12m, recovered for `last`; stretched 60-fold.
fn scenario(last: u32, expect: &str) -> Scenario {
    let text = format!(
        "
version: 1
clock: stretched
target: {{gateway: {{}}}}
alerts: {{rules: [rules.yml], alertmanager: am.yml}}
population: {{members: {{executor: constant-vus, vus: 10}}}}
traffic: {{chat: {{executor: constant-arrival-rate, from: members, to: random-user, rate: 5/s, size: 128B}}}}
phases:
  - {{name: steady, for: 20s, stands_for: 20m}}
  - {{name: slow, for: 12s, stands_for: 12m, faults: [{{fault: gateway.latency, delay: 600ms}}]}}
  - {{name: recovered, for: {last}s, stands_for: {last}m}}
expect: {expect}
"
    );
    let files = |path: &Path| match path.to_str() {
        Some("drill.yaml") => Ok(text.clone()),
        Some("rules.yml") => Ok("groups: []".to_owned()),
        Some("am.yml") => Ok(ROUTES.to_owned()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let loaded = scenarios::load_with(Path::new("drill.yaml"), &scenarios::Options::default(), &files);
    loaded.unwrap_or_else(|problems| panic!("{problems:?}")).scenario
}

fn routes() -> Alertmanager {
    let source = Arc::new(Source { name: "am.yml".to_owned(), text: ROUTES.to_owned() });
    Alertmanager::parse(source).expect("valid").0
}

fn rules() -> Vec<RuleFacts> {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let rule = |name: &str, severity: &str, hold: u64, window: u64| RuleFacts {
        name: name.to_owned(),
        labels: Labels::from_pairs([("alertname", name), ("severity", severity)]),
        hold: minutes(hold),
        keep_firing_for: Duration::ZERO,
        longest_window: minutes(window),
        interval: None,
    };
    vec![
        rule("Latency", "P1", 5, 5),
        rule("Long", "P1", 30, 5),
        rule("Instant", "P1", 0, 5),
        rule("Burn", "P1", 2, 60),
        rule("Shared", "shared", 5, 5),
        rule("Alone", "alone", 5, 5),
    ]
}

#[track_caller]
fn check(last: u32, entry: &str, expected: &[&str]) {
    let scenario = scenario(last, &format!("{{fires: [{{cause: slow, {entry}}}]}}"));
    let (_, problems) = forecast(&scenario, &rules(), Some(&routes()));
    let found: Vec<String> = problems
        .iter()
        .map(|problem| {
            let place = problem.span.as_ref().map(|span| span.text()).unwrap_or_default();
            format!("{place}: {}; {}", problem.summary, problem.hint.as_deref().unwrap_or_default())
        })
        .collect();
    assert_eq!(found, expected, "{entry}");
}

#[test]
fn the_moments_of_an_alert() {
    let entry = "{fires: [{cause: slow, alert: Latency, pending_within: 3m, fires_within: 12m, notified_within: 2m, \
        resolves_within: 8m, resolved_notice_within: 6m}]}";
    let scenario = scenario(18, entry);
    let (forecasts, problems) = forecast(&scenario, &rules(), Some(&routes()));
    assert_eq!(problems, []);
    let at =
        |moment: Duration| format!("{} ({} on the wall)", time(moment), time(wall_time(&scenario, moment)));
    let shown =
        |window: Window| format!("{} .. {}", at(window.earliest), window.latest.map(at).unwrap_or_default());
    let found = &forecasts[0];
    assert_eq!(found.cause, (Duration::from_secs(1200), Duration::from_secs(1920)));
    assert_eq!(
        found.pending.map(shown).unwrap_or_default(),
        "20m (20s on the wall) .. 25m30s (25s500ms on the wall)"
    );
    assert_eq!(shown(found.firing), "25m (25s on the wall) .. 30m30s (30s500ms on the wall)");
    assert_eq!(shown(found.resolved), "32m (32s on the wall) .. 37m30s (37s500ms on the wall)");
    let notices: Vec<String> =
        found.notices.iter().map(|n| format!("{} {}", n.who, shown(n.window))).collect();
    assert_eq!(
        notices,
        [
            "pagerduty/pagerduty 25m30s (25s500ms on the wall) .. 31m (31s on the wall)",
            "slack/slack 25m30s (25s500ms on the wall) .. 31m (31s on the wall)"
        ]
    );
    assert_eq!(found.resolved_notices.len(), 1);
    let margins: Vec<_> = found.margins.iter().map(|m| (m.kind, m.seconds())).collect();
    assert_eq!(
        margins,
        [
            (Kind::Pending, Some(180.0 - 66.0 - 330.0)),
            (Kind::Fired, Some(720.0 - 66.0 - 630.0)),
            (Kind::Notified, Some(120.0 - 66.0 - 30.0)),
            (Kind::Resolved, Some(480.0 - 66.0 - 330.0)),
            (Kind::ResolvedNotice, Some(360.0 - 66.0 - 300.0)),
        ]
    );
}

#[test]
fn a_window_longer_than_the_fault_promises_nothing() {
    let scenario = scenario(18, "{fires: [{cause: slow, alert: Burn, fires_within: 8m}]}");
    let (forecasts, problems) = forecast(&scenario, &rules(), Some(&routes()));
    assert_eq!(problems, []);
    assert_eq!((forecasts[0].firing.latest, forecasts[0].margins[0].seconds()), (None, None));
}

#[test]
fn bounds_that_no_run_could_meet_are_refused_at_their_place() {
    check(18, "alert: Latency, fires_within: 8m, resolves_within: 8m, resolved_notice_within: 6m", &[]);
    let tolerance = "1m6s of it the tolerance of the stretched clock";
    check(
        18,
        "alert: Latency, fires_within: 6m",
        &[&format!(
            "6m: `fires_within: 6m` cannot be met: 5m (`for` is 5m) at the soonest; 6m6s is the least, {tolerance}"
        )],
    );
    check(
        18,
        "alert: Latency, pending_within: 1m",
        &[&format!(
            "1m: `pending_within: 1m` cannot be met: 0s at the soonest; 1m6s is the least, {tolerance}"
        )],
    );
    check(
        18,
        "alert: Instant, pending_within: 3m",
        &["3m: `Instant` has no `for`: it is never pending; write `fires_within` instead"],
    );
    check(
        18,
        "alert: Latency, fires_within: 31m",
        &[
            "31m: `fires_within: 31m` is longer than what is left of the run, 30m; let the last phase last 1m longer",
        ],
    );
    check(
        18,
        "alert: Long",
        &[
            "slow: `Long` cannot fire: its condition can hold for 17m30s at most, the rule wants 30m; let the fault last 30m or longer",
        ],
    );
    check(
        18,
        "alert: Latency, holds_for: 13m",
        &[&format!(
            "13m: `holds_for: 13m` cannot be met: it fires for 12m30s at most; let the fault last longer, or ask for less, {tolerance}"
        )],
    );
    check(18, "alert: Latency, holds_for: 11m", &[]);
    check(
        18,
        "alert: Latency, resolves_within: 19m",
        &[
            "19m: `resolves_within: 19m` is longer than what is left of the run, 18m; let the last phase last 1m longer",
        ],
    );
    check(
        18,
        "alert: Latency, resolves_within: 1m",
        &[&format!(
            "1m: `resolves_within: 1m` cannot be met: 0s at the soonest; 1m6s is the least, {tolerance}"
        )],
    );
}

#[test]
fn notices_need_their_timers() {
    let tolerance = "1m6s of it the tolerance of the stretched clock";
    check(
        18,
        "alert: Latency, notified_within: 1m30s",
        &[&format!(
            "1m30s: `notified_within: 1m30s` cannot be met: 30s (`group_wait` is 30s) at the soonest; 1m36s is the least, {tolerance}"
        )],
    );
    let alone = "1m30s: `notified_within: 1m30s` cannot be met: 30s (`group_wait` is 30s) at the soonest; 1m36s is the least";
    check(18, "alert: Alone, notified_within: 1m30s", &[&format!("{alone}, {tolerance}")]);
    // Another alert of the group may have started its clock.
    check(18, "alert: Shared, notified_within: 1m30s", &[]);
    check(
        18,
        "alert: Latency, fires_within: 29m, notified_within: 2m",
        &[
            "2m: `notified_within: 2m` is longer than what is left of the run, 1m; let the last phase last 1m longer",
        ],
    );
    check(
        4,
        "alert: Latency, resolved_notice_within: 4m",
        &[
            "4m: a notice of the end may wait 5m (`group_interval`), and 4m are left after the heal; let the last phase last 1m longer",
        ],
    );
    check(
        12,
        "alert: Latency, resolves_within: 8m, resolved_notice_within: 6m",
        &[
            "6m: `resolved_notice_within: 6m` is longer than what is left of the run, 4m; let the last phase last 2m longer",
        ],
    );
}

#[test]
fn names_that_do_not_exist_are_found() {
    let expect = "
  fires:
    - {alert: Latensy, notifies: [pagerduti, slack/email]}
    - {alert: Latency, labels: {severity: P2}}
    - {alert: Burn, labels: {severity: P1, node: a}, notifies: [slack], inhibited_by: Down}
  may_fire: {Bern: [slow]}
  silent: {Instant: never}";
    let scenario = scenario(18, expect);
    let found: Vec<String> = unknown_names(&scenario, &rules(), "rules.yml", Some(&routes()))
        .into_iter()
        .map(|problem| {
            let place = problem.span.as_ref().map(|span| span.text().to_owned()).unwrap_or_default();
            format!("{place}: {}; {}", problem.summary, problem.hint.unwrap_or_default())
        })
        .collect();
    assert_eq!(
        found,
        [
            "Latensy: no alert `Latensy` in rules.yml (6 alerts); did you mean `Latency`?",
            "Bern: no alert `Bern` in rules.yml (6 alerts); did you mean `Burn`?",
            "Down: no alert `Down` in rules.yml (6 alerts); ",
            "P2: no rule `Latency` has these labels; leave out what the rule does not set",
            "pagerduti: no receiver `pagerduti` in the routes; did you mean `pagerduty`?",
            "slack/email: receiver `slack` has no email integration; it has: slack",
        ]
    );
}
