use super::*;
use proptest::prelude::*;

fn check(text: &str, expected: &str, place: &str) {
    for dialect in [Dialect::V2, Dialect::V3] {
        let error = parse(text, dialect.into()).unwrap_err();
        assert_eq!((error.summary.as_str(), &text[error.range]), (expected, place), "{text}");
    }
}

#[test]
fn errors_point_at_the_trouble() {
    check("", "the expression is empty", "");
    check("sum(x", "`(` is never closed", "(");
    check("sum(x))", "`)` closes nothing", ")");
    check("sum(x]", "`]` where `)` is due", "]");
    check("x{a=\"b}", "the string does not end", "\"b}");
    check("x >", "nothing follows `>`", ">");
    check("x and", "nothing follows `and`", "and");
    check("raet(x[5m])", "unknown or unsupported function `raet`", "raet");
    check("histogram_sum(x)", "unknown or unsupported function `histogram_sum`", "histogram_sum");
    check("x[99999999999s]", "the duration `99999999999s` is too long", "99999999999s");
    check("x[1e400]", "`1e400` is not a duration", "1e400");
    check("x offset -NaN", "`NaN` is not a duration", "NaN");
    assert_eq!(
        parse("x[5]", Dialect::V2.into()).unwrap_err().hint.as_deref(),
        Some("write `5s`, `5m` or `5h`")
    );
    assert!(parse("x[5]", Dialect::V3.into()).is_ok());
    assert!(
        parse(
            "max_over_time(rate(x[5m])[1h:]) offset 5m + max_over_time(x[1h:5m] @ 100)",
            Dialect::V2.into()
        )
        .is_err()
    );
    assert!(
        parse(
            "max_over_time(rate(x[5m])[1h:] offset 5m) + max_over_time(x[1h:5m] @ 100)",
            Dialect::V2.into()
        )
        .is_ok()
    );
    assert!(parse("sum_over_time(x[30:10] offset 3)", Dialect::V3.into()).is_ok());
    check("  x y  ", "this is not a PromQL expression", "x y");
}

#[test]
fn functions_of_the_other_dialect_are_refused() {
    let is_known = |text: &str, dialect: Dialect| parse(text, dialect.into()).is_ok();
    assert!(is_known("holt_winters(x[5m], 0.5, 0.5)", Dialect::V2));
    assert!(!is_known("holt_winters(x[5m], 0.5, 0.5)", Dialect::V3));
    assert!(!is_known("histogram_fraction(0, 1, x)", Dialect::V2));
    assert!(is_known("histogram_fraction(0, 1, x)", Dialect::V3));
    assert!(!is_known("mad_over_time(x[5m])", Dialect::V3));
    assert!(parse("mad_over_time(x[5m])", ParseOptions { dialect: Dialect::V3, experimental: true }).is_ok());
    assert!(!is_known("limitk(1, x)", Dialect::V3));
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
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..24)
        .prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn nothing_makes_it_panic(text in prop_oneof![soup(), "[ -~é\n]{0,80}"]) {
        for dialect in [Dialect::V2, Dialect::V3] {
            if let Err(error) = parse(&text, dialect.into()) {
                prop_assert!(text.get(error.range.clone()).is_some(), "{:?}", error);
            }
        }
    }
}

#[test]
fn long_and_deep_expressions_are_refused_not_fatal() {
    let chain = |operator: &str, n: usize| vec!["x"; n].join(operator);
    assert!(parse(&chain(" or ", 200), Dialect::V2.into()).is_ok());
    assert!(parse(&chain(" or ", 6000), Dialect::V2.into()).is_err());
    assert!(parse(&chain("+", 16_000), Dialect::V2.into()).is_err());
    assert!(parse(&("(".repeat(9000) + "x" + &")".repeat(9000)), Dialect::V2.into()).is_err());
    assert!(parse(&("-".repeat(30_000) + "x"), Dialect::V2.into()).is_err());
    assert!(parse(&("abs(".repeat(249) + "x" + &")".repeat(249)), Dialect::V2.into()).is_ok());
}
