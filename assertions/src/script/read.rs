//! A script's text to its commands.

use super::points::{millis, split_series, without_histograms};
use super::{
    Action, Command, Eval, Expected, Grid, Load, LoadedSeries, Script, ScriptError, Skip, Times, Wanted,
    Wording,
};
use crate::labels::Labels;
use crate::notation::{self, NotedPoint};
use crate::promql::ast::{Dialect, Expr};
use crate::promql::parse::{ParseOptions, parse};

type Read<T> = Result<T, String>;

impl Script {
    /// Reads a script. A block ends at an empty line or a comment. Errors: the first line that is not of the format.
    pub fn read(text: &str) -> Result<Script, ScriptError> {
        let (script, wrong) = Script::read_what_can_be(text);
        match wrong.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(script),
        }
    }

    /// Reads a script's blocks, and says of those that are not of the format why; they are left out.
    pub fn read_what_can_be(text: &str) -> (Script, Vec<ScriptError>) {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let is_end = |line: &str| line.is_empty() || line.starts_with('#');
        let (mut script, mut wrong) = (Script::default(), Vec::new());
        let mut next = 0;
        while next < lines.len() {
            let (line, head) = (next + 1, lines[next]);
            next += 1;
            if is_end(head) {
                continue;
            }
            // `clear` has no block, whatever follows it.
            let length = match head.eq_ignore_ascii_case("clear") {
                true => 0,
                false => lines[next..].iter().take_while(|line| !is_end(line)).count(),
            };
            let block: Vec<(usize, &str)> =
                (line + 1..).zip(lines[next..next + length].iter().copied()).collect();
            next += length;
            match action(head, &block, line) {
                Ok(action) => script.commands.push(Command { line, head: head.to_string(), action }),
                Err(error) => wrong.push(error),
            }
        }
        (script, wrong)
    }
}

fn action(head: &str, block: &[(usize, &str)], line: usize) -> Result<Action, ScriptError> {
    let wrong = |what: String| ScriptError { line, what };
    let (word, rest) = head.split_once(char::is_whitespace).unwrap_or((head, ""));
    let rest = rest.trim();
    match word.to_ascii_lowercase().as_str() {
        "clear" => Ok(Action::Clear),
        "load" | "load_with_nhcb" => {
            let step = millis(rest).filter(|step| *step > 0);
            let step = step.ok_or_else(|| wrong(format!("`{rest}` is not the distance of points")))?;
            let series = series(block)?;
            Ok(Action::Load(Load { step, with_native: word.ends_with("_nhcb"), series }))
        }
        "eval" | "eval_fail" | "eval_ordered" | "eval_warn" | "eval_info" => {
            let (times, query) = asked(rest).map_err(wrong)?;
            let any_if =
                |is: bool| Wanted { none: false, texts: if is { vec![Wording::Any] } else { Vec::new() } };
            let mut eval = Eval {
                query: query.to_string(),
                times,
                expected: Expected::Elements(Vec::new()),
                ordered: word == "eval_ordered",
                warnings: any_if(word == "eval_warn"),
                infos: any_if(word == "eval_info"),
            };
            expectations(&mut eval, (word == "eval_fail").then_some(Wording::Any), block)?;
            Ok(Action::Eval(Box::new(eval)))
        }
        _ => Err(wrong(format!("unknown command `{word}`; a script has clear, load and eval"))),
    }
}

/// The series of a load. A line of start timestamps says of which series they are.
fn series(block: &[(usize, &str)]) -> Result<Vec<LoadedSeries>, ScriptError> {
    let mut series: Vec<LoadedSeries> = Vec::new();
    let mut timed = false;
    for (line, text) in block {
        let (name, points) = split_series(text);
        if name.ends_with("@st") {
            timed = true;
            continue;
        }
        let wrong = |what: String| ScriptError { line: *line, what };
        let labels = notation::labels(name).map_err(|error| wrong(error.to_string()))?;
        let (points, has_native) = without_histograms(points);
        let points = notation::points(&points).map_err(|error| wrong(error.to_string()))?;
        let lacks = match (has_native, timed) {
            (true, _) => Some(Skip::NativeHistogram),
            (false, true) => Some(Skip::StartTimestamp),
            (false, false) => None,
        };
        series.push(LoadedSeries { labels, points, lacks });
    }
    Ok(series)
}

/// `instant [at T] QUERY` or `range from T to T step T QUERY`.
fn asked(text: &str) -> Read<(Times, &str)> {
    let (kind, rest) = next_word(text);
    match kind {
        "instant" => match next_word(rest) {
            ("at", rest) => {
                let (at, query) = next_word(rest);
                Ok((Times::Instant(moment(at)?), query))
            }
            _ => Ok((Times::Instant(0), rest)),
        },
        "range" => {
            let (grid, query) = grid(rest)?;
            Ok((Times::Range(grid), query))
        }
        _ => Err(format!("`{kind}` is neither instant nor range")),
    }
}

