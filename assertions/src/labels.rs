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
        let mut pairs: Vec<(Arc<str>, Arc<str>)> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        // Stable: of a repeated name the last one stays behind the others, and takes their place.
        pairs.sort_by(|left, right| left.0.cmp(&right.0));
        pairs.dedup_by(|later, earlier| {
            let is_repeated = later.0 == earlier.0;
            if is_repeated {
                std::mem::swap(later, earlier);
            }
            is_repeated
        });
        pairs.retain(|(_, value)| !value.is_empty());
        Labels(pairs.into())
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
        // Mostly nothing is taken away, or everything: then nothing is copied.
        let Some(taken) = self.0.iter().position(|(name, _)| !keep(name)) else { return self.clone() };
        let (before, after) = (&self.0[..taken], &self.0[taken + 1..]);
        let kept: Vec<_> =
            before.iter().chain(after.iter().filter(|(name, _)| keep(name))).cloned().collect();
        if kept.is_empty() { Labels::default() } else { Labels(kept.into()) }
    }

    /// The same set with `name` set to `value`; an empty value removes it.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Labels {
        let at = self.0.partition_point(|(before, _)| **before < *name);
        let is_there = self.0.get(at).is_some_and(|(found, _)| **found == *name);
        let (before, after) = (&self.0[..at], &self.0[at + usize::from(is_there)..]);
        let own = (!value.is_empty()).then(|| (Arc::from(name), Arc::from(value)));
        Labels(before.iter().cloned().chain(own).chain(after.iter().cloned()).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pairs: &[(&str, &str)]) -> String {
        Labels::from_pairs(pairs.iter().copied()).to_string()
    }

    #[test]
    fn labels_are_sorted_and_of_a_repeated_name_the_last_counts() {
        assert_eq!(
            shown(&[("b", "1"), ("a", "2"), ("b", "3"), ("c", "4"), ("b", "5")]),
            r#"{a="2", b="5", c="4"}"#
        );
        assert_eq!(shown(&[("a", "1"), ("a", "")]), "{}");
        assert_eq!(shown(&[("a", ""), ("a", "1")]), r#"{a="1"}"#);
    }

    #[test]
    fn a_label_is_added_changed_and_taken_away() {
        let labels = Labels::from_pairs([("b", "1"), ("d", "2")]);
        for (name, expected) in [
            ("a", r#"{a="x", b="1", d="2"}"#),
            ("b", r#"{b="x", d="2"}"#),
            ("c", r#"{b="1", c="x", d="2"}"#),
            ("e", r#"{b="1", d="2", e="x"}"#),
        ] {
            assert_eq!(labels.with(name, "x").to_string(), expected);
        }
        assert_eq!(labels.with("d", "").to_string(), r#"{b="1"}"#);
        assert_eq!(labels.with("c", ""), labels);
    }

    #[test]
    fn labels_are_filtered() {
        let labels = Labels::from_pairs([("a", "1"), ("b", "2"), ("c", "3")]);
        for (kept, expected) in [
            ("abc", r#"{a="1", b="2", c="3"}"#),
            ("bc", r#"{b="2", c="3"}"#),
            ("ac", r#"{a="1", c="3"}"#),
            ("ab", r#"{a="1", b="2"}"#),
            ("", "{}"),
        ] {
            assert_eq!(labels.filter(|name| kept.contains(name)).to_string(), expected);
        }
    }
}
