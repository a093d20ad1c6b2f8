//! What a script wants of texts: of a failure, of warnings, of infos.

use super::{ScriptFailure, Wanted, Wording};
use crate::promql::annotation::Severity;
use crate::promql::eval::EvalError;
use crate::promql::parse::ParseError;
use crate::promql::pattern;

impl Wording {
    /// Reads `msg: TEXT`, `regex: PATTERN` or nothing, which any text has.
    pub(super) fn read(text: &str) -> Result<Wording, String> {
        match text.split_once(':').map(|(kind, rest)| (kind, rest.trim())) {
            None if text.is_empty() => Ok(Wording::Any),
            Some(("msg", message)) => Ok(Wording::Exactly(message.to_owned())),
            Some(("regex", pattern)) => Wording::matching(pattern),
            _ => Err(format!("`{text}` is neither `msg: ...` nor `regex: ...`")),
        }
    }

    pub(super) fn matching(pattern: &str) -> Result<Wording, String> {
        let regex = pattern::found_anywhere(pattern)
            .map_err(|reason| format!("`{pattern}` is not a regular expression: {reason}"))?;
        Ok(Wording::Matching(regex))
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Wording::Any => true,
            Wording::Exactly(message) => message == text,
            Wording::Matching(regex) => regex.is_match(text),
        }
    }

    /// Whether a failure has it, in our words or in Prometheus'.
    pub(super) fn fits_failure(&self, failure: &ScriptFailure) -> bool {
        self.fits(&failure.text) || failure.in_prometheus.as_ref().is_some_and(|text| self.fits(text))
    }
}

impl std::fmt::Display for Wording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wording::Any => f.write_str("of any text"),
            Wording::Exactly(message) => write!(f, "`{message}`"),
            Wording::Matching(regex) => write!(f, "matching `{regex}`"),
        }
    }
}

impl Wanted {
    /// How many expectations these are.
    pub(super) fn count(&self) -> usize {
        self.texts.len() + usize::from(self.none)
    }

    /// What is wrong with the annotations of a kind; nothing if they are what is wanted.
    ///
    /// Each text wanted must be there, and each that is there must be wanted. Where nothing is asked, nothing is wrong.
    pub(super) fn wrong(&self, kind: &str, found: &[&str]) -> Option<(String, String)> {
        let shown = || if found.is_empty() { format!("no {kind}") } else { found.join("\n") };
        if self.none && !found.is_empty() {
            return Some((format!("no {kind}"), shown()));
        }
        let missing = self.texts.iter().find(|wanted| !found.iter().any(|text| wanted.fits(text)));
        let unwanted = found.iter().find(|text| !self.texts.iter().any(|wanted| wanted.fits(text)));
        match (missing, unwanted) {
            (Some(missing), _) => Some((format!("{kind} {missing}"), shown())),
            (None, Some(unwanted)) if !self.texts.is_empty() => {
                Some((format!("no other {kind}"), unwanted.to_string()))
            }
            _ => None,
        }
    }
}

/// What is wrong with the annotations of an answer, as wanted and as found.
pub(super) fn wrong_annotations(
    warnings: &Wanted,
    infos: &Wanted,
    found: &[(Severity, String)],
) -> Option<(String, String)> {
    let of = |severity: Severity| -> Vec<&str> {
        found.iter().filter(|(s, _)| *s == severity).map(|(_, text)| text.as_str()).collect()
    };
    let wrong = warnings.wrong("warning", &of(Severity::Warning));
    wrong.or_else(|| infos.wrong("info", &of(Severity::Info)))
}

impl std::fmt::Display for ScriptFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.in_prometheus {
            Some(text) => write!(f, "error: {} (Prometheus: {text})", self.text),
            None => write!(f, "error: {}", self.text),
        }
    }
}

impl ScriptFailure {
    pub(super) fn new(text: String) -> ScriptFailure {
        ScriptFailure { text, in_prometheus: None }
    }

    /// A query that is none. Of Prometheus' words for it only those are known that scripts ask for.
    pub(super) fn of_parse(error: &ParseError, query: &str) -> ScriptFailure {
        // Prometheus reads a string that is no text, and finds that it names no label.
        let literal = query.get(error.range.clone()).unwrap_or_default();
        let before = query.get(..error.range.start).unwrap_or_default();
        let is_label = literal.starts_with('"') && before.contains("count_values");
        let in_prometheus = is_label.then(|| format!("invalid label name {literal}"));
        ScriptFailure { text: error.to_string(), in_prometheus }
    }

    pub(super) fn of_eval(error: &EvalError) -> ScriptFailure {
        ScriptFailure { text: error.to_string(), in_prometheus: in_prometheus(error) }
    }
}

/// Prometheus' text of an error, which scripts quote; ours says more.
fn in_prometheus(error: &EvalError) -> Option<String> {
    Some(match error {
        EvalError::DuplicateLabels(_) => "vector cannot contain metrics with the same labelset".into(),
        EvalError::ManyToMany { side, group, elements } => {
            let [first, second] = elements.as_ref();
            format!(
                "found duplicate series for the match group {group} on the {side} hand-side of the operation: \
                 [{second}, {first}];many-to-many matching not allowed: matching labels must be unique on one side"
            )
        }
        EvalError::ManyToOne => {
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                .into()
        }
        EvalError::GroupingNotUnique(_) => {
            "multiple matches for labels: grouping labels must ensure unique matches".into()
        }
        EvalError::Regex(pattern) => format!("invalid regular expression in label_replace(): {pattern}"),
        EvalError::LabelName { function: "count_values", name, .. } => format!("invalid label name {name:?}"),
        EvalError::LabelName { function, name, role } => {
            format!("invalid {role} label name in {function}(): {name}")
        }
        EvalError::CountIsNan => "Parameter value is NaN".into(),
        EvalError::Count(count) => {
            let direction = if count.starts_with('-') { "underflows" } else { "overflows" };
            format!("Scalar value {count} {direction} int64")
        }
        EvalError::Smoothing { factor, value } => {
            let short = if *factor == "trend" { "tf" } else { "sf" };
            format!("invalid {factor} factor. Expected: 0 < {short} < 1, got: {value}")
        }
        _ => return None,
    })
}
