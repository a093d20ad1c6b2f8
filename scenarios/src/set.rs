//! `--set PATH=VALUE`: reaches into the merged tree, items of lists by their names.
//!
//! `phases.slow.faults[gateway.latency].delay=650ms` walks keys and names with `.` and takes what is in
//! brackets literally, so that a name with dots or braces can be written. `+=` appends to a list.

use std::sync::Arc;

use crate::keys;
use crate::merge::merge;
use crate::problem::{Problem, nearest};
use crate::span::{COMMAND_LINE, Source, Span};
use crate::yaml::{self, Key, Node, Value};

/// Keys by which an item of a list is called.
pub(crate) const ITEM_NAMES: [&str; 4] = ["name", "alert", "fault", "slo"];
const PREFIX: &str = "--set ";

/// One step of a path, with its place in the argument.
struct Step {
    text: String,
    span: Span,
}

struct Argument {
    path: Vec<Step>,
    appends: bool,
    value: Node,
}

/// Applies one argument to the tree.
///
/// Errors: one problem or those of the value's YAML, with carets under the argument.
pub(crate) fn apply(root: &mut Node, argument: &str) -> Result<(), Vec<Problem>> {
    let source = Arc::new(Source { name: COMMAND_LINE.to_owned(), text: format!("{PREFIX}{argument}") });
    let argument = parse(&source)?;
    let first = &argument.path[0];
    if matches!(first.text.as_str(), "version" | "include" | "environments") {
        let problem = Problem::error(format!("`{}` cannot be set", first.text), first.span.clone());
        return Err(vec![problem.hint("write it in the file")]);
    }
    let spelled: Vec<_> = argument.path.iter().map(|step| step.text.to_ascii_lowercase()).collect();
    if spelled.starts_with(&["target".to_owned(), "token".to_owned()])
        || spelled.contains(&"authorization".to_owned())
    {
        let hidden = Arc::new(Source {
            name: COMMAND_LINE.to_owned(),
            text: format!("{PREFIX}{}=...", spelled.join(".")),
        });
        let end = hidden.text.len();
        let problem = Problem::error("a secret cannot be set", Span::new(hidden, PREFIX.len(), end));
        return Err(vec![problem.hint("write `{secret: NAME}` in the file and set LOADGEN_SECRET_NAME")]);
    }
    let mut unknown = Vec::new();
    walk(root, &argument, 0, "", &mut unknown).map_err(|problem| vec![problem])?;
    if unknown.is_empty() { Ok(()) } else { Err(unknown) }
}

fn parse(source: &Arc<Source>) -> Result<Argument, Vec<Problem>> {
    let text = &source.text;
    let whole = Span::new(source.clone(), PREFIX.len(), text.len());
    let wrong = |summary: &str, span: Span| {
        vec![
            Problem::error(summary, span).hint("write `--set PATH=VALUE`, as in `--set phases.slow.for=15s`"),
        ]
    };
    let mut depth = 0usize;
    let equals = text.char_indices().skip(PREFIX.len()).find(|(_, c)| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        *c == '=' && depth == 0
    });
    let Some((equals, _)) = equals else { return Err(wrong("the argument has no `=`", whole)) };
    let appends = text[..equals].ends_with('+');
    let path = steps(source, PREFIX.len(), equals - usize::from(appends));
    if path.is_empty() || path.iter().any(|step| step.text.is_empty()) {
        return Err(wrong("the path has an empty part", Span::new(source.clone(), PREFIX.len(), equals)));
    }
    Ok(Argument { path, appends, value: value(source, equals + 1)? })
}

fn steps(source: &Arc<Source>, start: usize, end: usize) -> Vec<Step> {
    let text = &source.text[..end];
    let mut steps = Vec::new();
    let mut at = start;
    while at < end {
        let rest = &text[at..];
        let (from, length, next) = match rest.strip_prefix('[') {
            Some(inside) => {
                let close = inside.find(']').unwrap_or(inside.len());
                (at + 1, close, at + 1 + (close + 1).min(inside.len()))
            }
            None => {
                let length = rest.find(['.', '[']).unwrap_or(rest.len());
                (at, length, at + length)
            }
        };
        let span = Span::new(source.clone(), from, from + length);
        steps.push(Step { text: span.text().to_owned(), span });
        at = if text[next..].starts_with('.') { next + 1 } else { next };
        if at == end && next < end {
            steps.push(Step { text: String::new(), span: Span::new(source.clone(), end, end) });
        }
    }
    steps
}

/// The value as YAML, its places being those in the argument.
fn value(source: &Arc<Source>, start: usize) -> Result<Node, Vec<Problem>> {
    // Blanks in place of the path keep every offset as it is in the argument.
    let text = " ".repeat(start) + &source.text[start..];
    let padded = Arc::new(Source { name: source.name.clone(), text });
    let mut node = yaml::parse(padded).map_err(|mut problems| {
        problems
            .iter_mut()
            .filter_map(|problem| problem.span.as_mut())
            .for_each(|span| span.source = source.clone());
        problems
    })?;
    move_to(&mut node, source);
    if node.text() == Some("") {
        node.span = Span::new(source.clone(), start, start);
    }
    Ok(node)
}

