//! Which alerts are kept from being told of while another one fires.

use crate::alertmanager::InhibitRule;
use crate::labels::Labels;
use crate::matcher::all_match;

/// Who inhibits an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibitor {
    /// Index of the rule.
    pub rule: usize,
    /// The firing alert.
    pub source: Labels,
}

/// The first rule, and of its sources the first in label order, that inhibits `labels`.
///
/// `firing` are the alerts that fire now, in label order, so that the same input gives the same reason. An
/// alert that matches both sides of a rule is not inhibited by another that also does, itself included.
pub fn inhibitor<'a>(
    rules: &[InhibitRule],
    labels: &Labels,
    firing: impl Iterator<Item = &'a Labels> + Clone,
) -> Option<Inhibitor> {
    rules.iter().enumerate().find_map(|(index, rule)| {
        if !all_match(&rule.target, labels) {
            return None;
        }
        let both = all_match(&rule.source, labels);
        let inhibits = |source: &&Labels| {
            all_match(&rule.source, source)
                && rule.equal.iter().all(|name| source.get(name) == labels.get(name))
                && !(both && all_match(&rule.target, source))
        };
        firing.clone().find(inhibits).map(|source| Inhibitor { rule: index, source: source.clone() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alertmanager::Alertmanager;
    use scenarios::span::Source;
    use std::sync::Arc;

    fn labels(text: &str) -> Labels {
        Labels::from_pairs(text.split(' ').filter_map(|pair| pair.split_once('=')))
    }

    /// `rule` is one inhibition in flow style; alerts are `name=value` pairs.
    #[track_caller]
    fn check(rule: &str, target: &str, firing: &[&str], expected: bool) {
        let text = format!("route: {{receiver: a}}\nreceivers: [{{name: a}}]\ninhibit_rules: [{rule}]");
        let source = Arc::new(Source { name: "am.yml".to_owned(), text });
        let (config, _) = Alertmanager::parse(source).expect("valid");
        let firing: Vec<Labels> = firing.iter().map(|text| labels(text)).collect();
        let found = inhibitor(&config.inhibit_rules, &labels(target), firing.iter());
        assert_eq!(found.is_some(), expected, "{rule}: {target} by {firing:?}");
    }

    #[test]
    fn a_firing_source_with_equal_labels_inhibits() {
        let old = "{source_match: {n: Down}, target_match: {s: warning}, equal: [c]}";
        let new = "{source_matchers: [n=Down], target_matchers: [s=~\"warn.*\"], equal: [c]}";
        for rule in [old, new] {
            check(rule, "s=warning c=1", &["n=Down c=1"], true);
            check(rule, "s=warning c=1", &["n=Down c=2"], false);
            check(rule, "s=warning", &["n=Down"], true);
            check(rule, "s=warning", &["n=Down c=1"], false);
            check(rule, "s=critical c=1", &["n=Down c=1"], false);
            check(rule, "s=warning c=1", &["n=Up c=1"], false);
            check(rule, "s=warning c=1", &[], false);
        }
    }

    #[test]
    fn an_alert_on_both_sides_is_not_inhibited_by_its_like() {
        let rule = "{source_matchers: [s=~\"critical|page\"], target_matchers: [s=~\"critical|warning\"]}";
        check(rule, "s=critical n=a", &["s=critical n=a"], false);
        check(rule, "s=critical n=a", &["s=critical n=b"], false);
        check(rule, "s=critical n=a", &["s=page n=b"], true);
        check(rule, "s=warning n=a", &["s=critical n=b"], true);
    }
}
