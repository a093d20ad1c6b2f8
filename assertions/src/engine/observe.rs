//! What stands behind an alert at a moment: the measured value, the threshold, the number of events.

use super::{Engine, GroupRun};
use crate::labels::Labels;
use crate::promql::eval::EvalError;
use crate::promql::selection;
use crate::store::Store;
use crate::time::Millis;

/// The value of a rule's expression, comparisons left out, for one element.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The element's labels.
    pub labels: Labels,
    /// The measured value, as in "P99 is 0.004".
    pub value: f64,
    /// The constant it is compared with, if there is one.
    pub threshold: Option<f64>,
    /// Events in the numerator's window, in rule time (of a stretched run: k times those that happened), where the
    /// expression is a ratio of rates or increases.
    pub events: Option<f64>,
}

impl Engine {
    /// What rule number `rule` measures at `at`, element by element; empty for an unknown rule.
    ///
    /// Errors: the expression cannot be evaluated.
    pub fn observations(
        &self,
        store: &Store,
        rule: usize,
        at: Millis,
    ) -> Result<Vec<Observation>, EvalError> {
        let in_group = |group: &&crate::rule::Group| group.rules.iter().any(|r| r.index == rule);
        let Some(group) = self.rules.groups.iter().find(in_group) else { return Ok(Vec::new()) };
        let Some(found) = group.rules.iter().find(|r| r.index == rule) else { return Ok(Vec::new()) };
        let run = GroupRun { settings: &self.settings, group, interval: self.interval(group), at };
        let query = run.query(store);
        let bare = selection::without_comparisons(&found.expr);
        let threshold = selection::threshold(&found.expr);
        let events = match selection::numerator_events(&found.expr) {
            Some(numerator) => query.elements(&numerator, at)?,
            None => Vec::new(),
        };
        let of_element = |labels: &Labels| match events.as_slice() {
            [only] => Some(only.value),
            several => several.iter().find(|element| element.labels == *labels).map(|element| element.value),
        };
        let observed = query.elements(&bare, at)?.into_iter().map(|element| Observation {
            events: of_element(&element.labels),
            labels: element.labels,
            value: element.value,
            threshold,
        });
        Ok(observed.collect())
    }
}
