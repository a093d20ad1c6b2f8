//! A template's tree and the facts of an alert to a text, as Go walks it.
//!
//! A message names the place that Go names: the last part it was at. So `here` moves exactly where Go's does.

use super::functions::Kind;
use super::tree::{Branch, BranchKind, Command, Node, Number, Pipeline, Tree, Word, WordKind};
use super::value::Value;
use super::{Facts, PREAMBLE, VARIABLES};
use std::fmt::Display;
use std::rc::Rc;

/// Longest text that is made.
const BYTES_MAX: usize = 1 << 20;
/// Most turns of all ranges, and calls of templates, together.
const TURNS_MAX: usize = 1_000_000;
/// Deepest nesting of template calls; Go has 100,000, on stacks that grow.
const CALLS_MAX: usize = 100;
/// Deepest nesting of blocks, those of called templates inside those of their callers.
const DEPTH_MAX: usize = 300;
/// Bytes of all texts that functions make: a variable may be doubled again and again.
pub(super) const MADE_MAX: usize = 16 * BYTES_MAX;

/// Fills in a tree. Errors: Prometheus' message, without what it puts around it.
pub(super) fn run(tree: &Tree, text: &str, facts: &Facts<'_>) -> Result<String, String> {
    let mut variables = vec![("$".to_string(), Value::Data)];
    let values = [
        Value::labels(facts.labels),
        Value::labels(facts.external_labels),
        Value::text(facts.external_url),
        Value::Float(facts.value),
    ];
    variables.extend(VARIABLES.iter().map(ToString::to_string).zip(values));
    let mut run = Run {
        tree,
        text,
        facts,
        variables,
        out: String::new(),
        here: Here::Nowhere,
        defined: None,
        calls: 0,
        depth: 0,
        turns: 0,
        made: 0,
    };
    match run.list(&tree.main, &Value::Data) {
        Ok(()) | Err(Stop::Break | Stop::Continue) => Ok(run.out),
        Err(Stop::Error(message)) => Err(message),
    }
}

/// Why the walk does not go on to the next node.
pub(super) enum Stop {
    Break,
    Continue,
    Error(String),
}

pub(super) type Walked<T> = Result<T, Stop>;

