use super::run::run;
use super::*;
use crate::promql::ast::Dialect;
use crate::rule;
use scenarios::problem::Severity;
use scenarios::span::Source;
use std::sync::Arc;

const RULES: &str = r#"
groups:
- name: first
  rules:
  - {record: 'job:up', expr: 'sum by (job) (up)'}
  - {alert: Down, expr: 'up == 0', for: 1m, labels: {severity: page}, annotations: {summary: '{{ $labels.instance }} is down'}}
- name: second
  rules:
  - {alert: Half, expr: 'job:up < 2'}
"#;

const SERIES: &str = "interval: 1m\n  input_series: [{series: 'up{job=\"a\", instance=\"1\"}', values: '1 0x9'}, {series: 'up{job=\"a\", instance=\"2\"}', values: '1x10'}]";

fn source(name: &str, text: &str) -> Arc<Source> {
    Arc::new(Source { name: name.into(), text: text.into() })
}

fn failures_of(rules: &str, text: &str, dialect: Dialect) -> Vec<String> {
    let file = TestFile::read(source("t.yml", text), dialect.into()).expect("readable").file;
    let rules = rule::read(&[source("r.yml", rules)], dialect.into()).expect("readable").rules;
    let outcomes = run(&file, &rules, dialect, &Filter::default());
    let line = |failure: &super::run::Failure| {
        let place = failure.span.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{place} {}\n{}", failure.title, failure.text)
    };
    outcomes.iter().flat_map(|outcome| outcome.failures.iter().map(line)).collect()
}

#[track_caller]
fn check_passes(text: &str) {
    assert_eq!(failures_of(RULES, text, Dialect::V2), [""; 0], "{text}");
}

#[track_caller]
fn check_fails(text: &str, expected: &str) {
    assert_eq!(failures_of(RULES, text, Dialect::V2).concat(), expected, "{text}");
}

fn one(checks: &str) -> String {
    format!("tests:\n- {SERIES}\n  {checks}")
}

#[test]
fn what_holds_passes() {
    check_passes(&one(
        "alert_rule_test: [{eval_time: 2m, alertname: Down, exp_alerts: [{exp_labels: {severity: page, job: a, instance: 1}, exp_annotations: {summary: '1 is down'}}]}]",
    ));
    check_passes(&one("alert_rule_test: [{eval_time: 1m59s, alertname: Down}]"));
    check_passes(&one(
        "alert_rule_test: [{eval_time: 1m, alertname: Half, exp_alerts: [{exp_labels: {job: a}}]}]",
    ));
    check_passes(&one(
        "promql_expr_test: [{expr: 'job:up', eval_time: 1m, exp_samples: [{labels: 'job:up{job=\"a\"}', value: 1}]}]",
    ));
    check_passes(&one("promql_expr_test: [{expr: 'up > 5', eval_time: 1m}]"));
    check_passes(&one("promql_expr_test: [{expr: '1 / 0', exp_samples: [{value: .inf}]}]"));
}

#[test]
fn what_does_not_hold_is_shown_label_by_label() {
    check_fails(
        &one(
            "alert_rule_test: [{eval_time: 2m, alertname: Down, exp_alerts: [{exp_labels: {severity: info, job: a, instance: 1, team: x}, exp_annotations: {summary: 'is down'}}]}]",
        ),
        r#"t.yml:4:21 alertname: Down, time: 2m
exp:
  Labels:{alertname="Down", instance="1", job="a", severity="info", team="x"} Annotations:{summary="is down"}
got:
  Labels:{alertname="Down", instance="1", job="a", severity="page"} Annotations:{summary="1 is down"}
  label severity: expected "info", got "page"
  label team: expected "x", got none
  annotation summary: expected "is down", got "1 is down"
"#,
    );
    check_fails(
        &one(
            "promql_expr_test: [{expr: up, eval_time: 1m, exp_samples: [{labels: 'up{job=\"a\", instance=\"1\"}', value: 0.5}]}]",
        ),
        r#"t.yml:4:22 expr: up, time: 1m
exp:
  up{instance="1", job="a"} 0.5
got:
  up{instance="1", job="a"} 0
  up{instance="2", job="a"} 1
  value of up{instance="1", job="a"}: expected 0.5, got 0
"#,
    );
    check_fails(
        &one("alert_rule_test: [{eval_time: 2m, alertname: Down}]"),
        "t.yml:4:21 alertname: Down, time: 2m\nexp: []\ngot:\n  Labels:{alertname=\"Down\", instance=\"1\", job=\"a\", severity=\"page\"} Annotations:{summary=\"1 is down\"}\n",
    );
}

