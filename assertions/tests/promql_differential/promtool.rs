//! What Prometheus' own `promtool` answers: its unit tests made to fail, so that it tells every value in full.

use super::samples::World;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// Sorted `(labels, value)`, or the error.
pub(crate) type Answer = Result<Vec<(String, f64)>, String>;

/// A world, and what is asked about it.
pub(crate) struct Asked {
    pub(crate) world: World,
    pub(crate) cases: Vec<(i64, String)>,
}

/// What promtool answers to every case, in order.
pub(crate) fn answers(folder: &Path, asked: &[Asked]) -> Vec<Answer> {
    let file = folder.join("differential.yml");
    std::fs::write(&file, unit_test(asked)).expect("the target folder can be written");
    let output = Command::new("promtool")
        .args(["test", "rules"])
        .arg(&file)
        .output()
        .expect("promtool is installed (Debian: package prometheus); without it nothing is proven");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let answers = read(&said);
    let wanted: usize = asked.iter().map(|asked| asked.cases.len()).sum();
    let excerpt: String = said.chars().take(2000).collect();
    assert_eq!(answers.len(), wanted, "promtool did not answer every case:\n{excerpt}");
    answers
}

/// A unit test in which every expectation is wrong.
fn unit_test(asked: &[Asked]) -> String {
    let mut text = "evaluation_interval: 1m\ntests:\n".to_string();
    for Asked { world, cases } in asked {
        let _ = writeln!(text, "- interval: {}ms\n  input_series:", world.step_ms);
        for series in &world.series {
            let _ = writeln!(text, "  - {{series: '{}', values: '{}'}}", series.name, series.notation());
        }
        text.push_str("  promql_expr_test:\n");
        for (at, expression) in cases {
            let _ = writeln!(
                text,
                "  - {{expr: {expression:?}, eval_time: {at}ms, exp_samples: [{{labels: impossible, value: 1}}]}}"
            );
        }
        // It loads samples only up to its last evaluation: one far behind them loads all. It passes, and says nothing.
        text.push_str("  - {expr: nothing, eval_time: 3h}\n");
    }
    text
}

/// The answers in what promtool says of failed tests.
fn read(said: &str) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    for line in said.lines().map(str::trim) {
        if line.starts_with("expr: ") {
            if let Some((_, error)) = line.split_once(", err: ") {
                answers.push(Err(error.to_string()));
            }
        } else if let Some(got) = line.strip_prefix("got: ") {
            answers.push(Ok(elements(got)));
        }
    }
    answers
}

/// `{a="1"} 2E+00, {a="2"} NaN` or `nil`; braces and commas in label values are not read.
fn elements(text: &str) -> Vec<(String, f64)> {
    let mut elements = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find('}') {
        let (labels, after) = rest.split_at(end + 1);
        let (value, next) = after.trim_start().split_once(", ").unwrap_or((after.trim(), ""));
        elements.push((labels.to_string(), value.parse().expect("promtool writes numbers")));
        rest = next;
    }
    elements.sort_by(|a, b| a.0.cmp(&b.0));
    elements
}
