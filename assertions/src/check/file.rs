//! What a file is, told from its content.

use scenarios::span::Source;
use scenarios::yaml::{Node, parse};
use std::sync::Arc;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Prometheus rules.
    Rules,
    /// An alertmanager.yml.
    Alertmanager,
    /// A Grafana dashboard, JSON.
    Dashboard,
    /// promtool's unit tests of rules.
    RuleTests,
    /// Tests that people do by hand: `hand_tests:`.
    HandTests,
    /// Objectives as a pack has them: only that they can be read is checked.
    Objectives,
    /// A scenario of this program.
    Scenario,
    /// Anything else that people read or run: runbooks, scripts.
    Notes,
}

impl Kind {
    /// Every kind and its word on the command line.
    pub const ALL: [(&'static str, Kind); 8] = [
        ("rules", Kind::Rules),
        ("alertmanager", Kind::Alertmanager),
        ("dashboard", Kind::Dashboard),
        ("rule-tests", Kind::RuleTests),
        ("hand-tests", Kind::HandTests),
        ("objectives", Kind::Objectives),
        ("scenario", Kind::Scenario),
        ("notes", Kind::Notes),
    ];

    /// The kind of that word.
    pub fn named(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|(name, _)| *name == word).map(|(_, kind)| kind)
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        Kind::ALL.into_iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// What the file is; `None` if its content does not tell.
    ///
    /// A file that is no YAML is told by its first keys, so that a rule file with a slip of the hand is still one.
    pub fn detect(source: &Arc<Source>) -> Option<Kind> {
        let name = source.name.to_ascii_lowercase();
        let is_text = [".md", ".txt", ".sh", ".bash", ".adoc", ".rst"].iter().any(|end| name.ends_with(end));
        if is_text {
            return Some(Kind::Notes);
        }
        let keys: Vec<String> = match parse(source.clone()) {
            Ok(tree) => keys(&tree),
            Err(_) => guessed_keys(&source.text),
        };
        let has = |key: &str| keys.iter().any(|found| found == key);
        let kinds = [
            (has("hand_tests"), Kind::HandTests),
            (has("tests") || has("rule_files") && !has("scrape_configs"), Kind::RuleTests),
            (has("groups"), Kind::Rules),
            (has("objectives"), Kind::Objectives),
            (has("panels") || has("dashboard") || has("rows"), Kind::Dashboard),
            (has("phases") || has("target") || has("traffic"), Kind::Scenario),
            (has("receivers") || has("route") || has("inhibit_rules"), Kind::Alertmanager),
        ];
        kinds.into_iter().find(|(fits, _)| *fits).map(|(_, kind)| kind)
    }
}

fn keys(tree: &Node) -> Vec<String> {
    tree.entries().map(|(key, _)| key.text.clone()).collect()
}

/// Words at the start of a line that are followed by a colon.
fn guessed_keys(text: &str) -> Vec<String> {
    let key = |line: &str| {
        let (key, _) = line.split_once(':')?;
        let key = key.trim_matches(['"', ' ']);
        (!key.is_empty() && !line.starts_with([' ', '#', '-'])).then(|| key.to_owned())
    };
    text.lines().filter_map(key).collect()
}
