use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Runs evaluations a minute apart; at each the rule's one element is present or not. Shows the events.
fn check(hold: u64, keep_firing: u64, present: &str, expected: &str) {
    let timing = Timing {
        rule: 0,
        hold: MINUTE * hold as u32,
        keep_firing: MINUTE * keep_firing as u32,
        limit: 0,
        falls_back: false,
    };
    let mut states = AlertStates::default();
    let mut shown = Vec::new();
    for (minute, mark) in present.chars().enumerate() {
        let at = Millis(minute as i64 * 60_000);
        let seen = if mark == '#' { vec![seen("a")] } else { Vec::new() };
        let events = states.step(timing, at, seen, |_| ResolveReason::Condition).unwrap();
        let names = events.iter().map(|event| match event.transition {
            Transition::Pending => "pending",
            Transition::Firing => "firing",
            Transition::Dropped => "dropped",
            Transition::Resolved(_) => "resolved",
        });
        shown.extend(names.map(|name| format!("{minute} {name}")));
    }
    assert_eq!(shown.join(", "), expected, "for {hold}m, keep {keep_firing}m: {present}");
}

fn seen(name: &str) -> Seen {
    let labels = Labels::from_pairs([("alertname", name)]);
    Seen { labels, element: Labels::default(), annotations: Annotations::default(), value: 1.0 }
}

#[test]
fn life_of_an_alert() {
    check(0, 0, "##.", "0 firing, 2 resolved");
    check(2, 0, "###.", "0 pending, 2 firing, 3 resolved");
    check(2, 0, "##.###.", "0 pending, 2 dropped, 3 pending, 5 firing, 6 resolved");
    check(1, 2, "##..#...", "0 pending, 1 firing, 7 resolved");
    check(1, 2, "##....", "0 pending, 1 firing, 4 resolved");
    check(1, 0, "##.##", "0 pending, 1 firing, 2 resolved, 3 pending, 4 firing");
    check(5, 3, "##.", "0 pending, 2 dropped");
}

/// The minutes at which an alert that fires from 0 to 30 is sent.
fn check_sends(interval: u64, resend: u64, expected: &[i64]) {
    let timing =
        Timing { rule: 0, hold: Duration::ZERO, keep_firing: Duration::ZERO, limit: 0, falls_back: false };
    let (interval, resend) = (Duration::from_secs(interval), Duration::from_secs(resend));
    let mut states = AlertStates::default();
    let mut sent = Vec::new();
    for step in 0..12 {
        let at = Millis::default().after(interval * step);
        states.step(timing, at, vec![seen("a")], |_| ResolveReason::Condition).unwrap();
        let sends = states.sends(0, at, interval, resend, &Labels::default());
        sent.extend(sends.iter().map(|_| at.0 / 1000));
    }
    assert_eq!(sent, expected);
}

#[test]
fn sends_are_repeated_strictly_later_than_the_delay() {
    check_sends(15, 60, &[0, 75, 150]);
    check_sends(30, 60, &[0, 90, 180, 270]);
    check_sends(60, 60, &[0, 120, 240, 360, 480, 600]);
}

#[test]
fn resolved_alerts_are_sent_for_15_minutes() {
    let timing =
        Timing { rule: 3, hold: Duration::ZERO, keep_firing: Duration::ZERO, limit: 0, falls_back: false };
    let mut states = AlertStates::default();
    let mut sends = Vec::new();
    for minute in 0..30 {
        let at = Millis(minute * 60_000);
        let seen = if minute < 2 { vec![seen("a")] } else { Vec::new() };
        states.step(timing, at, seen, |_| ResolveReason::Condition).unwrap();
        let external = Labels::from_pairs([("cluster", "x"), ("alertname", "not this")]);
        sends.extend(states.sends(3, at, MINUTE, MINUTE, &external).into_iter().map(|sent| (minute, sent)));
    }
    let minutes: Vec<(i64, bool)> = sends.iter().map(|(minute, sent)| (*minute, sent.resolved)).collect();
    let resolved = [2, 4, 6, 8, 10, 12, 14, 16].map(|minute| (minute, true));
    assert_eq!(minutes, [vec![(0, false)], resolved.to_vec()].concat());
    assert_eq!(sends[0].1.ends_at, Millis(240_000), "four intervals ahead");
    assert_eq!(sends[1].1.ends_at, Millis(120_000), "when it resolved");
    assert_eq!(sends[1].1.starts_at, Millis(0), "when it fired");
    assert_eq!(sends[0].1.labels.get("cluster"), "x");
    assert_eq!(sends[0].1.labels.get("alertname"), "a", "external labels replace none");
}

#[test]
fn starts_at_is_when_it_fired_not_when_it_became_pending() {
    let timing =
        Timing { rule: 0, hold: MINUTE * 2, keep_firing: Duration::ZERO, limit: 0, falls_back: false };
    let mut states = AlertStates::default();
    for minute in 0..3 {
        let at = Millis(minute * 60_000);
        states.step(timing, at, vec![seen("a")], |_| ResolveReason::Condition).unwrap();
        let sends = states.sends(0, at, MINUTE, MINUTE, &Labels::default());
        assert_eq!(
            sends.iter().map(|sent| sent.starts_at.0).collect::<Vec<_>>(),
            if minute < 2 { vec![] } else { vec![120_000] }
        );
    }
}

#[test]
fn over_the_limit_there_are_no_alerts() {
    let timing =
        Timing { rule: 0, hold: Duration::ZERO, keep_firing: Duration::ZERO, limit: 1, falls_back: false };
    let mut states = AlertStates::default();
    let outcome = states.step(timing, Millis(0), vec![seen("a"), seen("b")], |_| ResolveReason::Condition);
    assert_eq!(outcome, Err(OverLimit { found: 2, limit: 1 }));
    assert_eq!(states.active().count(), 0);
}
