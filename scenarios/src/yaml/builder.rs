//! Events to tree: the stack of open lists and maps, anchors, merge keys, and the bounds.

use super::*;
use std::borrow::Cow;

/// A list or map whose end has not come yet.
struct Open {
    start: usize,
    anchor: usize,
    shape: Shape,
}

enum Shape {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<(Key, Node)>, merged: Vec<Node>, key: Option<Key>, seen: HashMap<String, Span> },
}

/// Why reading stops before the end of the file; the problem is already noted.
struct Stop;

struct Builder<'a> {
    source: &'a Arc<Source>,
    /// Byte offset of each character that the parser reads, or empty when every character is one byte.
    bytes: Vec<usize>,
    stack: Vec<Open>,
    /// The documents that are complete.
    roots: Vec<Node>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    documents: usize,
    documents_max: usize,
    /// Where the last event ended: a block scalar's header stands between there and its text.
    last_end: usize,
    problems: Vec<Problem>,
}

pub(super) fn build(source: &Arc<Source>, documents_max: usize) -> Result<Vec<Node>, Vec<Problem>> {
    let (text, bytes) = match json::without_surrogates(&source.text) {
        Some((text, bytes)) => (Cow::Owned(text), bytes),
        None => (Cow::Borrowed(source.text.as_str()), byte_offsets(&source.text)),
    };
    let mut builder = Builder {
        source,
        bytes,
        stack: Vec::new(),
        roots: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        documents: 0,
        documents_max,
        last_end: 0,
        problems: Vec::new(),
    };
    for event in Parser::new_from_str(&text) {
        let read = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => {
                let at = builder.byte(error.marker().index());
                let problem = syntax_problem(source, error.info(), at);
                builder.stop(problem).map(|_: Node| ())
            }
        };
        if read.is_err() {
            break;
        }
    }
    if builder.problems.is_empty() { Ok(builder.roots) } else { Err(builder.problems) }
}

fn byte_offsets(text: &str) -> Vec<usize> {
    if text.is_ascii() {
        return Vec::new();
    }
    text.char_indices().map(|(at, _)| at).collect()
}

