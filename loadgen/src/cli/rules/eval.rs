//! `loadgen rules eval --data FILE EXPR`: an expression on saved samples.

use super::data::Data;
use super::{Version, files, tell};
use crate::terminal;
use assertions::exit;
use assertions::labels::Labels;
use assertions::promql::annotation::{Annotations, Severity};
use assertions::promql::ast::{Expr, Kind};
use assertions::promql::eval::{Query, Settings, Value};
use assertions::promql::parse::parse;
use assertions::rule_test::run::{shown_number, shown_series};
use assertions::time::Millis;
use scenarios::problem::Problem;
use scenarios::span::{COMMAND_LINE, Source, Span};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Most steps of a range.
const STEPS_MAX: i64 = 100_000;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The expression
    #[arg(value_name = "EXPR")]
    expression: String,
    /// Samples: Prometheus text or OpenMetrics, with times or a plain scrape
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// When: seconds since 1970 or as 2026-01-31T12:00:00Z; by default the newest time in the data
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "range", allow_negative_numbers = true)]
    at: Option<Millis>,
    /// At every step of a range instead
    #[arg(long, num_args = 3, value_names = ["START", "END", "STEP"], allow_negative_numbers = true)]
    range: Option<Vec<String>>,
    /// Whose answers: Prometheus 2 or 3
    #[arg(long, default_value = "2")]
    dialect: Version,
    /// Print JSON, as Prometheus' API has it
    #[arg(long)]
    json: bool,
}

fn moment(text: &str) -> Result<Millis, String> {
    Millis::from_text(text).ok_or("seconds since 1970, or as in 2026-01-31T12:00:00Z".into())
}

/// When the expression is asked.
struct Steps {
    start: Millis,
    end: Millis,
    step: i64,
}

pub(super) fn eval(arguments: &Arguments) -> u8 {
    match answer(arguments) {
        Ok(text) if terminal::print(&text) => exit::PASSED,
        Ok(_) => exit::TOOL_FAILED,
        Err(problem) => {
            tell(&[problem]);
            exit::INVALID
        }
    }
}

fn answer(arguments: &Arguments) -> Result<String, Problem> {
    let written = Arc::new(Source { name: COMMAND_LINE.into(), text: arguments.expression.clone() });
    let options = arguments.dialect.options();
    let expr = parse(&written.text, options).map_err(|error| {
        let span = Span::new(written.clone(), error.range.start, error.range.end);
        let problem = Problem::error(error.summary, span);
        match error.hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    })?;
    let data = Data::read(&files::read(&arguments.data)?)?;
    let at = arguments.at.or(data.newest).unwrap_or_default();
    let steps = match &arguments.range {
        Some(words) => steps(words).map_err(|summary| files::without_place(format!("--range: {summary}")))?,
        None => Steps { start: at, end: at, step: 1 },
    };
    let store = data.store(steps.start);
    let settings = Settings { dialect: options.dialect, ..Settings::default() };
    let step = if arguments.range.is_some() { steps.step } else { 0 };
    let annotations = Annotations::default();
    let query = Query {
        start: steps.start,
        end: steps.end,
        step,
        annotations: Some(&annotations),
        ..Query::instant(&store, settings, steps.start)
    };
    let failed = |error: assertions::promql::eval::EvalError| {
        let whole = Span::new(written.clone(), 0, written.text.len());
        Problem::error(error.to_string(), whole)
    };
    if arguments.range.is_none() {
        let value = query.evaluate(&expr, at).map_err(failed)?;
        let odd = annotations.texts(&written.text);
        return Ok(match arguments.json {
            true => with_annotations(instant_json(&value, at), &odd),
            false => told(instant_text(&value), &odd),
        });
    }
    if !matches!(expr.kind(), Kind::Scalar | Kind::Vector) {
        let whole = Span::new(written.clone(), 0, written.text.len());
        return Err(Problem::error("over a range only a vector or a number can be asked", whole));
    }
    let found = over_range(&query, &expr, &steps).map_err(failed)?;
    let odd = annotations.texts(&written.text);
    Ok(match arguments.json {
        true => with_annotations(range_json(&found), &odd),
        false => told(range_text(&found), &odd),
    })
}

type Odd = [(Severity, String)];

/// The answer, once what is odd about it has been said on standard error.
fn told(answer: String, odd: &Odd) -> String {
    odd.iter().for_each(|(_, text)| terminal::tell(text));
    answer
}

