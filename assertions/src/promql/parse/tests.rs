mod promtool;

use super::*;
use crate::promql::ast::Dialect;
use crate::promql::eval::{Query, Settings};
use crate::store::Store;
use crate::time::Millis;
use proptest::prelude::*;

/// The expression is refused in both dialects, at this place.
#[track_caller]
fn check(text: &str, expected: &str, place: &str) {
    for dialect in [Dialect::V2, Dialect::V3] {
        check_in(dialect, text, expected, place);
    }
}

#[track_caller]
fn check_in(dialect: Dialect, text: &str, expected: &str, place: &str) {
    match parse(text, dialect.into()) {
        Ok(expr) => panic!("{text:?} is taken for {expr}"),
        Err(error) => {
            assert_eq!(
                (error.summary.as_str(), &text[error.range]),
                (expected, place),
                "{text:?} in {dialect:?}"
            );
        }
    }
}

#[track_caller]
fn check_hint(text: &str, expected: &str) {
    let error = parse(text, Dialect::V2.into()).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some(expected), "{text:?}: {error}");
}

#[test]
fn errors_point_at_the_trouble() {
    check("", "the expression is empty", "");
    check(" # nothing", "the expression is empty", "");
    check("sum(x", "`(` is never closed", "(");
    check("sum(", "`(` is never closed", "(");
    check("x{a=\"b\"", "`{` is never closed", "{");
    check("x[5m", "`[` is never closed", "[");
    check("sum(x))", "`)` closes nothing", ")");
    check("x[5m]]", "`]` closes nothing", "]");
    check("sum(x]", "`]` closes nothing", "]");
    check("x{a=\"b}", "the string does not end", "\"b}");
    check("x >", "nothing follows `>`", ">");
    check("x > bool", "nothing follows `>`", ">");
    check("-", "nothing follows `-`", "-");
    check("x offset", "nothing follows `offset`", "offset");
    check("x @", "nothing follows `@`", "@");
    check("()", "nothing stands between the parentheses", "()");
    check("  x y  ", "unexpected `y`", "y");
    check("x 5", "unexpected `5`", "5");
    check("sum(x y)", "unexpected `y`", "y");
    check("x{a=\"b\"}{c=\"d\"}", "unexpected `{`", "{");
    check("raet(x[5m])", "unknown function `raet`", "raet");
    check("Rate(x[5m])", "unknown function `Rate`", "Rate");
    check("rate(x[5m],)", "nothing follows the comma", ",");
    check("5foo", "`5foo` is neither a number nor a duration", "5foo");
    check("1e400", "`1e400` is too large a number", "1e400");
    check("0x", "`0x` is not a number", "0x");
    check("é", "unexpected `é`", "é");
    check("bool", "unexpected `bool`", "bool");
    check("start()", "`start` is experimental in Prometheus 3", "start");
}

#[test]
fn errors_in_selectors_point_at_the_trouble() {
    check("{}", "the selector would take every series", "{}");
    check("1 + {a=~\".*\", b!~\".+\"}", "the selector would take every series", "{a=~\".*\", b!~\".+\"}");
    check("x{__name__=\"y\"}", "the metric's name is given twice", "__name__=\"y\"");
    check("x{a=\"b\" c=\"d\"}", "unexpected `c`", "c");
    check("x{a==\"b\"}", "unexpected `==`", "==");
    check("x{a=b}", "unexpected `b`", "b");
    check_hint("x{a=b}", "write `\"b\"`");
    check("x{,}", "unexpected `,`", ",");
    check("x{a=~\"(\"}", "not a regular expression: unclosed group", "\"(\"");
    check("x{a=\"b\\q\"}", "no such escape", "\\q");
    check("x[5m] offset 5m offset 1h", "there is an `offset` already", "offset 1h");
    check("x @ 5 @ 6", "there is an `@` already", "@ 6");
    check("x @ 1e30", "the moment is out of range", "1e30");
    check("x offset 5m [5m]", "the range must stand before `offset` and `@`", "[5m]");
    check("(x)[5m]", "only a selector takes a range", "[5m]");
    check("(x) offset 5m", "only a selector or subquery takes `offset`", "offset 5m");
    check("rate((x[5m]) @ 5)", "only a selector or subquery takes `@`", "@ 5");
    check("x[99999999999s]", "the duration `99999999999s` is too long", "99999999999s");
    check("x[30m1h]", "`30m1h` is not a duration", "30m1h");
    check("x[0s]", "a range or step must be at least 1ms", "0s");
    check("x[5m:0s]", "a range or step must be at least 1ms", "0s");
    check("x[5m+5m]", "calculating with durations is experimental in Prometheus", "5m+");
    check("x[]", "unexpected `]`", "]");
    check("x[-5m]", "unexpected `-`", "-");
    check("x[5m:1m:1m]", "unexpected `:`", ":");
    check("x[5m] anchored", "`anchored` is experimental in Prometheus", "anchored");
}

