//! The page: complete, self-contained, and safe to open. The pages tested lie under the target folder's `tmp` to be
//! looked at.

use crate::fixtures;
use reports::record::RunRecord;

fn render(name: &str, record: &RunRecord) -> String {
    let mut out = Vec::new();
    reports::html::write(record, &mut out).unwrap();
    let page = String::from_utf8(out).unwrap();
    let folder = env!("CARGO_TARGET_TMPDIR");
    std::fs::write(format!("{folder}/report-{name}.html"), &page).unwrap();
    page
}

fn count(page: &str, part: &str) -> usize {
    page.matches(part).count()
}

fn all() -> Vec<(&'static str, RunRecord)> {
    vec![
        ("peak", fixtures::peak()),
        ("failed", fixtures::failed()),
        ("void", fixtures::void()),
        ("plain-echo", fixtures::plain_echo()),
        ("crowded", fixtures::crowded()),
        ("hostile", fixtures::hostile()),
        ("long-virtual", fixtures::long_virtual()),
    ]
}

#[test]
fn every_page_is_one_file_of_bounded_size() {
    for (name, record) in all() {
        let page = render(name, &record);
        // The target's own address may stand there as text; no attribute may point anywhere.
        for outside in ["src=\"", "href=\"", "@import", "url(", "<link", "fetch("] {
            assert!(!page.contains(outside), "{name} holds {outside}");
        }
        assert!(!page.contains("http://") && !page.contains("https://"), "{name}");
        assert!(page.len() < 2_000_000, "{name}: {} bytes", page.len());
    }
}

#[test]
fn every_alert_that_moved_has_a_lane_and_every_notification_a_mark() {
    for (name, record) in all() {
        let page = render(name, &record);
        let moved = record.alerts.iter().filter(|alert| !alert.instances.is_empty()).count();
        assert_eq!(count(&page, "<div class=\"lane bars alert-lane\">"), moved, "{name}");
        assert_eq!(count(&page, "<svg class=\"mark "), record.notifications.len(), "{name}");
        let checks = &record.checks;
        let judged = checks.alerts.len()
            + checks.silence.len()
            + checks.slos.len()
            + checks.thresholds.len()
            + checks.validity.len();
        assert_eq!(count(&page, "<td class=\"outcome\">"), judged, "{name}");
    }
}

#[test]
fn every_act_on_the_target_is_shown_with_who_did_it() {
    let mut record = fixtures::peak();
    let page = render("audited", &record);
    assert_eq!(count(&page, "<td>run of ops@drills</td>"), 3);
    assert!(page.contains("<td>1 gateway.latency</td><td>healed</td><td>read back</td>"));
    record.audit.clear();
    assert!(!render("not-audited", &record).contains("What was done to the target"));
}

#[test]
fn the_verdict_stands_at_the_head() {
    let passed = render("peak", &fixtures::peak());
    assert!(passed.contains("<title>Passed: peak, peak-20261121-031407</title>"));
    assert!(passed.contains("<header class=\"head good\">") && passed.contains("exit 0"));
    let failed = render("failed", &fixtures::failed());
    assert!(failed.contains("<title>Failed: peak, peak-20261121-032210</title>"));
    assert!(failed.contains("<header class=\"head bad\">") && failed.contains("exit 111"));
}

#[test]
fn failed_checks_come_first_with_reason_and_place() {
    let page = render("failed", &fixtures::failed());
    let table = &page[page.find("<table class=\"checks\">").unwrap()..];
    let last_bad = table.rfind("<tr class=\"bad\">").unwrap();
    let first_good = table.find("<tr class=\"good\">").unwrap();
    assert!(last_bad < first_good);
    assert!(table.contains("matched first and has no") && table.contains("peak.yaml:37:18"));
}

/// An expected alert that never moved is the most important thing the page can show.
#[test]
fn an_alert_that_did_not_fire_has_an_empty_lane() {
    let mut record = fixtures::peak();
    record.alerts[4].instances.clear();
    let page = render("did-not-fire", &record);
    assert!(page.contains("never pending, never firing"));
    assert!(page.contains("✗ P1 · must fire"));
}

#[test]
fn a_receiver_never_told_has_its_lane() {
    let page = render("failed", &fixtures::failed());
    assert_eq!(count(&page, "<div class=\"lane marks\">"), 3);
    assert_eq!(count(&page, "never told</span>"), 1);
}

#[test]
fn a_fault_not_proven_healed_says_so() {
    assert!(render("void", &fixtures::void()).contains("600ms, not proven healed"));
}

#[test]
fn rule_time_is_a_second_scale_only_where_stretched() {
    assert!(render("peak", &fixtures::peak()).contains("<div class=\"lane axis rule\">"));
    assert!(!render("plain-echo", &fixtures::plain_echo()).contains("<div class=\"lane axis rule\">"));
}

#[test]
fn names_from_the_user_stay_text() {
    let page = render("hostile", &fixtures::hostile());
    assert!(!page.contains("<img"), "an element got in");
    assert_eq!(count(&page, "</script"), 2, "a script was ended early");
    assert!(!page.contains(['\u{1b}', '\u{202e}', '\u{0}']));
    assert!(page.contains("&#60;img src=x onerror=alert(1)&#62;"));
}

/// A record that nobody would write on purpose must still give a page.
#[test]
fn absurd_numbers_give_a_page() {
    let mut record = fixtures::peak();
    for value in [f64::NAN, f64::INFINITY, -1e300, 1e300, 0.0] {
        record.wall_seconds = value;
        record.phases[0].wall_begin_seconds = value;
        record.phases[1].factor = value;
        record.phases[2].rule_end_seconds = value;
        record.series[3].sent_per_second = value;
        record.series[12].latency_p99_ms = Some(value);
        record.alerts[4].instances[0].transitions[1].wall_seconds = value;
        record.notifications[0].wall_seconds = value;
        record.phases[1].faults[0].healed_wall_seconds = Some(value);
        let page = render("absurd", &record);
        assert!(!page.contains("NaN"), "{value}");
        assert!(!page.contains("infinity"), "{value}");
    }
    record.phases.clear();
    record.series.clear();
    record.alerts.clear();
    render("empty", &record);
}
