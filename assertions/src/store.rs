//! All series of a run, by metric name.

use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::series::Series;
use std::collections::BTreeMap;

/// Series by label set. Iteration is in a fixed order, so that the same run gives the same words.
#[derive(Debug, Clone, Default)]
pub struct Store {
    by_name: BTreeMap<String, BTreeMap<Labels, Series>>,
}

impl Store {
    /// The series of this label set (`__name__` included), made if it is not there.
    pub fn series_mut(&mut self, labels: &Labels) -> &mut Series {
        let family = self.by_name.entry(labels.get("__name__").to_owned()).or_default();
        family.entry(labels.clone()).or_default()
    }

    /// The series of this label set.
    pub fn get(&self, labels: &Labels) -> Option<&Series> {
        self.by_name.get(labels.get("__name__"))?.get(labels)
    }

    /// All series of metric `name` (any metric if `None`) that all `matchers` match.
    pub fn select<'a>(
        &'a self,
        name: Option<&'a str>,
        matchers: &'a [Matcher],
    ) -> impl Iterator<Item = (&'a Labels, &'a Series)> {
        let families = self.by_name.iter().filter(move |(family, _)| name.is_none_or(|name| name == *family));
        families
            .flat_map(|(_, family)| family.iter())
            .filter(move |(labels, _)| matchers.iter().all(|matcher| matcher.matches(labels)))
    }

    /// Every series.
    pub fn iter(&self) -> impl Iterator<Item = (&Labels, &Series)> {
        self.by_name.values().flatten()
    }
}
