//! Go's own functions of templates: comparing, logic, indexing, printing, escaping.

use super::Facts;
use super::functions::Answer;
use super::print;
use super::value::Value;
use std::cmp::Ordering;
use std::rc::Rc;

const BAD_TYPE: &str = "invalid type for comparison";
const INCOMPATIBLE: &str = "incompatible types for comparison";
const MISSING: &str = "missing argument for comparison";

/// `and` of values that are all there; the caller stops early where Go does.
pub(super) fn and(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    Ok(decisive(arguments, false))
}

pub(super) fn or(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    Ok(decisive(arguments, true))
}

/// The first value whose truth is `wanted`, or the last.
fn decisive(arguments: &[Value], wanted: bool) -> Value {
    let found = arguments.iter().find(|value| value.is_true() == wanted).or(arguments.last());
    found.cloned().unwrap_or(Value::Missing)
}

pub(super) fn not(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    Ok(Value::Bool(!arguments.first().is_some_and(Value::is_true)))
}

pub(super) fn call(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let name = arguments.first().map_or("<nil>", Value::type_name);
    Err(format!("non-function of type {name}"))
}

/// How two values compare; `None` with NaN.
fn compared(one: &Value, other: &Value) -> Result<Option<Ordering>, String> {
    match (one, other) {
        (Value::Int(one) | Value::Duration(one), Value::Int(other) | Value::Duration(other)) => {
            Ok(Some(one.cmp(other)))
        }
        (Value::Float(one), Value::Float(other)) => Ok(one.partial_cmp(other)),
        (Value::Text(one), Value::Text(other)) => Ok(Some(one.cmp(other))),
        (Value::Bool(_), Value::Bool(_)) => Err(BAD_TYPE.into()),
        _ if is_basic(one) && is_basic(other) => Err(INCOMPATIBLE.into()),
        _ => Err(BAD_TYPE.into()),
    }
}

fn is_basic(value: &Value) -> bool {
    use Value as V;
    matches!(value, V::Bool(_) | V::Int(_) | V::Float(_) | V::Text(_) | V::Duration(_))
}

fn same(one: &Value, other: &Value) -> Result<bool, String> {
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => Ok(one == other),
        (Value::Missing | Value::Nil, Value::Missing | Value::Nil) => Ok(true),
        (Value::Missing | Value::Nil, _) | (_, Value::Missing | Value::Nil) => Ok(false),
        (Value::Sample(one), Value::Sample(other)) => Ok(Rc::ptr_eq(one, other)),
        (Value::Time(_), Value::Time(_)) => Ok(false),
        (one, other) if is_basic(one) && is_basic(other) => {
            compared(one, other).map(|order| order == Some(Ordering::Equal))
        }
        (one, _) if matches!(one, Value::Labels(_) | Value::Arguments(_) | Value::Samples(_)) => {
            Err(format!("non-comparable type {}: {}", one.shown(), one.type_name()))
        }
        _ => Err(INCOMPATIBLE.into()),
    }
}

