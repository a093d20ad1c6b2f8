//! From an evaluation to a pager: how often Prometheus sends an alert, until when the Alertmanager believes it, and what people
//! hear. The engine and the pipeline, nothing in between.

use assertions::alertmanager::Alertmanager;
use assertions::engine::{Engine, EngineSettings};
use assertions::labels::Labels;
use assertions::notify::{Pipeline, Posted};
use assertions::promql::ast::Dialect;
use assertions::rule;
use assertions::store::Store;
use assertions::time::Millis;
use assertions::timeline::Notification;
use scenarios::span::Source;
use std::sync::Arc;
use std::time::Duration;

const ROUTES: &str = "
route: {receiver: pager, group_wait: 30s, group_interval: 1m}
receivers: [{name: pager, pagerduty_configs: [{}]}]
";

fn source(name: &str, text: &str) -> Arc<Source> {
    Arc::new(Source { name: name.into(), text: text.into() })
}

/// A send, in seconds.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    at: i64,
    starts_at: i64,
    ends_at: i64,
}

/// An alert with a `for` of two minutes, evaluated every `interval` seconds for twenty minutes; its condition holds up to
/// `until`, and nothing is evaluated from `gone` on.
fn play(interval: u64, resend_delay: u64, until: i64, gone: i64) -> (Vec<Sent>, Vec<Notification>) {
    let text = "groups: [{name: g, rules: [{alert: A, expr: x == 1, for: 2m}]}]";
    let rules = rule::load(&[source("r.yml", text)], Dialect::V2.into()).expect("readable").rules;
    let settings = EngineSettings {
        evaluation_interval: Duration::from_secs(interval),
        resend_delay: Duration::from_secs(resend_delay),
        ..EngineSettings::default()
    };
    let mut engine = Engine::new(rules, settings);
    let mut pipeline = Pipeline::new(
        Arc::new(Alertmanager::parse(source("am.yml", ROUTES)).expect("readable").0),
        Millis(-1),
    );
    let mut store = Store::new();
    let (mut sends, mut told) = (Vec::new(), Vec::new());
    for second in 0..20 * 60 {
        let at = Millis(second * 1000);
        if second % 15 == 0 {
            let value = if second <= until { 1.0 } else { 0.0 };
            store.append(&Labels::from_pairs([("__name__", "x")]), at, value).expect("in order");
        }
        if second % interval as i64 == 0 && second < gone {
            for sent in engine.evaluate(&mut store, at).sends {
                let seconds = |at: Millis| at.0 / 1000;
                sends.push(Sent {
                    at: second,
                    starts_at: seconds(sent.starts_at),
                    ends_at: seconds(sent.ends_at),
                });
                let (starts_at, ends_at) = (Some(sent.starts_at), Some(sent.ends_at));
                pipeline.receive(at, Posted { labels: sent.labels, starts_at, ends_at });
            }
        }
        told.extend(pipeline.advance(at));
    }
    (sends, told)
}

const NEVER: i64 = i64::MAX;

/// Seconds at which somebody was told, and of how many that fire and that ended.
fn shown(told: &[Notification]) -> Vec<(i64, usize, usize)> {
    told.iter().map(|told| (told.at.0 / 1000, told.firing.len(), told.resolved.len())).collect()
}

#[test]
fn an_alert_is_sent_again_strictly_later_than_the_delay_and_ends_four_of_the_longer_ahead() {
    for (interval, resend_delay, every, valid) in
        [(15, 60, 75, 240), (30, 60, 90, 240), (60, 60, 120, 240), (15, 0, 15, 60), (120, 60, 120, 480)]
    {
        let (sends, told) = play(interval, resend_delay, NEVER, NEVER);
        let expected: Vec<Sent> = (0..)
            .map(|index| 120 + index * every)
            .take_while(|at| *at < 20 * 60)
            .map(|at| Sent { at, starts_at: 120, ends_at: at + valid })
            .collect();
        assert_eq!(sends, expected, "every {interval} s, delay {resend_delay} s");
        assert_eq!(shown(&told), [(150, 1, 0)], "it never seems to end in between");
    }
}

#[test]
fn the_end_is_sent_at_once_and_told_at_the_next_look() {
    let (sends, told) = play(15, 60, 300, NEVER);
    let end: Vec<&Sent> = sends.iter().filter(|sent| sent.at > 300).collect();
    assert_eq!(
        *end[0],
        Sent { at: 315, starts_at: 120, ends_at: 315 },
        "since it fired, not since it was pending"
    );
    assert_eq!(*end[1], Sent { at: 390, starts_at: 120, ends_at: 315 }, "and again for a quarter of an hour");
    assert_eq!(shown(&told), [(150, 1, 0), (330, 0, 1)]);
}

#[test]
fn without_prometheus_the_alert_ends_when_the_last_send_says() {
    let (sends, told) = play(15, 60, NEVER, 300);
    assert_eq!(sends.last(), Some(&Sent { at: 270, starts_at: 120, ends_at: 510 }));
    // The group is looked at every minute from 150 on; at 510 the end has come.
    assert_eq!(shown(&told), [(150, 1, 0), (510, 0, 1)]);
}

#[test]
fn an_alert_that_is_only_pending_is_not_sent() {
    let (sends, told) = play(15, 60, 110, NEVER);
    assert_eq!((sends.len(), told.len()), (0, 0));
}