#[test]
fn errors_of_kinds_point_at_what_is_of_the_wrong_one() {
    check("rate(sum(x))", "the argument of `rate` must be a range of samples, not a vector", "sum(x)");
    check(
        "rate(x{a=\"b\"})",
        "the argument of `rate` must be a range of samples, not a vector",
        "x{a=\"b\"}",
    );
    check_hint("rate(x{a=\"b\"})", "give it a range: `x{a=\"b\"}[5m]`");
    check("sum((x[5m]))", "the expression of `sum` must be a vector, not a range of samples", "(x[5m])");
    check("sum(1)", "the expression of `sum` must be a vector, not a number", "1");
    check("topk(x, y)", "the parameter of `topk` must be a number, not a vector", "x");
    check("topk(x)", "`topk` takes 2 arguments, not 1", "topk(x)");
    check("sum()", "`sum` takes 1 argument, not 0", "sum()");
    check("clamp(x, 1)", "`clamp` takes 3 arguments, not 2", "clamp(x, 1)");
    check("round(x, 1, 2)", "`round` takes at most 2 arguments, not 3", "round(x, 1, 2)");
    check("label_join(x, \"a\")", "`label_join` takes at least 3 arguments, not 2", "label_join(x, \"a\")");
    check("label_join(x, \"a\", \"\", y)", "argument 4 of `label_join` must be a string, not a vector", "y");
    check("time(1)", "`time` takes no arguments, not 1", "time(1)");
    check("1[5m:]", "the expression of a subquery must be a vector, not a number", "1");
    check("-x[5m]", "a range of samples cannot be negated", "x[5m]");
    check("x + \"a\"", "`+` takes vectors and numbers, not a string", "\"a\"");
    check("1 == 2", "a comparison of two numbers has nothing to filter", "==");
    check("x + bool y", "`+` takes no `bool`", "bool");
    check("x and (1)", "`and` joins vectors, not numbers", "(1)");
    check("x and on(a) group_left y", "`and` takes no `group_left` or `group_right`", "on(a) group_left");
    check("x + on(a) 1", "a number has no labels to match by", "on(a)");
    check("x + on(a) group_left(b, a) y", "label `a` is both matched and lent", "on(a) group_left(b, a)");
    check("x + group_left y", "`group_left` cannot stand here", "group_left");
    check("x == on(a) bool y", "`bool` cannot stand here", "bool");
    check("sum by (a) (x) by (b)", "the labels to group by are given twice", "by (b)");
    check("sum by a (x)", "unexpected `a`", "a");
    check("sum by (inf) (x)", "unexpected `inf`", "inf");
    check("sum by (a:b) (x)", "unexpected `a:b`", "a:b");
}

#[test]
fn other_languages_are_named() {
    const LOGQL: &str = "this is LogQL (Loki); a rule of Prometheus takes PromQL only";
    check_hint("sum(rate({app=\"x\"} |= \"error\" [5m]))", LOGQL);
    check_hint("{app=\"x\"} | json | level=\"error\"", LOGQL);
    check_hint("bytes_rate(x[5m])", LOGQL);
    check_hint("x || y", "`or` joins vectors");
    check_hint("x && y", "`and` joins vectors");
    check_hint("x = 1", "a comparison is written `==`");
    check_hint("x <> 1", "inequality is written `!=`");
    check_hint("rate(x[$__rate_interval])", "a variable of a dashboard; a rule has none, write its value");
    check_hint("x > {{ $value }}", "templates are not filled in inside an expression; write the value");
    check_hint(
        "x default 0",
        "this is MetricsQL (VictoriaMetrics); in PromQL `and`, `unless` and `or` do it",
    );
    check_hint("median(x)", "write `quantile(0.5, ...)`");
    check_hint("SELECT mean(x)", "this is SQL or InfluxQL; a rule of Prometheus takes PromQL only");
    check_hint("x > “a”", "write straight quotes, `\"`");
    check_hint("agv(x)", "did you mean `avg`?");
    check_hint("x / ignorng(a) y", "did you mean `ignoring`?");
    check_hint("sum(x) witout (a)", "did you mean `without`?");
    check_hint("x unles y", "did you mean `unless`?");
    check_hint("x y", "an operator is missing between two expressions");
    check_hint("Rate(x[5m])", "did you mean `rate`?");
    check_hint("x[5]", "write `5s`, `5m` or `5h`");
    check_hint("x + 5m", "write the seconds: `300`");
}

