//! The project's own promqltest scripts, and what must not pass.

use assertions::promql::ast::Dialect;
use assertions::script::{Outcome, Runner, Script, dialect_of};
use std::path::Path;

/// Runs a script in a dialect; returns its cases and what failed, told with places.
fn run(name: &str, text: &str, dialect: Dialect) -> (usize, Vec<String>) {
    let script = Script::read(text).unwrap_or_else(|error| panic!("{name}:{}: {error}", error.line));
    let cases = Runner::new(dialect).run(&script);
    let wrong = cases.iter().filter_map(|case| match &case.outcome {
        Outcome::Passed => None,
        Outcome::Skipped(skip) => Some(format!("{name}:{}: skipped for {skip}: {}", case.line, case.head)),
        Outcome::Failed { expected, got } => Some(format!(
            "{name}:{}, {dialect:?}: {}\n  expected\n{expected}\n  got\n{got}",
            case.line, case.head
        )),
    });
    (cases.len(), wrong.collect())
}

#[test]
fn the_projects_scripts_pass_in_their_dialects() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let entries = std::fs::read_dir(folder).expect("the folder of this file");
    let files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let mut cases = 0;
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "test")) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(file).expect("a script can be read");
        for dialect in [Dialect::V2, Dialect::V3] {
            if dialect_of(&name).is_none_or(|only| only == dialect) {
                let (judged, failed) = run(&name, &text, dialect);
                cases += judged;
                wrong.extend(failed);
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} cases\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases > 500, "only {cases} cases were found");
}

#[test]
fn a_wrong_expectation_fails() {
    let load = "load 1m\n  x{a=\"1\"} 1 2 3\n  x{a=\"2\"} 5 _ 7\n\n";
    let check = |eval: &str, passes: bool| {
        let (cases, wrong) = run("inline", &format!("{load}{eval}"), Dialect::V3);
        assert_eq!((cases, wrong.is_empty()), (1, passes), "{eval}\n{wrong:?}");
    };
    check("eval instant at 2m x\n  x{a=\"1\"} 3\n  x{a=\"2\"} 7", true);
    check("eval instant at 2m x\n  x{a=\"1\"} 3", false);
    check("eval instant at 2m x\n  x{a=\"1\"} 3\n  x{a=\"2\"} 7\n  x{a=\"3\"} 7", false);
    check("eval instant at 2m x\n  x{a=\"1\"} 3.00001\n  x{a=\"2\"} 7", false);
    check("eval instant at 2m x\n  expect fail", false);
    check("eval instant at 2m x + on() x\n  expect fail", true);
    check("eval_fail instant at 2m x + on() x", true);
    check("eval instant at 2m sort(x)\n  expect ordered\n  x{a=\"1\"} 3\n  x{a=\"2\"} 7", true);
    check("eval instant at 2m sort(x)\n  expect ordered\n  x{a=\"2\"} 7\n  x{a=\"1\"} 3", false);
    check("eval instant at 2m 1 + 1\n  2", true);
    check("eval instant at 2m 1 + 1\n  3", false);
    check("eval instant at 2m 1 + 1\n  {} 2", false);
    check("eval instant at 2m vector(2)\n  2", false);
    check("eval instant at 0m \"a\\\"b\"\n  expect string \"a\\\"b\"", true);
    check("eval instant at 0m \"a\"\n  expect string \"b\"", false);
    check("eval range from 0 to 2m step 1m x{a=\"1\"}\n  x{a=\"1\"} 1 2 3", true);
    check("eval range from 0 to 2m step 1m x{a=\"1\"}\n  x{a=\"1\"} 1 2", false);
    check("eval range from 0 to 2m step 1m x{a=\"1\"}\n  x{a=\"1\"} 1 2 3 4", false);
    let ranged =
        "eval instant at 2m x{a=\"2\"}[3m]\n  expect range vector from 0 to 2m step 1m\n  x{a=\"2\"} 5";
    let rate = "eval instant at 2m rate(x{a=\"1\"}[3m])\n  {a=\"1\"} 0.016666666666666666\n";
    check(rate, true);
    check(&format!("{rate}  expect info"), true);
    check(&format!("{rate}  expect no_info"), false);
    check(&format!("{rate}  expect warn"), false);
    check(&format!("{rate}  expect info msg: PromQL info: another"), false);
    check(&format!("{rate}  expect info regex: counter\n  expect info regex: gauge"), false);
    let two = "eval instant at 2m quantile(2, x) - quantile(3, x)\n  {} NaN\n  expect warn regex: got 2";
    check(two, false);
    check(&format!("{two}\n  expect warn regex: got 3"), true);
    check("eval instant at 2m x + on() x\n  expect fail msg: no", false);
    check("eval instant at 2m x + on() x\n  expect fail regex: ^found duplicate series", true);
    check("eval_fail instant at 2m x + on() x\n  expected_fail_message no", false);
    check("eval_warn instant at 2m vector(1)\n  {} 1", false);
    check("eval_info instant at 2m vector(1)\n  {} 1", false);
    check(&format!("{ranged} _ 7"), true);
    check(&format!("{ranged} 7"), false);
}
