use super::*;
use std::fmt::Write;

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source { name: "r.yml".into(), text: text.into() })
}

/// All problems as `line:column summary | hint`.
fn check(text: &str, expected: &[&str]) {
    let problems = match load(&[source(text)], Dialect::V2.into()) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    let shown: Vec<String> = problems
        .iter()
        .map(|problem| {
            let mut line = String::new();
            if let Some(span) = &problem.span {
                let at = span.position();
                let _ = write!(line, "{}:{} ", at.line, at.column);
            }
            line += &problem.summary;
            if let Some(hint) = &problem.hint {
                let _ = write!(line, " | {hint}");
            }
            line
        })
        .collect();
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn all_problems_of_a_file_at_once() {
    check(
        "groups:
- name: a
  intervall: 1m
  rules:
  - {alert: A, expr: 'rate(x[5m]', for: 5x}
  - {alert: B, exp: x}
  - expr: up
  - {alert: C, record: d, expr: up}
  - {record: 'a b', expr: up, for: 1m}
  - alert: E
    expr: |
      sum(x)
        > raet(y[5m])
- name: a
  limit: many
  rules: []
",
        &[
            "3:3 unknown field `intervall` in a group | did you mean `interval`?",
            "5:41 `5x` is not a duration | write it as in `30s`, `5m` or `1h30m`, larger units first",
            "5:27 `(` is never closed in the expression of A",
            "6:16 unknown field `exp` in a rule | did you mean `expr`?",
            "6:5 a rule has no `expr`",
            "7:5 a rule has neither `alert` nor `record` | `alert: Name` makes alerts, `record: name` a series",
            "8:24 a rule has both `alert` and `record` | make two rules of it",
            "9:36 `for` in a recording rule | only an alert has it; remove it",
            "9:14 `a b` is not a metric name | letters, digits, `_` and `:`, no digit first",
            "13:11 unknown function `raet` in the expression of E | did you mean `rate`?",
            "15:10 `many` is not a number of alerts | a whole number, without quotes; 0 is no limit",
            "14:9 group `a` is defined twice | group names are unique in a file; rename one",
        ],
    );
}

#[test]
fn no_rules_is_an_error() {
    let expected = ["1:1 no rules in r.yml | a rule file has `groups:`, each with `name:` and `rules:`"];
    check("", &expected);
    check("groups: []", &expected);
    check("groups: [{name: a}]", &expected);
    assert!(load(&[], Dialect::V2.into()).is_err());
}

#[test]
fn templates_that_prometheus_refuses_are_errors() {
    check(
        "groups: [{name: a, rules: [{alert: A, expr: up, labels: {a: '{{ $lables.x }}'}, annotations: {a: '{{ if true }}'}}, {record: b, expr: up, labels: {a: '{{ no template }}'}}]}]",
        &[
            "1:65 unknown variable `$lables` in a template | did you mean `$labels`?",
            "1:102 `if` has no `{{ end }}` | Prometheus does not load the file so",
        ],
    );
}

#[test]
fn rules_are_read_whole() {
    let text = "groups: [{name: a, interval: 30s, rules: [{record: r, expr: x}, {alert: A, expr: 'sum(rate(x[1h] offset 5m)) > max_over_time(y[1d:5m])', for: 1h30m, keep_firing_for: 5m, labels: {severity: page}}]}]";
    let loaded = load(&[source(text)], Dialect::V2.into()).unwrap();
    let (rule, alert) = loaded.rules.alerts().next().unwrap();
    assert_eq!(
        (rule.index, alert.hold, alert.keep_firing),
        (1, Duration::from_secs(5400), Duration::from_secs(300))
    );
    assert_eq!(alert.name.span.as_ref().map(|span| span.text()), Some("A"));
    let windows = rule.windows();
    assert_eq!(windows.ranges, [Duration::from_secs(3600), Duration::from_secs(86_400)]);
    assert_eq!(windows.reach, Duration::from_secs(86_400));
    let selected: Vec<String> = windows.selectors.iter().map(ToString::to_string).collect();
    assert_eq!(selected, ["x", "y"]);
    assert_eq!(loaded.rules.groups[0].interval, Some(Duration::from_secs(30)));
}

#[test]
fn functions_of_the_other_dialect_are_refused_with_their_place() {
    check(
        "groups: [{name: a, rules: [{alert: A, expr: 'histogram_fraction(0, 1, x) > 1'}]}]",
        &[
            "1:46 `histogram_fraction` does not exist in this Prometheus in the expression of A | it is of Prometheus 3; set the dialect to 3 if that is what runs",
        ],
    );
}

#[test]
fn an_expression_gives_a_vector_or_a_number() {
    let rule = |expr: &str| format!("groups: [{{name: a, rules: [{{alert: A, expr: \"{expr}\"}}]}}]");
    let hint = "a rule needs a vector or a number, such as `rate(x[5m]) > 1`";
    check(&rule("'text'"), &[&format!("1:45 the expression gives a string | {hint}")]);
    check(&rule("x[5m]"), &[&format!("1:45 the expression gives a range of samples | {hint}")]);
    check(&rule("1"), &[]);
    check(&rule("up"), &[]);
}

#[test]
fn a_fault_in_an_expression_is_found_in_every_style_of_yaml() {
    let check = |expr: &str, place: &str| {
        let text = format!("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: {expr}\n");
        let problems = load(&[source(&text)], Dialect::V2.into()).unwrap_err();
        let span = problems[0].span.as_ref().expect("a place");
        assert_eq!(
            (problems.len(), span.text(), span.to_string()),
            (1, "raet", format!("r.yml:{place}")),
            "{text}"
        );
    };
    check("x{a=\"é\"} + raet(y)", "5:22");
    check("'x{a=\"''\"} + raet(y)'", "5:24");
    check(r#""x{a=\"\u00e9\"} + raet(y)""#, "5:30");
    check("|\n      x # raet\n\n      + raet(y)", "8:9");
    check(">-\n      x\n\n        + raet(y)", "8:11");
    check("x\n      + raet(y)", "6:9");
    check("&again x + raet(y)", "5:22");
}
