//! Runs Prometheus' promqltest scripts against the embedded evaluator and prints the score.
//!
//! `cargo run --release -p assertions --example promqltest -- DIR|FILE... [--dialect 2|3] [--verbose]`
//!
//! Cases whose data or expectation is a native histogram, or whose query uses one's functions, are skipped and
//! counted. The scripts are Prometheus' own and stay outside the repository.

use assertions::labels::Labels;
use assertions::notation;
use assertions::promql::ast::{Dialect, Kind};
use assertions::promql::eval::{Query, Settings, Value};
use assertions::promql::parse::{ParseOptions, parse};
use assertions::series::is_stale;
use assertions::store::{METRIC_NAME, Store};
use assertions::time::Millis;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How one case ended.
enum Outcome {
    Passed,
    Skipped,
    Failed(String),
}

#[derive(Default)]
struct Score {
    passed: usize,
    failed: usize,
    skipped: usize,
}

struct Runner {
    dialect: Dialect,
    verbose: bool,
    store: Store,
    /// A load had native histograms: what is selected from it cannot be judged.
    native_names: Vec<String>,
}

/// A query and when it is asked.
struct Case<'t> {
    query: &'t str,
    start: i64,
    end: i64,
    step: Option<i64>,
    /// `eval_fail`, `eval_ordered` of the older form.
    must_fail: bool,
    ordered: bool,
    expectations: Vec<&'t str>,
}

fn main() -> std::process::ExitCode {
    let mut dialect = Dialect::V3;
    let mut verbose = false;
    let mut files = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--dialect" => {
                dialect = if arguments.next().as_deref() == Some("2") { Dialect::V2 } else { Dialect::V3 }
            }
            "--verbose" => verbose = true,
            path => files.extend(scripts(Path::new(path))),
        }
    }
    let mut total = Score::default();
    for file in &files {
        let Ok(text) = std::fs::read_to_string(file) else {
            eprintln!("cannot read {}", file.display());
            return std::process::ExitCode::from(2);
        };
        let mut runner = Runner { dialect, verbose, store: Store::new(), native_names: Vec::new() };
        let score = runner.file(&text, &file.display().to_string());
        println!(
            "{:40} {} passed, {} failed, {} skipped",
            file.file_name().unwrap_or_default().to_string_lossy(),
            score.passed,
            score.failed,
            score.skipped
        );
        total.passed += score.passed;
        total.failed += score.failed;
        total.skipped += score.skipped;
    }
    println!(
        "{} passed, {} failed ({} skipped: native histograms)",
        total.passed, total.failed, total.skipped
    );
    if files.is_empty() || total.failed > 0 {
        std::process::ExitCode::FAILURE
    } else {
        std::process::ExitCode::SUCCESS
    }
}

/// A file itself, or the scripts in a folder by name.
fn scripts(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_path_buf()];
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "test")).collect();
    found.sort();
    found
}

impl Runner {
    fn file(&mut self, text: &str, name: &str) -> Score {
        let mut score = Score::default();
        let lines: Vec<&str> = text.lines().map(|line| line.trim_end()).collect();
        let mut at = 0;
        while at < lines.len() {
            let head = lines[at].trim();
            let number = at + 1;
            at += 1;
            if head.is_empty() || head.starts_with('#') {
                continue;
            }
            let body_start = at;
            while at < lines.len() && lines[at].starts_with([' ', '\t']) {
                at += 1;
            }
            let body: Vec<&str> = lines[body_start..at]
                .iter()
                .map(|line| line.trim())
                .filter(|line| !line.starts_with('#'))
                .collect();
            if head == "clear" {
                self.store = Store::new();
                self.native_names.clear();
            } else if let Some(step) = head.strip_prefix("load_with_nhcb ") {
                self.load(step, &body);
                self.native_names.extend(body.iter().filter_map(|line| base_name(split_series(line).0)));
            } else if let Some(step) = head.strip_prefix("load ") {
                self.load(step, &body);
            } else {
                match self.case(head, body) {
                    Outcome::Passed => score.passed += 1,
                    Outcome::Skipped => score.skipped += 1,
                    Outcome::Failed(why) => {
                        score.failed += 1;
                        if self.verbose {
                            println!("{name}:{number}: {head}\n    {why}");
                        }
                    }
                }
            }
        }
        score
    }

