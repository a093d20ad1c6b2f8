use super::*;
use crate::keys::{self, Status};
use crate::load::{Options, load_with};
use crate::span::Source;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Uses every key, so that lowering asks for every pattern.
const EVERYTHING: &str = include_str!("../../tests/fixtures/everything.yaml");

fn tree(text: &str) -> Node {
    let source = Source { name: "everything.yaml".to_owned(), text: text.to_owned() };
    crate::yaml::parse(Arc::new(source)).expect("valid YAML")
}

#[test]
fn lowering_reads_the_keys_of_the_table_and_no_others() {
    let url = "target: {url: 'ws://127.0.0.1/ws', admin: 'http://127.0.0.1:1', token: {secret: A}, headers: {x: y}}";
    let mut read = BTreeSet::new();
    for target in ["target: {gateway: {flags: {a: 1}}}", url] {
        let cx = Context::default();
        let text = EVERYTHING.replace("target: {}", target);
        let problems = {
            scenario(&cx, &tree(&text), "everything", None);
            read.extend(cx.reads.borrow().iter().cloned());
            cx.into_problems()
        };
        assert!(target == url || problems.is_empty(), "{problems:#?}");
    }
    // What `load` takes out before lowering, and items, which are not asked for by name.
    let elsewhere = ["include", "environments", "environments.*"];
    let table: BTreeSet<_> = keys::all()
        .iter()
        .filter(|row| {
            row.status != Status::Later && !elsewhere.contains(&row.path) && !row.path.ends_with("[]")
        })
        .map(|row| row.path.to_owned())
        .collect();
    assert_eq!(
        read.difference(&table).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "read but not in the table"
    );
    assert_eq!(
        table.difference(&read).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "in the table but not read"
    );
}

#[test]
fn everything_is_known_to_the_key_check() {
    let mut problems = Vec::new();
    keys::check(&tree(EVERYTHING), "", &mut problems);
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn a_repeated_fault_is_as_many_faults() {
    let text = "version: 1\ntarget: {gateway: {}}\nphases: [{name: a, for: 3m, faults: [{fault: process.restart, every: 50s, down_for: 5s}, {fault: gateway.latency, delay: 1ms, at: 10s, for: 20s, every: 1m}]}]\n";
    let files = |_: &Path| Ok(text.to_owned());
    let loaded = load_with(Path::new("x.yaml"), &Options::default(), &files).expect("valid");
    let seconds = |time: &Spanned<Duration>| time.value.as_secs();
    let faults = loaded.scenario.phases[0].faults.iter();
    let faults: Vec<_> = faults
        .map(|fault| (fault.name.value.as_str(), seconds(&fault.at), seconds(&fault.duration)))
        .collect();
    let restart = |at| ("process.restart", at, 5);
    let latency = |at| ("gateway.latency", at, 20);
    // At 150 s the latency would end with the phase, at 170 s it would reach beyond it.
    let repeats = [restart(50), restart(100), restart(150), latency(70), latency(130)];
    assert_eq!(faults, [&[restart(0), latency(10)], &repeats[..]].concat());
}

fn load(text: &str, sets: Vec<String>) {
    let options = Options { env: None, sets, no_faults: false };
    let files = |path: &Path| match path.to_str() {
        Some("x.yaml") => Ok(text.to_owned()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    if let Err(problems) = load_with(Path::new("x.yaml"), &options, &files) {
        assert!(problems.has_errors());
        let _ = problems.render(true);
    }
}

proptest! {
    #[test]
    fn a_changed_file_never_panics(at in 0usize..3000, length in 0usize..12, with in "[-a-z0-9:{}\\[\\]&*!|>'\"#?,<% .\n\u{e9}]{0,6}") {
        let text = EVERYTHING.replace("target: {}", "target: {gateway: {}}");
        let letters: Vec<char> = text.chars().collect();
        let at = at.min(letters.len());
        let rest = letters[at..].iter().skip(length);
        let changed: String = letters[..at].iter().copied().chain(with.chars()).chain(rest.copied()).collect();
        load(&changed, Vec::new());
    }

    #[test]
    fn arbitrary_files_and_arguments_never_panic(text in ".{0,80}", set in "[a-z.\\[\\]+={}0-9: é]{0,30}") {
        load(&text, Vec::new());
        load("target: {gateway: {}}\nphases: [{name: a, for: 1s}]\n", vec![set, text]);
    }
}