/// The part that a message is about.
#[derive(Clone, Copy)]
pub(super) enum Here<'t> {
    Nowhere,
    Word(&'t Word),
    Command(&'t Command),
    Pipeline(&'t Pipeline),
    Call { at: usize, name: &'t str, argument: Option<&'t Pipeline> },
}

pub(super) struct Run<'t, 'f> {
    tree: &'t Tree,
    text: &'t str,
    pub(super) facts: &'t Facts<'f>,
    variables: Vec<(String, Value)>,
    out: String,
    pub(super) here: Here<'t>,
    /// The defined template that runs; `None` for the text itself.
    defined: Option<&'t str>,
    calls: usize,
    depth: usize,
    /// Of ranges, and calls of templates.
    turns: usize,
    pub(super) made: usize,
}

impl<'t> Run<'t, '_> {
    pub(super) fn error<T>(&self, message: impl Display) -> Walked<T> {
        let name = format!("__alert_{}", self.facts.alert);
        let running = self.defined.unwrap_or(&name);
        let place = |at: usize, shown: String| {
            let before = &self.text[..at];
            let line = 1 + before.matches('\n').count();
            let column = match before.rfind('\n') {
                Some(newline) => at - newline - 1,
                None => at + PREAMBLE.len(),
            };
            format!("template: {name}:{line}:{column}: executing {running:?} at <{shown}>: {message}")
        };
        let text = match self.here {
            Here::Nowhere => format!("template: {name}: {message}"),
            Here::Word(word) => {
                let (at, shown) = word.place();
                place(at, shown)
            }
            Here::Command(command) => place(command.at, command.to_string()),
            Here::Pipeline(pipeline) => place(pipeline.at, pipeline.to_string()),
            Here::Call { at, name, argument } => {
                let argument = argument.map(|pipeline| format!(" {pipeline}")).unwrap_or_default();
                place(at, format!("{{{{template {name:?}{argument}}}}}"))
            }
        };
        Err(Stop::Error(format!("error executing template {name}: {text}")))
    }

    fn write(&mut self, text: &str) -> Walked<()> {
        if self.out.len() + text.len() > BYTES_MAX {
            return self.error(format!("the text is longer than {BYTES_MAX} bytes"));
        }
        self.out += text;
        Ok(())
    }

    fn list(&mut self, nodes: &'t [Node], dot: &Value) -> Walked<()> {
        if self.depth == DEPTH_MAX {
            return self.error(format!("nested deeper than {DEPTH_MAX}"));
        }
        self.depth += 1;
        let walked = nodes.iter().try_for_each(|node| self.node(node, dot));
        self.depth -= 1;
        walked
    }

    fn node(&mut self, node: &'t Node, dot: &Value) -> Walked<()> {
        match node {
            Node::Text(text) => self.write(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if !pipeline.variables.is_empty() {
                    return Ok(());
                }
                let shown = self.shown(&value);
                self.write(&shown)
            }
            Node::Branch(branch) => {
                let known = self.variables.len();
                let walked = match branch.kind {
                    BranchKind::Range => self.range(branch, dot),
                    BranchKind::If | BranchKind::With => self.condition(branch, dot),
                };
                self.variables.truncate(known);
                walked
            }
            Node::Call { at, name, argument } => self.call_template(*at, name, argument.as_ref(), dot),
            Node::Break => Err(Stop::Break),
            Node::Continue => Err(Stop::Continue),
        }
    }

    /// As an action prints it: a pointer is followed, unlike inside `print`.
    fn shown(&self, value: &Value) -> String {
        match value {
            Value::Sample(sample) => sample.shown(),
            Value::Data => {
                let shown = |labels| Value::labels(labels).shown();
                let value = Value::Float(self.facts.value).shown();
                let (labels, external) = (shown(self.facts.labels), shown(self.facts.external_labels));
                format!("{{{labels} {external} {} {value}}}", self.facts.external_url)
            }
            value => value.shown(),
        }
    }

    fn condition(&mut self, branch: &'t Branch, dot: &Value) -> Walked<()> {
        let value = self.pipeline(&branch.pipeline, dot)?;
        match (value.is_true(), branch.kind) {
            (true, BranchKind::With) => self.list(&branch.body, &value),
            (true, _) => self.list(&branch.body, dot),
            (false, _) => self.list(&branch.otherwise, dot),
        }
    }

    fn range(&mut self, branch: &'t Branch, dot: &Value) -> Walked<()> {
        let value = self.pipeline(&branch.pipeline, dot)?;
        let int = |index: usize| Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
        let turns: Vec<(Value, Value)> = match &value {
            Value::Missing | Value::Nil => Vec::new(),
            Value::Samples(samples) => {
                let sample =
                    |(index, sample): (usize, &Rc<_>)| (int(index), Value::Sample(Rc::clone(sample)));
                samples.iter().enumerate().map(sample).collect()
            }
            Value::Labels(map) => {
                let entry = |(name, value): (&String, &String)| {
                    (Value::text(name.as_str()), Value::text(value.as_str()))
                };
                map.iter().map(entry).collect()
            }
            Value::Arguments(map) => {
                let entry = |(name, value): (&String, &Value)| (Value::text(name.as_str()), value.clone());
                map.iter().map(entry).collect()
            }
            Value::Int(count) if self.tree.is_new => {
                let count = usize::try_from(*count).unwrap_or(0);
                if count > TURNS_MAX {
                    return self.error(format!("more than {TURNS_MAX} turns"));
                }
                (0..count).map(|index| (int(index), int(index))).collect()
            }
            other => {
                let shown = self.shown(other);
                return self.error(format!("range can't iterate over {shown}"));
            }
        };
        if turns.is_empty() {
            return self.list(&branch.otherwise, dot);
        }
        let known = self.variables.len();
        for (index, element) in turns {
            self.turns += 1;
            if self.turns > TURNS_MAX {
                return self.error(format!("more than {TURNS_MAX} turns"));
            }
            self.set_turn(&branch.pipeline, &index, &element)?;
            let walked = self.list(&branch.body, &element);
            self.variables.truncate(known);
            match walked {
                Ok(()) | Err(Stop::Continue) => {}
                Err(Stop::Break) => break,
                error => return error,
            }
        }
        Ok(())
    }

    /// Sets the variables of a range, which its pipeline has declared.
    fn set_turn(&mut self, pipeline: &'t Pipeline, index: &Value, element: &Value) -> Walked<()> {
        let names = pipeline.variables.iter().rev();
        for (back, (_, value)) in names.zip([element, index]).enumerate() {
            if pipeline.assigns {
                let name = &pipeline.variables[pipeline.variables.len() - 1 - back];
                self.assign(name, value.clone())?;
                continue;
            }
            let at = self.variables.len() - 1 - back;
            self.variables[at].1 = value.clone();
        }
        Ok(())
    }

    fn call_template(
        &mut self,
        at: usize,
        name: &'t str,
        argument: Option<&'t Pipeline>,
        dot: &Value,
    ) -> Walked<()> {
        self.here = Here::Call { at, name, argument };
        let Some(body) = self.tree.defined.get(name) else {
            return self.error(format!("template {name:?} not defined"));
        };
        if self.calls == CALLS_MAX {
            return self.error(format!("exceeded maximum template depth ({CALLS_MAX})"));
        }
        self.turns += 1;
        if self.turns > TURNS_MAX {
            return self.error(format!("more than {TURNS_MAX} turns"));
        }
        let dot = match argument {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Missing,
        };
        let outside = std::mem::replace(&mut self.variables, vec![("$".to_string(), dot.clone())]);
        let caller = self.defined.replace(name);
        self.calls += 1;
        let walked = self.list(body, &dot);
        self.calls -= 1;
        if walked.is_ok() {
            self.defined = caller;
        }
        self.variables = outside;
        walked
    }

    pub(super) fn pipeline(&mut self, pipeline: &'t Pipeline, dot: &Value) -> Walked<Value> {
        self.here = Here::Pipeline(pipeline);
        let mut value: Option<Value> = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or(Value::Missing);
        for name in &pipeline.variables {
            match pipeline.assigns {
                true => self.assign(name, value.clone())?,
                false => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn assign(&mut self, name: &str, value: Value) -> Walked<()> {
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, old)) => {
                *old = value;
                Ok(())
            }
            None => self.error(format!("undefined variable: {name}")),
        }
    }

    /// A command; `last` is what is piped into it.
    fn command(&mut self, command: &'t Command, dot: &Value, last: Option<Value>) -> Walked<Value> {
        let Some(first) = command.words.first() else { return Ok(Value::Missing) };
        let words = &command.words[1..];
        match &first.kind {
            WordKind::Function(name) => {
                self.here = Here::Word(first);
                self.call(name, Here::Command(command), words, dot, last)
            }
            WordKind::Field(fields) => {
                self.here = Here::Word(first);
                self.fields(dot.clone(), fields, words, dot, last)
            }
            WordKind::Variable(name, fields) => {
                self.here = Here::Word(first);
                let value = self.variable(name)?;
                if fields.is_empty() {
                    self.takes_nothing(first, words, last.as_ref())?;
                }
                self.fields(value, fields, words, dot, last)
            }
            WordKind::Chain(inner, fields) => {
                self.here = Here::Word(first);
                let value = self.argument(inner, Kind::Any, dot)?;
                self.fields(value, fields, words, dot, last)
            }
            WordKind::Pipeline(pipeline) => {
                self.takes_nothing(first, words, last.as_ref())?;
                self.pipeline(pipeline, dot)
            }
            kind => {
                self.here = Here::Word(first);
                self.takes_nothing(first, words, last.as_ref())?;
                match kind {
                    WordKind::Bool(is_true) => Ok(Value::Bool(*is_true)),
                    WordKind::Dot => Ok(dot.clone()),
                    WordKind::Number(number) => self.constant(number),
                    WordKind::Text(_, text) => Ok(Value::text(text.as_str())),
                    _ => self.error("nil is not a command"),
                }
            }
        }
    }

    fn takes_nothing(&self, first: &Word, words: &[Word], last: Option<&Value>) -> Walked<()> {
        match words.is_empty() && last.is_none() {
            true => Ok(()),
            false => self.error(format!("can't give argument to non-function {}", first.place().1)),
        }
    }

    pub(super) fn variable(&self, name: &str) -> Walked<Value> {
        match self.variables.iter().rev().find(|(known, _)| known == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.error(format!("undefined variable: {name}")),
        }
    }

    /// A number whose kind nothing asks for.
    pub(super) fn constant(&self, number: &Number) -> Walked<Value> {
        match number.whole {
            _ if number.is_float => Ok(Value::Float(number.float)),
            Some(whole) => Ok(Value::Int(whole)),
            None => self.error(format!("{} overflows int", number.text)),
        }
    }

    /// `.a.b` of a value; arguments belong to the last.
    pub(super) fn fields(
        &mut self,
        mut value: Value,
        fields: &'t [String],
        words: &'t [Word],
        dot: &Value,
        last: Option<Value>,
    ) -> Walked<Value> {
        let Some((final_field, before)) = fields.split_last() else { return Ok(value) };
        for field in before {
            value = self.field(&value, field, false)?;
        }
        if let Value::Time(moment) = value
            && let Some(method) = super::moments::method(final_field)
        {
            let arguments = self.arguments(final_field, method.parameters, None, words, dot, last)?;
            return Ok((method.body)(moment, &arguments));
        }
        self.field(&value, final_field, !words.is_empty() || last.is_some())
    }

    fn field(&self, value: &Value, name: &str, has_arguments: bool) -> Walked<Value> {
        let found = match value {
            Value::Missing | Value::Nil => return Ok(Value::Missing),
            Value::Labels(map) => Value::text(map.get(name).map(String::as_str).unwrap_or_default()),
            Value::Arguments(map) => map.get(name).cloned().unwrap_or(Value::Missing),
            Value::Sample(sample) if name == "Labels" => Value::Labels(sample.labels.clone()),
            Value::Sample(sample) if name == "Value" => Value::Float(sample.value),
            Value::Time(moment) => match super::moments::method(name).filter(|m| m.parameters.is_empty()) {
                Some(method) => (method.body)(*moment, &[]),
                None => return self.no_field(value, name),
            },
            Value::Data => match name {
                "Labels" => Value::labels(self.facts.labels),
                "ExternalLabels" => Value::labels(self.facts.external_labels),
                "ExternalURL" => Value::text(self.facts.external_url),
                "Value" => Value::Float(self.facts.value),
                _ => return self.no_field(value, name),
            },
            _ => return self.no_field(value, name),
        };
        match (has_arguments, value) {
            (false, _) => Ok(found),
            (true, Value::Labels(_) | Value::Arguments(_)) => {
                self.error(format!("{name} is not a method but has arguments"))
            }
            (true, _) => self.error(format!("{name} has arguments but cannot be invoked as function")),
        }
    }

    fn no_field(&self, value: &Value, name: &str) -> Walked<Value> {
        self.error(format!("can't evaluate field {name} in type {}", value.type_name()))
    }
}
