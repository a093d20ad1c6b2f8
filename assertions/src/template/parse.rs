//! Tokens to a tree, with everything that Go refuses before it runs anything: unknown functions and variables, blocks
//! that are not closed, empty pipelines.

use super::lex::{self, Kind, Token};
use super::tree::{Branch, BranchKind, Node, Tree};
use super::{Fault, VARIABLES};
use crate::promql::ast::Dialect;
use std::ops::Range;

/// Deepest nesting of blocks and parentheses.
const DEPTH_MAX: usize = 60;

pub(super) type Parsed<T> = Result<T, Fault>;

pub(super) fn parse(text: &str, dialect: Dialect) -> Parsed<Tree> {
    let tokens = lex::tokens(text)?;
    let variables = std::iter::once("$").chain(VARIABLES).map(str::to_string).collect();
    let tree = Tree { is_new: dialect == Dialect::V3, ..Tree::default() };
    let mut parser = Parser { text, dialect, tokens, at: 0, variables, ranges: 0, depth: 0, tree };
    match parser.list(true)? {
        (nodes, Ending::Text) => {
            parser.tree.main = nodes;
            Ok(parser.tree)
        }
        (_, Ending::Else(range) | Ending::End(range)) => {
            fault("there is no block that this could belong to", range)
        }
    }
}

pub(super) fn fault<T>(summary: impl Into<String>, range: Range<usize>) -> Parsed<T> {
    Err(Fault { summary: summary.into(), range, hint: None })
}

pub(super) struct Parser<'t> {
    pub(super) text: &'t str,
    pub(super) dialect: Dialect,
    tokens: Vec<Token>,
    pub(super) at: usize,
    /// Variables that are known here.
    pub(super) variables: Vec<String>,
    /// `range` blocks that are open.
    ranges: usize,
    depth: usize,
    tree: Tree,
}

/// What ended a list of nodes.
enum Ending {
    /// The text's end.
    Text,
    /// `{{end}}`, consumed.
    End(Range<usize>),
    /// `{{else`, consumed so far.
    Else(Range<usize>),
}

/// What a pipeline is written for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Purpose {
    Action,
    Parentheses,
    Range,
    Condition,
    Argument,
}

