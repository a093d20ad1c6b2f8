//! `loadgen rules`, the real binary: what a user sees, and its exit codes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::PathBuf;
use std::process::Command;

/// A fresh folder with files in it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str, files: &[(&str, &str)]) -> Place {
        let folder = std::env::temp_dir().join(format!("loadgen-rules-{name}-{}", std::process::id()));
        for (file, text) in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Place(folder)
    }

    /// Exit code, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        let output = command.current_dir(&self.0).arg("rules").args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const RULES: &str = "groups: [{name: g, rules: [{alert: Down, expr: up == 0, labels: {severity: page}}]}]\n";
const TEST: &str = "rule_files: [rules/*.yml]
tests:
- name: down
  interval: 1m
  input_series: [{series: 'up{job=\"a\"}', values: '1 0'}]
  alert_rule_test:
  - {eval_time: 1m, alertname: Down, exp_alerts: [{exp_labels: {job: a, severity: page}}]}
  - {eval_time: 0m, alertname: Down}
";

#[test]
fn tests_pass_and_fail_with_their_place() {
    let failing = TEST.replace("severity: page}}", "severity: info}}");
    let place =
        Place::new("test", &[("rules/a.yml", RULES), ("good.test.yml", TEST), ("bad.test.yml", &failing)]);
    let (code, stdout, stderr) = place.run(&["test", "good.test.yml"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert_eq!(
        stdout,
        "good.test.yml\n  SUCCESS: 2 checks\n1 files, 1 tests, 2 checks: all as expected. exit 0\n"
    );
    let (code, stdout, _) = place.run(&["test", "good.test.yml", "bad.test.yml", "--junit", "junit.xml"]);
    assert_eq!(code, 111, "{stdout}");
    assert_eq!(
        stdout,
        r#"good.test.yml
  SUCCESS: 2 checks
bad.test.yml
  FAILED: 2 checks, 1 failures
  bad.test.yml:7:5: alertname: Down, time: 1m
    name: down
    exp:
      Labels:{alertname="Down", job="a", severity="info"} Annotations:{}
    got:
      Labels:{alertname="Down", job="a", severity="page"} Annotations:{}
      label severity: expected "info", got "page"
2 files, 2 tests, 4 checks: 1 failures. exit 111
"#
    );
    let junit = std::fs::read_to_string(place.0.join("junit.xml")).unwrap();
    assert!(
        junit.contains("tests=\"2\" skipped=\"0\" failures=\"1\"") && junit.contains("name=\"down\""),
        "{junit}"
    );
    let (code, stdout, _) = place.run(&["test", "bad.test.yml", "--run", "up$"]);
    assert_eq!((code, stdout.contains("0 tests")), (0, true), "{stdout}");
}

#[test]
fn broken_files_are_told_and_end_104() {
    let place = Place::new(
        "broken",
        &[
            ("rules/a.yml", "groups: [{name: g, rules: [{alert: Down, expr: 'up =='}]}]\n"),
            ("a.test.yml", TEST),
            ("b.test.yml", "test: []\n"),
        ],
    );
    let (code, stdout, stderr) = place.run(&["test", "a.test.yml", "b.test.yml", "c.test.yml"]);
    assert_eq!(code, 104);
    assert!(stdout.ends_with("3 of 3 files cannot be read. exit 104\n"), "{stdout}");
    for part in ["--> rules/a.yml:1:", "unknown field `test` in a test file", "cannot read c.test.yml"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert_eq!(place.run(&["test", "a.test.yml", "--run", "("]).0, 2);
}

#[test]
fn a_failure_that_the_other_prometheus_has_not_is_told() {
    let test = "tests:
- interval: 1m
  input_series: [{series: x, values: '1x9'}]
  promql_expr_test:
  - {expr: 'count_over_time(x[2m])', eval_time: 5m, exp_samples: [{value: 2}]}
";
    let place = Place::new("dialect", &[("a.test.yml", test)]);
    let (code, stdout, _) = place.run(&["test", "a.test.yml"]);
    assert_eq!((code, stdout.contains("hint: nothing fails with --dialect 3")), (111, true), "{stdout}");
    assert_eq!(place.run(&["test", "a.test.yml", "--dialect", "3"]).0, 0);
}

#[test]
fn expressions_are_tried_on_saved_samples() {
    let timed = "up{job=\"a\"} 1 60\nup{job=\"a\"} 0 120\nup{job=\"b\"} 1 120\n# EOF\n";
    let place = Place::new("eval", &[("timed.om", timed), ("plain.txt", "x{a=\"1\"} 2\nx{a=\"2\"} 3.5\n")]);
    let eval = |arguments: &[&str]| place.run(&[&["eval", "--data"], arguments].concat());
    assert_eq!(eval(&["timed.om", "up"]), (0, "up{job=\"a\"} 0\nup{job=\"b\"} 1\n".into(), String::new()));
    assert_eq!(eval(&["timed.om", "up", "--at", "1970-01-01T00:01:10Z"]).1, "up{job=\"a\"} 1\n");
    assert_eq!(eval(&["timed.om", "sum(up)", "--range", "60", "120", "1m"]).1, "{} 1 @60\n{} 1 @120\n");
    assert_eq!(eval(&["plain.txt", "sum(x)"]).1, "{} 5.5\n");
    assert_eq!(eval(&["plain.txt", "1 + 1", "--at", "100"]).1, "2\n");
    let (code, stdout, _) = eval(&["plain.txt", "x > 3", "--at", "100", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, 0);
    assert_eq!(
        json,
        serde_json::json!({"resultType": "vector", "result": [{"metric": {"__name__": "x", "a": "2"}, "value": [100.0, "3.5"]}]})
    );
}

#[test]
fn what_is_odd_about_an_answer_is_told_beside_it() {
    let place = Place::new("eval-odd", &[("x.om", "x 1 60\nx 3 120\nx_total 1 60\nx_total 3 120\n# EOF\n")]);
    let info = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"x\" (1:10)";
    let odd = ["eval", "--data", "x.om", "increase(x[1m])"];
    assert_eq!(place.run(&odd), (0, "{} 2\n".into(), format!("{info}\n")));
    let (code, stdout, stderr) = place.run(&[&odd[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, stderr.as_str(), &json["infos"]), (0, "", &serde_json::json!([info])));
    assert_eq!(json["warnings"], serde_json::Value::Null);
    assert_eq!(place.run(&["eval", "--data", "x.om", "increase(x_total[1m])"]).2, "");
}

#[test]
fn what_cannot_be_tried_is_told_with_its_place() {
    let place = Place::new(
        "eval-bad",
        &[("plain.txt", "x 1\nx 2 y\n"), ("twice.txt", "x 1\nx 2\n"), ("x.txt", "x 1\n")],
    );
    let (code, _, stderr) = place.run(&["eval", "--data", "x.txt", "sum(raet(x[5m]))"]);
    assert_eq!(code, 104);
    assert!(stderr.contains("1 | sum(raet(x[5m]))\n  |     ^^^^ hint: did you mean `rate`?"), "{stderr}");
    let (code, _, stderr) = place.run(&["eval", "--data", "plain.txt", "x"]);
    assert_eq!((code, stderr.contains("plain.txt:2:5")), (104, true), "{stderr}");
    let (code, _, stderr) = place.run(&["eval", "--data", "twice.txt", "x"]);
    assert_eq!((code, stderr.contains("two samples without a time")), (104, true), "{stderr}");
    for range in [["9", "1", "1"], ["1", "9", "0"], ["0", "1e9", "1ms"], ["a", "1", "1"]] {
        let (code, _, stderr) =
            place.run(&[&["eval", "--data", "x.txt", "x", "--range"], &range[..]].concat());
        assert_eq!((code, stderr.contains("--range")), (104, true), "{range:?}: {stderr}");
    }
}

/// `errors` is over its line from the second minute on, for half an hour; a sample a minute.
fn incident() -> String {
    let sample = |minute: u64| {
        let value = if (2..32).contains(&minute) { 9 } else { 0 };
        format!("errors{{job=\"a\"}} {value} {}\n", 1_769_860_800 + minute * 60)
    };
    format!("# TYPE errors gauge\n{}# EOF\n", (0..41).map(sample).collect::<String>())
}

const INCIDENT_RULES: &str = "groups: [{name: g, rules: [
  {record: 'job:errors', expr: 'sum by (job) (errors)'},
  {alert: Errors, expr: 'job:errors > 5', for: 5m, labels: {severity: page}}]}]\n";

const ROUTES: &str = "route: {receiver: pager, group_wait: 30s, group_interval: 3m30s}
receivers: [{name: pager, pagerduty_configs: [{}]}]\n";

#[test]
fn an_incident_is_played_again() {
    let files = [("r.yml", INCIDENT_RULES), ("am.yml", ROUTES), ("i.om", &incident())];
    let place = Place::new("replay", &files);
    let (code, stdout, stderr) =
        place.run(&["replay", "--data", "i.om", "r.yml", "--alertmanager", "am.yml"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let expected = r#"2026-01-31T12:00:00Z to 2026-01-31T12:40:00Z, 1 series, 2 rules, evaluated every 1m
       +2m  pending   Errors{job="a", severity="page"}  value 9
       +7m  firing    Errors{job="a", severity="page"}  value 9
    +7m30s  told      pager/pagerduty  firing: Errors{job="a", severity="page"}
      +32m  resolved  Errors{job="a", severity="page"}
      +32m  told      pager/pagerduty  resolved: Errors{job="a", severity="page"}
41 evaluations, 1 alerts fired, 2 notifications
"#;
    assert_eq!(stdout, expected);
}

#[test]
fn a_restart_and_a_reload_change_what_is_played() {
    let raised = INCIDENT_RULES.replace("for: 5m", "for: 9m").replace("job:errors", "jobs:errors");
    let files =
        [("r.yml", INCIDENT_RULES), ("raised.yml", &raised), ("am.yml", ROUTES), ("i.om", &incident())];
    let place = Place::new("replay-down", &files);
    let command = ["replay", "--data", "i.om", "r.yml", "--alertmanager", "am.yml", "--down", "+10m..+11m"];
    let (code, stdout, stderr) = place.run(&command);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let expected = r#"      +10m  down      for 1m; forgets Errors{job="a", severity="page"} (firing)
      +11m  pending   Errors{job="a", severity="page"}  value 9
   +14m30s  told      pager/pagerduty  resolved: Errors{job="a", severity="page"}
      +16m  firing    Errors{job="a", severity="page"}  value 9
   +16m30s  told      pager/pagerduty  firing: Errors{job="a", severity="page"}
"#;
    assert!(stdout.contains(expected), "{stdout}");
    let command = ["replay", "--data", "i.om", "r.yml", "--dialect", "3", "--reload", "+9m30s=raised.yml"];
    let (code, stdout, _) = place.run(&command);
    let lines: Vec<&str> =
        stdout.lines().filter(|line| line.contains("+9m30s") || line.contains("+10m")).collect();
    let expected =
        ["    +9m30s  reloaded", "      +10m  pending   Errors{job=\"a\", severity=\"page\"}  value 9"];
    assert_eq!((code, lines.as_slice()), (0, &expected[..]), "{stdout}");
}

#[test]
fn what_cannot_be_played_is_told() {
    let files = [("r.yml", INCIDENT_RULES), ("i.om", &*incident()), ("plain.txt", "errors 1\n")];
    let place = Place::new("replay-wrong", &files);
    for (arguments, expected) in [
        (&["--data", "plain.txt"][..], "plain.txt: no sample has a time, so there is nothing to play"),
        (&["--data", "i.om", "--down", "+5m"], "`+5m` is no span of time; write it as in +20m..+21m"),
        (&["--data", "i.om", "--down", "+5m..+5m"], "`+5m..+5m` ends before it begins"),
        (&["--data", "i.om", "--down", "+5m..+8m", "--down", "+7m..+9m"], "a second outage begins before"),
        (&["--data", "i.om", "--down", "5x..+8m"], "`5x` is no time"),
        (&["--data", "i.om", "--from", "+10m", "--until", "+5m"], "the replay ends before it begins"),
        (&["--data", "i.om", "--reload", "r.yml"], "`r.yml` has no `=`"),
        (&["--data", "i.om", "--reload", "+5m=gone.yml"], "cannot read gone.yml"),
        (&["--data", "i.om", "--until", "9999-01-01T00:00:00Z"], "evaluations are more than"),
        (&["--data", "i.om", "--alertmanager", "r.yml"], "unknown key `groups`"),
    ] {
        let (code, stdout, stderr) = place.run(&[&["replay", "r.yml"], arguments].concat());
        assert_eq!((code, stdout.as_str()), (104, ""), "{arguments:?}\n{stderr}");
        assert!(stderr.contains(expected), "{arguments:?}\n{stderr}");
    }
}

#[test]
fn what_the_rules_make_is_not_taken_from_the_samples() {
    let saved =
        incident().replace("# EOF", "# TYPE ALERTS gauge\nALERTS{alertname=\"Errors\"} 1 1769860800\n# EOF");
    let place = Place::new("replay-made", &[("r.yml", INCIDENT_RULES), ("i.om", &saved)]);
    let (code, stdout, stderr) = place.run(&["replay", "r.yml", "--data", "i.om"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains("i.om: the rules make ALERTS anew, so what is saved of it is left out"),
        "{stderr}"
    );
    assert!(stdout.contains(", 1 series,"), "{stdout}");
}
