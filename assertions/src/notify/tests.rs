//! Timetables as text: what is posted when, and who must have been told when.

use super::*;
use scenarios::span::Source;

const ONE_GROUP: &str = "
route: {receiver: r, group_wait: 30s, group_interval: 5m, repeat_interval: 1h}
receivers: [{name: r, webhook_configs: [{url: x}], slack_configs: [{channel: c}]}]
";

fn seconds(text: &str) -> i64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let scale = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => panic!("unit of {text}"),
    };
    number.parse::<i64>().expect("a number") * scale
}

fn alert(name: &str) -> Labels {
    Labels::from_pairs(name.split(',').enumerate().map(|(i, part)| match part.split_once('=') {
        Some(pair) => pair,
        None if i == 0 => ("alertname", part),
        None => panic!("label {part}"),
    }))
}

fn names(alerts: &[Labels]) -> String {
    alerts.iter().map(|labels| labels.get("alertname")).collect::<Vec<_>>().join("+")
}

/// `posts`: `AT NAME[,label=value] [from AT] [until AT]`, separated by semicolons; the run ends at `end`.
/// `expected`: `AT receiver/integration firing-resolved`.
#[track_caller]
fn check(config: &str, posts: &str, end: &str, expected: &[&str]) -> Pipeline {
    let source = Arc::new(Source { name: "am.yml".to_owned(), text: config.to_owned() });
    let (config, _) = Alertmanager::parse(source).expect("valid");
    let mut pipeline = Pipeline::new(Arc::new(config), Millis(0));
    let mut found = Vec::new();
    for post in posts.split(';').map(str::trim).filter(|post| !post.is_empty()) {
        let words: Vec<&str> = post.split_whitespace().collect();
        let time = |word: &str| {
            let at = words.iter().position(|found| *found == word)?;
            Some(Millis(seconds(words[at + 1]) * 1000))
        };
        let posted = Posted { labels: alert(words[1]), starts_at: time("from"), ends_at: time("until") };
        pipeline.receive(Millis(seconds(words[0]) * 1000), posted);
    }
    found.extend(pipeline.advance(Millis(seconds(end) * 1000)));
    let found: Vec<String> = found
        .iter()
        .map(|n| {
            let (firing, resolved) = (names(&n.firing), names(&n.resolved));
            format!("{}s {}/{} {firing}-{resolved}", n.at.0 / 1000, n.receiver, n.integration)
        })
        .collect();
    assert_eq!(found, expected, "for {posts}");
    pipeline
}

#[test]
fn a_group_waits_then_tells_then_repeats_strictly_after_the_interval() {
    // Flushes at 30 s and every 300 s: at 3630 s the last notice is exactly an hour old, which is not older.
    check(
        ONE_GROUP,
        "0s A from 0s until 3h",
        "2h",
        &["30s r/webhook A-", "30s r/slack A-", "3930s r/webhook A-", "3930s r/slack A-"],
    );
}

#[test]
fn an_old_alert_is_told_at_once() {
    let config = "route: {receiver: r, group_wait: 30s}\nreceivers: [{name: r, webhook_configs: [{}]}]";
    check(config, "100s A from 69s until 2h", "10m", &["100s r/webhook A-"]);
    check(config, "100s A from 70s until 2h", "10m", &["130s r/webhook A-"]);
    // Once flushed, the group's own tick rules.
    check(
        config,
        "100s A from 69s until 2h; 110s B,x=y from 1s until 2h",
        "10m",
        &["100s r/webhook A-", "400s r/webhook A+B-"],
    );
}

#[test]
fn a_resolve_waits_for_the_next_flush_and_slack_is_not_told_by_default() {
    check(
        ONE_GROUP,
        "0s A from 0s until 1h; 60s A from 0s until 60s",
        "1h",
        &["30s r/webhook A-", "30s r/slack A-", "330s r/webhook -A"],
    );
}