pub(super) fn eq(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let [first, others @ ..] = arguments else { return Err(MISSING.into()) };
    if others.is_empty() {
        return Err(MISSING.into());
    }
    for other in others {
        if same(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

pub(super) fn ne(facts: &Facts<'_>, arguments: &[Value]) -> Answer {
    eq(facts, arguments).map(|equal| Value::Bool(!equal.is_true()))
}

fn pair(arguments: &[Value]) -> Result<Option<Ordering>, String> {
    let [one, other] = arguments else { return Err(MISSING.into()) };
    compared(one, other)
}

pub(super) fn lt(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    Ok(Value::Bool(pair(arguments)? == Some(Ordering::Less)))
}

pub(super) fn le(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    Ok(Value::Bool(matches!(pair(arguments)?, Some(Ordering::Less | Ordering::Equal))))
}

/// The opposite of `le`, so that NaN is greater than everything, as in Go.
pub(super) fn gt(facts: &Facts<'_>, arguments: &[Value]) -> Answer {
    le(facts, arguments).map(|holds| Value::Bool(!holds.is_true()))
}

pub(super) fn ge(facts: &Facts<'_>, arguments: &[Value]) -> Answer {
    lt(facts, arguments).map(|holds| Value::Bool(!holds.is_true()))
}

pub(super) fn len(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let length = match arguments.first() {
        Some(Value::Text(text)) => text.len(),
        Some(Value::Labels(map)) => map.len(),
        Some(Value::Arguments(map)) => map.len(),
        Some(Value::Samples(samples)) => samples.len(),
        Some(Value::Missing | Value::Nil) | None => {
            return Err("reflect: call of reflect.Value.Type on zero Value".into());
        }
        Some(other) => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// A place in something that long; its end is one too.
fn place(index: &Value, length: usize) -> Result<usize, String> {
    match index {
        Value::Int(number) => usize::try_from(*number)
            .ok()
            .filter(|place| *place <= length)
            .ok_or_else(|| format!("index out of range: {number}")),
        Value::Missing | Value::Nil => Err("cannot index slice/array with nil".into()),
        other => Err(format!("cannot index slice/array with type {}", other.type_name())),
    }
}

pub(super) fn index(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let [item, indexes @ ..] = arguments else { return Err("index of untyped nil".into()) };
    let mut item = item.clone();
    for index in indexes {
        item = indexed(&item, index)?;
    }
    match item {
        Value::Missing | Value::Nil if indexes.is_empty() => Err("index of untyped nil".into()),
        item => Ok(item),
    }
}

fn indexed(item: &Value, index: &Value) -> Answer {
    let key = || match index {
        Value::Text(key) => Ok(key.to_string()),
        Value::Missing | Value::Nil => Err("value is nil; should be of type string".to_string()),
        other => Err(format!("value has type {}; should be string", other.type_name())),
    };
    match item {
        Value::Text(text) => match text.as_bytes().get(place(index, text.len())?) {
            Some(byte) => Ok(Value::Int(i64::from(*byte))),
            None => Err("reflect: string index out of range".into()),
        },
        Value::Samples(samples) => match samples.get(place(index, samples.len())?) {
            Some(sample) => Ok(Value::Sample(sample.clone())),
            None => Err("reflect: slice index out of range".into()),
        },
        Value::Labels(map) => Ok(Value::text(map.get(&key()?).map(String::as_str).unwrap_or_default())),
        Value::Arguments(map) => Ok(map.get(&key()?).cloned().unwrap_or(Value::Missing)),
        Value::Missing | Value::Nil => Err("index of untyped nil".into()),
        other => Err(format!("can't index item of type {}", other.type_name())),
    }
}

pub(super) fn slice(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let [item, bounds @ ..] = arguments else { return Err("slice of untyped nil".into()) };
    if bounds.len() > 3 {
        return Err(format!("too many slice indexes: {}", bounds.len()));
    }
    let length = match item {
        Value::Text(_) if bounds.len() == 3 => return Err("cannot 3-index slice a string".into()),
        Value::Text(text) => text.len(),
        Value::Samples(samples) => samples.len(),
        Value::Missing | Value::Nil => return Err("slice of untyped nil".into()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut edges = [0, length, length];
    for (edge, bound) in edges.iter_mut().zip(bounds) {
        *edge = place(bound, length)?;
    }
    let [from, to, _] = edges;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match item {
        Value::Text(text) => Value::text(String::from_utf8_lossy(&text.as_bytes()[from..to])),
        Value::Samples(samples) => Value::Samples(Rc::new(samples[from..to].to_vec())),
        _ => Value::Missing,
    })
}

pub(super) fn print(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    Ok(Value::text(printed(arguments)))
}

/// A blank between two operands if neither is text.
fn printed(arguments: &[Value]) -> String {
    let mut text = String::new();
    let mut previous_is_text = true;
    for value in arguments {
        let is_text = matches!(value, Value::Text(_));
        if !is_text && !previous_is_text {
            text.push(' ');
        }
        text += &shown(value);
        previous_is_text = is_text;
    }
    text
}

fn shown(value: &Value) -> String {
    if matches!(value, Value::Missing) { "<nil>".into() } else { value.shown() }
}

pub(super) fn println(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let shown: Vec<String> = arguments.iter().map(shown).collect();
    Ok(Value::text(shown.join(" ") + "\n"))
}

pub(super) fn printf(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let [Value::Text(format), values @ ..] = arguments else { return Ok(Value::text("")) };
    Ok(Value::text(print::formatted(format, values)))
}

pub(super) fn html(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let mut escaped = String::new();
    for c in printed(arguments).chars() {
        match c {
            '\0' => escaped.push('\u{fffd}'),
            '"' => escaped += "&#34;",
            '\'' => escaped += "&#39;",
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            c => escaped.push(c),
        }
    }
    Ok(Value::text(escaped))
}

pub(super) fn js(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    let mut escaped = String::new();
    for c in printed(arguments).chars() {
        match c {
            '\\' => escaped += "\\\\",
            '\'' => escaped += "\\'",
            '"' => escaped += "\\\"",
            '<' | '>' | '&' | '=' | '\0'..='\x1f' => escaped += &format!("\\u{:04X}", u32::from(c)),
            c => escaped.push(c),
        }
    }
    Ok(Value::text(escaped))
}

pub(super) fn urlquery(_: &Facts<'_>, arguments: &[Value]) -> Answer {
    Ok(Value::text(query_escaped(&printed(arguments))))
}

/// As part of a URL's query.
pub(super) fn query_escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => escaped.push(char::from(b)),
            b => escaped += &format!("%{b:02X}"),
        }
    }
    escaped
}