#[test]
fn what_is_not_supported_is_refused_with_the_reason() {
    check(
        "histogram_sum(x)",
        "`histogram_sum` is of native histograms, which are not supported",
        "histogram_sum",
    );
    check("limitk(1, x)", "`limitk` is experimental in Prometheus", "limitk");
    check("info(x)", "`info` is experimental in Prometheus", "info");
    check("mad_over_time(x[5m])", "`mad_over_time` is experimental in Prometheus 3", "mad_over_time");
    check_in(
        Dialect::V3,
        "limit_ratio by (a) (1, x)",
        "`limit_ratio` is experimental in Prometheus",
        "limit_ratio",
    );
    check_in(Dialect::V3, "x + on(a) fill(0) y", "`fill` is experimental in Prometheus", "fill");
    check_in(
        Dialect::V3,
        "holt_winters(x[5m], 1, 1)",
        "`holt_winters` does not exist in this Prometheus",
        "holt_winters",
    );
    check_in(
        Dialect::V2,
        "double_exponential_smoothing(x[5m], 1, 1)",
        "`double_exponential_smoothing` is experimental in Prometheus 3 and does not exist in 2",
        "double_exponential_smoothing",
    );
    check_in(
        Dialect::V2,
        "histogram_fraction(0, 1, x)",
        "`histogram_fraction` does not exist in this Prometheus",
        "histogram_fraction",
    );
    let experimental = |text| parse(text, ParseOptions { dialect: Dialect::V3, experimental: true });
    assert!(experimental("mad_over_time(x[5m]) + sort_by_label(x, \"a\")").is_ok());
    assert!(experimental("limitk(1, x)").is_err());
}

/// What only one dialect takes.
#[test]
fn the_dialects_differ() {
    let check = |text: &str, is_old: bool, is_new: bool| {
        let taken = [Dialect::V2, Dialect::V3].map(|dialect| parse(text, dialect.into()).is_ok());
        assert_eq!(taken, [is_old, is_new], "{text:?}");
    };
    check("x[5]", false, true);
    check("x[5:1.5] offset 3", false, true);
    check("x offset 0s", false, true);
    check("x offset +5m", false, true);
    check("x + 5m", false, true);
    check("x @ 5m", false, true);
    check("1_000", false, true);
    check("{\"my.metric\", \"l.1\"=\"v\", m='w'}", false, true);
    check("x{\"my.metric\"}", false, false);
    check("{\"a\", \"b\"}", false, false);
    check("sum by (\"a.b\", c) (x)", false, true);
    check("sum by (\"\") (x)", false, false);
    check("holt_winters(x[5m], 0.5, 0.5)", true, false);
    check("histogram_fraction(0, 1, x)", false, true);
    check("{a=~\"(?<n>x)\"}", false, true);
    check("limitk by (a) (1, x)", false, false);
    check("x / fill", true, true);
}

/// The verdicts of `promtool check rules` 2.42, asked once: it takes the first list and refuses the second.
#[test]
fn dialect_2_takes_and_refuses_what_promtool_does() {
    for text in include_str!("tests/accepted.txt").lines() {
        assert_eq!(parse(text, Dialect::V2.into()).err(), None, "{text}");
    }
    for text in include_str!("tests/refused.txt").lines() {
        assert!(parse(text, Dialect::V2.into()).is_err(), "{text}");
    }
}