#[test]
fn what_fires_and_resolves_within_group_wait_is_never_told() {
    check(ONE_GROUP, "0s A from 0s until 1h; 20s A from 0s until 20s", "1h", &[]);
}

#[test]
fn what_fires_and_resolves_between_two_flushes_is_never_told() {
    check(
        ONE_GROUP,
        "5s A from 5s until 2h; 60s A from 5s until 60s; 345s A from 345s until 2h; 350s A from 345s until 350s",
        "1h",
        &["35s r/webhook A-", "35s r/slack A-", "335s r/webhook -A"],
    );
}

#[test]
fn new_members_and_newly_resolved_members_are_news() {
    check(
        ONE_GROUP,
        "0s A from 0s until 2h; 40s B from 40s until 2h; 400s B from 40s until 400s",
        "20m",
        &[
            "30s r/webhook A-",
            "30s r/slack A-",
            "330s r/webhook A+B-",
            "330s r/slack A+B-",
            "630s r/webhook A-B",
        ],
    );
}

#[test]
fn firing_again_after_the_end_was_told_is_news_even_without_send_resolved() {
    let config = "route: {receiver: r}\nreceivers: [{name: r, slack_configs: [{}]}]";
    check(
        config,
        "0s A from 0s until 2h; 60s A from 0s until 60s; 400s A from 400s until 2h",
        "20m",
        &["30s r/slack A-", "430s r/slack A-"],
    );
}

#[test]
fn an_empty_group_keeps_its_tick_until_it_is_collected() {
    // Empty at 335 s and collected at 360 s. At 345 s the group still stands: next tick 635 s.
    let posts = |again: &str| {
        format!("5s A from 5s until 2h; 60s A from 5s until 60s; {again}s A from {again}s until 2h")
    };
    let told = ["35s r/webhook A-", "35s r/slack A-", "335s r/webhook -A"];
    check(ONE_GROUP, &posts("345"), "15m", &[&told[..], &["635s r/webhook A-", "635s r/slack A-"]].concat());
    check(ONE_GROUP, &posts("370"), "15m", &[&told[..], &["400s r/webhook A-", "400s r/slack A-"]].concat());
}

#[test]
fn an_alert_without_end_times_out() {
    check(
        ONE_GROUP,
        "0s A",
        "1h",
        // Ends at 300 s by resolve_timeout, told at the flush of 330 s.
        &["30s r/webhook A-", "30s r/slack A-", "330s r/webhook -A"],
    );
    // A sender that died: Prometheus' own end passes without a post.
    check(
        ONE_GROUP,
        "0s A from 0s until 4m; 75s A from 0s until 315s",
        "1h",
        &["30s r/webhook A-", "30s r/slack A-", "330s r/webhook -A"],
    );
}

#[test]
fn posts_of_the_same_firing_merge() {
    // A later post with an earlier end still to come does not shorten what the sender promised.
    check(
        ONE_GROUP,
        "0s A from 0s until 20m; 10s A from 0s until 5m",
        "25m",
        &["30s r/webhook A-", "30s r/slack A-", "1230s r/webhook -A"],
    );
}

#[test]
fn groups_are_per_route_and_values_of_group_by() {
    let config = "
route:
  receiver: r
  group_by: [c]
  routes: [{matchers: [s=p], receiver: p, continue: true, group_by: ['...']}, {matchers: [s=p], receiver: r}]
receivers: [{name: r, webhook_configs: [{}]}, {name: p, pagerduty_configs: [{}]}]
";
    check(
        config,
        "0s A,s=p,c=1 until 1h; 0s B,s=p,c=1 until 1h; 0s C,c=2 until 1h",
        "1m",
        &["30s r/webhook C-", "30s p/pagerduty A-", "30s p/pagerduty B-", "30s r/webhook A+B-"],
    );
}

const INHIBITED: &str = "
route: {receiver: r, group_by: [alertname]}
receivers: [{name: r, webhook_configs: [{}]}]
inhibit_rules: [{source_matchers: [alertname=Down], target_matchers: [alertname=Slow], equal: [c]}]
";