    fn load(&mut self, step: &str, body: &[&str]) {
        let step = millis(step).unwrap_or(60_000);
        // Of a series that is loaded twice the later line counts.
        let mut samples: BTreeMap<Labels, BTreeMap<Millis, f64>> = BTreeMap::new();
        for line in body {
            let (series, points) = split_series(line);
            let Ok(labels) = notation::labels(series) else { continue };
            match notation::points(points) {
                Ok(points) => {
                    let at = |index: usize| Millis(step * index as i64);
                    let present =
                        points.into_iter().enumerate().filter_map(|(index, point)| Some((at(index), point?)));
                    samples.entry(labels).or_default().extend(present);
                }
                Err(_) => self.native_names.push(labels.get(METRIC_NAME).to_string()),
            }
        }
        for (labels, points) in samples {
            for (at, value) in points {
                self.store.append(&labels, at, value).ok();
            }
        }
    }

    fn case(&self, head: &str, body: Vec<&str>) -> Outcome {
        let Some(case) = read_case(head, body) else {
            return Outcome::Failed("cannot read this eval line".into());
        };
        let native_functions = [
            "histogram_avg",
            "histogram_count",
            "histogram_sum",
            "histogram_stddev",
            "histogram_stdvar",
            "histogram_quantiles",
        ];
        let is_native = case.expectations.iter().any(|line| line.contains("{{"))
            || native_functions.iter().any(|name| case.query.contains(name))
            || self.native_names.iter().any(|name| selects(case.query, name));
        if is_native {
            return Outcome::Skipped;
        }
        let failing = case.must_fail || case.expectations.iter().any(|line| line.starts_with("expect fail"));
        match (self.evaluate(&case), failing) {
            (Err(_), true) => Outcome::Passed,
            (Ok(_), true) => Outcome::Failed("must fail, but has an answer".into()),
            (Err(why), false) => Outcome::Failed(why),
            (Ok(answers), false) => compare(&case, &answers),
        }
    }

    /// The answer at each step.
    fn evaluate(&self, case: &Case<'_>) -> Result<Vec<(i64, Value)>, String> {
        let expr = parse(case.query, ParseOptions { dialect: self.dialect, experimental: true })
            .map_err(|error| error.to_string())?;
        let settings = Settings { dialect: self.dialect, delayed_names: true, ..Settings::default() };
        let query = Query { store: &self.store, settings, start: Millis(case.start), end: Millis(case.end) };
        if expr.kind() == Kind::Matrix && case.step.is_some() {
            return Err("a range query of a range".into());
        }
        let mut answers = Vec::new();
        let mut at = case.start;
        while at <= case.end {
            answers.push((at, query.evaluate(&expr, Millis(at)).map_err(|error| error.to_string())?));
            at += case.step.unwrap_or(i64::MAX / 2);
        }
        Ok(answers)
    }
}

/// The name under which `load_with_nhcb` makes a native histogram of classic buckets.
fn base_name(series: &str) -> Option<String> {
    let name = series.split('{').next().unwrap_or(series);
    Some(name.strip_suffix("_bucket")?.to_string())
}

/// Whether a query names exactly this metric.
fn selects(query: &str, name: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !name.is_empty() && query.split(|c: char| !is_name(c)).any(|word| word == name)
}

/// `metric{a="b"}   1 2 3` into series and points.
fn split_series(line: &str) -> (&str, &str) {
    let mut quoted = false;
    let mut braces = 0_i32;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '{' if !quoted => braces += 1,
            '}' if !quoted => braces -= 1,
            c if c.is_whitespace() && !quoted && braces == 0 => {
                return (&line[..at], &line[at..]);
            }
            _ => {}
        }
    }
    (line, "")
}

fn read_case<'t>(head: &'t str, expectations: Vec<&'t str>) -> Option<Case<'t>> {
    let (command, rest) = head.split_once(char::is_whitespace)?;
    let must_fail = command == "eval_fail";
    let ordered =
        command == "eval_ordered" || expectations.iter().any(|line| line.starts_with("expect ordered"));
    let (kind, rest) = rest.trim().split_once(char::is_whitespace)?;
    let case = |query, start, end, step| Case { query, start, end, step, must_fail, ordered, expectations };
    if kind == "instant" {
        let rest = rest.trim();
        let Some(rest) = rest.strip_prefix("at ") else { return Some(case(rest, 0, 0, None)) };
        let (at, query) = rest.trim().split_once(char::is_whitespace)?;
        let at = millis(at)?;
        return Some(case(query.trim(), at, at, None));
    }
    let mut words = rest.splitn(7, char::is_whitespace);
    let (from, start, to, end, step, every, query) = (
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
    );
    let well = from == "from" && to == "to" && step == "step";
    well.then_some(())?;
    Some(case(query.trim(), millis(start)?, millis(end)?, Some(millis(every)?)))
}

