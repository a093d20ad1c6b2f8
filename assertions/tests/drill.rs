//! From an alert's transitions through the routes to a verdict: the parts fit together.

use assertions::alertmanager::Alertmanager;
use assertions::exit::exit_code;
use assertions::labels::Labels;
use assertions::notify::{Pipeline, Posted};
use assertions::time::Millis;
use assertions::timeline::{AlertEvent, Notification, ResolveReason, Transition};
use assertions::verdict::{
    ClockUsed, FaultSpan, Honesty, Observed, PhaseSpan, RuleSeen, Tolerance, Verdict, judge,
};
use scenarios::span::Source;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const SCENARIO: &str = "
version: 1
clock: stretched
target: {gateway: {}}
alerts: {rules: [rules.yml], alertmanager: am.yml}
population: {members: {executor: constant-vus, vus: 10}}
traffic: {chat: {executor: constant-arrival-rate, from: members, to: random-user, rate: 5/s, size: 128B}}
phases:
  - {name: steady, for: 20s, stands_for: 20m}
  - {name: slow, for: 12s, stands_for: 12m, faults: [{fault: gateway.latency, delay: 600ms}]}
  - {name: recovered, for: 18s, stands_for: 18m}
expect:
  fires:
    - {alert: Latency, cause: slow, fires_within: 8m, notifies: [pagerduty, slack], notified_within: 2m,
       resolves_within: 8m, resolved_notice_within: 6m}
";

/// `continue_` joins the two receivers of a P1; without it the second is never asked.
fn routes(continue_: &str) -> Arc<Alertmanager> {
    let text = format!(
        "
route:
  receiver: slack
  group_by: [alertname]
  routes:
    - {{matchers: [severity=P1], receiver: slack{continue_}}}
    - {{matchers: [severity=P1], receiver: pagerduty}}
receivers: [{{name: slack, slack_configs: [{{send_resolved: true}}]}}, {{name: pagerduty, pagerduty_configs: [{{}}]}}]
"
    );
    let source = Arc::new(Source { name: "new-routes.yml".to_owned(), text });
    Arc::new(Alertmanager::parse(source).expect("valid routes").0)
}

fn minutes(count: f64) -> Millis {
    Millis((count * 60_000.0) as i64)
}

fn events() -> Vec<AlertEvent> {
    let labels = Labels::from_pairs([("alertname", "Latency"), ("severity", "P1")]);
    let steps = [
        (21.25, Transition::Pending),
        (26.5, Transition::Firing),
        (38.25, Transition::Resolved(ResolveReason::Condition)),
    ];
    let event = |(at, transition)| AlertEvent {
        at: minutes(at),
        rule: 0,
        labels: labels.clone(),
        annotations: Arc::default(),
        value: 0.6,
        transition,
    };
    steps.into_iter().map(event).collect()
}

/// As Prometheus posts it: every 75 s while it fires, with an end 4 minutes ahead, and once when it ended.
fn notifications(routes: &Arc<Alertmanager>) -> Vec<Notification> {
    let mut pipeline = Pipeline::new(routes.clone(), Millis(0));
    let events = events();
    let (fired, resolved) = (events[1].at, events[2].at);
    let post = |ends_at: Millis| Posted {
        labels: events[0].labels.clone(),
        starts_at: Some(fired),
        ends_at: Some(ends_at),
    };
    let mut at = fired;
    while at < resolved {
        pipeline.receive(at, post(at.after(Duration::from_secs(240))));
        at = at.after(Duration::from_secs(75));
    }
    pipeline.receive(resolved, post(resolved));
    pipeline.advance(minutes(50.0))
}

fn verdict(routes: &Arc<Alertmanager>) -> Verdict {
    let files = |path: &Path| match path.to_str() {
        Some("drill.yaml") => Ok(SCENARIO.to_owned()),
        Some(_) => Ok(String::new()),
        None => Err(std::io::ErrorKind::NotFound.into()),
    };
    let loaded = scenarios::load_with(Path::new("drill.yaml"), &scenarios::Options::default(), &files);
    let scenario = loaded.unwrap_or_else(|problems| panic!("{problems:?}")).scenario;
    let phase = |name: &str, from: f64, to: f64, faults: Vec<FaultSpan>| PhaseSpan {
        name: name.to_owned(),
        begin: minutes(from),
        end: minutes(to),
        factor: 60.0,
        faults,
    };
    let fault = FaultSpan {
        name: "gateway.latency".to_owned(),
        effective: Some(minutes(20.0)),
        healed: Some(minutes(32.0)),
        socket_delay: Duration::from_millis(600),
    };
    let quarter = Duration::from_secs(15);
    let rule = RuleSeen {
        name: "Latency".to_owned(),
        hold: Duration::from_secs(300),
        numerator_events: None,
        threshold_events: None,
        nearest: None,
    };
    let observed = Observed {
        phases: &[
            phase("steady", 0.0, 20.0, vec![]),
            phase("slow", 20.0, 32.0, vec![fault]),
            phase("recovered", 32.0, 50.0, vec![]),
        ],
        events: &events(),
        notifications: &notifications(routes),
        suppressions: &[],
        rules: &[rule],
        routes: Some(routes),
        end: minutes(50.0),
        tolerance: Tolerance { scrape: quarter, evaluation: quarter },
    };
    let honesty = Honesty { clock: ClockUsed::Stretched(60.0), synthetic_history: None };
    judge(&scenario.expect, &[], &observed, honesty)
}

#[track_caller]
fn check(continue_: &str, code: u8, expected: &[&str]) {
    let verdict = verdict(&routes(continue_));
    let lines: Vec<String> = verdict
        .checks
        .iter()
        .map(|check| {
            let seen: Vec<String> =
                check.seen.iter().map(|seen| format!(" {}{:?}", seen.who, seen.after)).collect();
            let why: Vec<String> = check.why.iter().map(|why| format!("; {why}")).collect();
            format!("{}: {:?}{}{}", check.kind.words(), check.outcome, seen.concat(), why.concat())
        })
        .collect();
    assert_eq!(lines, expected);
    assert_eq!(exit_code(&verdict.finding().into_iter().collect::<Vec<_>>()), code);
}

#[test]
fn a_drill_passes() {
    let expected = [
        "quiet before: Passed",
        "pending: Passed 75s",
        "fired: Passed 390s",
        "notified: Passed pagerduty30s slack30s",
        "resolved: Passed 375s",
        "resolved notice: Passed pagerduty225s slack225s",
        "all else silent: Passed",
    ];
    check(", continue: true", 0, &expected);
}

#[test]
fn a_route_without_continue_fails_it_and_is_named() {
    let expected = [
        "quiet before: Passed",
        "pending: Passed 75s",
        "fired: Passed 390s",
        "notified: Failed slack30s; pagerduty was not told: new-routes.yml:6 (severity=\"P1\") matched first and has no \
         `continue: true`; new-routes.yml:7 (severity=\"P1\") was never asked",
        "resolved: Passed 375s",
        "resolved notice: NotJudged slack225s; not judged for pagerduty, which was never told",
        "all else silent: Passed",
    ];
    check("", 111, &expected);
}