#[test]
fn inhibition_is_decided_at_the_flush() {
    let pipeline = check(
        INHIBITED,
        "0s Slow,c=1 until 2h; 20s Down,c=1 until 2h; 400s Down,c=1 from 20s until 400s",
        "12m",
        &["50s r/webhook Down-", "630s r/webhook Slow-", "650s r/webhook -Down"],
    );
    let reasons: Vec<_> = pipeline.suppressions().iter().map(|s| (s.at.0 / 1000, &s.reason)).collect();
    let by = Inhibitor { rule: 0, source: alert("Down,c=1") };
    assert_eq!(reasons, [(30, &Reason::Inhibited(by))]);
    // The source came after the flush: too late.
    check(
        INHIBITED,
        "0s Slow,c=1 until 2h; 31s Down,c=1 until 2h",
        "2m",
        &["30s r/webhook Slow-", "61s r/webhook Down-"],
    );
}

#[test]
fn intervals_mute_and_a_muted_first_flush_starts_the_clock() {
    // 1970-01-01 was a Thursday.
    let config = |route: &str| {
        format!(
            "
route: {{receiver: r, routes: [{{matchers: [alertname=A], {route}}}]}}
receivers: [{{name: r, webhook_configs: [{{}}]}}]
time_intervals:
  - {{name: first, time_intervals: [{{times: [{{start_time: '00:00', end_time: '00:03'}}]}}]}}
  - {{name: friday, time_intervals: [{{weekdays: [friday]}}]}}
"
        )
    };
    let pipeline =
        check(&config("mute_time_intervals: [first]"), "0s A until 2h", "10m", &["330s r/webhook A-"]);
    assert_eq!(pipeline.suppressions()[0].reason, Reason::Muted(0));
    let pipeline = check(&config("active_time_intervals: [friday]"), "0s A until 2h", "1h", &[]);
    assert_eq!(pipeline.suppressions().len(), 1, "one reason is recorded once");
    assert_eq!(pipeline.suppressions()[0].reason, Reason::Inactive);
}

#[test]
fn silences_hold_from_start_to_just_before_their_end() {
    let source = Arc::new(Source { name: "am.yml".to_owned(), text: ONE_GROUP.to_owned() });
    let (config, _) = Alertmanager::parse(source).expect("valid");
    let mut pipeline = Pipeline::new(Arc::new(config), Millis(0));
    let matchers = Matcher::parse_all("alertname=A").expect("valid");
    pipeline.silence(Silence { matchers, from: Millis(0), until: Millis(330_000) });
    pipeline
        .receive(Millis(0), Posted { labels: alert("A"), starts_at: None, ends_at: Some(Millis(7_200_000)) });
    assert_eq!(pipeline.next_deadline(), Some(Millis(30_000)));
    assert_eq!(pipeline.advance(Millis(329_999)), []);
    assert_eq!(pipeline.suppressions()[0].reason, Reason::Silenced(0));
    assert_eq!(pipeline.advance(Millis(330_000)).len(), 2);
}

#[test]
fn a_month_without_alerts_passes_at_once() {
    let pipeline = check(
        ONE_GROUP,
        "720h A until 721h",
        "800h",
        &["2592030s r/webhook A-", "2592030s r/slack A-", "2595630s r/webhook -A"],
    );
    assert_eq!(pipeline.next_deadline(), None);
}

#[test]
fn the_end_of_time_is_reached() {
    let source = Arc::new(Source { name: "am.yml".to_owned(), text: ONE_GROUP.to_owned() });
    let (config, _) = Alertmanager::parse(source).expect("valid");
    for start in [i64::MIN, 0, i64::MAX] {
        let mut pipeline = Pipeline::new(Arc::new(config.clone()), Millis(start));
        assert_eq!(pipeline.advance(Millis(i64::MAX)), []);
    }
}
