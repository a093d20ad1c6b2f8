//! Timetables as text: what happened when, in rule time from the start, and the checks that must come of it.

use super::*;
use crate::alertmanager::Alertmanager;
use crate::inhibit::Inhibitor;
use crate::labels::Labels;
use crate::notify::{Reason, Suppression};
use crate::timeline::{Notification, ResolveReason, Transition};
use scenarios::scenario::Scenario;
use scenarios::span::Source;
use scenarios::units::{duration, format_duration};
use std::path::Path;
use std::sync::Arc;

const ROUTES: &str = "
route:
  receiver: slack
  group_by: [alertname]
  routes:
    - matchers: [severity=P1]
      receiver: pagerduty
      continue: true
    - matchers: [severity=P1]
      receiver: slack
    - matchers: [severity=critical]
      receiver: both
receivers:
  - {name: slack, slack_configs: [{}]}
  - {name: pagerduty, pagerduty_configs: [{}]}
  - {name: both, pagerduty_configs: [{}], slack_configs: [{send_resolved: true}]}
  - {name: empty}
inhibit_rules: [{source_matchers: [alertname=Down], target_matchers: [severity=P1]}]
";

/// Steady until 20m, slow until 32m, recovered until 50m.
fn scenario(clock: &str, expect: &str) -> Scenario {
    let stands_for =
        |length: &str| if clock == "stretched" { format!(", stands_for: {length}") } else { String::new() };
    let length =
        |wall: &str, rule: &str| if clock == "stretched" { wall.to_owned() } else { rule.to_owned() };
    let text = format!(
        "
version: 1
clock: {clock}
target: {{gateway: {{}}}}
alerts: {{rules: [rules.yml], alertmanager: am.yml, background: [Watchdog]}}
population: {{members: {{executor: constant-vus, vus: 10}}}}
traffic: {{chat: {{executor: constant-arrival-rate, from: members, to: random-user, rate: 5/s, size: 128B}}}}
phases:
  - {{name: steady, for: {}{}}}
  - {{name: slow, for: {}{}, faults: [{{fault: gateway.latency, delay: 600ms}}]}}
  - {{name: recovered, for: {}{}, faults: [{{fault: gateway.latency, delay: 1s}}, {{fault: gateway.failure_rate, share: 2%}}]}}
expect: {expect}
",
        length("20s", "20m"),
        stands_for("20m"),
        length("12s", "12m"),
        stands_for("12m"),
        length("18s", "18m"),
        stands_for("18m"),
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

/// Everything that a timetable says.
struct Run {
    phases: Vec<PhaseSpan>,
    events: Vec<AlertEvent>,
    notifications: Vec<Notification>,
    suppressions: Vec<Suppression>,
    rules: Vec<RuleSeen>,
    end: Millis,
}

fn at(text: &str) -> Millis {
    Millis(0).after(duration(text).unwrap_or_else(|error| panic!("{text}: {}", error.summary)))
}

/// `A`, or `A,label=value`; severity is P1 unless written.
fn alert(text: &str) -> Labels {
    let pairs = text.split(',').map(|part| part.split_once('=').unwrap_or(("alertname", part)));
    Labels::from_pairs([("severity", "P1")].into_iter().chain(pairs))
}

fn run(scenario: &Scenario, timetable: &str) -> Run {
    let mut begin = Millis(0);
    let phases = scenario.phases.iter().map(|phase| {
        let span = PhaseSpan {
            name: phase.name.value.clone(),
            begin,
            end: begin.after(phase.stands_for),
            factor: phase.factor,
            faults: phase.faults.iter().map(fault).collect(),
        };
        begin = span.end;
        span
    });
    let mut run = Run {
        phases: phases.collect(),
        events: Vec::new(),
        notifications: Vec::new(),
        suppressions: Vec::new(),
        rules: vec![rule("A"), rule("B"), rule("Watchdog")],
        end: begin,
    };
    run.event("0s firing Watchdog");
    timetable.split(';').map(str::trim).filter(|line| !line.is_empty()).for_each(|line| run.event(line));
    run
}

fn fault(fault: &scenarios::scenario::Fault) -> FaultSpan {
    let socket_delay = Duration::from_millis(600);
    FaultSpan { name: fault.name.value.clone(), effective: None, healed: None, socket_delay }
}

fn rule(name: &str) -> RuleSeen {
    let hold = Duration::from_secs(300);
    RuleSeen { name: name.to_owned(), hold, numerator_events: None, threshold_events: None, nearest: None }
}

impl Run {
    fn event(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (at, rest) = (at(words[0]), &words[2..]);
        let transition = match words[1] {
            "effective" => return self.fault(rest[0]).effective = Some(at),
            "healed" => return self.fault(rest[0]).healed = Some(at),
            "end" => return self.end = at,
            "seen" => return self.rules[0].numerator_events = rest[0].parse().ok(),
            "means" => return self.rules[1].threshold_events = rest[0].parse().ok(),
            "inhibited" => {
                let by = Inhibitor { rule: 0, source: alert(rest[1]) };
                let (labels, reason) = (alert(rest[0]), Reason::Inhibited(by));
                return self.suppressions.push(Suppression { at, labels, route: 1, reason });
            }
            "told" | "cleared" => return self.told(at, words[1] == "told", rest),
            "pending" => Transition::Pending,
            "firing" => Transition::Firing,
            "dropped" => Transition::Dropped,
            "resolved" => Transition::Resolved(ResolveReason::Condition),
            "vanished" => Transition::Resolved(ResolveReason::NoData),
            other => panic!("{other}"),
        };
        let labels = alert(rest[0]);
        let rule = self.rules.iter().position(|rule| rule.name == labels.get("alertname")).unwrap_or(0);
        let annotations = [("summary".to_owned(), "P99 is 0.6 s".to_owned())];
        let annotations = Arc::new(annotations.into_iter().collect());
        self.events.push(AlertEvent { at, rule, labels, annotations, value: 0.6, transition });
    }

    /// `slow`, or `recovered/gateway.latency`.
    fn fault(&mut self, name: &str) -> &mut FaultSpan {
        let (phase, fault) = name.split_once('/').unwrap_or((name, "gateway.latency"));
        let phase = self.phases.iter_mut().find(|found| found.name == phase).expect("a phase");
        phase.faults.iter_mut().find(|found| found.name == fault).expect("a fault")
    }

    fn told(&mut self, at: Millis, firing: bool, rest: &[&str]) {
        let (receiver, integration) = rest[0].split_once('/').unwrap_or((rest[0], rest[0]));
        let labels = vec![alert(rest[1])];
        let (firing, resolved) = if firing { (labels, Vec::new()) } else { (Vec::new(), labels) };
        self.notifications.push(Notification {
            at,
            receiver: Arc::from(receiver),
            integration: Arc::from(integration),
            group: Labels::default(),
            firing,
            resolved,
        });
    }
}

/// `kind: outcome, who after …; reasons`.
fn shown(check: &Check) -> String {
    let mut text = format!("{}: {:?}", check.kind.words(), check.outcome);
    for seen in &check.seen {
        let who = if seen.who.is_empty() { String::new() } else { format!(" {}", seen.who) };
        let count = seen.count.map(|count| format!(" {count}")).unwrap_or_default();
        let after = if check.kind == Kind::Background {
            String::new()
        } else {
            format!(" {}", format_duration(seen.after))
        };
        text += &format!("{who}{count}{after}");
    }
    for why in &check.why {
        text += &format!("; {why}");
    }
    text
}

fn verdict(scenario: &Scenario, run: &Run) -> Verdict {
    let source = Arc::new(Source { name: "am.yml".to_owned(), text: ROUTES.to_owned() });
    let (routes, _) = Alertmanager::parse(source).expect("valid routes");
    let interval = Duration::from_secs(15);
    let observed = Observed {
        phases: &run.phases,
        events: &run.events,
        notifications: &run.notifications,
        suppressions: &run.suppressions,
        rules: &run.rules,
        routes: Some(&routes),
        end: run.end,
        tolerance: Tolerance { scrape: interval, evaluation: interval },
    };
    let honesty = Honesty { clock: ClockUsed::Real, synthetic_history: None };
    judge(&scenario.expect, &scenario.alerts.background, &observed, honesty)
}

/// The checks of one expectation, without those that are as in every good run.
#[track_caller]
fn check_on(clock: &str, expect: &str, timetable: &str, expected: &[&str]) {
    let scenario = scenario(clock, expect);
    let found = verdict(&scenario, &run(&scenario, timetable)).checks;
    let usual = ["background: Passed", "all else silent: Passed", "quiet before: Passed"];
    let found: Vec<String> = found.iter().map(shown).filter(|line| !usual.contains(&line.as_str())).collect();
    assert_eq!(found, expected, "for {expect} on {timetable}");
}

#[track_caller]
fn check(expect: &str, timetable: &str, expected: &[&str]) {
    check_on("real", expect, timetable, expected);
}

/// The alert of peak.yaml with every kind of bound.
const PEAK: &str = "{fires: [{alert: A, cause: slow, pending_within: 3m, fires_within: 8m, \
    notifies: [pagerduty, slack], notified_within: 2m, resolves_within: 8m, resolved_notice_within: 6m}]}";
const PEAK_RUN: &str = "20m effective slow; 21m15s pending A; 26m30s firing A; 27m told pagerduty A; 27m told slack A; \
    32m healed slow; 38m15s resolved A; 42m30s cleared pagerduty A";

#[test]
fn an_alert_that_never_went_pending_says_how_near_it_came() {
    let words =
        |value, threshold| Why::NeverPending { nearest: Some(Nearest { value, threshold }) }.to_string();
    let begin = "it never went pending: the condition never held; its value came to";
    assert_eq!(words(0.004_213_7, 500.0), format!("{begin} 0.004214, and the rule has 500"));
    assert_eq!(words(123_456.7, -0.0001), format!("{begin} 123457, and the rule has -0.0001"));
    assert_eq!(words(0.0, 1.0), format!("{begin} 0, and the rule has 1"));
}

#[test]
fn a_good_drill_passes_every_check() {
    let expected = [
        "pending: Passed 1m15s",
        "fired: Passed 6m30s",
        "notified: Passed pagerduty 30s slack 30s",
        "resolved: Passed 6m15s",
        "resolved notice: Passed pagerduty 4m15s",
    ];
    check(PEAK, PEAK_RUN, &expected);
    // 15 s + 15 s + 600 ms × 60 = 66 s are left to every bound.
    check_on("stretched", PEAK, PEAK_RUN, &expected);
    let scenario = scenario("stretched", PEAK);
    let verdict = verdict(&scenario, &run(&scenario, PEAK_RUN));
    assert_eq!(verdict.finding(), None);
    assert_eq!(verdict.checks[1].tolerance, Duration::from_secs(66));
    assert_eq!(verdict.checks[3].span.as_ref().map(|span| span.text()), Some("pagerduty"));
}

#[test]
fn a_stretched_time_must_keep_its_tolerance_from_the_bound() {
    let expect = "{fires: [{alert: A, cause: slow, fires_within: 8m}]}";
    let timetable = |fired: &str| format!("20m effective slow; 21m pending A; {fired} firing A");
    check_on("stretched", expect, &timetable("26m54s"), &["pending: Passed 1m", "fired: Passed 6m54s"]);
    check_on(
        "stretched",
        expect,
        &timetable("26m55s"),
        &["pending: Passed 1m", "fired: Failed 6m55s; too close for x60"],
    );
    check_on(
        "stretched",
        expect,
        &timetable("28m1s"),
        &["pending: Passed 1m", "fired: Failed 8m1s; too late"],
    );
    check(
        "{fires: [{alert: A, cause: slow, fires_within: 8m}]}",
        &timetable("28m"),
        &["pending: Passed 1m", "fired: Passed 8m"],
    );
}

#[test]
fn what_began_before_the_cause_does_not_count() {
    let expect = "{fires: [{alert: A, cause: slow, fires_within: 8m}]}";
    check(
        expect,
        "19m pending A; 20m effective slow; 24m firing A",
        &[
            "quiet before: Failed; A{severity=\"P1\"} was firing before its cause took effect",
            "fired: Failed; it fired in slow, before its cause took effect",
        ],
    );
    check(
        expect,
        "5m pending A; 6m dropped A; 20m effective slow; 21m pending A; 26m firing A",
        &[
            "quiet before: Failed; A{severity=\"P1\"} was pending before its cause took effect",
            "pending: Passed 1m",
            "fired: Passed 6m",
        ],
    );
    check(
        expect,
        "20m effective slow; 20m pending A; 25m firing A",
        &["pending: Passed 0s", "fired: Passed 5m"],
    );
}

#[test]
fn an_alert_that_never_fired_has_its_reason() {
    let expect = "{fires: [{alert: A, cause: slow, pending_within: 3m, fires_within: 8m, holds_for: 1m, resolves_within: 8m, notifies: nobody}]}";
    let rest = |fired: &str| {
        vec![
            fired.to_owned(),
            "held: NotJudged; it never fired".to_owned(),
            "notified: NotJudged; it never fired".to_owned(),
            "resolved: NotJudged; it never fired".to_owned(),
        ]
    };
    let check = |timetable: &str, pending: &str, fired: &str| {
        let mut expected = vec![pending.to_owned()];
        expected.extend(rest(fired));
        check(expect, timetable, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    };
    check(
        "20m effective slow",
        "pending: Failed; it never went pending: the condition never held",
        "fired: Failed; it never went pending: the condition never held",
    );
    check(
        "20m effective slow; 21m pending A; 23m dropped A",
        "pending: Passed 1m",
        "fired: Failed; it was pending for 2m, the rule needs 5m",
    );
    check(
        "20m effective slow; 22m pending A; 24m end",
        "pending: Passed 2m",
        "fired: NoData; it was pending when the run ended, the rule needs 5m; the run ended too early to tell",
    );
    check(
        "20m effective slow; 22m end",
        "pending: NoData; it never went pending: the condition never held; the run ended too early to tell",
        "fired: NoData; it never went pending: the condition never held; the run ended too early to tell",
    );
}

#[test]
fn a_cause_without_effect_is_no_data_and_excuses_nobody() {
    check(PEAK, "", &["fired: NoData; its cause never took effect"]);
    check(
        PEAK,
        "21m pending A; 26m firing A",
        &[
            "fired: NoData; its cause never took effect",
            "all else silent: Failed; A{severity=\"P1\"} fired in slow (value 0.6)",
        ],
    );
}

#[test]
fn lower_bounds_hold_too() {
    let expect = "{fires: [{alert: A, cause: slow, fires_not_before: 5m, fires_within: 10m, holds_for: 4m}]}";
    let run = |fired: &str, end: &str| format!("20m effective slow; 20m pending A; {fired} firing A; {end}");
    let pending = "pending: Passed 0s";
    check(
        expect,
        &run("25m", "29m resolved A"),
        &[pending, "fired: Passed 5m", "fired not before: Passed 5m", "held: Passed 4m"],
    );
    check(
        expect,
        &run("24m", "27m resolved A"),
        &[
            pending,
            "fired: Passed 4m",
            "fired not before: Failed 4m; too early",
            "held: Failed 3m; too early",
        ],
    );
    check(
        expect,
        &run("25m", "28m end"),
        &[
            pending,
            "fired: Passed 5m",
            "fired not before: Passed 5m",
            "held: NoData 3m; the run ended too early to tell",
        ],
    );
    check_on(
        "stretched",
        expect,
        &run("26m", "31m resolved A"),
        &[
            pending,
            "fired: Passed 6m",
            "fired not before: Failed 6m; too close for x60",
            "held: Failed 5m; too close for x60",
        ],
    );
}

#[test]
fn resolving_is_measured_from_the_proven_heal_and_for_the_right_reason() {
    let expect = "{fires: [{alert: A, cause: slow, resolves_within: 8m}]}";
    let check = |rest: &str, resolved: &str| {
        let timetable = format!("20m effective slow; 20m pending A; 25m firing A; {rest}");
        check(expect, &timetable, &["pending: Passed 0s", "fired: Passed 5m", resolved]);
    };
    check("32m healed slow; 40m resolved A", "resolved: Passed 8m");
    check("32m healed slow; 41m resolved A", "resolved: Failed 9m; too late");
    check("33m healed slow; 41m resolved A", "resolved: Passed 8m");
    check("41m resolved A", "resolved: NoData; the end of its cause was not proven");
    check("32m healed slow", "resolved: Failed; it fires still");
    check("32m healed slow; 39m end", "resolved: NoData; it fires still; the run ended too early to tell");
    check(
        "32m healed slow; 35m vanished A",
        "resolved: Failed 3m; it ended because its series vanished: nothing is known, which is no recovery",
    );
    check("30m resolved A; 32m healed slow", "resolved: Passed 0s; it ended before its cause was healed");
    check(
        "32m healed slow; 34m resolved A; 36m pending A; 41m firing A; 42m resolved A",
        "resolved: Failed 10m; too late; it ended once and fired again",
    );
}

#[test]
fn a_cause_of_several_faults_lasts_from_the_first_to_the_last() {
    let [latency, failures] = ["recovered/gateway.latency", "recovered/gateway.failure_rate"];
    let base = format!(
        "33m effective {failures}; 34m effective {latency}; 35m pending A; 40m firing A; 47m resolved A"
    );
    let check = |cause: &str, rest: &str, expected: &[&str]| {
        let expect = format!("{{fires: [{{alert: A, cause: {cause}, resolves_within: 3m}}]}}");
        check(&expect, &format!("{base}; {rest}"), expected);
    };
    let healed = format!("45m healed {failures}; 44m healed {latency}");
    check("recovered", &healed, &["pending: Passed 2m", "fired: Passed 7m", "resolved: Passed 2m"]);
    check(latency, &healed, &["pending: Passed 1m", "fired: Passed 6m", "resolved: Passed 3m"]);
    check(
        "recovered",
        &format!("44m healed {latency}"),
        &["pending: Passed 2m", "fired: Passed 7m", "resolved: NoData; the end of its cause was not proven"],
    );
}

#[test]
fn an_alert_belongs_to_the_latest_cause_before_it() {
    let expect = "{fires: [{alert: A, cause: slow}, {alert: A, labels: {i: '1'}, cause: recovered}]}";
    let effective = "20m effective slow; 33m effective recovered/gateway.latency";
    let check = |rest: &str, expected: &[&str]| check(expect, &format!("{effective}; {rest}"), expected);
    // The first cause explains the first episode, which is over before the second begins.
    check(
        "20m pending A,i=1; 25m firing A,i=1; 30m resolved A,i=1; 34m pending A,i=1; 39m firing A,i=1",
        &["pending: Passed 0s", "fired: Passed 5m", "pending: Passed 1m", "fired: Passed 6m"],
    );
    // It lasts into the second cause: that one was not quiet before.
    check(
        "20m pending A,i=1; 25m firing A,i=1; 34m resolved A,i=1; 35m pending A,i=1; 40m firing A,i=1",
        &[
            "pending: Passed 0s",
            "fired: Passed 5m",
            "quiet before: Failed; A{i=\"1\", severity=\"P1\"} was firing before its cause took effect",
            "pending: Passed 2m",
            "fired: Passed 7m",
        ],
    );
    // Another instance, which the second entry does not mean, stays with the first cause.
    check(
        "34m pending A,i=2; 39m firing A,i=2",
        &[
            "pending: Passed 14m",
            "fired: Passed 19m",
            "fired: Failed; it never went pending: the condition never held",
        ],
    );
}

#[test]
fn a_gap_between_instances_ends_the_first_firing() {
    let expect = "{fires: [{alert: A, cause: slow, holds_for: 5m}]}";
    let run = |second: &str| {
        format!(
            "20m effective slow; 20m pending A,i=1; 20m pending A,i=2; 25m firing A,i=1; {second} firing A,i=2; \
             27m resolved A,i=1; 40m resolved A,i=2"
        )
    };
    check(expect, &run("27m"), &["pending: Passed 0s", "fired: Passed 5m", "held: Passed 15m"]);
    check(expect, &run("28m"), &["pending: Passed 0s", "fired: Passed 5m", "held: Failed 2m; too early"]);
}

#[test]
fn all_instances_count() {
    let expect = "{fires: [{alert: A, cause: slow, max_instances: 1, resolves_within: 8m}]}";
    let two = "20m effective slow; 20m pending A,i=1; 21m pending A,i=2; 25m firing A,i=1; 26m firing A,i=2; 32m healed slow; \
        34m resolved A,i=1; 39m resolved A,i=2";
    check(
        expect,
        two,
        &["pending: Passed 0s", "fired: Passed 5m", "instances: Failed 2 0s", "resolved: Passed 7m"],
    );
    let one = "{fires: [{alert: A, labels: {i: '2'}, cause: slow, max_instances: 1}]}";
    check(
        one,
        two,
        &[
            "pending: Passed 1m",
            "fired: Passed 6m",
            "instances: Passed 1 0s",
            "all else silent: Failed; A{i=\"1\", severity=\"P1\"} fired in slow (value 0.6)",
        ],
    );
}

#[test]
fn exactly_the_named_receivers_are_told() {
    let base = "20m effective slow; 20m pending A; 25m firing A";
    let check = |notifies: &str, told: &str, notified: &str| {
        let expect =
            format!("{{fires: [{{alert: A, cause: slow, notified_within: 1m, notifies: {notifies}}}]}}");
        check(&expect, &format!("{base}; {told}"), &["pending: Passed 0s", "fired: Passed 5m", notified]);
    };
    check("[slack]", "25m30s told slack A", "notified: Passed slack 30s");
    check(
        "[slack]",
        "10m told slack A; 40m resolved A",
        "notified: Failed; slack was not told: it fired for 15m; am.yml:9 (severity=\"P1\") waits 30s for a new group and 5m for a known one",
    );
    check("[slack]", "26m30s told slack A", "notified: Failed slack 1m30s; too late");
    check(
        "[slack]",
        "25m30s told slack A; 25m30s told pagerduty A",
        "notified: Failed pagerduty 30s slack 30s; pagerduty was told and should not have been",
    );
    check("nobody", "", "notified: Passed");
    check("nobody", "26m told slack A", "notified: Failed slack 1m; slack was told and should not have been");
    check(
        "[empty]",
        "",
        "notified: Failed; empty was not told: the receiver has no integration: nothing is ever sent",
    );
    check(
        "[slack/email]",
        "",
        "notified: Failed; slack/email was not told: the receiver has no email integration",
    );
    check(
        "[slack]",
        "40m resolved A",
        "notified: Failed; slack was not told: it fired for 15m; am.yml:9 (severity=\"P1\") waits 30s for a new group and 5m for a known one",
    );
    check(
        "[pagerduty]",
        "25m30s inhibited A Down",
        "notified: Failed; pagerduty was not told: inhibited by {alertname=\"Down\", severity=\"P1\"} (am.yml:18)",
    );
    check(
        "[slack, both/pagerduty]",
        "25m30s told slack A",
        "notified: Failed slack 30s; both/pagerduty was not told: am.yml:9 (severity=\"P1\") matched first and has no \
         `continue: true`; am.yml:11 (severity=\"critical\") was never asked",
    );
    check(
        "[slack]",
        "25m20s end",
        "notified: NoData; slack was not told: the run ended first: it fired for 20s; am.yml:9 (severity=\"P1\") waits 30s \
         for a new group and 5m for a known one",
    );
}

#[test]
fn a_receiver_of_several_kinds_is_told_by_all_of_them() {
    let expect = |notifies: &str| {
        format!(
            "{{fires: [{{alert: A, labels: {{severity: critical}}, cause: slow, notifies: {notifies}, resolved_notice_within: 5m}}]}}"
        )
    };
    let a = "A,severity=critical";
    let timetable = format!(
        "20m effective slow; 20m pending {a}; 25m firing {a}; 26m told both/slack {a}; 32m healed slow; 33m resolved {a}; 36m cleared both/slack {a}"
    );
    let [pending, fired] = ["pending: Passed 0s", "fired: Passed 5m"];
    check(
        &expect("[both]"),
        &timetable,
        &[
            pending,
            fired,
            "notified: Failed both/slack 1m; both/pagerduty was not told: it fired for 8m; am.yml:11 (severity=\"critical\") \
             waits 30s for a new group and 5m for a known one",
            "resolved notice: NotJudged both/slack 3m; not judged for both/pagerduty, which was never told",
        ],
    );
    check(
        &expect("[both/slack]"),
        &timetable,
        &[pending, fired, "notified: Passed both/slack 1m", "resolved notice: Passed both/slack 3m"],
    );
}

#[test]
fn the_end_is_told_to_those_who_want_it() {
    let expect = "{fires: [{alert: A, cause: slow, resolved_notice_within: 5m}]}";
    let base = "20m effective slow; 20m pending A; 25m firing A; 32m healed slow; 33m resolved A";
    let check = |rest: &str, notice: &str| {
        check(expect, &format!("{base}; {rest}"), &["pending: Passed 0s", "fired: Passed 5m", notice]);
    };
    check("26m told pagerduty A; 38m cleared pagerduty A", "resolved notice: Passed pagerduty 5m");
    check("26m told pagerduty A; 39m cleared pagerduty A", "resolved notice: Failed pagerduty 6m; too late");
    for other in ["30m cleared pagerduty A", "38m cleared pagerduty B", "38m cleared slack A"] {
        let timetable = format!("26m told pagerduty A; {other}");
        check(&timetable, "resolved notice: Failed; pagerduty was not told: its end was not told");
    }
    check("26m told pagerduty A", "resolved notice: Failed; pagerduty was not told: its end was not told");
    check(
        "26m told pagerduty A; 37m end",
        "resolved notice: NoData; pagerduty was not told: the run ended first",
    );
    check(
        "26m told slack A",
        "resolved notice: NoData; no receiver that was told wants to know of the end (`send_resolved` is off)",
    );
}

#[test]
fn counts_texts_inhibition_and_escalation() {
    let base = "20m effective slow; 20m pending A; 25m firing A";
    let check = |keys: &str, rest: &str, line: &str| {
        let expect = format!("{{fires: [{{alert: A, cause: slow, {keys}}}]}}");
        check(&expect, &format!("{base}; {rest}"), &["pending: Passed 0s", "fired: Passed 5m", line]);
    };
    check("notifications: 2", "26m told slack A; 46m told slack A", "notifications: Passed slack 2 21m");
    check("notifications: 1", "26m told slack A; 46m told slack A", "notifications: Failed slack 2 21m");
    check("notifications: 1", "", "notifications: Failed");
    check("payload: {summary: P99, severity: P1}", "", "payload: Passed");
    check("payload: {summary: P50}", "", "payload: Failed; `summary` says \"P99 is 0.6 s\"");
    check("inhibited_by: Down", "26m inhibited A Down", "inhibited: Passed Down 1m");
    check("inhibited_by: Up", "26m inhibited A Down", "inhibited: Failed");
    check(
        "inhibited_by: Down",
        "26m inhibited A Down; 30m told slack A",
        "inhibited: Failed Down 1m; slack was told and should not have been",
    );
    check("escalates: [{to: both, after: 15m}]", "41m told both/slack A", "escalated: Passed both/slack 16m");
    check(
        "escalates: [{to: both, after: 15m}]",
        "39m told both/slack A",
        "escalated: Failed both/slack 14m; too early",
    );
    check(
        "escalates: [{to: both, after: 15m}]",
        "39m end",
        "escalated: NoData; the run ended too early to tell",
    );
}

#[test]
fn everything_else_is_silent() {
    let check = |expect: &str, timetable: &str, line: &[&str]| check(expect, timetable, line);
    check(
        "{}",
        "33m pending B; 38m firing B; 39m told slack B; 42m resolved B",
        &["all else silent: Failed; B{severity=\"P1\"} fired in recovered (value 0.6); told: slack"],
    );
    check("{may_fire: {B: [slow, recovered]}}", "21m pending B; 26m firing B; 42m resolved B", &[]);
    check("{may_fire: {B: [slow]}}", "21m pending B; 26m firing B; 32m resolved B", &[]);
    check(
        "{may_fire: {B: [slow]}}",
        "21m pending B; 26m firing B; 33m resolved B",
        &["all else silent: Failed; B{severity=\"P1\"} fired in recovered (value 0.6)"],
    );
    check(
        "{may_fire: {B: [slow]}}",
        "21m pending B; 26m firing B",
        &["all else silent: Failed; B{severity=\"P1\"} fired in recovered (value 0.6)"],
    );
    check(
        "{silent: {B: never}}",
        "33m pending B; 38m firing B",
        &["all else silent: Failed; B{severity=\"P1\"} fired in recovered (value 0.6)"],
    );
}

#[test]
fn unlisted_pending_is_reported_or_fails_and_is_no_data_at_the_end() {
    let pending = "B{severity=\"P1\"} was pending in steady (value 0.6)";
    check("{}", "5m pending B; 6m dropped B", &[&format!("all else silent: Passed; {pending}")]);
    check(
        "{unlisted_pending: fail}",
        "5m pending B; 6m dropped B",
        &[&format!("all else silent: Failed; {pending}")],
    );
    check(
        "{}",
        "49m pending B",
        &["all else silent: NoData; B{severity=\"P1\"} was pending in recovered (value 0.6)"],
    );
    check("{may_fire: {B: [slow]}}", "49m pending B", &[]);
    let open = |expect: &str, timetable: &str| {
        let scenario = scenario("real", expect);
        is_undecided(&run(&scenario, timetable).events, &scenario.expect, &scenario.alerts.background)
    };
    assert!(open("{}", "49m pending B"));
    assert!(!open("{}", "49m pending B; 50m dropped B"));
    assert!(!open("{may_fire: {B: [slow]}}", "49m pending B"));
}

#[test]
fn significance_labels_silence_and_decides_about_firing() {
    check(
        "{}",
        "0s means 12.5",
        &["all else silent: Passed; B: not significant, its threshold means 12.5 events at this traffic"],
    );
    check("{}", "0s means 20", &[]);
    let expect = "{fires: [{alert: A, cause: slow}]}";
    let base = "20m effective slow; 20m pending A; 25m firing A";
    check(expect, &format!("{base}; 0s seen 20"), &["pending: Passed 0s", "fired: Passed 5m"]);
    check(
        expect,
        &format!("{base}; 0s seen 19"),
        &["pending: Passed 0s", "fired: NoData 5m; 19 events in the rule's window, a claim needs 20"],
    );
}

#[test]
fn the_background_fires_throughout() {
    let check = |timetable: &str, expected: &str| {
        let scenario = scenario("real", "{}");
        let found = verdict(&scenario, &run(&scenario, timetable)).checks;
        assert_eq!(shown(&found[0]), expected, "{timetable}");
    };
    check("", "background: Passed");
    check("10m resolved Watchdog; 11m firing Watchdog", "background: Failed; it did not fire throughout");
    check("49m vanished Watchdog", "background: Failed; it did not fire throughout");
    check("50m resolved Watchdog", "background: Passed");
}

#[test]
fn an_alert_before_the_first_fault_stops_the_run() {
    let check = |timetable: &str, expected: &[&str]| {
        let scenario = scenario("real", "{}");
        let run = run(&scenario, timetable);
        let active = active_before_fault(&run.events, at("20m"), &scenario.alerts.background);
        assert_eq!(active.iter().map(Episode::name).collect::<Vec<_>>(), expected, "{timetable}");
    };
    check("", &[]);
    check("19m pending B", &["B"]);
    check("10m pending B; 15m firing B", &["B"]);
    check("10m pending B; 20m dropped B", &[]);
    check("20m1s pending B", &[]);
    assert_eq!(stopped_before_fault(true).code(), 111);
    assert_eq!(stopped_before_fault(false).code(), 113);
}

#[test]
fn the_label_says_how_it_was_obtained() {
    let day = Duration::from_secs(86_400);
    let check = |clock, synthetic_history, expected: &str| {
        assert_eq!(Honesty { clock, synthetic_history }.to_string(), expected);
    };
    check(ClockUsed::Real, None, "real clock");
    check(ClockUsed::Stretched(60.0), Some(30 * day), "stretched x60, synthetic history of 30d");
    check(ClockUsed::Virtual, None, "virtual clock");
    assert!(
        ClockUsed::Virtual.may_claim_detection_time()
            && !ClockUsed::Stretched(2.0).may_claim_detection_time()
    );
}
