//! Every check, as its user sees it: `check/*.test` hold input and exact output.
//!
//! A case is `=== ID + title`, perhaps a line `$ --option value ...`, files each after a line `>>> name`, a line `--- output`, and the
//! output. The sign after the id says what the case shows: `+` it finds, `-` it does not, `off` it is switched off in place.
//! Metrics are in a file `metrics`. `UPDATE_GOLDEN=1` writes what is printed now; read the difference before it is committed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use assertions::check::{Input, Kind, Metrics, Settings, check, lints};
use assertions::promql::ast::Dialect;
use scenarios::span::Source;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

struct Case {
    title: String,
    /// Everything between title and output, as written.
    input: String,
}

impl Case {
    /// The id and the sign of the title.
    fn shows(&self) -> (&str, &str) {
        let mut words = self.title.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check")
}

fn cases(text: &str) -> Vec<Case> {
    let case = |case: &str| {
        let (head, _) = case.split_once("--- output\n").unwrap_or((case, ""));
        let (title, input) = head.split_once('\n').unwrap_or((head, ""));
        Case { title: title.to_owned(), input: input.to_owned() }
    };
    text.split("=== ").skip(1).map(case).collect()
}

fn settings(line: &str) -> Settings {
    let mut settings = Settings::default();
    let words: Vec<&str> = line.split_whitespace().collect();
    for pair in words.chunks(2) {
        let [option, value] = pair else { panic!("{line}") };
        let time = || Some(scenarios::units::duration(value).unwrap());
        match *option {
            "--scrape-interval" => settings.scrape_interval = time(),
            "--evaluation-interval" => settings.evaluation_interval = time(),
            "--retention" => settings.retention = time(),
            "--prometheus" => settings.dialect = Some(if *value == "3" { Dialect::V3 } else { Dialect::V2 }),
            other => panic!("{other}"),
        }
    }
    settings
}

fn output(case: &Case) -> String {
    let (before, files) = case.input.split_once(">>> ").unwrap_or((&case.input, ""));
    let settings = settings(before.trim().trim_start_matches("$ "));
    let mut inputs = Vec::new();
    let mut metrics = None;
    for file in files.split("\n>>> ").filter(|file| !file.is_empty()) {
        let (name, text) = file.split_once('\n').unwrap_or((file, ""));
        let text = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
        if name == "metrics" {
            let read: &mut Metrics = metrics.get_or_insert_default();
            read.add(&text).unwrap();
            continue;
        }
        let source = Arc::new(Source { name: name.to_owned(), text });
        let kind = Kind::detect(&source);
        inputs.push(Input { source, kind, problems: Vec::new() });
    }
    check(&inputs, metrics.as_ref(), &settings).iter().map(|finding| finding.render(false)).collect()
}

fn files() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_case_prints_what_it_says() {
    for (path, golden) in files() {
        let mut printed = String::new();
        for case in cases(&golden) {
            let input = &case.input;
            printed += &format!("=== {}\n{input}--- output\n{}", case.title, output(&case));
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &printed).unwrap();
            continue;
        }
        for (line, (was, is)) in golden.lines().zip(printed.lines()).enumerate() {
            assert_eq!(was, is, "{}:{}", path.display(), line + 1);
        }
        assert_eq!(golden.len(), printed.len(), "{}", path.display());
    }
}

/// Files with some bytes changed, doubled or taken out; CHECK_MUTATIONS of them, 1500 if it says nothing.
#[test]
fn no_mutation_of_any_file_panics() {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below.max(1) as u64).unwrap()
    };
    let inputs: Vec<Case> = files().iter().flat_map(|(_, text)| cases(text)).collect();
    let rounds = std::env::var("CHECK_MUTATIONS").map_or(1500, |text| text.parse().unwrap());
    for round in 0..rounds {
        let case = &inputs[random(inputs.len())];
        let mut bytes = case.input.clone().into_bytes();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = u8::try_from(random(256)).unwrap(),
                1 => bytes.truncate(at.max(1)),
                _ => {
                    let end = (at + random(40)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let text = text.split_once(">>> ").map_or(text.clone(), |(_, file)| file.to_owned());
        let source = Arc::new(Source { name: "mutated".to_owned(), text });
        for (_, kind) in Kind::ALL {
            let input = Input { source: source.clone(), kind: Some(kind), problems: Vec::new() };
            let found = check(&[input], None, &Settings::default());
            let shown: usize = found.iter().map(|finding| finding.render(false).len()).sum();
            assert!(found.is_empty() || shown > 0, "round {round}");
        }
    }
}

#[test]
fn each_check_is_seen_to_find_to_spare_and_to_be_switched_off() {
    let mut shown: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, text) in files() {
        for case in cases(&text) {
            let (id, sign) = case.shows();
            assert!(lints::find(id).is_some(), "{}: no check `{id}`", path.display());
            let output = output(&case);
            let finds = output.contains(&format!("[{id}]"));
            assert_eq!(finds, sign == "+", "{}: {}\n{output}", path.display(), case.title);
            if sign == "off" {
                assert!(case.input.contains(&format!("disable={id}")), "{}", case.title);
                assert!(!output.contains("[check/"), "{}: {}\n{output}", path.display(), case.title);
            }
            shown.insert((id.to_owned(), sign.to_owned()));
        }
    }
    // What a scenario says comes from its own reader, and comments about checks cannot be switched off.
    let elsewhere = |id: &str| id.starts_with("check/") || id == "scenario/invalid";
    for lint in lints::ALL {
        for sign in ["+", "-", "off"] {
            let is_shown = shown.contains(&(lint.id.to_owned(), sign.to_owned()));
            assert!(is_shown || elsewhere(lint.id), "no case shows `{} {sign}`", lint.id);
        }
    }
}

