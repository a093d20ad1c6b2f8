//! The summary at the end of a run.

use crate::fixtures;
use reports::record::RunRecord;
use reports::terminal::{Options, write};

fn render(record: &RunRecord, columns: usize, colour: bool) -> String {
    let report_path = Some(format!("results/{}/report.html", record.run_id));
    let mut out = Vec::new();
    write(record, &Options { colour, columns, report_path }, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn passed() {
    insta::assert_snapshot!(render(&fixtures::peak(), 140, false));
}

#[test]
fn failed() {
    insta::assert_snapshot!(render(&fixtures::failed(), 140, false));
}

#[test]
fn void() {
    insta::assert_snapshot!(render(&fixtures::void(), 100, false));
}

#[test]
fn plain_echo() {
    insta::assert_snapshot!(render(&fixtures::plain_echo(), 100, false));
}

#[test]
fn crowded_on_a_narrow_terminal() {
    insta::assert_snapshot!(render(&fixtures::crowded(), 72, false));
}

#[test]
fn colours_change_no_text() {
    let record = fixtures::failed();
    let coloured = render(&record, 100, true);
    assert!(coloured.contains("\u{1b}[1;31mFAILED  exit 111\u{1b}[0m"));
    let mut plain = String::new();
    for (index, piece) in coloured.split('\u{1b}').enumerate() {
        plain += if index == 0 { piece } else { piece.split_once('m').unwrap().1 };
    }
    assert_eq!(plain, render(&record, 100, false));
}

/// Commands stay on one line to be copied; all else keeps within the terminal.
#[test]
fn lines_fit_at_every_width() {
    for record in
        [fixtures::peak(), fixtures::failed(), fixtures::void(), fixtures::crowded(), fixtures::hostile()]
    {
        for columns in [40, 61, 80, 120, 200] {
            let text = render(&record, columns, false);
            let commands = 1 + record.verdict.hints.len();
            let lines: Vec<&str> = text.lines().collect();
            for line in &lines[..lines.len() - commands] {
                assert!(line.chars().count() <= columns, "{columns} columns: {line}");
            }
        }
    }
}

#[test]
fn nothing_from_the_user_commands_the_terminal() {
    let text = render(&fixtures::hostile(), 100, false);
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{0}']));
}
