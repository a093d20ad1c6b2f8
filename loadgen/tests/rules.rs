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