fn page(id: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/checks/{id}.md"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn each_check_has_a_page() {
    for lint in lints::ALL {
        let page = page(lint.id);
        for heading in ["## Example", "## Why it matters", "## How to fix it", "## How to switch it off"] {
            assert!(page.contains(heading), "{}: no `{heading}`", lint.id);
        }
        let title = lint.title[..1].to_uppercase() + &lint.title[1..];
        let head = format!("# {}\n\n{title}. Severity: {}.", lint.id, lint.level.word());
        assert!(page.starts_with(&head), "{}: does not begin with\n{head}", lint.id);
    }
}

#[test]
fn the_list_of_pages_is_the_list_of_checks() {
    let row = |lint: &&lints::Lint| {
        format!("| [{0}]({0}.md) | {1} | {2} |", lint.id, lint.level.word(), lint.title)
    };
    let expected: Vec<String> = lints::ALL.iter().map(row).collect();
    let readme = page("README");
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| [")).collect();
    assert_eq!(rows, expected);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checks");
    let folders = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for family in folders.filter(|path| path.is_dir()) {
        for path in std::fs::read_dir(family).unwrap().map(|entry| entry.unwrap().path()) {
            let id = path.with_extension("");
            let id: Vec<_> = id.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
            assert!(
                lints::find(&format!("{}/{}", id[1], id[0])).is_some(),
                "{}: no such check",
                path.display()
            );
        }
    }
}

/// The files shown in a part of a page: each a line `name:`, a blank one, and a block.
fn shown(part: &str) -> Vec<(&str, &str)> {
    let block = |(at, _): (usize, &str)| {
        let name = part[..at].trim_end().strip_suffix(':')?.rsplit('\n').next()?;
        let (_, text) = part[at + 1..].split_once('\n')?;
        Some((name, text.split_once("```")?.0))
    };
    part.match_indices("\n```").filter_map(block).filter(|(name, _)| !name.contains(' ')).collect()
}

#[test]
fn each_page_shows_what_is_found_and_what_is_not() {
    for lint in lints::ALL.iter().filter(|lint| lint.id != "scenario/invalid") {
        let page = page(lint.id);
        let (_, page) = page.split_once("## Example").unwrap();
        let (example, rest) = page.split_once("## Why it matters").unwrap();
        let (_, mended) = rest.split_once("\nMended:\n").unwrap_or_else(|| panic!("{}: not mended", lint.id));
        let (mended, off) = mended.split_once("## How to switch it off").unwrap();
        let faulty = shown(example);
        assert!(!faulty.is_empty(), "{}: no example", lint.id);
        assert!(
            off.contains(&format!("loadgen: disable={} ", lint.id)) || off.contains("cannot"),
            "{}",
            lint.id
        );
        // What the mended example does not show again stays as it was.
        let mut whole = faulty.clone();
        whole.retain(|(name, _)| !shown(mended).iter().any(|(other, _)| other == name));
        whole.extend(shown(mended));
        if lint.id == "file/unchecked" {
            whole.retain(|(name, _)| *name == "rules.yml");
        }
        for (files, finds) in [(faulty, true), (whole, false)] {
            let options = match lint.needs {
                lints::Needs::ScrapeInterval => "$ --scrape-interval 30s\n",
                lints::Needs::Dialect => "$ --prometheus 3\n",
                _ => "",
            };
            let files: String = files.iter().map(|(name, text)| format!(">>> {name}\n{text}")).collect();
            let output = output(&Case { title: String::new(), input: format!("{options}{files}") });
            assert_eq!(output.contains(&format!("[{}]", lint.id)), finds, "{}\n{files}\n{output}", lint.id);
        }
    }
}