#[test]
fn operators_bind_as_they_should() {
    let check = |text: &str, expected: &str| {
        let expr = parse(text, Dialect::V2.into()).unwrap();
        assert_eq!(bracketed(&expr), expected, "{text}");
    };
    check("a + b * c ^ d", "(a + (b * (c ^ d)))");
    check("a ^ b ^ c", "(a ^ (b ^ c))");
    check("a - b - c", "((a - b) - c)");
    check("-a ^ b", "-(a ^ b)");
    check("-a * b", "(-a * b)");
    check("a ^ -b * c", "((a ^ -b) * c)");
    check("a ^ -b ^ c", "(a ^ -(b ^ c))");
    check("a or b and c unless d", "(a or ((b and c) unless d))");
    check("a > b + c == d", "((a > (b + c)) == d)");
    check("a % b atan2 c", "((a % b) atan2 c)");
    check("-1 ^ 2", "-(1 ^ 2)");
    check("a + b offset 5m", "(a + b offset 5m)");
    check("- - 1", "1");
    check("+a", "a");
}

fn bracketed(expr: &Expr) -> String {
    match expr {
        Expr::Binary(binary) => {
            format!("({} {} {})", bracketed(&binary.left), binary.op, bracketed(&binary.right))
        }
        Expr::Negate(inner, _) => format!("-{}", bracketed(inner)),
        other => other.to_string(),
    }
}

#[test]
fn every_node_knows_its_place() {
    let text = " sum by (job) ( rate((foo{a=\"b\", c!='d'}[5m] offset 1h) ) ) / on (x) group_left ( ( -b:c[1h:] + \"\" ) )";
    assert!(parse(text, Dialect::V2.into()).is_err());
    let text = " sum by (job) ( rate((foo{a=\"b\", c!='d'}[5m] offset 1h) ) ) / on (x) group_left ( ( max_over_time(b:c[1h:] @ 5)  ) )";
    // The right side begins like the labels of `group_left`, and is taken for them.
    assert!(parse(text, Dialect::V2.into()).is_err());
    let text = " sum by (job) ( rate((foo{a=\"b\", c!='d'}[5m] offset 1h) ) ) / on (x) ( ( -max_over_time(b:c[1h:] @ 5)  ) )";
    let expr = parse(text, Dialect::V2.into()).unwrap();
    let piece = |span: Span| &text[span.range()];
    let Expr::Binary(binary) = &expr else { panic!("{expr}") };
    assert_eq!(piece(binary.span), text.trim());
    assert_eq!((piece(binary.op_span), piece(binary.matching.span)), ("/", "on (x)"));
    let Expr::Aggregate(sum) = &binary.left else { panic!("{expr}") };
    assert_eq!(piece(sum.span), "sum by (job) ( rate((foo{a=\"b\", c!='d'}[5m] offset 1h) ) )");
    assert_eq!((piece(sum.op_span), piece(sum.grouping_span)), ("sum", "by (job)"));
    let Expr::Call(rate) = &sum.expr else { panic!("{expr}") };
    assert_eq!(
        (piece(rate.name_span), piece(rate.span)),
        ("rate", "rate((foo{a=\"b\", c!='d'}[5m] offset 1h) )")
    );
    let Expr::Range { selector, window, .. } = &rate.arguments[0] else { panic!("{expr}") };
    assert_eq!(piece(selector.span), "foo{a=\"b\", c!='d'}[5m] offset 1h");
    assert_eq!((piece(selector.head), piece(*window)), ("foo{a=\"b\", c!='d'}", "[5m]"));
    assert_eq!(piece(selector.matchers[1].span), "c!='d'");
    let Expr::Negate(inner, span) = &binary.right else { panic!("{expr}") };
    assert_eq!(piece(*span), "-max_over_time(b:c[1h:] @ 5)");
    let Expr::Call(call) = &**inner else { panic!("{expr}") };
    let Expr::Subquery(subquery) = &call.arguments[0] else { panic!("{expr}") };
    assert_eq!((piece(subquery.span), piece(subquery.window)), ("b:c[1h:] @ 5", "[1h:]"));
}

/// Every place lies inside that of the node around it.
fn places_nest(expr: &Expr) -> bool {
    let outer = expr.span();
    let is_inside = |child: &&Expr| child.span().start >= outer.start && child.span().end <= outer.end;
    expr.children().iter().all(is_inside) && expr.children().into_iter().all(places_nest)
}