/// `from T to T step T`, and what follows.
fn grid(text: &str) -> Read<(Grid, &str)> {
    let mut rest = text;
    let mut times = [0; 3];
    for (keyword, time) in ["from", "to", "step"].into_iter().zip(&mut times) {
        let (word, after) = next_word(rest);
        if word != keyword {
            return Err(format!("`{keyword}` must stand where `{word}` does"));
        }
        let (text, after) = next_word(after);
        *time = moment(text)?;
        rest = after;
    }
    let [start, end, step] = times;
    match step > 0 && start <= end && (end - start) / step < 100_000 {
        true => Ok((Grid { start, end, step }, rest)),
        false => Err("a range needs an end after its start, and 1 to 100,000 steps".into()),
    }
}

fn next_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

fn moment(text: &str) -> Read<i64> {
    millis(text).ok_or_else(|| format!("`{text}` is not a time"))
}

/// What the lines below an eval want.
fn expectations(
    eval: &mut Eval,
    mut failure: Option<Wording>,
    block: &[(usize, &str)],
) -> Result<(), ScriptError> {
    let mut elements = Vec::new();
    let mut samples_at = None;
    let mut native = false;
    for (line, text) in block {
        let wrong = |what: String| ScriptError { line: *line, what };
        let (word, rest) = next_word(text);
        if word == "expect" {
            match directive(rest).map_err(wrong)? {
                Directive::Fail(wording) => failure = Some(wording),
                Directive::Ordered => eval.ordered = true,
                Directive::Warning(wording) => eval.warnings.texts.push(wording),
                Directive::NoWarning => eval.warnings.none = true,
                Directive::Info(wording) => eval.infos.texts.push(wording),
                Directive::NoInfo => eval.infos.none = true,
                Directive::Text(text) => eval.expected = Expected::Text(text),
                Directive::SamplesAt(grid) => samples_at = Some(grid),
            }
        } else if word == "expected_fail_message" {
            failure = Some(Wording::Exactly(rest.to_owned()));
        } else if word == "expected_fail_regexp" {
            failure = Some(Wording::matching(rest).map_err(wrong)?);
        } else if let Some(number) = number(text) {
            eval.expected = Expected::Scalar(number);
        } else {
            let (element, has_native) = element(text).map_err(wrong)?;
            elements.push(element);
            native |= has_native;
        }
    }
    match (failure, samples_at, &eval.expected) {
        _ if native => eval.expected = Expected::Native,
        (Some(wording), ..) => eval.expected = Expected::Failure(wording),
        (None, Some(grid), _) => eval.expected = Expected::Samples(grid, elements),
        (None, None, Expected::Elements(_)) => eval.expected = Expected::Elements(elements),
        _ => {}
    }
    Ok(())
}

/// The answer `metric{...} 1 2 3`, and whether a native histogram is among the points.
fn element(text: &str) -> Read<((Labels, Vec<NotedPoint>), bool)> {
    let (series, points) = split_series(text);
    let labels = notation::labels(series).map_err(|error| error.to_string())?;
    let (points, native) = without_histograms(points);
    let points = notation::points(&points).map_err(|error| error.to_string())?;
    match points.is_empty() {
        true => Err("no value follows the labels".into()),
        false => Ok(((labels, points), native)),
    }
}

/// A number that stands alone on its line; it may be hexadecimal.
fn number(text: &str) -> Option<f64> {
    match parse(text, ParseOptions { dialect: Dialect::V3, experimental: false }).ok()? {
        Expr::Number(value, _) => Some(value),
        Expr::Negate(inner, _) => match *inner {
            Expr::Number(value, _) => Some(-value),
            _ => None,
        },
        _ => None,
    }
}

/// What stands after `expect`.
enum Directive {
    Fail(Wording),
    Ordered,
    Warning(Wording),
    NoWarning,
    Info(Wording),
    NoInfo,
    Text(String),
    SamplesAt(Grid),
}

fn directive(text: &str) -> Read<Directive> {
    let (word, rest) = next_word(text);
    match word {
        "fail" => Wording::read(rest).map(Directive::Fail),
        "ordered" => Ok(Directive::Ordered),
        "warn" => Wording::read(rest).map(Directive::Warning),
        "no_warn" => Ok(Directive::NoWarning),
        "info" => Wording::read(rest).map(Directive::Info),
        "no_info" => Ok(Directive::NoInfo),
        "string" => match parse(rest, ParseOptions { dialect: Dialect::V3, experimental: false }) {
            Ok(Expr::Text(text, _)) => Ok(Directive::Text(text)),
            _ => Err(format!("`{rest}` is not a quoted string")),
        },
        "range" => match next_word(rest) {
            ("vector", rest) => grid(rest).map(|(grid, _)| Directive::SamplesAt(grid)),
            _ => Err("`expect range` must go on with `vector from ... to ... step ...`".into()),
        },
        _ => Err(format!("`expect {word}` is unknown")),
    }
}
