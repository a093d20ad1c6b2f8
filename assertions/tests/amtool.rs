//! The routing tree against the real one: `amtool config routes test` must name the same receivers.
//!
//! Needs `amtool` (Debian: prometheus-alertmanager) and fails without it, so that nobody takes a skipped
//! comparison for a passed one.

use assertions::alertmanager::Alertmanager;
use assertions::labels::Labels;
use assertions::route::decide;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use scenarios::span::Source;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Hand-written trees, each with the corner it is about, and random ones.
const RANDOM_TREES: usize = 12;
const LABEL_SETS_PER_TREE: usize = 30;

fn label_set() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop::sample::select(vec!["severity", "service", "team", "node"]);
    let value = prop::sample::select(vec![
        "critical",
        "warning",
        "P1",
        "im",
        "im-gateway",
        "a b",
        "x.y",
        "é",
        "q\"q",
    ]);
    prop::collection::btree_map(name, value, 0..4)
        .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// A matcher in the classic syntax, or `match`, or `match_re`, as one line of YAML below a route.
fn condition() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["severity", "service", "team", "node"]);
    let value = prop::sample::select(vec!["critical", "warning", "P1", "im", "im-gateway", "x.y", ""]);
    let regex = prop::sample::select(vec![
        "critical|P1",
        "im.*",
        "im",
        ".+",
        ".*",
        "",
        "x\\.y",
        "(?i)CRITICAL",
        "[^a]*",
    ]);
    (name, value, regex, 0..6).prop_map(|(name, value, regex, form)| match form {
        0 => format!("match: {{{name}: \"{value}\"}}"),
        1 => format!("match_re: {{{name}: '{regex}'}}"),
        2 => format!("matchers: ['{name}=\"{value}\"']"),
        3 => format!("matchers: ['{name} != {value}']"),
        4 => format!("matchers: ['{name}=~\"{regex}\"']"),
        _ => format!("matchers: ['{name}!~\"{regex}\"', 'team!=\"x\"']"),
    })
}

/// A route below the root as flow YAML.
fn route() -> impl Strategy<Value = String> {
    let leaf = (condition(), prop::bool::ANY, prop::option::of(0..5_u8)).prop_map(
        |(condition, goes_on, receiver)| {
            let receiver = receiver.map(|number| format!(", receiver: r{number}")).unwrap_or_default();
            format!("{condition}, continue: {goes_on}{receiver}")
        },
    );
    leaf.prop_map(|body| format!("{{{body}}}")).prop_recursive(3, 12, 4, move |inner| {
        let body = (condition(), prop::bool::ANY, 0..5_u8, prop::collection::vec(inner, 1..4));
        body.prop_map(|(condition, goes_on, receiver, children)| {
            format!(
                "{{{condition}, continue: {goes_on}, receiver: r{receiver}, routes: [{}]}}",
                children.join(", ")
            )
        })
    })
}

fn whole(routes: &str) -> String {
    let receivers: Vec<String> = (0..5).map(|number| format!("{{name: r{number}}}")).collect();
    format!("route: {{receiver: r0, routes: [{routes}]}}\nreceivers: [{}]\n", receivers.join(", "))
}

fn ours(text: &str, labels: &[(String, String)]) -> Vec<String> {
    let source = Arc::new(Source { name: "am.yml".to_owned(), text: text.to_owned() });
    let (config, _) = Alertmanager::parse(source).unwrap_or_else(|problems| panic!("{problems:?} in {text}"));
    let pairs = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let takers = decide(&config, &Labels::from_pairs(pairs)).takers;
    takers.into_iter().map(|route| config.receivers[config.routes[route].receiver].name.to_string()).collect()
}

fn theirs(file: &Path, labels: &[(String, String)]) -> Vec<String> {
    let mut command = Command::new("amtool");
    command.args(["config", "routes", "test"]).arg(format!("--config.file={}", file.display()));
    command.args(labels.iter().map(|(name, value)| format!("{name}={}", quoted(value))));
    let output = command.output().expect("this test needs amtool in PATH");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.trim().split(',').map(str::to_owned).collect()
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The routes of every pack that ships.
fn packs() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/packs");
    let entries = std::fs::read_dir(folder).expect("the packs");
    let files = entries.map(|entry| entry.expect("an entry").path().join("alertmanager.yml"));
    files.filter_map(|file| std::fs::read_to_string(file).ok()).collect()
}

#[test]
fn random_label_sets_reach_the_receivers_that_amtool_names() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let folder = std::env::temp_dir().join(format!("amtool-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let file = folder.join("alertmanager.yml");
    let shipped = include_str!("routing/shipped.yml").to_owned();
    let mut trees = vec![shipped];
    trees.extend(packs());
    for _ in 0..RANDOM_TREES {
        let routes = prop::collection::vec(route(), 1..5).new_tree(&mut runner).expect("a tree").current();
        trees.push(whole(&routes.join(", ")));
    }
    let mut compared = 0;
    for tree in &trees {
        std::fs::write(&file, tree).expect("written");
        for _ in 0..LABEL_SETS_PER_TREE {
            let labels = label_set().new_tree(&mut runner).expect("labels").current();
            assert_eq!(ours(tree, &labels), theirs(&file, &labels), "{labels:?} in\n{tree}");
            compared += 1;
        }
    }
    std::fs::remove_dir_all(&folder).expect("removed");
    assert!(compared >= 300, "only {compared} label sets were compared");
}
