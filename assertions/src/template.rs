//! The part of Prometheus' templates that rules use: `$value`, `$labels.x`, and the functions that make numbers readable.

use crate::labels::Labels;

/// A text with places to fill in.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    /// A source, then functions from left to right.
    Action(Source, Vec<Function>),
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    Value,
    Label(String),
    Text(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Function {
    Humanize,
    Humanize1024,
    HumanizePercentage,
    HumanizeDuration,
    Printf(String),
    Upper,
    Lower,
}

/// An action that is not among those we expand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the action `{0}` is not supported")]
pub struct TemplateError(String);

impl Template {
    /// A text without places to fill in.
    pub fn text(text: &str) -> Template {
        Template(vec![Piece::Text(text.to_owned())])
    }

    /// The text, if there is nothing to fill in.
    pub fn plain(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text for an element with these labels and this value.
    pub fn expand(&self, labels: &Labels, value: f64) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Action(source, functions) => {
                let start = match source {
                    Source::Value => Datum::Number(value),
                    Source::Label(name) => Datum::Text(labels.get(name).to_owned()),
                    Source::Text(text) => Datum::Text(text.clone()),
                };
                functions.iter().fold(start, apply).into_text()
            }
        };
        self.0.iter().map(piece).collect()
    }
}

/// Reads a template.
pub fn parse(text: &str) -> Result<Template, TemplateError> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((action, after)) = after.split_once("}}") else { break };
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(parse_action(action.trim_matches(['-', ' ']).trim())?);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(Template(pieces))
}

fn parse_action(action: &str) -> Result<Piece, TemplateError> {
    let unsupported = || TemplateError(action.to_owned());
    let mut steps = split_pipes(action).into_iter();
    let first = steps.next().ok_or_else(unsupported)?;
    let mut functions = Vec::new();
    let source = match source(first) {
        Some(source) => source,
        // A function in front of its argument: `humanize $value`, `printf "%.2f" $value`.
        None => {
            let (head, argument) = first.rsplit_once(' ').ok_or_else(unsupported)?;
            functions.push(function(head.trim()).ok_or_else(unsupported)?);
            source(argument.trim()).ok_or_else(unsupported)?
        }
    };
    for step in steps {
        functions.push(function(step).ok_or_else(unsupported)?);
    }
    Ok(Piece::Action(source, functions))
}

/// Splits at `|` outside of quotes.
fn split_pipes(action: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted) = (Vec::new(), 0, false);
    for (index, byte) in action.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'|' if !quoted => {
                parts.push(action[start..index].trim());
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(action[start..].trim());
    parts
}

fn source(text: &str) -> Option<Source> {
    match text {
        "$value" | ".Value" => Some(Source::Value),
        text => {
            if let Some(name) = text.strip_prefix("$labels.").or_else(|| text.strip_prefix(".Labels.")) {
                let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
                return is_name.then(|| Source::Label(name.to_owned()));
            }
            let quoted = text.strip_prefix('"')?.strip_suffix('"')?;
            (!quoted.contains('"')).then(|| Source::Text(quoted.to_owned()))
        }
    }
}

fn function(text: &str) -> Option<Function> {
    Some(match text {
        "humanize" => Function::Humanize,
        "humanize1024" => Function::Humanize1024,
        "humanizePercentage" => Function::HumanizePercentage,
        "humanizeDuration" => Function::HumanizeDuration,
        "toUpper" | "upper" => Function::Upper,
        "toLower" | "lower" => Function::Lower,
        text => {
            let format = text.strip_prefix("printf")?.trim().strip_prefix('"')?.strip_suffix('"')?;
            let verb = format.split_once('%')?.1.replace("%%", "");
            let known = verb.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            (known.starts_with(['f', 'v', 's', 'g']) && !verb.contains('%'))
                .then(|| Function::Printf(format.to_owned()))?
        }
    })
}

enum Datum {
    Number(f64),
    Text(String),
}

impl Datum {
    fn number(&self) -> Option<f64> {
        match self {
            Datum::Number(number) => Some(*number),
            Datum::Text(text) => text.parse().ok(),
        }
    }

    fn into_text(self) -> String {
        match self {
            Datum::Number(number) => general(number),
            Datum::Text(text) => text,
        }
    }
}