impl Parser<'_> {
    pub(super) fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    pub(super) fn peek_past_space(&mut self) -> &Token {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
        self.peek()
    }

    fn next_past_space(&mut self) -> Token {
        self.peek_past_space();
        self.next()
    }

    pub(super) fn written(&self, token: &Token) -> &str {
        &self.text[token.range.clone()]
    }

    fn is_keyword(&self, token: &Token, word: &str) -> bool {
        token.kind == Kind::Keyword && self.written(token) == word
    }

    pub(super) fn unexpected<T>(&self, token: &Token, place: &str) -> Parsed<T> {
        match token.kind {
            Kind::End | Kind::Right => fault(format!("{place} ends too early"), token.range.clone()),
            _ => fault(format!("`{}` cannot stand in {place}", self.written(token)), token.range.clone()),
        }
    }

    fn expect(&mut self, kind: Kind, place: &str) -> Parsed<Token> {
        let token = self.next_past_space();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, place) }
    }

    pub(super) fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_MAX {
            return fault(format!("nested deeper than {DEPTH_MAX}"), self.peek().range.clone());
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Nodes up to what ends them. Definitions stand at the top only.
    fn list(&mut self, at_top: bool) -> Parsed<(Vec<Node>, Ending)> {
        let mut nodes = Vec::new();
        loop {
            let token = self.next();
            match token.kind {
                Kind::Text => nodes.push(Node::Text(self.written(&token).to_string())),
                Kind::End => return Ok((nodes, Ending::Text)),
                _ => {
                    let first = self.peek_past_space().clone();
                    if self.is_keyword(&first, "end") {
                        self.at += 1;
                        self.expect(Kind::Right, "`end`")?;
                        return Ok((nodes, Ending::End(first.range)));
                    }
                    if self.is_keyword(&first, "else") {
                        self.at += 1;
                        return Ok((nodes, Ending::Else(first.range)));
                    }
                    nodes.extend(self.action(&first, at_top)?);
                }
            }
        }
    }

    fn action(&mut self, first: &Token, at_top: bool) -> Parsed<Option<Node>> {
        if first.kind != Kind::Keyword {
            return self.pipeline(Purpose::Action, Kind::Right).map(Node::Action).map(Some);
        }
        self.at += 1;
        match self.written(first) {
            "if" => self.nested(|p| p.branch(BranchKind::If, first)).map(Some),
            "with" => self.nested(|p| p.branch(BranchKind::With, first)).map(Some),
            "range" => self.nested(|p| p.branch(BranchKind::Range, first)).map(Some),
            "template" => self.call().map(Some),
            "block" => self.nested(|p| p.block(first)).map(Some),
            "define" if at_top => self.nested(|p| p.define(first)).map(|()| None),
            "define" => fault("`define` stands inside a block", first.range.clone()),
            word @ ("break" | "continue") => {
                let node = if word == "break" { Node::Break } else { Node::Continue };
                if self.ranges == 0 {
                    return fault(format!("`{word}` outside of a `range`"), first.range.clone());
                }
                self.expect(Kind::Right, "this")?;
                Ok(Some(node))
            }
            word => fault(format!("`{word}` cannot stand here"), first.range.clone()),
        }
    }

    fn branch(&mut self, kind: BranchKind, first: &Token) -> Parsed<Node> {
        let known = self.variables.len();
        let purpose = if kind == BranchKind::Range { Purpose::Range } else { Purpose::Condition };
        let pipeline = self.pipeline(purpose, Kind::Right)?;
        self.ranges += usize::from(kind == BranchKind::Range);
        let body = self.list(false);
        self.ranges -= usize::from(kind == BranchKind::Range);
        let (body, ending) = body?;
        let otherwise = match ending {
            Ending::End(_) => Vec::new(),
            Ending::Else(range) => self.otherwise(kind, range, first)?,
            Ending::Text => return self.not_closed(first),
        };
        self.variables.truncate(known);
        Ok(Node::Branch(Box::new(Branch { kind, pipeline, body, otherwise })))
    }

    fn not_closed<T>(&self, first: &Token) -> Parsed<T> {
        let summary = format!("`{}` has no `{{{{ end }}}}`", self.written(first));
        fault(summary, first.range.clone())
    }

    /// What follows `{{else`: another condition that shares the `{{end}}`, or a list.
    fn otherwise(&mut self, kind: BranchKind, range: Range<usize>, first: &Token) -> Parsed<Vec<Node>> {
        let next = self.peek_past_space().clone();
        // `else with` came with Go 1.23.
        let chained = match kind {
            BranchKind::If => self.is_keyword(&next, "if"),
            BranchKind::With => self.is_keyword(&next, "with") && self.dialect == Dialect::V3,
            BranchKind::Range => false,
        };
        if chained {
            self.at += 1;
            return self.nested(|p| p.branch(kind, &next)).map(|node| vec![node]);
        }
        self.expect(Kind::Right, "`else`")?;
        match self.list(false)? {
            (nodes, Ending::End(_)) => Ok(nodes),
            (_, Ending::Else(_)) => fault("a second `else`", range),
            (_, Ending::Text) => self.not_closed(first),
        }
    }

    /// The name after `template`, `define` or `block`, and where it stands.
    fn name(&mut self, place: &str) -> Parsed<(usize, String)> {
        let token = self.next_past_space();
        if token.kind != Kind::Quoted {
            return fault(format!("{place} needs a name in quotes"), token.range);
        }
        Ok((token.range.start, self.text_of(&token)?))
    }

    /// `{{template "name"}}` or `{{template "name" pipeline}}`.
    fn call(&mut self) -> Parsed<Node> {
        let (at, name) = self.name("`template`")?;
        let argument = match self.peek_past_space().kind {
            Kind::Right => {
                self.at += 1;
                None
            }
            _ => Some(self.pipeline(Purpose::Argument, Kind::Right)?),
        };
        Ok(Node::Call { at, name, argument })
    }

    fn define(&mut self, first: &Token) -> Parsed<()> {
        let (_, name) = self.name("`define`")?;
        self.expect(Kind::Right, "`define`")?;
        self.body_of(first, name)
    }

    /// A definition and its call at once.
    fn block(&mut self, first: &Token) -> Parsed<Node> {
        let (at, name) = self.name("`block`")?;
        let argument = Some(self.pipeline(Purpose::Argument, Kind::Right)?);
        self.body_of(first, name.clone())?;
        Ok(Node::Call { at, name, argument })
    }

    /// The body of a definition, which knows no variable but `$`.
    fn body_of(&mut self, first: &Token, name: String) -> Parsed<()> {
        let outside = std::mem::replace(&mut self.variables, vec!["$".to_string()]);
        let ranges = std::mem::take(&mut self.ranges);
        let body = self.list(false);
        self.variables = outside;
        self.ranges = ranges;
        let (nodes, Ending::End(_)) = body? else { return self.not_closed(first) };
        let is_empty = |nodes: &[Node]| {
            nodes.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
        };
        match self.tree.defined.get(&name) {
            // An empty definition replaces none, and is replaced by any.
            Some(before) if is_empty(&nodes) && !is_empty(before) => {}
            Some(before) if !is_empty(before) => {
                return fault(format!("template `{name}` is defined twice"), first.range.clone());
            }
            _ => {
                self.tree.defined.insert(name, nodes);
            }
        }
        Ok(())
    }
}
