//! JUnit: what CI shows.

use crate::fixtures;
use reports::record::RunRecord;

fn render(record: &RunRecord) -> String {
    let mut out = Vec::new();
    reports::junit::write(record, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn passed() {
    insta::assert_snapshot!(render(&fixtures::peak()));
}

#[test]
fn failed() {
    insta::assert_snapshot!(render(&fixtures::failed()));
}

/// No check failed, yet the run did.
#[test]
fn an_interrupted_run_is_not_green() {
    let mut record = fixtures::peak();
    record.verdict.passed = false;
    record.verdict.exit_code = 105;
    record.verdict.reason = "interrupted after 31s".to_owned();
    let text = render(&record);
    assert!(text.contains(r#"failures="1""#) && text.contains("interrupted after 31s"), "{text}");
}

#[test]
fn no_data_fails_and_not_judged_is_skipped() {
    assert!(render(&fixtures::void()).contains(r#"type="no_data""#));
    assert!(render(&fixtures::failed()).contains("<skipped"));
}

#[test]
fn names_from_the_user_stay_text() {
    let text = render(&fixtures::hostile());
    assert!(!text.contains("<img") && !text.contains("</script"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{0}']));
}
