use crate::promql::ast::{Dialect, Expr};
use crate::promql::parse::{ParseOptions, parse};
use proptest::prelude::*;
use proptest::sample::select;

#[track_caller]
fn check(text: &str, expected: &str) {
    for dialect in [Dialect::V2, Dialect::V3] {
        let expr =
            parse(text, dialect.into()).unwrap_or_else(|error| panic!("{text}: {error} {:?}", error.hint));
        assert_eq!(expr.to_string(), expected, "{text}");
        survives(&expr, dialect).unwrap_or_else(|trouble| panic!("{text}: {trouble}"));
    }
}

/// The tree without places: of two trees that mean the same, the same text.
fn meaning(expr: &Expr) -> String {
    let places = regex::Regex::new(r"Span \{ start: \d+, end: \d+ \}").expect("a pattern");
    places.replace_all(&format!("{expr:?}"), "_").into_owned()
}

/// What is printed is read back as the same tree.
fn survives(expr: &Expr, dialect: Dialect) -> Result<(), String> {
    let shown = expr.to_string();
    let again = parse(&shown, dialect.into()).map_err(|error| format!("{shown:?} is refused: {error}"))?;
    let (before, after) = (meaning(expr), meaning(&again));
    if before == after { Ok(()) } else { Err(format!("{shown:?} is read as {after}, not {before}")) }
}

