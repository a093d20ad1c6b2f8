//! The table as Markdown, for people: `scenarios/REFERENCE.md`.

use std::fmt::Write;

use super::{Default, KeyRow, Kind, Status, TABLE};
use crate::faults;

/// Headings by the first word of a path, in the order of the table.
const SECTIONS: &[(&str, &[&str])] = &[
    ("The file", &["version", "name", "seed", "include", "environments"]),
    ("Time", &["clock", "virtual", "starts_at", "history"]),
    ("Target", &["target", "links"]),
    ("Alerts", &["pack", "alerts"]),
    ("Population", &["population"]),
    ("Traffic", &["traffic", "flows", "settle", "settle_max", "late_after"]),
    ("Phases and faults", &["blast_radius", "abort_if", "phases"]),
    ("Expectations", &["expect"]),
    ("Thresholds", &["thresholds"]),
];

/// The reference of all keys and faults in Markdown, generated from the same tables that check a file.
pub fn reference() -> String {
    let mut text = "# Reference\n\nEvery key of a scenario file. `*` is any name you give, `[]` any item of a list. \
        This page is generated from the\ntable that checks files (`scenarios/src/keys/table.rs`); the language is \
        explained in [README.md](README.md).\n"
        .to_owned();
    for (title, words) in SECTIONS {
        // Writing to a String cannot fail.
        let _ =
            write!(text, "\n## {title}\n\n| key | takes | default | meaning |\n| --- | --- | --- | --- |\n");
        let mine = |row: &&KeyRow| words.contains(&row.path.split(['.', '[']).next().unwrap_or_default());
        TABLE.iter().filter(mine).for_each(|row| line(&mut text, row));
    }
    text += "\n## Faults\n\n| fault | parameters | what it does |\n| --- | --- | --- |\n";
    for fault in faults::ALL {
        let parameters: Vec<_> = fault.parameters.iter().map(|name| format!("`{name}`")).collect();
        let soon = if fault.runs { "" } else { " *Not in this version.*" };
        let _ = writeln!(text, "| `{}` | {} | {}{soon} |", fault.name, parameters.join(", "), fault.doc);
    }
    text += "\nEvery fault also takes `name`, `at` and `for`.\n";
    text
}

fn line(text: &mut String, row: &KeyRow) {
    let default = match row.default {
        Default::Required => "required".to_owned(),
        Default::Absent => String::new(),
        Default::Is(value) => format!("`{value}`"),
        Default::Follows(rule) => rule.to_owned(),
    };
    let example = if row.example.is_empty() { String::new() } else { format!(", `{}`", row.example) };
    let soon = if row.status != Status::Runs { " *Not in this version.*" } else { "" };
    let takes = kind(row.kind).replace('|', "\\|");
    let _ = writeln!(text, "| `{}` | {takes}{example} | {default} | {}{soon} |", row.path, row.doc);
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Map => "map".into(),
        Kind::Named => "map by name".into(),
        Kind::List => "list".into(),
        Kind::Texts => "text or list of texts".into(),
        Kind::Word => "name".into(),
        Kind::Text => "text".into(),
        Kind::Integer => "whole number".into(),
        Kind::Count => "count".into(),
        Kind::Duration => "time".into(),
        Kind::DurationRange => "range of times".into(),
        Kind::Rate => "rate".into(),
        Kind::Size => "size".into(),
        Kind::Share => "share".into(),
        Kind::ShareRate => "share per minute".into(),
        Kind::Factor => "factor".into(),
        Kind::Bool => "true or false".into(),
        Kind::Timestamp => "timestamp".into(),
        Kind::OneOf(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" | "),
        Kind::Phases => "phases or `all`".into(),
        Kind::Secret => "secret".into(),
        Kind::Any => String::new(),
    }
}
