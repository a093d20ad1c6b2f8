//! The standard OTEL_… variables.

use crate::metrics::Signal;
use std::borrow::Cow;

/// Variables by name. One that is empty counts as not set, as the specification has it.
pub struct Environment<'a>(pub &'a dyn Fn(&str) -> Option<String>);

/// A variable that is set.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
}

impl Environment<'_> {
    pub(super) fn get(&self, name: &str) -> Option<Variable> {
        let value = (self.0)(name).filter(|value| !value.trim().is_empty())?;
        Some(Variable { name: name.to_owned(), value })
    }

    /// `OTEL_EXPORTER_OTLP_…_KEY` of one signal alone.
    pub(super) fn of_signal(&self, signal: Signal, key: &str) -> Option<Variable> {
        self.get(&format!("OTEL_EXPORTER_OTLP_{}_{key}", signal.name().to_ascii_uppercase()))
    }

    /// `OTEL_EXPORTER_OTLP_KEY` of one signal, or of all.
    pub(super) fn exporter(&self, signal: Signal, key: &str) -> Option<Variable> {
        self.of_signal(signal, key).or_else(|| self.get(&format!("OTEL_EXPORTER_OTLP_{key}")))
    }
}

/// `name=value` pairs separated by commas; values are percent-encoded. `None`: it is no such list.
pub(super) fn pairs(list: &str) -> Option<Vec<(String, String)>> {
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let pair = |entry: &str| {
        let (name, value) = entry.split_once('=')?;
        let name = percent_decode(name.trim()).into_owned();
        (!name.is_empty()).then(|| (name, percent_decode(value.trim()).into_owned()))
    };
    entries.map(pair).collect()
}

/// What is not two hexadecimal digits after `%` stays as it is.
fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let decoded =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        let is_encoded = byte == b'%' && decoded.is_some();
        bytes.push(decoded.filter(|_| is_encoded).unwrap_or(byte));
        rest = if is_encoded { &after[2..] } else { after };
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_pairs_and_values_are_decoded() {
        let of = |list: &str| {
            pairs(list)
                .map(|pairs| pairs.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>())
        };
        assert_eq!(of("a=1, b = x%20y%2C+z ,,c=%zz%4,d==").unwrap(), ["a:1", "b:x y,+z", "c:%zz%4", "d:="]);
        assert_eq!(of(""), Some(vec![]));
        for bad in ["a", "=1", "a=1,b", " =1"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
