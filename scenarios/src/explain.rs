//! Every value in force and where it comes from, for `loadgen explain`.

use crate::keys::{self, Default, Kind};
use crate::scenario::Scenario;
use crate::set::ITEM_NAMES;
use crate::span::{COMMAND_LINE, Span};
use crate::yaml::{Node, Value};

/// One value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Where `--set` would reach it: `phases.slow.faults[gateway.latency].delay`.
    pub path: String,
    /// As it would be written.
    pub value: String,
    /// Who says so.
    pub origin: Origin,
}

/// Who says what a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table of keys.
    BuiltIn,
    /// The pack of this name.
    Pack(String),
    /// A file, or an argument.
    Written(Span),
}

/// `built-in`, `pack im-gateway`, `peak.yaml:3:7` or the argument itself.
impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::BuiltIn => f.write_str("built-in"),
            Origin::Pack(name) => write!(f, "pack {name}"),
            Origin::Written(span) if span.source.name == COMMAND_LINE => f.write_str(&span.source.text),
            Origin::Written(span) => write!(f, "{span}"),
        }
    }
}

/// All values of the merged tree, then those of the pack, then the defaults of what is not written.
pub(crate) fn settings(root: &Node, scenario: &Scenario, no_faults: bool) -> Vec<Setting> {
    let mut settings = Vec::new();
    written(root, "", &mut settings);
    from_pack(scenario, &mut settings);
    defaults(Some(root), "", "", &mut settings);
    settings.retain(|setting| {
        !(no_faults && setting.path.starts_with("phases.") && setting.path.contains(".faults"))
    });
    settings
}

fn join(path: &str, key: &str) -> String {
    match (path, key.contains(['.', '[', '{'])) {
        ("", false) => key.to_owned(),
        (_, false) => format!("{path}.{key}"),
        (_, true) => format!("{path}[{key}]"),
    }
}

/// Path of an item: by its name, else by its number.
fn item_path(path: &str, at: usize, item: &Node) -> String {
    match ITEM_NAMES.iter().find_map(|key| item.get(key)?.text()) {
        Some(name) if !name.contains(' ') => join(path, name),
        _ => format!("{path}[{at}]"),
    }
}

fn written(node: &Node, path: &str, settings: &mut Vec<Setting>) {
    let is_scalar = |node: &Node| matches!(node.value, Value::Scalar(_));
    match &node.value {
        Value::Mapping(entries) if !entries.is_empty() => {
            entries
                .iter()
                .filter(|(_, value)| !value.is_null())
                .for_each(|(key, value)| written(value, &join(path, &key.text), settings));
        }
        Value::Sequence(items) if !items.iter().all(is_scalar) => {
            items
                .iter()
                .enumerate()
                .for_each(|(at, item)| written(item, &item_path(path, at, item), settings));
        }
        _ => settings.push(Setting {
            path: path.to_owned(),
            value: rendered(node),
            origin: Origin::Written(node.span.clone()),
        }),
    }
}

fn rendered(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) => scalar.text.clone(),
        Value::Sequence(items) => format!("[{}]", items.iter().map(rendered).collect::<Vec<_>>().join(", ")),
        Value::Mapping(_) => "{}".to_owned(),
    }
}

fn from_pack(scenario: &Scenario, settings: &mut Vec<Setting>) {
    let Some(pack) = &scenario.pack else { return };
    let rules = scenario.alerts.rules.iter().map(|file| ("alerts.rules", file));
    let files = rules.chain(scenario.alerts.alertmanager.iter().map(|file| ("alerts.alertmanager", file)));
    settings.extend(files.filter(|(_, file)| file.span.is_none()).map(|(path, file)| Setting {
        path: path.to_owned(),
        value: file.value.path.display().to_string(),
        origin: Origin::Pack(pack.value.clone()),
    }));
}

/// Defaults of the table below `node`, or below a map that is not written at all.
fn defaults(node: Option<&Node>, path: &str, pattern: &str, settings: &mut Vec<Setting>) {
    if let Some(Value::Sequence(items)) = node.map(|node| &node.value) {
        let inner = keys::join(pattern, "[]");
        let maps = items.iter().enumerate().filter(|(_, item)| matches!(item.value, Value::Mapping(_)));
        maps.for_each(|(at, item)| defaults(Some(item), &item_path(path, at, item), &inner, settings));
        return;
    }
    for (key, row) in keys::children(pattern) {
        if key == "*" {
            let entries = node.into_iter().flat_map(Node::entries);
            entries
                .for_each(|(key, value)| defaults(Some(value), &join(path, &key.text), row.path, settings));
            continue;
        }
        let found = node.and_then(|node| node.get(key)).filter(|node| !node.is_null());
        match (found, row.default) {
            (None, Default::Is(value)) if key != "[]" => settings.push(Setting {
                path: join(path, key),
                value: value.to_owned(),
                origin: Origin::BuiltIn,
            }),
            (None, _) if row.kind == Kind::Map && key != "[]" && pattern != "target" => {
                defaults(None, &join(path, key), row.path, settings);
            }
            (Some(value), _) if !matches!(value.value, Value::Scalar(_)) => {
                defaults(Some(value), &join(path, key), row.path, settings);
            }
            _ => {}
        }
    }
}