fn move_to(node: &mut Node, source: &Arc<Source>) {
    node.span.source = source.clone();
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => items.iter_mut().for_each(|item| move_to(item, source)),
        Value::Mapping(entries) => entries.iter_mut().for_each(|(key, value)| {
            key.span.source = source.clone();
            move_to(value, source);
        }),
    }
}

/// Walks to the last step and puts the value there. `pattern` is the place of `node` in the table of keys.
fn walk(
    node: &mut Node,
    argument: &Argument,
    depth: usize,
    pattern: &str,
    unknown: &mut Vec<Problem>,
) -> Result<(), Problem> {
    let Some(step) = argument.path.get(depth) else {
        put(node, argument, pattern, unknown);
        return Ok(());
    };
    if let Value::Sequence(items) = &mut node.value {
        let at = item(items, step)?;
        let inner = keys::join(pattern, "[]");
        if depth + 1 == argument.path.len() && argument.value.is_null() {
            items.remove(at);
            return Ok(());
        }
        return walk(&mut items[at], argument, depth + 1, &inner, unknown);
    }
    let last = depth + 1 == argument.path.len();
    let inner = pattern_of(node, step, pattern, last)?;
    if !matches!(node.value, Value::Mapping(_)) {
        node.value = Value::Mapping(Vec::new());
    }
    let Value::Mapping(entries) = &mut node.value else { return Ok(()) };
    let at = entries.iter().position(|(key, _)| key.text == step.text);
    if last && argument.value.is_null() {
        if let Some(at) = at {
            entries.remove(at);
        }
        return Ok(());
    }
    let at = at.unwrap_or_else(|| {
        let key = Key { text: step.text.clone(), span: step.span.clone() };
        let empty = Value::Scalar(yaml::Scalar { text: String::new(), style: yaml::Style::Plain });
        entries.push((key, Node { span: step.span.clone(), value: empty }));
        entries.len() - 1
    });
    walk(&mut entries[at].1, argument, depth + 1, &inner, unknown)
}

/// The pattern of a step into a map, or the problem that there is no such key or name.
fn pattern_of(node: &Node, step: &Step, pattern: &str, last: bool) -> Result<String, Problem> {
    let known: Vec<_> = keys::children(pattern).map(|(name, _)| name).collect();
    let names: Vec<_> = node.entries().map(|(key, _)| key.text.as_str()).collect();
    let named = known.contains(&"*");
    if named && (last || names.contains(&step.text.as_str())) {
        return Ok(keys::join(pattern, "*"));
    }
    if !named && known.contains(&step.text.as_str()) && step.text != "[]" {
        return Ok(keys::join(pattern, &step.text));
    }
    let candidates = if named { names } else { known };
    Err(no_such(step, if named { "entry" } else { "key" }, &candidates))
}

fn no_such(step: &Step, what: &str, candidates: &[&str]) -> Problem {
    let problem = Problem::error(format!("no {what} `{}`", step.text), step.span.clone());
    match nearest(&step.text, candidates.iter().copied()) {
        Some(name) => problem.hint(format!("did you mean `{name}`?")),
        None if candidates.is_empty() => problem.hint("nothing can be set below here"),
        None => problem.hint(format!("there are: {}", candidates.join(", "))),
    }
}

/// Index of the item that a step names, by name or by number from 0.
fn item(items: &[Node], step: &Step) -> Result<usize, Problem> {
    let name = |item: &Node| ITEM_NAMES.iter().find_map(|key| item.get(key)?.text().map(str::to_owned));
    let names: Vec<_> = items.iter().map(|item| name(item).unwrap_or_default()).collect();
    let by_name = items
        .iter()
        .position(|item| ITEM_NAMES.iter().any(|key| item.get(key).and_then(Node::text) == Some(&step.text)));
    let by_number = step.text.parse().ok().filter(|at| *at < items.len());
    by_name
        .or(by_number)
        .ok_or_else(|| no_such(step, "item", &names.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn put(node: &mut Node, argument: &Argument, pattern: &str, unknown: &mut Vec<Problem>) {
    if !argument.appends {
        keys::check(&argument.value, pattern, unknown);
        let below = std::mem::replace(node, argument.value.clone());
        *node = merge(below, argument.value.clone(), pattern);
        return;
    }
    let more = match &argument.value.value {
        Value::Sequence(items) => items.clone(),
        _ => vec![argument.value.clone()],
    };
    more.iter().for_each(|item| keys::check(item, &keys::join(pattern, "[]"), unknown));
    let absent = node.is_null();
    let mut items = match std::mem::replace(&mut node.value, Value::Sequence(Vec::new())) {
        Value::Sequence(items) => items,
        _ if absent => Vec::new(),
        single => vec![Node { span: node.span.clone(), value: single }],
    };
    items.extend(more);
    node.value = Value::Sequence(items);
    node.span = argument.value.span.clone();
}
