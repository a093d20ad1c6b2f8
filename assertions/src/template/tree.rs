//! A template's syntax tree. Each part prints as Go prints it: that is how messages name the place.

use std::collections::BTreeMap;
use std::fmt;

/// A whole text: what is done for it, and the templates it defines.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    /// Of Prometheus 3, whose Go can count with `range`.
    pub(super) is_new: bool,
    pub(super) main: Vec<Node>,
    pub(super) defined: BTreeMap<String, Vec<Node>>,
}

/// Something that is done.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    Branch(Box<Branch>),
    /// `{{template "name" pipeline}}`
    Call {
        at: usize,
        name: String,
        argument: Option<Pipeline>,
    },
    Break,
    Continue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BranchKind {
    If,
    With,
    Range,
}

/// `if`, `with` or `range`.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) kind: BranchKind,
    pub(super) pipeline: Pipeline,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// `$x := a | b | c`
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub(super) at: usize,
    /// `=` rather than `:=`.
    pub(super) assigns: bool,
    pub(super) variables: Vec<String>,
    pub(super) commands: Vec<Command>,
}

/// A function and its arguments, or one operand.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) at: usize,
    pub(super) words: Vec<Word>,
}

#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) at: usize,
    pub(super) kind: WordKind,
}

#[derive(Debug, Clone)]
pub(super) enum WordKind {
    Function(String),
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a.b`; the name with its `$`.
    Variable(String, Vec<String>),
    /// `(pipeline).a.b`
    Chain(Box<Word>, Vec<String>),
    Pipeline(Pipeline),
    Bool(bool),
    Dot,
    Nil,
    Number(Number),
    /// As written, and what it says.
    Text(String, String),
}

/// A number, which may be fit for both kinds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Number {
    pub(super) text: String,
    pub(super) whole: Option<i64>,
    pub(super) float: f64,
    /// Written as a float, so that it is one where both would do.
    pub(super) is_float: bool,
}

impl Word {
    /// Where it is, and how it is shown, when a message is about it: of parentheses, what is inside.
    pub(super) fn place(&self) -> (usize, String) {
        match &self.kind {
            WordKind::Pipeline(pipeline) => (pipeline.at, pipeline.to_string()),
            _ => (self.at, self.to_string()),
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = |fields: &[String]| fields.iter().map(|field| format!(".{field}")).collect::<String>();
        match &self.kind {
            WordKind::Function(name) => f.write_str(name),
            WordKind::Field(fields) => f.write_str(&chain(fields)),
            WordKind::Variable(name, fields) => write!(f, "{name}{}", chain(fields)),
            WordKind::Chain(word, fields) => write!(f, "{word}{}", chain(fields)),
            WordKind::Pipeline(pipeline) => write!(f, "({pipeline})"),
            WordKind::Bool(is_true) => write!(f, "{is_true}"),
            WordKind::Dot => f.write_str("."),
            WordKind::Nil => f.write_str("nil"),
            WordKind::Number(number) => f.write_str(&number.text),
            WordKind::Text(written, _) => f.write_str(written),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words.iter().enumerate() {
            write!(f, "{}{word}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            write!(f, "{}{command}", if index == 0 { "" } else { " | " })?;
        }
        Ok(())
    }
}