#[test]
fn all_failures_of_all_tests_are_told() {
    let text = format!(
        "tests:\n- {SERIES}\n  promql_expr_test: [{{expr: '1'}}, {{expr: '2'}}]\n- promql_expr_test: [{{expr: '3'}}]"
    );
    assert_eq!(failures_of(RULES, &text, Dialect::V2).len(), 3);
}

#[test]
fn an_evaluation_that_fails_ends_the_test_at_the_rule() {
    let rules = "groups: [{name: g, rules: [{alert: A, expr: 'x / on (a) y > 1'}]}]";
    let text = "tests: [{input_series: [{series: x, values: 1}, {series: 'y{b=\"1\"}', values: 1}, {series: 'y{b=\"2\"}', values: 1}], promql_expr_test: [{expr: '1'}]}]";
    let failures = failures_of(rules, text, Dialect::V2);
    assert_eq!(failures.len(), 1);
    assert!(failures[0].starts_with("r.yml:1:45 rule: A, time: 0s\nerr: "), "{failures:?}");
}

#[test]
fn groups_are_evaluated_in_the_order_wanted() {
    let check = "promql_expr_test: [{expr: 'ALERTS{alertname=\"Half\"}', exp_samples: [{labels: 'ALERTS{alertname=\"Half\", alertstate=\"firing\", job=\"a\"}', value: 1}]}]";
    let series = "input_series: [{series: 'up{job=\"a\"}', values: 0}]";
    let text = |order: &str| format!("group_eval_order: [{order}]\ntests:\n- {series}\n  {check}");
    check_passes(&text("first, second"));
    // What is recorded comes too late for the alert.
    assert_eq!(failures_of(RULES, &text("second, first"), Dialect::V2).len(), 1);
}

#[test]
fn the_clock_may_start_anywhere() {
    let check = "promql_expr_test: [{expr: 'time()', eval_time: 1m, exp_samples: [{value: 1609459260}]}, {expr: 'timestamp(up)', eval_time: 1m, exp_samples: [{labels: '{instance=\"2\", job=\"a\"}', value: 1609459260}, {labels: '{instance=\"1\", job=\"a\"}', value: 1609459260}]}]";
    for start in ["2021-01-01T00:00:00Z", "1609459200"] {
        check_passes(&one(&format!("start_timestamp: {start}\n  {check}")));
    }
}

#[test]
fn fuzzy_values_may_differ_in_the_last_bit() {
    let check = "promql_expr_test: [{expr: '0.1 + 0.2', exp_samples: [{value: 0.3}]}]";
    assert_eq!(failures_of(RULES, &one(check), Dialect::V2).len(), 1);
    check_passes(&format!("fuzzy_compare: true\n{}", one(check)));
}

#[test]
fn no_value_equals_nan_as_in_promtool() {
    assert_eq!(
        failures_of(
            RULES,
            &one("promql_expr_test: [{expr: '0 / 0', exp_samples: [{value: .nan}]}]"),
            Dialect::V2
        )
        .len(),
        1
    );
}

#[test]
fn ranges_end_as_the_dialect_has_them() {
    let text = one(
        "promql_expr_test: [{expr: 'count_over_time(up{instance=\"2\"}[2m])', eval_time: 5m, exp_samples: [{labels: '{instance=\"2\", job=\"a\"}', value: 3}]}]",
    );
    assert_eq!(failures_of(RULES, &text, Dialect::V2).len(), 0);
    assert_eq!(failures_of(RULES, &text, Dialect::V3).len(), 1);
}