impl Builder<'_> {
    fn byte(&self, character: usize) -> usize {
        let length = self.source.text.len();
        if self.bytes.is_empty() {
            character.min(length)
        } else {
            self.bytes.get(character).copied().unwrap_or(length)
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.source.clone(), start, end)
    }

    fn stop<T>(&mut self, problem: Problem) -> Result<T, Stop> {
        self.problems.push(problem);
        Err(Stop)
    }

    fn event(&mut self, event: Event<'_>, place: saphyr_parser::Span) -> Result<(), Stop> {
        let start = self.byte(place.start.index());
        let end = self.byte(place.end.index());
        match event {
            Event::DocumentStart(_) => self.document(start, end)?,
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(&text, style, tag.as_deref(), start, end);
                self.remember(anchor, &node, 1);
                self.add(node, 1)?;
            }
            Event::Alias(id) => self.alias(id, start, end)?,
            Event::SequenceStart(anchor, tag) => {
                self.open(anchor, tag.as_deref(), start, end, Shape::Sequence(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                let shape = Shape::Mapping {
                    entries: Vec::new(),
                    merged: Vec::new(),
                    key: None,
                    seen: HashMap::new(),
                };
                self.open(anchor, tag.as_deref(), start, end, shape)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(end)?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        self.last_end = end;
        Ok(())
    }

    fn document(&mut self, start: usize, end: usize) -> Result<(), Stop> {
        self.documents += 1;
        if self.documents <= self.documents_max {
            return Ok(());
        }
        let problem = Problem::error("a second YAML document in one file", self.span(start, end));
        self.stop(problem.hint("one file holds one document: remove the `---` or split the file"))
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        start: usize,
        end: usize,
    ) -> Node {
        self.check_tag(tag, start, end);
        let style = match style {
            ScalarStyle::Plain if tag.is_some_and(|tag| tag.suffix == "str") => Style::Quoted,
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
            ScalarStyle::Literal => Style::Literal,
            ScalarStyle::Folded => Style::Folded,
        };
        let span = match style {
            Style::Literal | Style::Folded => self.block(start, end),
            Style::Plain if text.is_empty() => self.span(self.last_end, self.last_end),
            // The parser counts blanks after a closing quote as part of the value.
            _ => {
                let end = start + self.source.text[start..end.max(start)].trim_end().len();
                self.span(self.skip_properties(start, end), end)
            }
        };
        Node { span, value: Value::Scalar(Scalar { text: text.to_owned(), style }) }
    }

    /// The whole block scalar: from its `|` or `>` to the last line that is not blank.
    fn block(&self, start: usize, end: usize) -> Span {
        let from = self.last_end.min(start);
        let region = &self.source.text[from..end.max(start)];
        let in_comment = |line: &str| line.starts_with('#') || line.contains(" #");
        let begins = |(at, c): &(usize, char)| {
            let before = &region[..*at];
            matches!(c, '|' | '>')
                && before.chars().next_back().is_none_or(char::is_whitespace)
                && !in_comment(before.rsplit('\n').next().unwrap_or_default())
        };
        let header = region.char_indices().find(begins).map(|(at, _)| from + at);
        let start = header.unwrap_or(start);
        self.span(start, start + self.source.text[start..end.max(start)].trim_end().len())
    }

    /// Past `&anchor` and `!tag`, which the parser counts as part of the value.
    fn skip_properties(&self, start: usize, end: usize) -> usize {
        let mut rest = &self.source.text[start..end.max(start)];
        while rest.starts_with(['&', '!', '#']) {
            let is_comment = rest.starts_with('#');
            let stops = |c: char| if is_comment { c == '\n' } else { c.is_whitespace() };
            rest = rest[rest.find(stops).unwrap_or(rest.len())..].trim_start();
        }
        end - rest.len()
    }

    fn check_tag(&mut self, tag: Option<&Tag>, start: usize, end: usize) {
        let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema() && !tag.suffix.is_empty()) else {
            return;
        };
        let problem = Problem::error(format!("unknown YAML tag `{tag}`"), self.span(start, end));
        self.problems.push(problem.hint("write the value without a tag"));
    }

    fn open(
        &mut self,
        anchor: usize,
        tag: Option<&Tag>,
        start: usize,
        end: usize,
        shape: Shape,
    ) -> Result<(), Stop> {
        self.check_tag(tag, start, end);
        let start = self.skip_properties(start, end.max(start)).max(start);
        let awaits_key = |open: &Open| matches!(&open.shape, Shape::Mapping { key: None, .. });
        if self.stack.last().is_some_and(awaits_key) {
            return self.stop(self.bad_key(start, end));
        }
        if self.stack.len() == DEPTH_MAX {
            let problem =
                Problem::error(format!("nested deeper than {DEPTH_MAX} levels"), self.span(start, end));
            return self.stop(problem);
        }
        self.stack.push(Open { start, anchor, shape });
        Ok(())
    }

    /// A list or map where a key belongs; most often a template whose quotes were forgotten.
    fn bad_key(&self, start: usize, end: usize) -> Problem {
        if self.source.text[..start].ends_with('{') {
            let summary = "a value that begins with `{{` is read as a map inside a map";
            return Problem::error(summary, self.span(start - 1, end)).hint("quote it: \"{{...}}\"");
        }
        let summary = "a key must be a single word, found a list or a map";
        Problem::error(summary, self.span(start, end)).hint("quote the key if the brackets are part of it")
    }

    fn close(&mut self, end: usize) -> Result<(), Stop> {
        let Some(Open { start, anchor, shape }) = self.stack.pop() else { return Ok(()) };
        let value = match shape {
            Shape::Sequence(items) => Value::Sequence(items),
            Shape::Mapping { entries, merged, .. } => Value::Mapping(self.merge(entries, merged)),
        };
        let text = &self.source.text[start..end.max(start)];
        let node = Node { span: self.span(start, start + text.trim_end().len()), value };
        let size = if anchor == 0 { 1 } else { size(&node) };
        self.remember(anchor, &node, size);
        self.add(node, 1)
    }

    /// Entries of `<<` maps that the map does not have itself; of several, the first has its way.
    fn merge(&mut self, mut entries: Vec<(Key, Node)>, merged: Vec<Node>) -> Vec<(Key, Node)> {
        for node in merged {
            let sources = match node.value {
                Value::Sequence(items) => items,
                _ => vec![node],
            };
            for map in sources {
                let Value::Mapping(inherited) = map.value else {
                    self.problems.push(Problem::error("`<<` takes a map or a list of maps", map.span));
                    continue;
                };
                for (key, value) in inherited {
                    if !entries.iter().any(|(own, _)| own.text == key.text) {
                        entries.push((key, value));
                    }
                }
            }
        }
        entries
    }

    fn alias(&mut self, id: usize, start: usize, end: usize) -> Result<(), Stop> {
        match self.anchors.get(&id).cloned() {
            Some((node, size)) => self.add(node, size),
            None => {
                let problem =
                    Problem::error("an alias inside the value it stands for", self.span(start, end));
                self.stop(problem.hint("move the anchor to a value that is complete before the alias"))
            }
        }
    }

    fn remember(&mut self, anchor: usize, node: &Node, size: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
    }

    /// Puts a finished value where it belongs. `size` counts the values in it that were not counted yet.
    fn add(&mut self, node: Node, size: usize) -> Result<(), Stop> {
        self.nodes += size;
        if self.nodes > NODES_MAX {
            let problem = Problem::error(format!("more than {NODES_MAX} values in one file"), node.head());
            return self.stop(problem.hint("an alias used many times counts each time"));
        }
        let Some(open) = self.stack.last_mut() else {
            self.roots.push(node);
            return Ok(());
        };
        match &mut open.shape {
            Shape::Sequence(items) => items.push(node),
            Shape::Mapping { entries, merged, key, seen } => match key.take() {
                Some(merge) if is_merge(&merge) => merged.push(node),
                Some(key) => entries.push((key, node)),
                None => {
                    let Value::Scalar(scalar) = node.value else {
                        let problem = Problem::error("a key must be a single word", node.span);
                        return self.stop(problem);
                    };
                    if let Some(first) = seen.insert(scalar.text.clone(), node.span.clone()) {
                        let summary = format!("key `{}` is written twice in one map", scalar.text);
                        let problem = Problem::error(summary, node.span.clone());
                        self.problems.push(problem.hint("keep one").related(first, "first written here"));
                    }
                    *key = Some(Key { text: scalar.text, span: node.span });
                }
            },
        }
        Ok(())
    }
}

/// `<<` written plainly asks for a merge; in quotes it is a key like any other.
fn is_merge(key: &Key) -> bool {
    key.span.text() == "<<"
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 1,
        Value::Sequence(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Mapping(entries) => 1 + entries.iter().map(|(_, value)| size(value)).sum::<usize>(),
    }
}

/// The parser's message with the place and the hint that fit the usual slips.
fn syntax_problem(source: &Arc<Source>, info: &str, at: usize) -> Problem {
    let text = &source.text;
    let tab = text[at..].find('\t').map(|offset| at + offset);
    let (at, hint) = match info {
        _ if info.contains("tab") => (tab.unwrap_or(at), "YAML indents with spaces: replace the tab"),
        _ if info.contains("comments must be separated") => {
            (at, "YAML takes # for a comment: quote a value that begins with it")
        }
        _ if info.contains("mapping values are not allowed") => {
            (at, "quote a value that contains `: `; or check that this line is indented as the one above")
        }
        _ if info.contains("unexpected character") => (at, "quote a value that begins with this character"),
        _ if info.contains("unknown anchor") => {
            (at, "define it with `&name` before its use, or quote a value that begins with `*`")
        }
        _ if info.contains("quoted scalar") => (at, "the closing quote is missing"),
        _ if info.contains("flow sequence") => (at, "a `[` needs its `]`, with commas between the items"),
        _ if info.contains("flow mapping") => (at, "a `{` needs its `}`, with commas between the entries"),
        _ if info.contains("did not find expected key") => {
            (at, "indent this line as the other keys of its map")
        }
        _ => (at, "check indentation, quotes and brackets here and on the line before"),
    };
    // Past the last line there is nothing to mark, so the place moves back to the end of the text.
    let at = if text[at..].trim().is_empty() { text.trim_end().len() } else { at };
    let length = text[at..].chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
    Problem::error(format!("not valid YAML: {info}"), Span::new(source.clone(), at, at + length)).hint(hint)
}
