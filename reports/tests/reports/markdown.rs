//! The comment for a pull request.

use crate::fixtures;
use reports::record::RunRecord;

fn render(record: &RunRecord) -> String {
    let mut out = Vec::new();
    reports::markdown::write(record, &mut out).unwrap();
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

#[test]
fn void() {
    insta::assert_snapshot!(render(&fixtures::void()));
}

#[test]
fn names_from_the_user_stay_text() {
    let mut record = fixtures::hostile();
    record.verdict.hints.clear();
    let text = render(&record);
    assert!(!text.contains("<img") && !text.contains("</script"), "{text}");
    assert!(!text.contains('\u{1b}'));
    record.verdict.reason = "ask @everyone in #1 ![x](y)".to_owned();
    let text = render(&record);
    assert!(text.contains("ask &#64;everyone in &#35;1 \\!\\[x\\](y)"), "{text}");
}

/// A command may hold backticks; the fence around it must be longer.
#[test]
fn a_command_cannot_end_its_own_block() {
    let mut record = fixtures::failed();
    record.verdict.hints[0].command = "run ````\n```` x".to_owned();
    let text = render(&record);
    assert!(text.contains("`````sh\nrun ```` ```` x\n`````\n"), "{text}");
}