/// The answer as JSON, with what is odd about it as `warnings` and `infos`.
fn with_annotations(mut answer: serde_json::Value, odd: &Odd) -> String {
    for (severity, key) in [(Severity::Warning, "warnings"), (Severity::Info, "infos")] {
        let texts: Vec<&str> =
            odd.iter().filter(|(s, _)| *s == severity).map(|(_, text)| text.as_str()).collect();
        if !texts.is_empty() {
            answer[key] = json!(texts);
        }
    }
    format!("{answer:#}\n")
}

fn steps(words: &[String]) -> Result<Steps, String> {
    let [start, end, step] = words else { return Err("START END STEP".into()) };
    let start = moment(start).map_err(|hint| format!("`{start}` is not a moment: {hint}"))?;
    let end = moment(end).map_err(|hint| format!("`{end}` is not a moment: {hint}"))?;
    let step = match step.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds < 1e9 => (seconds * 1000.0) as i64,
        Ok(_) => 0,
        Err(_) => scenarios::units::duration(step)
            .map(|step| i64::try_from(step.as_millis()).unwrap_or(0))
            .map_err(|error| format!("{}; {}", error.summary, error.hint))?,
    };
    if step < 1 {
        return Err("a step is 1 ms at least".into());
    }
    if end < start {
        return Err("it ends before it begins".into());
    }
    let count = (end.0 - start.0) / step;
    if count > STEPS_MAX {
        return Err(format!("{count} steps are more than {STEPS_MAX}; a longer step makes fewer"));
    }
    Ok(Steps { start, end, step })
}

type Found = BTreeMap<Labels, Vec<(Millis, f64)>>;

fn over_range(
    query: &Query<'_>,
    expr: &Expr,
    steps: &Steps,
) -> Result<Found, assertions::promql::eval::EvalError> {
    let mut found = Found::new();
    let mut at = steps.start;
    while at <= steps.end {
        for element in query.elements(expr, at)? {
            found.entry(element.labels).or_default().push((at, element.value));
        }
        at = Millis(at.0 + steps.step);
    }
    Ok(found)
}

fn instant_text(value: &Value) -> String {
    match value {
        Value::Scalar(number) => format!("{}\n", shown_number(*number)),
        Value::Text(text) => format!("{text}\n"),
        Value::Vector(elements) => {
            let line = |(labels, value): (&Labels, f64)| {
                format!("{} {}\n", shown_series(labels), shown_number(value))
            };
            elements.iter().map(|element| line((&element.labels, element.value))).collect()
        }
        Value::Matrix(series) => {
            let series = series.iter().map(|(labels, points)| {
                (labels.clone(), points.iter().map(|point| (point.at, point.value)).collect())
            });
            range_text(&series.collect())
        }
    }
}

fn range_text(found: &Found) -> String {
    let mut text = String::new();
    for (labels, points) in found {
        for (at, value) in points {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {} @{}", shown_series(labels), shown_number(*value), at.seconds());
        }
    }
    text
}

fn metric(labels: &Labels) -> serde_json::Value {
    labels
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn pair(at: Millis, value: f64) -> serde_json::Value {
    json!([at.seconds(), shown_number(value)])
}

fn instant_json(value: &Value, at: Millis) -> serde_json::Value {
    match value {
        Value::Scalar(number) => json!({"resultType": "scalar", "result": pair(at, *number)}),
        Value::Text(text) => json!({"resultType": "string", "result": [at.seconds(), text]}),
        Value::Vector(elements) => {
            let shown =
                |(labels, value): (&Labels, f64)| json!({"metric": metric(labels), "value": pair(at, value)});
            let all: Vec<_> =
                elements.iter().map(|element| shown((&element.labels, element.value))).collect();
            json!({"resultType": "vector", "result": all})
        }
        Value::Matrix(series) => {
            let series = series.iter().map(|(labels, points)| {
                (labels.clone(), points.iter().map(|point| (point.at, point.value)).collect())
            });
            range_json(&series.collect())
        }
    }
}

fn range_json(found: &Found) -> serde_json::Value {
    let series = |(labels, points): (&Labels, &Vec<(Millis, f64)>)| {
        let values: Vec<_> = points.iter().map(|(at, value)| pair(*at, *value)).collect();
        json!({"metric": metric(labels), "values": values})
    };
    let all: Vec<_> = found.iter().map(series).collect();
    json!({"resultType": "matrix", "result": all})
}