fn apply(datum: Datum, function: &Function) -> Datum {
    let text = match (function, datum.number()) {
        (Function::Upper, _) => datum.into_text().to_uppercase(),
        (Function::Lower, _) => datum.into_text().to_lowercase(),
        (Function::Printf(format), number) => printf(format, number, &datum.into_text()),
        (_, None) => datum.into_text(),
        (Function::Humanize, Some(number)) => {
            humanize(number, 1000.0, &["k", "M", "G", "T", "P", "E", "Z", "Y"])
        }
        (Function::Humanize1024, Some(number)) => {
            humanize(number, 1024.0, &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"])
        }
        (Function::HumanizePercentage, Some(number)) => format!("{}%", significant(number * 100.0)),
        (Function::HumanizeDuration, Some(number)) => humanize_duration(number),
    };
    Datum::Text(text)
}

/// As Go's `%v` writes a float: the shortest digits that read back equal.
fn general(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let exponent = if number == 0.0 { 0 } else { number.abs().log10().floor() as i32 };
    if !(-4..21).contains(&exponent) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits_of_exponent) = match exponent.strip_prefix('-') {
            Some(rest) => ('-', rest),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{digits_of_exponent:0>2}");
    }
    number.to_string()
}

/// Four significant digits, as `%.4g`.
fn significant(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return general(number);
    }
    let exponent = number.abs().log10().floor() as i32;
    let rounded: f64 = format!("{number:.3e}").parse().unwrap_or(number);
    if !(-4..4).contains(&exponent) { general_exponent(rounded) } else { general(rounded) }
}

fn general_exponent(number: f64) -> String {
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn humanize(number: f64, base: f64, large: &[&str]) -> String {
    const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];
    if number == 0.0 || !number.is_finite() {
        return significant(number);
    }
    let (mut scaled, mut prefix) = (number, "");
    if number.abs() >= 1.0 {
        for name in large {
            if scaled.abs() < base {
                break;
            }
            (scaled, prefix) = (scaled / base, name);
        }
    } else if base == 1000.0 {
        for name in SMALL {
            if scaled.abs() >= 1.0 {
                break;
            }
            (scaled, prefix) = (scaled * 1000.0, name);
        }
    }
    format!("{}{prefix}", significant(scaled))
}

fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return significant(seconds);
    }
    let (sign, seconds) = if seconds < 0.0 { ("-", -seconds) } else { ("", seconds) };
    if seconds == 0.0 {
        return "0s".into();
    }
    if seconds < 1.0 {
        return format!("{sign}{}", humanize(seconds, 1000.0, &[]) + "s");
    }
    let whole = seconds as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    let rest = whole % 60;
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", significant(seconds)),
        (0, 0, _) => format!("{sign}{minutes}m {rest}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {rest}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

fn printf(format: &str, number: Option<f64>, text: &str) -> String {
    let Some((before, after)) = format.split_once('%') else { return format.to_owned() };
    let end = after.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
    let (flags, verb, rest) = (&after[..end], &after[end..=end], &after[end + 1..]);
    let precision = flags.split_once('.').and_then(|(_, digits)| digits.parse::<usize>().ok());
    let value = match (verb, number) {
        ("f", Some(number)) => format!("{number:.*}", precision.unwrap_or(6)),
        ("g", Some(number)) => general(number),
        _ => text.to_owned(),
    };
    format!("{before}{value}{}", rest.replace("%%", "%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_as_prometheus_does() {
        let labels = Labels::from_pairs([("job", "im"), ("node", "n1")]);
        for (text, value, expected) in [
            ("no action", 1.0, "no action"),
            ("{{ $labels.job }} on {{$labels.node}}: {{ $value }}", 0.5, "im on n1: 0.5"),
            ("{{ $labels.absent }}", 0.0, ""),
            ("{{ $value | humanizePercentage }}", 0.020_512, "2.051%"),
            ("{{ humanizePercentage $value }}", 0.5, "50%"),
            ("{{ $value | humanize }}", 1_234_567.0, "1.235M"),
            ("{{ $value | humanize }}", 0.012, "12m"),
            ("{{ $value | humanize1024 }}", 2048.0, "2ki"),
            ("{{ $value | humanizeDuration }}", 3_725.0, "1h 2m 5s"),
            ("{{ $value | humanizeDuration }}", 0.6, "600ms"),
            ("{{ printf \"%.2f\" $value }}s", 0.605, "0.60s"),
            ("{{ $value | printf \"%.1f%%\" }}", 12.34, "12.3%"),
            ("{{ $value }}", 1e-7, "1e-07"),
            ("open {{ $value", 1.0, "open {{ $value"),
        ] {
            assert_eq!(parse(text).unwrap().expand(&labels, value), expected, "{text}");
        }
    }

    #[test]
    fn what_it_does_not_know_it_says() {
        for text in ["{{ if gt $value 1.0 }}x{{ end }}", "{{ query \"up\" }}", "{{ $value | unknown }}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
