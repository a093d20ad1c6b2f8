use super::*;
use scenarios::problem::Severity;

pub(crate) fn parse(text: &str) -> Result<(Alertmanager, Vec<Problem>), Vec<Problem>> {
    Alertmanager::parse(Arc::new(Source { name: "alertmanager.yml".to_owned(), text: text.to_owned() }))
}

/// Problems as `line:column summary`, one a line.
#[track_caller]
fn check_problems(text: &str, expected: &[&str]) {
    let problems = parse(text).expect_err("problems");
    let found: Vec<String> = problems
        .iter()
        .map(|problem| {
            let place = problem.span.as_ref().map(ToString::to_string).unwrap_or_default();
            let hint = problem.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{} {}{hint}", place.trim_start_matches("alertmanager.yml:"), problem.summary)
        })
        .collect();
    assert_eq!(found, expected);
}

const WHOLE: &str = r#"
global: {resolve_timeout: 10m, slack_api_url: 'http://x'}
templates: [a.tmpl]
route:
  receiver: slack
  group_by: [alertname]
  group_wait: 10s
  routes:
    - matchers: ['severity="critical"', team=~"a|b"]
      receiver: pagerduty
      continue: true
      group_by: ['...']
      mute_time_intervals: [weekend]
      routes:
        - match: {service: im}
          match_re: {node: "g-.*"}
          repeat_interval: 1h
          group_by: []
    - {}
receivers:
  - name: slack
    slack_configs: [{channel: '#a'}, {channel: '#b', send_resolved: true}]
    email_configs: [{to: x}]
  - name: pagerduty
    pagerduty_configs: [{routing_key: k}]
    webhook_configs: [{url: u, send_resolved: false}]
  - name: nobody
inhibit_rules:
  - source_match: {alertname: Down}
    target_match_re: {alertname: High.*}
    equal: [service]
  - {source_matchers: [a=b], target_matchers: ['{c="d", e!="f"}']}
mute_time_intervals: [{name: weekend, time_intervals: [{weekdays: [saturday]}]}]
"#;

#[test]
fn a_whole_file_is_read() {
    let (config, warnings) = parse(WHOLE).expect("valid");
    assert!(warnings.is_empty());
    let seconds = |d: Duration| d.as_secs();
    let route = |index: usize| {
        let route = &config.routes[index];
        let times = [route.group_wait, route.group_interval, route.repeat_interval].map(seconds);
        format!(
            "{} {:?} {} {times:?} {} {:?}",
            route.span.position().line,
            route.group_by,
            config.receivers[route.receiver].name,
            route.key,
            route.children
        )
    };
    assert_eq!(
        (0..config.routes.len()).map(route).collect::<Vec<_>>(),
        [
            r#"5 Labels(["alertname"]) slack [10, 300, 14400] {} [1, 3]"#,
            r#"9 All pagerduty [10, 300, 14400] {}/{severity="critical",team=~"a|b"} [2]"#,
            r#"15 All pagerduty [10, 300, 3600] {}/{severity="critical",team=~"a|b"}/{service="im",node=~"g-.*"} []"#,
            r#"19 Labels(["alertname"]) slack [10, 300, 14400] {}/{} []"#,
        ]
    );
    assert!(config.routes[1].goes_on && !config.routes[2].goes_on);
    assert_eq!(
        (&config.routes[1].mute_intervals[..], &config.routes[2].mute_intervals[..]),
        (&[0][..], &[][..])
    );
    let integrations: Vec<String> = config
        .receivers
        .iter()
        .flat_map(|receiver| receiver.integrations.iter().map(move |i| (receiver, i)))
        .map(|(receiver, i)| format!("{}/{} {}", receiver.name, i.kind, i.send_resolved))
        .collect();
    assert_eq!(
        integrations,
        [
            "slack/slack false",
            "slack/slack true",
            "slack/email false",
            "pagerduty/pagerduty true",
            "pagerduty/webhook false"
        ]
    );
    assert_eq!(seconds(config.resolve_timeout), 600);
    assert_eq!(config.inhibit_rules[1].target.len(), 2);
}

#[test]
fn all_problems_are_found_at_once() {
    check_problems(
        r#"
global: {resolve_timeuot: 5m}
route:
  receiver: slak
  match: {a: b}
  group_wait: 5 minutes
  group_interval: 0s
  group_by: [a, '...', a]
  routes:
    - matchers: [severity]
      mute_time_intervals: [weekends]
    - match_re: {a: '('}
      recevier: slack
      continue: yes
receivers:
  - name: slack
  - name: slack
    slak_configs: []
  - {}
inhibit_rules: [{source: {a: b}}]
time_intervals: [{name: weekend}]
"#,
        &[
            "2:10 unknown key `resolve_timeuot` in `global`; did you mean `resolve_timeout`?",
            "18:5 unknown key `slak_configs` in a receiver; did you mean `slack_configs`?",
            "17:11 receiver `slack` is defined twice",
            "19:5 a receiver without `name`",
            "20:18 unknown key `source` in an inhibition; did you mean `source_match`?",
            "5:3 the root route must not have `match`; it takes every alert; move it to a child",
            "4:13 no receiver `slak`; did you mean `slack`?",
            "8:13 `...` groups by every label; nothing may stand beside it",
            "8:24 `a` is written twice",
            "6:15 bad duration `5 minutes`; units are ms s m h d w y, large before small: `1h30m`",
            "7:19 `group_interval` must be longer than 0",
            "10:18 bad matcher: no operator after the label name; write it like `severity=\"critical\"` or `service=~\"im-.+\"`",
            "11:29 no time interval `weekends`; did you mean `weekend`?",
            "13:7 unknown key `recevier` in a route; did you mean `receiver`?",
            "12:21 bad regular expression: unclosed group",
            "14:17 expected true or false, found a single value",
        ],
    );
}

#[test]
fn what_is_missing_is_said() {
    check_problems(
        "receivers: []",
        &["1:1 no `route`: nobody would be told of anything; add `route: {receiver: NAME}`"],
    );
    check_problems(
        "route: {group_wait: 1s}",
        &["1:8 the root route has no `receiver`; name the receiver of alerts that no other route wants"],
    );
    check_problems("- a", &["1:1 expected a map with `route` and `receivers`, found a list"]);
    check_problems("route: {receiver: a}", &["1:19 no receiver `a`; define it under `receivers`"]);
}

#[test]
fn a_time_zone_is_only_a_warning() {
    let text = "route: {receiver: a}\nreceivers: [{name: a}]\ntime_intervals: [{name: x, time_intervals: [{location: Asia/Tokyo}]}]";
    let (_, warnings) = parse(text).expect("valid");
    assert_eq!(warnings.iter().map(|w| w.severity).collect::<Vec<_>>(), [Severity::Warning]);
}