#[test]
fn one_form_for_all_ways_to_write_it() {
    check("((a))", "a");
    check("SUM(a) BY (b,c,)", "sum by (b, c) (a)");
    check("sum by () (a)", "sum(a)");
    check("topk without(b)(1,a)", "topk without (b) (1, a)");
    check("a{x='1',y!=`2`,z=~\"3\",}", r#"a{x="1", y!="2", z=~"3"}"#);
    check("{__name__=\"a\",x=\"1\"}", r#"a{x="1"}"#);
    check("{__name__=\"a.b\"}", r#"{__name__="a.b"}"#);
    check("{__name__=\"on\"}", r#"{__name__="on"}"#);
    check("{__name__=\"a\", __name__=\"b\"}", r#"{__name__="a", __name__="b"}"#);
    check("{__name__=\"\", a=\"b\"}", r#"{__name__="", a="b"}"#);
    check("a[90m] @ 1.5e3 offset 24h", "a[1h30m] @ 1500 offset 1d");
    check("a offset -7d @ -0.5", "a @ -0.5 offset -1w");
    check("a[1h:] @ END()", "a[1h:] @ end()");
    check("(a offset 5m)[1h:1m]", "(a offset 5m)[1h:1m]");
    check("(a + b)[1h:1m]", "(a + b)[1h:1m]");
    check("0x10 + 010 * 1e3", "16 + 8 * 1000");
    check("1e300", "1e300");
    check("+inf - -nan", "Inf - NaN");
    check("a AND on(b) c", "a and on (b) c");
    check("a / ignoring() group_left b", "a / ignoring () group_left () b");
}

#[test]
fn each_dialects_name_of_the_smoothing_is_kept() {
    for (dialect, text) in [
        (Dialect::V2, "holt_winters(a[5m], 0.5, 0.5)"),
        (Dialect::V3, "double_exponential_smoothing(a[5m], 0.5, 0.5)"),
    ] {
        let expr = parse(text, ParseOptions { dialect, experimental: true }).expect("a call");
        assert_eq!(expr.to_string(), text);
    }
}

#[test]
fn parentheses_stand_where_they_are_needed() {
    check("(a + b) + c", "a + b + c");
    check("a + (b + c)", "a + (b + c)");
    check("(a ^ b) ^ c", "(a ^ b) ^ c");
    check("a ^ (b ^ c)", "a ^ b ^ c");
    check("-a ^ b", "-a ^ b");
    check("(-a) ^ b", "(-a) ^ b");
    check("(-1) ^ 2", "(-1) ^ 2");
    check("-1 ^ 2", "-1 ^ 2");
    check("-(a * b)", "-(a * b)");
    check("-a * b", "-a * b");
    check("a ^ -b * c", "a ^ -b * c");
    check("a ^ -(b * c)", "a ^ -(b * c)");
    check("a and (b or c)", "a and (b or c)");
    check("(a and b) or c", "a and b or c");
    check("a > (b > c)", "a > (b > c)");
    check("a * (b / c)", "a * (b / c)");
    check("a atan2 b % c", "a atan2 b % c");
}

const SELECTORS: [&str; 14] = [
    "a",
    "b:c",
    "sum",
    "by",
    "offset",
    "and",
    "start",
    "A{x=\"1\"}",
    "{x=~\"a.+\",y!~''}",
    "{__name__=\"x y\"}",
    "topk{}",
    "count_values",
    "fill",
    ":",
];
const MODIFIERS: [&str; 6] = ["", "", "", " offset 5m", " offset -1h30m @ 1.5", " @ end()"];
const NUMBERS: [&str; 10] = ["1", "0x1F", "010", "1e-9", "Inf", "nan", "time()", "pi()", "2.50", "1e30"];
const RANGES: [&str; 4] = ["[5m]", "[1h:5m]", "[ 1d : ]", "[100ms]"];
const ARITHMETIC: [&str; 7] = ["+", "-", "*", "/", "%", "^", "atan2"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
const MATCHINGS: [&str; 5] = ["", "", " on(a)", " ignoring(a) group_left(b)", " on() group_right"];

type Texts = BoxedStrategy<String>;

fn loosely(text: Texts) -> Texts {
    prop_oneof![2 => text.clone().prop_map(|text| format!("({text})")), 1 => text].boxed()
}

/// Texts of vectors, numbers and ranges whose trees are at most that high.
fn expressions(height: u32) -> (Texts, Texts, Texts) {
    let selector =
        (select(&SELECTORS[..]), select(&MODIFIERS[..])).prop_map(|(name, time)| format!("{name}{time}"));
    let ranged = (select(&SELECTORS[..]), select(&RANGES[..]), select(&MODIFIERS[..]));
    let ranged = ranged.prop_map(|(name, range, time)| format!("{name}{range}{time}"));
    let number = select(&NUMBERS[..]).prop_map(str::to_string);
    if height == 0 {
        return (selector.boxed(), number.boxed(), ranged.boxed());
    }
    let (vectors, numbers, ranges) = expressions(height - 1);
    let (v, n, r) = (loosely(vectors), loosely(numbers), loosely(ranges));
    let arithmetic = || select(&ARITHMETIC[..]);
    let comparison = || select(&COMPARISONS[..]);
    let matching = || select(&MATCHINGS[..]);
    let vector = prop_oneof![
        3 => selector,
        3 => (v.clone(), arithmetic(), matching(), v.clone()).prop_map(|(a, op, on, b)| format!("{a} {op}{on} {b}")),
        2 => (v.clone(), comparison(), matching(), v.clone()).prop_map(|(a, op, on, b)| format!("{a}{op}{on} {b}")),
        2 => (v.clone(), comparison(), n.clone()).prop_map(|(a, op, b)| format!("{a} {op} bool {b}")),
        1 => (n.clone(), arithmetic(), v.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        2 => (v.clone(), select(vec!["and", "or", "unless"]), v.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        2 => v.clone().prop_map(|a| format!("-{a}")),
        1 => v.clone().prop_map(|a| format!("sum by (x, by) ({a})")),
        1 => v.clone().prop_map(|a| format!("max({a}) without (x)")),
        1 => (n.clone(), v.clone()).prop_map(|(k, a)| format!("topk({k}, {a})")),
        1 => v.clone().prop_map(|a| format!("count_values(\"\\u00e9\\n\", {a})")),
        2 => r.clone().prop_map(|a| format!("rate({a})")),
        1 => (n.clone(), r.clone()).prop_map(|(q, a)| format!("quantile_over_time({q}, {a})")),
        1 => (v.clone(), n.clone()).prop_map(|(a, b)| format!("round({a}, {b})")),
        1 => v.clone().prop_map(|a| format!("label_join({a}, 'a', \"\", 'b', `c`)")),
    ];
    let number = prop_oneof![
        2 => number,
        2 => (n.clone(), arithmetic(), n.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        1 => (n.clone(), comparison(), n.clone()).prop_map(|(a, op, b)| format!("{a} {op} bool {b}")),
        1 => n.prop_map(|a| format!("-{a}")),
        1 => v.clone().prop_map(|a| format!("scalar({a})")),
    ];
    let range = prop_oneof![
        2 => ranged,
        1 => (v, select(&MODIFIERS[..])).prop_map(|(a, time)| format!("({a})[1h:1m]{time}")),
    ];
    (vector.boxed(), number.boxed(), range.boxed())
}

/// Expressions of all kinds; nearly all of them are accepted.
pub(crate) fn any_expression() -> Texts {
    let (vector, number, range) = expressions(4);
    prop_oneof![6 => vector, 1 => number, 1 => range].boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn what_is_printed_is_read_back(text in any_expression()) {
        for dialect in [Dialect::V2, Dialect::V3] {
            // Without parentheses some operators take what they must not, such as `and` a number.
            if let Ok(expr) = parse(&text, dialect.into()) {
                prop_assert_eq!(survives(&expr, dialect), Ok(()), "{}", text);
            }
        }
    }
}
