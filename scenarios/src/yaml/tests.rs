use super::*;
use proptest::prelude::*;

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source { name: "test.yaml".to_owned(), text: text.to_owned() })
}

/// The tree in one line: scalars as `text@span`, with the span's own text.
fn shape(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) => format!("{:?}@{:?}", scalar.text, node.span.text()),
        Value::Sequence(items) => format!("[{}]", items.iter().map(shape).collect::<Vec<_>>().join(", ")),
        Value::Mapping(entries) => {
            let entries: Vec<_> = entries.iter().map(|(k, v)| format!("{}: {}", k.text, shape(v))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let tree = parse(source(text)).map_err(|problems| format!("{problems:#?}"));
    assert_eq!(tree.as_ref().map(shape).as_deref(), Ok(expected), "for {text:?}");
}

#[track_caller]
fn check_problems(text: &str, expected: &[(&str, &str)]) {
    let problems = parse(source(text)).expect_err("a problem");
    let found: Vec<_> = problems
        .iter()
        .map(|problem| (problem.span.as_ref().map(ToString::to_string).unwrap_or_default(), &problem.summary))
        .collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((place, summary), (want_place, want_summary)) in found.iter().zip(expected) {
        assert_eq!(place, &format!("test.yaml:{want_place}"), "{summary}");
        assert!(summary.contains(want_summary), "{summary:?} lacks {want_summary:?}");
    }
}

#[test]
fn spans_cover_exactly_the_scalar() {
    check("a: 1 # c\n", r#"{a: "1"@"1"}"#);
    check("ä: 'ö''x'  \n", r#"{ä: "ö'x"@"'ö''x'"}"#);
    check("a: [ü, \"b\\n\"]", r#"{a: ["ü"@"ü", "b\n"@"\"b\\n\""]}"#);
    check("a: &x !!str 1\nb: *x\n", r#"{a: "1"@"1", b: "1"@"1"}"#);
    check("a:\nb: {c, d: }\n", r#"{a: ""@"", b: {c: ""@"", d: ""@""}}"#);
    check("\u{feff}a: 1\r\nb: 2\r\n", r#"{a: "1"@"1", b: "2"@"2"}"#);
    check("a: two\n  lines\nb: 1", "{a: \"two lines\"@\"two\\n  lines\", b: \"1\"@\"1\"}");
    check("", r#"""@"""#);
}

#[test]
fn json_may_write_a_character_as_two_halves() {
    check(r#"{"a": "\ud83d\uDE00é", "b": 1}"#, r#"{a: "😀é"@"\"\\ud83d\\uDE00é\"", b: "1"@"1"}"#);
    check(r#"{"a": "\\ud83d\\ude00"}"#, r#"{a: "\\ud83d\\ude00"@"\"\\\\ud83d\\\\ude00\""}"#);
    check_problems(r#"{"a": "\ud83d!"}"#, &[("1:7", "Unicode")]);
    let tree = parse(source(r#"{"a": "x\ud83d\ude00y"}"#)).expect("valid");
    let place = tree.get("a").expect("there").span_within(5..6);
    assert_eq!((place.text(), place.position().column), ("y", 21));
}

#[test]
fn a_file_may_hold_several_documents_where_that_is_asked_for() {
    let all = |text: &str| {
        let documents = parse_all(source(text))?;
        Ok::<_, Vec<Problem>>(documents.iter().map(shape).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(
        all("---\na: 1\n---\n# nothing\n---\nb: &x 2\n").as_deref(),
        Ok(r#"{a: "1"@"1"} {b: "2"@"2"}"#)
    );
    assert_eq!(all("").as_deref(), Ok(""));
    let problems = all("a: 1\n---\nb: [\n").expect_err("never closed");
    assert_eq!(problems[0].span.as_ref().expect("a place").position().line, 3);
}

#[test]
fn block_scalars_are_spanned_from_header_to_last_line() {
    check("a: |\n  x\n\n  y\n\n# c\nb: 1\n", "{a: \"x\\n\\ny\\n\"@\"|\\n  x\\n\\n  y\", b: \"1\"@\"1\"}");
    check("a: &x >- # why | not\n  x\n  y\n", "{a: \"x y\"@\">- # why | not\\n  x\\n  y\"}");
    check("-\n# not | this\n  >\n  a\n", "[\"a\\n\"@\">\\n  a\"]");
    check("- |\n a\n b", "[\"a\\nb\\n\"@\"|\\n a\\n b\"]");
}

#[test]
fn merge_keys_give_what_the_map_does_not_have() {
    check(
        "b: &b {x: 1, y: 2}\nm: {<<: *b, y: 3}\n",
        r#"{b: {x: "1"@"1", y: "2"@"2"}, m: {y: "3"@"3", x: "1"@"1"}}"#,
    );
    check(
        "a: &a {x: 1}\nb: &b {x: 2, z: 3}\nm:\n  <<: [*a, *b]\n",
        concat!(r#"{a: {x: "1"@"1"}, b: {x: "2"@"2", z: "3"@"3"}, "#, r#"m: {x: "1"@"1", z: "3"@"3"}}"#),
    );
    check("'<<': 1", r#"{<<: "1"@"1"}"#);
}

#[test]
fn problems_have_their_place() {
    check_problems("a: 1\nb: 2\na: 3\nb: 4", &[("3:1", "key `a` is written twice"), ("4:1", "key `b`")]);
    check_problems("a: 1\n\tb: 2\n", &[("2:1", "tab")]);
    check_problems("a: b: c\n", &[("1:5", "mapping values")]);
    check_problems("a: [1\n", &[("1:6", "flow sequence")]);
    check_problems("ä: 'x\n", &[("1:4", "quoted scalar")]);
    check_problems("a: *y", &[("1:4", "unknown anchor")]);
    check_problems("a: 1\n---\nb: 1\n", &[("2:1", "second YAML document")]);
    check_problems("? [a]\n: 1\n", &[("1:3", "single word")]);
    check_problems("a: @x", &[("1:4", "unexpected character")]);
    check_problems("a: {{client}}", &[("1:4", "begins with `{{`")]);
    check_problems("a: x\u{7}y", &[("1:5", "control character U+0007")]);
    check_problems("a: &a [*a]", &[("1:8", "alias inside the value")]);
    check_problems("a:\n  b: 1\n c: 2\n", &[("3:2", "expected key")]);
    check_problems("a: !thing 1", &[("1:4", "unknown YAML tag `!thing`")]);
}

#[test]
fn duplicate_keys_show_both_places() {
    let problems = parse(source("a: 1\na: 2")).expect_err("a problem");
    assert_eq!(problems[0].related[0].0.to_string(), "test.yaml:1:1");
}

#[test]
fn bounds_hold() {
    check_problems(&"[".repeat(65), &[("1:65", "nested deeper than 64")]);
    let mut laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in [('b', 'a'), ('c', 'b'), ('d', 'c'), ('e', 'd'), ('f', 'e'), ('g', 'f')] {
        laughs += &format!("{name}: &{name} [{}]\n", [format!("*{of}").as_str(); 10].join(", "));
    }
    let problems = parse(source(&laughs)).expect_err("a problem");
    assert!(problems[0].summary.contains("more than 500000 values"), "{problems:?}");
}

#[test]
fn a_range_of_the_text_maps_back_to_the_file() {
    let check = |text: &str, needle: &str, place: &str, covered: &str| {
        let tree = parse(source(text)).expect("valid");
        let (_, node) = tree.entries().next().expect("one entry");
        let value = node.text().expect("scalar");
        let at = value.find(needle).expect("the needle is in the value");
        let span = node.span_within(at..at + needle.len());
        assert_eq!((span.to_string(), span.text()), (format!("test.yaml:{place}"), covered), "for {text:?}");
    };
    check("e: rate(x[5m]) > 1", "x[5m]", "1:9", "x[5m]");
    check("e: |\n  sum(\n    rate(x[5m])\n  ) > 1\n", "rate(x[5m])", "3:5", "rate(x[5m])");
    check("e: |\n  sum(\n    rate(x[5m])\n  ) > 1\n", ") > 1", "4:3", ") > 1");
    check("e: >-\n  sum\n  by (é)\n  (y)", "(y)", "4:3", "(y)");
    check("e: >-\n  sum\n  by (é)\n  (y)", "sum by", "2:3", "sum\n  by");
    check("e: 'a{b=''c''} > 1'", "> 1", "1:16", "> 1");
    check("e: \"a{b=\\\"c\\\"}\\n> 1\"", "> 1", "1:17", "> 1");
    check("e: \"\\u00e9\\x41 b\"", "b", "1:16", "b");
    check("e: a\n  b", " ", "2:3", "");
}

proptest! {
    #[test]
    fn nothing_panics(text in ".{0,200}") {
        let _ = parse(source(&text));
    }

    #[test]
    fn nothing_panics_on_yaml_like_text(text in "[-a:{}\\[\\]&*!|>'\"#?,<% \t\n\u{e9}]{0,60}") {
        if let Ok(tree) = parse(source(&text)) {
            inside(&tree);
        }
    }
}

/// Every span lies in its parent's file and on character boundaries; `text()` panics otherwise.
fn inside(node: &Node) {
    let _ = (node.span.text(), node.head().text(), node.span_within(0..1).text());
    node.items().iter().for_each(inside);
    node.entries().for_each(|(key, value)| {
        let _ = key.span.text();
        inside(value);
    });
}
