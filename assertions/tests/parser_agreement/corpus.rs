//! The PromQL expressions below a folder: of rule files and rule unit tests (YAML, keys `expr`), and of promqltest scripts.

use scenarios::span::Source;
use scenarios::yaml::{self, Node};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Each once, in order.
pub(crate) fn expressions(folder: &Path) -> Vec<String> {
    let mut found = BTreeSet::new();
    gather(folder, &mut found);
    found.into_iter().collect()
}

fn gather(folder: &Path, found: &mut BTreeSet<String>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("readable").path()) {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension {
            _ if path.is_dir() => gather(&path, found),
            "yml" | "yaml" => of_yaml(&path, found),
            "test" => of_script(&path, found),
            _ => {}
        }
    }
}

fn of_yaml(path: &Path, found: &mut BTreeSet<String>) {
    let Ok(text) = std::fs::read_to_string(path) else { return };
    let source = Arc::new(Source { name: path.display().to_string(), text });
    if let Ok(tree) = yaml::parse(source) {
        of_node(&tree, found);
    }
}

fn of_node(node: &Node, found: &mut BTreeSet<String>) {
    for (key, value) in node.entries() {
        match value.text() {
            Some(text) if key.text == "expr" => {
                found.insert(text.to_string());
            }
            _ => of_node(value, found),
        }
    }
    node.items().iter().for_each(|item| of_node(item, found));
}

fn of_script(path: &Path, found: &mut BTreeSet<String>) {
    let Ok(text) = std::fs::read_to_string(path) else { return };
    for line in text.lines().filter(|line| line.starts_with("eval")) {
        let words: Vec<&str> = line.split(' ').collect();
        // `eval instant at 5m EXPR`, `eval range from 0 to 1h step 5m EXPR`, also `eval_fail` and its kin.
        let skipped = match words.get(1) {
            Some(&"instant") => 4,
            Some(&"range") => 8,
            _ => continue,
        };
        found.insert(words.iter().skip(skipped).copied().collect::<Vec<_>>().join(" "));
    }
}