#[test]
fn only_the_wanted_tests_run() {
    let text =
        "tests: [{name: one, promql_expr_test: [{expr: '1'}]}, {name: two, promql_expr_test: [{expr: '1'}]}]";
    let file = TestFile::read(source("t.yml", text), Dialect::V2.into()).unwrap().file;
    let filter = Filter::new(Some("^t")).unwrap();
    let outcomes = run(&file, &rule::RuleSet::default(), Dialect::V2, &filter);
    assert_eq!(outcomes.iter().map(|outcome| outcome.name.as_str()).collect::<Vec<_>>(), ["two"]);
    assert!(Filter::new(Some("(")).is_err());
}

#[test]
fn what_comes_of_native_histograms_is_not_judged() {
    let rules = "groups: [{name: g, rules: [{record: r, expr: 'h * 2'}, {alert: A, expr: 'r > 1'}, {alert: B, expr: 'x > 1'}]}]";
    let text = "tests: [{input_series: [{series: h, values: '{{count:1}}'}, {series: x, values: 2}], promql_expr_test: [{expr: h}, {expr: r}, {expr: 'ALERTS'}, {expr: x, exp_samples: [{labels: x, value: 2}]}, {expr: y, exp_samples: [{histogram: '{{count:1}}'}]}], alert_rule_test: [{alertname: A}, {alertname: B, exp_alerts: [{}]}]}]";
    let file = TestFile::read(source("t.yml", text), Dialect::V2.into()).unwrap();
    assert_eq!(file.warnings.len(), 1);
    let rules = rule::read(&[source("r.yml", rules)], Dialect::V2.into()).unwrap().rules;
    let outcome = run(&file.file, &rules, Dialect::V2, &Filter::default()).remove(0);
    assert_eq!((outcome.judged, outcome.failures.len(), outcome.not_judged.len()), (2, 0, 5));
}

