use super::points::{millis, split_series, without_histograms};
use super::*;
use proptest::prelude::*;

#[test]
fn durations() {
    for (text, ms) in
        [("5m", 300_000), ("1m30s", 90_000), ("10", 10_000), ("-1m", -60_000), ("1y", 31_536_000_000)]
    {
        assert_eq!(millis(text), Some(ms), "{text}");
    }
    for text in ["", "m", "5x", "5m-3", "-"] {
        assert_eq!(millis(text), None, "{text}");
    }
}

#[test]
fn series_and_points_part() {
    assert_eq!(split_series("x 1 2"), ("x", "1 2"));
    assert_eq!(split_series("x{a=\"b c\", d='}'}  1"), ("x{a=\"b c\", d='}'}", "1"));
    assert_eq!(split_series("x{a=\"\\\" \"} 1"), ("x{a=\"\\\" \"}", "1"));
}

#[test]
fn histograms_become_markers() {
    let check = |text: &str, expected: &str| {
        let (found, native) = without_histograms(text);
        assert_eq!(
            (found.split_whitespace().collect::<Vec<_>>().join(" ").as_str(), native),
            (expected, true)
        );
    };
    check("{{sum:1 count:2}} 5", "stale 5");
    check("1 {{sum:1 count:2}}x3", "1 stale stale stale stale");
    check("{{sum:1}}+{{sum:1 buckets:[1 2]}}x2 7", "stale stale stale 7");
    assert!(!without_histograms("1 2 3").1);
}

#[test]
fn strings_are_go_s() {
    let wanted = |text: &str| {
        let script = Script::read(&format!("eval instant at 0 \"\"\n  expect string {text}")).ok()?;
        match &script.commands[0].action {
            Action::Eval(eval) => match &eval.expected {
                Expected::Text(text) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        }
    };
    let text = |text: &str| Some(text.to_string());
    assert_eq!(wanted(r#""a\n\"\x41\u00e9\101\xc3\xa9""#), text("a\n\"A\u{e9}A\u{e9}"));
    assert_eq!(wanted(r"`a\n`"), text("a\\n"));
    assert_eq!(wanted("a"), None);
    assert_eq!(wanted(r#""\q""#), None);
}

#[test]
fn what_cannot_be_read_is_left_out_of_the_rest() {
    let (script, wrong) = Script::read_what_can_be("eval sometimes 1\n  1\n\neval instant at 0 2\n  2\n");
    assert_eq!((script.commands.len(), wrong.len(), wrong[0].line), (1, 1, 1));
}

#[test]
fn what_is_not_of_the_format_is_refused_with_its_line() {
    let check = |text: &str, line: usize, what: &str| {
        let error = Script::read(text).unwrap_err();
        assert_eq!(error.line, line, "{text}");
        assert!(error.what.contains(what), "{} lacks {what}", error.what);
    };
    check("\nlode 5m", 2, "unknown command `lode`");
    check("load 5q", 1, "distance");
    check("load 0s", 1, "distance");
    check("load 5m\n  x 1 2\n  y a", 3, "not a point");
    check("load 5m\n  x y{ 1", 2, "not a");
    check("eval sometimes at 5m x", 1, "neither instant nor range");
    check("eval instant at 5q x", 1, "`5q` is not a time");
    check("eval instant at 1000y x", 1, "`1000y` is not a time");
    check("eval range from 0 until 5m step 1m x", 1, "`to`");
    check("eval range from 5m to 0 step 1m x", 1, "end after its start");
    check("eval range from 0 to 100y step 1ms x", 1, "100,000");
    check("eval instant at 5m x\n  expect miracle", 2, "`expect miracle`");
    check("eval instant at 5m x\n  expect string x", 2, "quoted");
    check("eval instant at 5m x\n  x{a=\"b\"}", 2, "no value");
    check("eval instant at 5m x\n  expect warn text: x", 2, "neither `msg: ...` nor");
    check("eval instant at 5m x\n  expect info regex: (", 2, "not a regular expression");
    check("eval instant at 5m x\n  expected_fail_regexp (", 2, "not a regular expression");
}

#[test]
fn names_say_the_dialect() {
    assert_eq!(dialect_of("edges.v2.test"), Some(Dialect::V2));
    assert_eq!(dialect_of("edges.v3.test"), Some(Dialect::V3));
    assert_eq!(dialect_of("edges.test"), None);
}

proptest! {
    #[test]
    fn no_text_panics(
        lines in proptest::collection::vec(
            prop_oneof![
                "load( |_with_nhcb )[0-9]{0,3}[smhx]?",
                "eval(_fail|_ordered)? (instant|range) (at|from) [0-9]{1,2}m( to 9m step [0-9]m)? [a-z0-9\\[\\](){}:@ +]{0,20}",
                "  (expect )?(fail|ordered|string|range vector|info)[ \"a-z0-9]{0,20}",
                "  [a-z]{0,3}(\\{[a-z]{0,2}=?\"?[a-z]?\"?\\})? [0-9x+_ {}.-]{0,20}",
                "clear|#.*|",
                ".{0,30}",
            ],
            0..12,
        )
    ) {
        if let Ok(script) = Script::read(&lines.join("\n")) {
            for dialect in [Dialect::V2, Dialect::V3] {
                Runner::new(dialect).run(&script);
            }
        }
    }
}
