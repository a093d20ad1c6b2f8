//! `label_replace` and `label_join`.

use super::ast::{Dialect, Expr};
use super::eval::{Element, EvalError, Evaluated, Query, argument, reject_duplicates};
use super::function::OtherFunction;
use super::pattern;
use crate::labels::Labels;
use crate::store::METRIC_NAME;
use crate::time::Millis;

/// The elements with one label changed. Errors: no such label can be, or two elements become the same.
pub(super) fn vector(
    query: &Query<'_>,
    function: OtherFunction,
    arguments: &[Expr],
    at: Millis,
) -> Evaluated<Vec<Element>> {
    let text = |index| query.text(argument(arguments, index, "the function")?);
    let target = text(1)?;
    let function_name = if function == OtherFunction::LabelJoin { "label_join" } else { "label_replace" };
    if !is_label_name(target, query.settings.dialect) {
        let name = target.to_string();
        return Err(EvalError::LabelName { function: function_name, role: "destination", name });
    }
    let change = match function {
        OtherFunction::LabelJoin => Change::join(query, arguments)?,
        _ => Change::replace(query, text(2)?, text(3)?, text(4)?)?,
    };
    let mut elements = query.vector(argument(arguments, 0, "the function")?, at)?;
    for element in &mut elements {
        if let Some(value) = change.value(&element.labels) {
            element.labels = element.labels.with(target, &value);
            element.nameless &= target != METRIC_NAME;
        }
    }
    reject_duplicates(&elements)?;
    Ok(elements)
}

/// What a label becomes.
enum Change<'e> {
    Join { separator: &'e str, sources: Vec<&'e str> },
    Replace { source: &'e str, regex: regex::Regex, template: &'e str },
}

impl<'e> Change<'e> {
    fn join(query: &Query<'_>, arguments: &'e [Expr]) -> Evaluated<Change<'e>> {
        let separator = query.text(argument(arguments, 2, "label_join")?)?;
        let sources: Vec<&str> =
            arguments.iter().skip(3).map(|source| query.text(source)).collect::<Evaluated<_>>()?;
        match sources.iter().find(|source| !is_label_name(source, query.settings.dialect)) {
            Some(wrong) => {
                let name = wrong.to_string();
                Err(EvalError::LabelName { function: "label_join", role: "source", name })
            }
            None => Ok(Change::Join { separator, sources }),
        }
    }

    fn replace(
        query: &Query<'_>,
        template: &'e str,
        source: &'e str,
        pattern: &str,
    ) -> Evaluated<Change<'e>> {
        let regex = pattern::anchored(pattern, query.settings.dialect)
            .map_err(|_| EvalError::Regex(pattern.to_string()))?;
        Ok(Change::Replace { source, regex, template })
    }

    /// The new value; `None`: the label stays as it is.
    fn value(&self, labels: &Labels) -> Option<String> {
        match self {
            Change::Join { separator, sources } => {
                Some(sources.iter().map(|source| labels.get(source)).collect::<Vec<_>>().join(separator))
            }
            Change::Replace { source, regex, template } => {
                let captures = regex.captures(labels.get(source))?;
                Some(pattern::expanded(template, &captures))
            }
        }
    }
}

/// Whether a text can name a label: from 3.x on any, before a letter or underscore and then letters, digits, underscores.
pub(super) fn is_label_name(name: &str, dialect: Dialect) -> bool {
    let is_classic = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_classic || (dialect == Dialect::V3 && !name.is_empty())
}
