//! What a template takes from its alert: which labels, and where the value.

use super::tree::{Branch, BranchKind, Command, Node, Pipeline, Word, WordKind};
use super::{Body, Template};
use std::collections::BTreeSet;
use std::ops::Range;

/// What a template takes from its alert, each with its bytes of the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Labels that it asks for without asking first whether they are there.
    pub(crate) labels: Vec<(String, Range<usize>)>,
    /// Where the value is written out.
    pub(crate) values: Vec<Range<usize>>,
    /// Where the value only decides what is written.
    pub(crate) decisions: Vec<Range<usize>>,
}

impl Template {
    /// What it takes from its alert. Templates that it defines are not looked into: they are given what is theirs.
    pub(crate) fn uses(&self) -> Uses {
        let mut found = Finder { text: &self.text, uses: Uses::default(), asked: BTreeSet::new() };
        if let Body::Actions(tree) = &self.body {
            found.nodes(&tree.main, true);
        }
        let Finder { mut uses, asked, .. } = found;
        uses.labels.retain(|(label, _)| !asked.contains(label));
        uses
    }
}

struct Finder<'t> {
    text: &'t str,
    uses: Uses,
    /// Labels that an `if` or `with` asks for.
    asked: BTreeSet<String>,
}

impl Finder<'_> {
    /// `is_alert`: the dot is the alert's data.
    fn nodes(&mut self, nodes: &[Node], is_alert: bool) {
        for node in nodes {
            match node {
                Node::Action(pipeline) => self.pipeline(pipeline, is_alert, false),
                Node::Branch(branch) => self.branch(branch, is_alert),
                Node::Call { argument: Some(argument), .. } => self.pipeline(argument, is_alert, false),
                Node::Text(_) | Node::Call { .. } | Node::Break | Node::Continue => {}
            }
        }
    }

    fn branch(&mut self, branch: &Branch, is_alert: bool) {
        let before = self.uses.labels.len();
        self.pipeline(&branch.pipeline, is_alert, branch.kind == BranchKind::If);
        if branch.kind != BranchKind::Range {
            self.asked.extend(self.uses.labels.drain(before..).map(|(label, _)| label));
        }
        // `with` and `range` put something else in the place of the dot.
        self.nodes(&branch.body, is_alert && branch.kind == BranchKind::If);
        self.nodes(&branch.otherwise, is_alert);
    }

    fn pipeline(&mut self, pipeline: &Pipeline, is_alert: bool, decides: bool) {
        pipeline.commands.iter().for_each(|command| self.command(command, is_alert, decides));
    }

    fn command(&mut self, command: &Command, is_alert: bool, decides: bool) {
        if let [function, labels, Word { at, kind: WordKind::Text(_, name) }, ..] = command.words.as_slice()
            && matches!(&function.kind, WordKind::Function(name) if name == "index")
            && is_labels(&labels.kind, is_alert)
        {
            self.label(name, *at);
        }
        command.words.iter().for_each(|word| self.word(word, is_alert, decides));
    }

    fn word(&mut self, word: &Word, is_alert: bool, decides: bool) {
        match &word.kind {
            WordKind::Pipeline(pipeline) => self.pipeline(pipeline, is_alert, decides),
            WordKind::Chain(inner, _) => self.word(inner, is_alert, decides),
            WordKind::Variable(name, fields) => match (name.as_str(), fields.as_slice()) {
                ("$labels", [label, ..]) => self.label(label, word.at),
                ("$", [data, label, ..]) if data == "Labels" => self.label(label, word.at),
                ("$value", _) => self.value("$value", word.at, decides),
                ("$", [data, ..]) if data == "Value" => self.value("$.Value", word.at, decides),
                _ => {}
            },
            WordKind::Field(fields) if is_alert => match fields.as_slice() {
                [data, label, ..] if data == "Labels" => self.label(label, word.at),
                [data, ..] if data == "Value" => self.value(".Value", word.at, decides),
                _ => {}
            },
            _ => {}
        }
    }

    /// The name's place is the first behind `at` where it stands.
    fn label(&mut self, name: &str, at: usize) {
        let start = self.text.get(at..).and_then(|rest| rest.find(name)).map_or(at, |offset| at + offset);
        self.uses.labels.push((name.to_owned(), start..start + name.len()));
    }

    fn value(&mut self, written: &str, at: usize, decides: bool) {
        let place = at..at + written.len();
        if decides { self.uses.decisions.push(place) } else { self.uses.values.push(place) }
    }
}

/// Whether it is all of the alert's labels.
fn is_labels(kind: &WordKind, is_alert: bool) -> bool {
    match kind {
        WordKind::Variable(name, fields) => match (name.as_str(), fields.as_slice()) {
            ("$labels", []) => true,
            ("$", [data]) => data == "Labels",
            _ => false,
        },
        WordKind::Field(fields) => is_alert && matches!(fields.as_slice(), [data] if data == "Labels"),
        _ => false,
    }
}