/// All problems as `line:column summary`.
#[track_caller]
fn check_problems(text: &str, expected: &[&str]) {
    let problems = match TestFile::read(source("t.yml", text), Dialect::V2.into()) {
        Ok(read) => read.warnings,
        Err(problems) => problems,
    };
    let shown: Vec<String> = problems
        .iter()
        .map(|problem| {
            let place = problem.span.as_ref().map(|span| span.position());
            let (line, column) = place.map_or((0, 0), |at| (at.line, at.column));
            format!("{line}:{column} {}", problem.summary)
        })
        .collect();
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn all_problems_of_a_file_at_once() {
    check_problems(
        "rule_file: [a.yml]
evaluation_interval: 5
group_eval_order: [a, b, a]
tests:
- interval: 1 m
  input_series:
  - {series: 'up{', values: 1 2}
  - {series: up, values: '1 2 x3 4', value: 1}
  - {values: 1}
  alert_rule_test:
  - {eval_time: 5m}
  - {eval_time: 5min, alertname: A, exp_alerts: {a: b}}
  - {eval_time: 5m, alertname: A, exp_alerts: [{exp_label: {}}]}
  promql_expr_test:
  - {expr: 'rate(x[5m]'}
  - {expr: 'x[5m]'}
  - {expr: x, exp_samples: [{labels: '{a=~\"b\"}', value: 1}, {value: Inf}, {value: '1'}]}
  - {eval_time: 1m}
  start_timestamp: yesterday
",
        &[
            "1:1 unknown field `rule_file` in a test file",
            "2:22 `5` is not a duration",
            "3:26 group `a` stands twice in the order",
            "7:14 `up{` is not a series",
            "8:38 unknown field `value` in a series",
            "8:31 `x3` is not a point",
            "9:5 a series has no `series`",
            "5:13 `1 m` is not a duration",
            "11:5 an alert check has no `alertname`",
            "12:17 `5min` is not a duration",
            "12:49 expected a list of alerts, found a map",
            "13:49 unknown field `exp_label` in an expected alert",
            "15:17 `(` is never closed in the expression",
            "16:12 the answer is neither a vector nor a number",
            "17:38 `{a=~\"b\"}` is not a series",
            "17:69 `Inf` is not a number",
            "17:83 `1` is not a number",
            "18:5 a query check has no `expr`",
            "19:20 `yesterday` is not a moment",
        ],
    );
}

#[test]
fn what_is_strange_but_promtool_accepts_is_a_warning() {
    check_problems("tests: []", &["1:1 no tests in the file: it proves nothing"]);
    check_problems("tests: [{interval: 1m}]", &["1:9 the test checks nothing"]);
    check_problems(
        "tests: [{input_series: [{series: x, values: 1}, {series: x, values: 2}], promql_expr_test: [{expr: x}]}]",
        &["1:49 the series {__name__=\"x\"} stands twice: the later one counts"],
    );
    check_problems(
        "tests: [{input_series: [{series: x, values: 1 2}], promql_expr_test: [{expr: x}]}]",
        &["1:9 without `interval` all points are at the start, and only the first counts"],
    );
    check_problems(
        "evaluation_interval: 1ms\ntests: [{promql_expr_test: [{expr: x, eval_time: 10d}]}]",
        &["2:9 the test has 864000000 evaluations, more than 5000000"],
    );
}

#[test]
fn the_points_of_all_series_of_a_file_are_bounded() {
    let test = |series: usize| {
        let one = |name| format!("{{series: 'x{{a=\"{name}\"}}', values: '_x2000000'}}");
        let all: Vec<String> = (0..series).map(one).collect();
        format!(
            "tests:\n- interval: 1m\n  input_series:\n  - {}\n  promql_expr_test: [{{expr: x}}]",
            all.join("\n  - ")
        )
    };
    check_problems(&test(5), &[]);
    check_problems(&test(8), &["9:34 the series of this file have more than 10000000 points"]);
}

#[test]
fn names_that_no_rule_has_are_told() {
    let text =
        "group_eval_order: [frist]\ntests: [{alert_rule_test: [{alertname: Dwon}, {alertname: Down}]}]";
    let file = TestFile::read(source("t.yml", text), Dialect::V2.into()).unwrap().file;
    let rules = rule::read(&[source("r.yml", RULES)], Dialect::V2.into()).unwrap().rules;
    let problems = file.unknown_names(&rules);
    let hints: Vec<_> = problems.iter().map(|problem| problem.hint.as_deref().unwrap_or_default()).collect();
    assert_eq!(hints, ["did you mean `Down`?", "did you mean `first`?"]);
    assert!(problems.iter().all(|problem| problem.severity == Severity::Warning));
}

proptest::proptest! {
    #[test]
    fn bytes_taken_out_or_put_in_never_panic(at in 0usize..2000, length in 0usize..6, put in "[ -~\n]{0,4}") {
        let whole = format!("rule_files: [r.yml]\nevaluation_interval: 1m\ngroup_eval_order: [first]\n{}", one(
            "alert_rule_test: [{eval_time: 2m, alertname: Down, exp_alerts: [{exp_labels: {severity: info}}]}]\n  promql_expr_test: [{expr: 'rate(up[5m])', eval_time: 1m, exp_samples: [{labels: 'up{job=\"a\"}', value: 1e3}]}]",
        ));
        let at = at % whole.len();
        let end = (at + length).min(whole.len());
        let text = format!("{}{put}{}", &whole[..at], &whole[end..]);
        if let Ok(read) = TestFile::read(source("t.yml", &text), Dialect::V2.into()) {
            let rules = rule::read(&[source("r.yml", RULES)], Dialect::V2.into()).unwrap().rules;
            // A moment far away would take its time, not more.
            if read.file.tests.iter().all(|test| test.length() < std::time::Duration::from_secs(3600))
                && read.file.evaluation_interval > std::time::Duration::from_secs(1) {
                run(&read.file, &rules, Dialect::V2, &Filter::default());
            }
        }
    }
}