/// Pieces of the language in any order: more of them nearly parse than of random text.
fn soup() -> impl Strategy<Value = String> {
    let pieces = [
        "sum",
        "rate",
        "x",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "5m",
        "1h:",
        ":",
        "a=\"b\"",
        "=~\".*\"",
        "by",
        "on",
        "(a)",
        ",",
        "+",
        "-",
        "/",
        ">",
        "bool",
        "and",
        "or",
        "offset",
        "@",
        "start()",
        "1",
        "1e400",
        "0x",
        "NaN",
        "-1d",
        "\"s\"",
        "#",
        "histogram_quantile",
        "group_left",
        "\\",
        "é",
        "topk",
        "[1e400]",
        "99999999999999",
        "without",
        "unless",
        "^",
        "5",
        "0s",
        "1_0",
        "\"\\",
        "{{",
        "|=",
        "$x",
        "atan2",
        "ignoring",
        "'\\x",
        "\n",
        "!",
        "=",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..24)
        .prop_map(|words| words.join(" "))
}

/// A proper expression with bytes cut out, doubled or replaced.
fn mutated() -> impl Strategy<Value = String> {
    let cuts = proptest::collection::vec((any::<usize>(), 0..4_usize, "[ -~é\n]{0,3}"), 1..4);
    (crate::promql::print::tests::any_expression(), cuts).prop_map(|(mut text, cuts)| {
        for (at, length, put) in cuts {
            let chars: Vec<char> = text.chars().collect();
            let at = at % (chars.len() + 1);
            let rest = chars.iter().skip(at + length);
            text = chars[..at].iter().copied().chain(put.chars()).chain(rest.copied()).collect();
        }
        text
    })
}

fn never_panics(text: &str) -> Result<(), TestCaseError> {
    for dialect in [Dialect::V2, Dialect::V3] {
        match parse(text, dialect.into()) {
            Ok(expr) => {
                prop_assert!(places_nest(&expr), "{text:?}");
                let shown = expr.to_string();
                prop_assert!(parse(&shown, dialect.into()).is_ok(), "{text:?} is shown as {shown:?}");
            }
            Err(error) => prop_assert!(text.get(error.range.clone()).is_some(), "{text:?}: {error:?}"),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn nothing_makes_it_panic(text in prop_oneof![soup(), mutated(), "[ -~é\n]{0,80}", any::<String>()]) {
        never_panics(&text)?;
    }
}

/// `cargo test --release -p assertions -- --ignored a_hundred_thousand`
#[test]
#[ignore = "the same as above for longer"]
fn a_hundred_thousand_texts_make_none_panic() {
    let config = ProptestConfig { cases: 100_000, failure_persistence: None, ..ProptestConfig::default() };
    let texts = prop_oneof![soup(), mutated(), "[ -~é\n]{0,80}", any::<String>()];
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner.run(&texts, |text| never_panics(&text)).unwrap_or_else(|trouble| panic!("{trouble}"));
}

#[test]
fn long_and_deep_expressions_are_refused_not_fatal() {
    let chain = |operator: &str, n: usize| vec!["x"; n].join(operator);
    let check = |text: String, is_taken: bool| {
        let result = parse(&text, Dialect::V2.into());
        assert_eq!(result.is_ok(), is_taken, "{:?}", result.err());
        if let Ok(expr) = result {
            // What is taken can be walked: shown, read again, evaluated.
            assert!(parse(&expr.to_string(), Dialect::V2.into()).is_ok());
            let store = Store::new();
            let query = Query::instant(&store, Settings::default(), Millis(0));
            assert!(query.evaluate(&expr, Millis(0)).is_ok());
        }
    };
    check(chain(" or ", 300), true);
    check(chain(" or ", 6000), false);
    check(chain("+", 50_000), false);
    check(chain("^", 64), true);
    check(chain("^", 20_000), false);
    check("(".repeat(64) + "x" + &")".repeat(64), true);
    check("(".repeat(100_000) + "x" + &")".repeat(100_000), false);
    check("(".repeat(100_000), false);
    check("-".repeat(100_000) + "x", false);
    check("abs(".repeat(64) + "x" + &")".repeat(64), true);
    check("abs(".repeat(30_000), false);
    check("sum by (a) (".repeat(20_000), false);
    check("x".to_string() + &"[5m:]".repeat(30_000), false);
    check("x{".repeat(60_000), false);
    check("[".repeat(100_000), false);
    check("x".repeat(300_000), false);
}
