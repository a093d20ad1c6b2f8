//! The functions a template may call: Prometheus' own here, Go's in [`builtins`].

use super::value::{Moment, Sample, Value, map};
use super::{Facts, builtins, numbers};
use crate::promql::ast::Dialect;
use crate::promql::pattern;
use crate::time::Millis;
use regex::Regex;
use std::rc::Rc;

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Any,
    Text,
    Sample,
    Samples,
}

impl Kind {
    /// Go's name of the type.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Any => "interface {}",
            Kind::Text => "string",
            Kind::Sample => "*template.sample",
            Kind::Samples => "template.queryResult",
        }
    }
}

/// What a call answers, or why it has no answer, as Go would say it.
pub(super) type Answer = Result<Value, String>;

/// A function.
pub(super) struct Function {
    pub(super) name: &'static str,
    /// Its arguments.
    pub(super) parameters: &'static [Kind],
    /// What any number of further arguments must be.
    pub(super) more: Option<Kind>,
    /// Whether only Prometheus 3 has it.
    is_new: bool,
    pub(super) body: fn(&Facts<'_>, &[Value]) -> Answer,
}

const fn function(
    name: &'static str,
    parameters: &'static [Kind],
    body: fn(&Facts<'_>, &[Value]) -> Answer,
) -> Function {
    Function { name, parameters, more: None, is_new: false, body }
}

const fn open(
    name: &'static str,
    parameters: &'static [Kind],
    body: fn(&Facts<'_>, &[Value]) -> Answer,
) -> Function {
    Function { name, parameters, more: Some(Kind::Any), is_new: false, body }
}

const fn new(function: Function) -> Function {
    Function { is_new: true, ..function }
}

use Kind::{Any, Sample as OneSample, Samples, Text};

static FUNCTIONS: &[Function] = &[
    open("and", &[Any], builtins::and),
    open("call", &[Any], builtins::call),
    open("eq", &[Any], builtins::eq),
    function("ge", &[Any, Any], builtins::ge),
    function("gt", &[Any, Any], builtins::gt),
    open("html", &[], builtins::html),
    open("index", &[Any], builtins::index),
    open("js", &[], builtins::js),
    function("le", &[Any, Any], builtins::le),
    function("len", &[Any], builtins::len),
    function("lt", &[Any, Any], builtins::lt),
    function("ne", &[Any, Any], builtins::ne),
    function("not", &[Any], builtins::not),
    open("or", &[Any], builtins::or),
    open("print", &[], builtins::print),
    open("printf", &[Text], builtins::printf),
    open("println", &[], builtins::println),
    open("slice", &[Any], builtins::slice),
    open("urlquery", &[], builtins::urlquery),
    open("args", &[], args),
    function("externalURL", &[], |facts, _| Ok(Value::text(facts.external_url))),
    function("first", &[Samples], first),
    function("graphLink", &[Text], |_, arguments| Ok(link(&text(arguments, 0), 0))),
    function("humanize", &[Any], |_, arguments| humanized(arguments, numbers::humanize)),
    function("humanize1024", &[Any], |_, arguments| humanized(arguments, numbers::humanize_1024)),
    function("humanizeDuration", &[Any], |_, arguments| humanized(arguments, numbers::humanize_duration)),
    function("humanizePercentage", &[Any], |_, arguments| humanized(arguments, numbers::humanize_percentage)),
    function("humanizeTimestamp", &[Any], humanize_timestamp),
    function("label", &[Text, OneSample], label),
    function("match", &[Text, Text], matches),
    new(function("now", &[], |facts, _| Ok(Value::Float(facts.now.seconds())))),
    function("parseDuration", &[Text], parse_duration),
    function("pathPrefix", &[], |facts, _| Ok(Value::text(path(facts.external_url)))),
    function("query", &[Text], query),
    function("reReplaceAll", &[Text, Text, Text], replace_all),
    function("safeHtml", &[Text], |_, arguments| Ok(Value::text(text(arguments, 0)))),
    function("sortByLabel", &[Text, Samples], sort_by_label),
    function("stripDomain", &[Text], |_, arguments| Ok(Value::text(strip_domain(&text(arguments, 0))))),
    function("stripPort", &[Text], |_, arguments| Ok(Value::text(strip_port(&text(arguments, 0))))),
    function("strvalue", &[OneSample], |_, arguments| Ok(label_of(arguments, 0, "__value__"))),
    function("tableLink", &[Text], |_, arguments| Ok(link(&text(arguments, 0), 1))),
    function("title", &[Text], |_, arguments| Ok(Value::text(title(&text(arguments, 0))))),
    new(function("toDuration", &[Any], to_duration)),
    function("toLower", &[Text], |_, arguments| Ok(Value::text(text(arguments, 0).to_lowercase()))),
    function("toTime", &[Any], to_time),
    function("toUpper", &[Text], |_, arguments| Ok(Value::text(text(arguments, 0).to_uppercase()))),
    new(function("urlQueryEscape", &[Text], |_, arguments| {
        Ok(Value::text(builtins::query_escaped(&text(arguments, 0))))
    })),
    function("value", &[OneSample], value),
];

/// The function of a name, if this Prometheus has it.
pub(super) fn find(name: &str, dialect: Dialect) -> Option<&'static Function> {
    let found = FUNCTIONS.iter().find(|function| function.name == name)?;
    (dialect == Dialect::V3 || !found.is_new).then_some(found)
}

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}

/// An argument that the caller has checked to be text.
fn text(arguments: &[Value], index: usize) -> Rc<str> {
    match arguments.get(index) {
        Some(Value::Text(text)) => text.clone(),
        _ => "".into(),
    }
}

/// A number for a function that takes anything: numbers, and texts that are numbers.
fn number(arguments: &[Value]) -> Result<f64, String> {
    match arguments.first() {
        Some(Value::Float(number)) => Ok(*number),
        Some(Value::Int(number)) => Ok(*number as f64),
        Some(Value::Duration(nanoseconds)) => Ok(*nanoseconds as f64 / 1e9),
        Some(Value::Text(text)) => {
            go_number(text).ok_or_else(|| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
        }
        other => {
            let name = other.map_or("<nil>", Value::type_name);
            Err(format!("can't convert {name} to float"))
        }
    }
}

/// A number as Go reads one from text: decimal, hexadecimal or a name for infinity or NaN; no blanks.
fn go_number(text: &str) -> Option<f64> {
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text).to_ascii_lowercase();
    let well = match bare.as_str() {
        "inf" | "infinity" | "nan" => !(bare == "nan" && bare.len() != text.len()),
        bare => bare.starts_with(|c: char| c.is_ascii_digit() || c == '.'),
    };
    well.then(|| text.parse().ok()).flatten()
}

fn humanized(arguments: &[Value], of_number: fn(f64) -> String) -> Answer {
    number(arguments).map(|number| Value::text(of_number(number)))
}

fn moment(seconds: f64) -> Result<Moment, String> {
    let nanoseconds = seconds * 1e9;
    if !(i64::MIN as f64..=i64::MAX as f64).contains(&nanoseconds) {
        let shown = numbers::go_float(seconds);
        return Err(format!(
            "{shown} cannot be represented as a nanoseconds timestamp since it overflows int64"
        ));
    }
    Ok(Moment(Millis((nanoseconds as i64) / 1_000_000)))
}

fn humanize_timestamp(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let seconds = number(arguments)?;
    if !seconds.is_finite() {
        return Ok(Value::text(numbers::go_float(seconds)));
    }
    moment(seconds).map(|moment| Value::text(moment.shown()))
}

fn to_time(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let seconds = number(arguments)?;
    if !seconds.is_finite() {
        return Err("value is NaN or Inf".into());
    }
    moment(seconds).map(Value::Time)
}

fn to_duration(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let seconds = number(arguments)?;
    if !seconds.is_finite() {
        return Err("value is NaN or Inf".into());
    }
    Ok(Value::Duration((seconds * 1e9) as i64))
}

fn parse_duration(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let text = text(arguments, 0);
    match crate::duration::parse(&text) {
        Some(duration) => Ok(Value::Float(duration.as_secs_f64())),
        None if text.is_empty() => Err("empty duration string".into()),
        None => Err(format!("not a valid duration string: {text:?}")),
    }
}

fn args(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let named = arguments.iter().enumerate().map(|(index, value)| (format!("arg{index}"), value.clone()));
    Ok(Value::Arguments(Rc::new(named.collect())))
}

fn query(facts: &Facts<'_>, arguments: &[Value]) -> Answer {
    let answer = (facts.query)(&text(arguments, 0))?;
    let sample = |(labels, value): (crate::labels::Labels, f64)| {
        Rc::new(Sample { labels: Rc::new(map(&labels)), value })
    };
    Ok(Value::Samples(Rc::new(answer.into_iter().map(sample).collect())))
}

fn first(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    match arguments.first() {
        Some(Value::Samples(samples)) if !samples.is_empty() => Ok(Value::Sample(samples[0].clone())),
        _ => Err("first() called on vector with no elements".into()),
    }
}

fn value(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    match arguments.first() {
        Some(Value::Sample(sample)) => Ok(Value::Float(sample.value)),
        _ => Err(NO_SAMPLE.into()),
    }
}

/// What Go says when there is nothing where a sample should be.
const NO_SAMPLE: &str = "runtime error: invalid memory address or nil pointer dereference";

fn label(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    match arguments.get(1) {
        Some(Value::Sample(_)) => Ok(label_of(arguments, 1, &text(arguments, 0))),
        _ => Err(NO_SAMPLE.into()),
    }
}

fn label_of(arguments: &[Value], index: usize, name: &str) -> Value {
    match arguments.get(index) {
        Some(Value::Sample(sample)) => {
            Value::text(sample.labels.get(name).map(String::as_str).unwrap_or_default())
        }
        _ => Value::text(""),
    }
}

fn sort_by_label(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let by = text(arguments, 0);
    let Some(Value::Samples(samples)) = arguments.get(1) else { return Ok(Value::Missing) };
    let mut sorted = samples.as_ref().clone();
    let key = |sample: &Rc<Sample>| sample.labels.get(&*by).cloned().unwrap_or_default();
    sorted.sort_by_key(key);
    Ok(Value::Samples(Rc::new(sorted)))
}

fn regex(arguments: &[Value]) -> Result<Regex, String> {
    let pattern = text(arguments, 0);
    pattern::found_anywhere(&pattern).map_err(|reason| format!("error parsing regexp: {reason}: `{pattern}`"))
}

fn matches(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let pattern = regex(arguments)?;
    Ok(Value::Bool(pattern.is_match(&text(arguments, 1))))
}

fn replace_all(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let pattern = regex(arguments)?;
    let (replacement, text) = (text(arguments, 1), text(arguments, 2));
    let filled = |found: &regex::Captures<'_>| pattern::expanded(&replacement, found);
    Ok(Value::text(pattern.replace_all(&text, filled)))
}

/// Each word's first letter large.
fn title(text: &str) -> String {
    let mut previous = ' ';
    let titled = text.chars().map(|c| {
        let begins = match previous {
            '\0'..='\x7f' => !(previous.is_ascii_alphanumeric() || previous == '_'),
            other => !other.is_alphanumeric() && other.is_whitespace(),
        };
        previous = c;
        if begins { c.to_uppercase().next().unwrap_or(c) } else { c }
    });
    titled.collect()
}

/// A path of Prometheus' own pages that shows an expression.
fn link(expression: &str, tab: u8) -> Value {
    Value::text(format!("/graph?g0.expr={}&g0.tab={tab}", builtins::query_escaped(expression)))
}

/// The path of a URL.
fn path(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
    path.split(['?', '#']).next().unwrap_or_default()
}

/// Host and port of `host:port` or `[host]:port`, as Go splits them.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_clean = |text: &str| !text.contains(['[', ']']);
    match host.strip_prefix('[') {
        Some(inner) => {
            let host = inner.strip_suffix(']')?;
            (is_clean(host) && is_clean(port)).then_some((host, port))
        }
        None => (is_clean(host) && is_clean(port) && !host.contains(':')).then_some((host, port)),
    }
}

fn strip_port(text: &str) -> String {
    split_host_port(text).map_or(text, |(host, _)| host).to_string()
}

fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return text.to_string();
    }
    let first = host.split('.').next().unwrap_or_default();
    match (port, first.contains(':')) {
        ("", _) => first.to_string(),
        (port, true) => format!("[{first}]:{port}"),
        (port, false) => format!("{first}:{port}"),
    }
}
