//! A label set: what names a series or an alert.

use std::sync::Arc;

/// Names and values, sorted by name, names unique, no empty values (an empty value means "no such label").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// Sorts; of a repeated name the last value wins; empty values are dropped.
    pub fn from_pairs<N: Into<Arc<str>>, V: Into<Arc<str>>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Labels {
        let sorted: std::collections::BTreeMap<Arc<str>, Arc<str>> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Labels(sorted.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The value of `name`; an absent label is the empty string, as Prometheus and Alertmanager have it.
    pub fn get(&self, name: &str) -> &str {
        match self.0.binary_search_by(|(probe, _)| (**probe).cmp(name)) {
            Ok(index) => &self.0[index].1,
            Err(_) => "",
        }
    }

    /// All pairs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The pairs whose name `keep` wants.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(&str) -> bool) -> Labels {
        Labels(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }

    /// The same set with `name` set to `value`; an empty value removes it.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Labels {
        let others = self.0.iter().filter(|(n, _)| **n != *name).cloned();
        Labels::from_pairs(others.chain([(Arc::from(name), Arc::from(value))]))
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `{a="1", b="2"}`, values quoted and escaped.
impl std::fmt::Display for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}
