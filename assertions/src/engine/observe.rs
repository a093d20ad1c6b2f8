//! What stands behind an alert at a moment: the measured value, the threshold, the number of events.

use super::{Engine, GroupRun};
use crate::labels::Labels;
use crate::promql::eval::EvalError;
use crate::promql::ratio::Ratio;
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
        let Some((run, found)) = self.run_of(rule, at) else { return Ok(Vec::new()) };
        let query = run.query(store);
        let bare = selection::without_comparisons(&found.expr);
        let threshold = selection::threshold(&found.expr);
        let events = match Ratio::of(&found.expr) {
            Some(ratio) => query.elements(&ratio.counted, at)?,
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

    /// How many events rule number `rule` would have to count at `at` for its threshold to be reached, of the element with the
    /// fewest, in rule time as [`Observation::events`]; `None` where it is no ratio of counts with a threshold.
    ///
    /// Errors: the expression cannot be evaluated.
    pub fn threshold_events(&self, store: &Store, rule: usize, at: Millis) -> Result<Option<f64>, EvalError> {
        let Some((run, found)) = self.run_of(rule, at) else { return Ok(None) };
        let (Some(threshold), Some(Ratio { all: Some(all), scale, .. })) =
            (selection::threshold(&found.expr), Ratio::of(&found.expr))
        else {
            return Ok(None);
        };
        let elements = run.query(store).elements(&all, at)?;
        let needed = elements.iter().map(|element| element.value * threshold / scale);
        Ok(needed.filter(|events| events.is_finite()).min_by(f64::total_cmp))
    }

    fn run_of(&self, rule: usize, at: Millis) -> Option<(GroupRun<'_>, &crate::rule::Rule)> {
        let mut groups = self.rules.groups.iter();
        let (group, found) =
            groups.find_map(|group| Some((group, group.rules.iter().find(|found| found.index == rule)?)))?;
        Some((GroupRun::of(&self.settings, group, at), found))
    }
}