/// `5m`, `1m30s`, `10` (seconds), `-1m`.
fn millis(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Some((seconds * 1000.0) as i64);
    }
    if let Some(rest) = text.strip_prefix('-') {
        return Some(-millis(rest)?);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        let unit = match &rest[digits..digits + letters] {
            "ms" => 1.0,
            "s" => 1000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            "w" => 604_800_000.0,
            "y" => 31_536_000_000.0,
            _ => return None,
        };
        total += rest[..digits].parse::<f64>().ok()? * unit;
        rest = &rest[digits + letters..];
    }
    Some(total as i64)
}

fn compare(case: &Case<'_>, answers: &[(i64, Value)]) -> Outcome {
    let wanted: Vec<&str> = case
        .expectations
        .iter()
        .copied()
        .filter(|line| !line.starts_with("expect ") || line.starts_with("expect string"))
        .collect();
    if let (None, [(_, Value::Scalar(value))]) = (case.step, answers) {
        let expected = wanted.first().and_then(|line| line.parse::<f64>().ok());
        return match expected {
            Some(expected) if close(expected, *value) => Outcome::Passed,
            _ => Outcome::Failed(format!("scalar {value}, wanted {wanted:?}")),
        };
    }
    if let [(_, Value::Text(text))] = answers {
        let expected = wanted.first().and_then(|line| line.strip_prefix("expect string "));
        return match expected {
            Some(expected) if unquoted(expected) == *text => Outcome::Passed,
            _ => Outcome::Failed(format!("string {text:?}, wanted {wanted:?}")),
        };
    }
    let expected: Vec<(Labels, Vec<Option<f64>>)> =
        match wanted.iter().map(|line| read_expected(line)).collect() {
            Ok(expected) => expected,
            Err(why) => return Outcome::Failed(why),
        };
    let mut expected = expected;
    if matches!(answers, [(_, Value::Matrix(_))]) {
        // The points of a range are listed by their step; only their values are compared here.
        expected.iter_mut().for_each(|(_, points)| points.retain(Option::is_some));
    }
    let (found, order) = gather(case, answers);
    if case.ordered && order != expected.iter().map(|(labels, _)| labels.clone()).collect::<Vec<_>>() {
        return Outcome::Failed(format!("order {order:?}"));
    }
    let expected: BTreeMap<Labels, Vec<Option<f64>>> = expected.into_iter().collect();
    let same = expected.len() == found.len()
        && expected
            .iter()
            .all(|(labels, points)| found.get(labels).is_some_and(|found| same_points(points, found)));
    if same { Outcome::Passed } else { Outcome::Failed(format!("found {found:?}\n    wanted {expected:?}")) }
}

fn read_expected(line: &str) -> Result<(Labels, Vec<Option<f64>>), String> {
    let (series, points) = split_series(line);
    let labels = notation::labels(series).map_err(|error| error.to_string())?;
    Ok((labels, notation::points(points).map_err(|error| error.to_string())?))
}

type Found = BTreeMap<Labels, Vec<Option<f64>>>;

/// The answers by label set, one place per step, and the label sets of the first answer in order.
fn gather(case: &Case<'_>, answers: &[(i64, Value)]) -> (Found, Vec<Labels>) {
    let mut found = Found::new();
    let mut order = Vec::new();
    let mut put = |labels: &Labels, step: usize, value: f64| {
        let points = found.entry(labels.clone()).or_insert_with(|| vec![None; answers.len()]);
        points[step] = Some(value);
    };
    for (step, (_, value)) in answers.iter().enumerate() {
        match value {
            Value::Vector(elements) => {
                for element in elements {
                    put(&element.labels, step, element.value);
                    if step == 0 {
                        order.push(element.labels.clone());
                    }
                }
            }
            Value::Scalar(value) => put(&Labels::default(), step, *value),
            Value::Matrix(series) => {
                for (labels, points) in series {
                    found.insert(labels.clone(), points.iter().map(|point| Some(point.value)).collect());
                }
                return (found, order);
            }
            Value::Text(_) => {}
        }
    }
    let _instant = case.step;
    (found, order)
}

fn same_points(expected: &[Option<f64>], found: &[Option<f64>]) -> bool {
    let at = |points: &[Option<f64>], index: usize| points.get(index).copied().flatten();
    (0..expected.len().max(found.len())).all(|index| match (at(expected, index), at(found, index)) {
        (None, None) => true,
        (Some(a), Some(b)) => close(a, b),
        _ => false,
    })
}

/// Relative tolerance 1e-6, as upstream's runner.
fn close(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    text.strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .unwrap_or(text)
        .replace("\\n", "\n")
        .replace("\\\"", "\"")
}
