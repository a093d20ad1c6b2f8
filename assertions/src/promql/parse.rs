//! An expression's text to our syntax tree; everything that cannot be evaluated is refused here, with its place.
//!
//! Operators by precedence (Pratt); what stands between them is in `parse/operand.rs`, `parse/selector.rs` and
//! `parse/call.rs`, the rules of types in `parse/types.rs`. The grammar is that of Prometheus 2.42 and 3. Nesting is bounded, so
//! that no text can exhaust the stack, here or in what walks the tree later.

use super::ast::{
    Arithmetic, Binary, Cardinality, Comparison, Dialect, Expr, MatchLabels, Matching, Operator, SetOperator,
    Span,
};
use super::lex::{self, Token, TokenKind};
use std::ops::Range;

mod call;
mod foreign;
mod operand;
mod selector;
mod types;

/// Longest expression, bytes.
const LENGTH_MAX: usize = 256 * 1024;
/// Deepest nesting of parentheses, calls and signs: what the parser's own stack holds, without optimisation too.
const NESTING_MAX: usize = 64;
/// Deepest tree, a chain of operators counted one by one: what those who walk it hold.
const DEPTH_MAX: usize = 300;

/// What may be used in an expression.
#[derive(Debug, Clone, Copy, Default)]
pub struct ParseOptions {
    /// Whose language.
    pub dialect: Dialect,
    /// Whether functions that Prometheus has behind a flag are accepted.
    pub experimental: bool,
}

/// Why an expression was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{summary}")]
pub struct ParseError {
    /// What is wrong, lower case, no full stop.
    pub summary: String,
    /// The bytes of the expression it is about.
    pub range: Range<usize>,
    /// What to write instead.
    pub hint: Option<String>,
}

impl ParseError {
    fn new(summary: impl Into<String>, place: Span) -> ParseError {
        ParseError { summary: summary.into(), range: place.range(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> ParseError {
        self.hint = Some(hint.into());
        self
    }
}

type Parsed<T> = Result<T, ParseError>;

/// Reads an expression.
///
/// Errors: the first trouble in it: syntax, types, functions and constructs that are not supported or not of this dialect.
pub fn parse(text: &str, options: ParseOptions) -> Result<Expr, ParseError> {
    if text.len() > LENGTH_MAX {
        let summary = format!("the expression has {} bytes, more than {LENGTH_MAX}", text.len());
        let error = ParseError { summary, range: 0..0, hint: None };
        return Err(error.hint("split it with recording rules"));
    }
    let tokens = lex::tokens(text, options.dialect);
    let mut parser = Parser { text, tokens, at: 0, options, nesting: 0 };
    if parser.peek().kind == TokenKind::End {
        return Err(ParseError { summary: "the expression is empty".into(), range: 0..0, hint: None });
    }
    let operand = parser.expr(0)?;
    match parser.peek().kind {
        TokenKind::End => Ok(operand.expr),
        _ => Err(parser.left_over(&operand)),
    }
}

/// An expression, and what its surroundings must know of it.
struct Operand {
    expr: Expr,
    /// Its place with the parentheses around it.
    outer: Span,
    /// Whether it stands in parentheses: such a one takes no modifiers.
    in_parentheses: bool,
    /// Height of its tree.
    depth: usize,
}

struct Parser<'t> {
    text: &'t str,
    /// The last one is the end, which is never passed.
    tokens: Vec<Token>,
    at: usize,
    options: ParseOptions,
    nesting: usize,
}

/// Binds tighter than any operator but `^`: what a sign takes.
const SIGN_PRECEDENCE: u8 = 6;

fn precedence(op: Operator) -> u8 {
    match op {
        Operator::Set(SetOperator::Or) => 1,
        Operator::Set(SetOperator::And | SetOperator::Unless) => 2,
        Operator::Comparison(_) => 3,
        Operator::Arithmetic(Arithmetic::Add | Arithmetic::Subtract) => 4,
        Operator::Arithmetic(Arithmetic::Power) => 6,
        Operator::Arithmetic(_) => 5,
    }
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Token {
        self.tokens[self.at]
    }

    fn peek_ahead(&self, ahead: usize) -> Token {
        self.tokens[(self.at + ahead).min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn take(&mut self, kind: TokenKind) -> Option<Token> {
        (self.peek().kind == kind).then(|| self.next())
    }

    fn piece(&self, token: Token) -> &'t str {
        &self.text[token.span.range()]
    }

    /// Whether a token is a keyword; in capitals it is one too.
    fn is_keyword(&self, token: Token, keyword: &str) -> bool {
        token.kind == TokenKind::Word && self.piece(token).eq_ignore_ascii_case(keyword)
    }

    fn take_keyword(&mut self, keyword: &str) -> Option<Token> {
        self.is_keyword(self.peek(), keyword).then(|| self.next())
    }

    /// The closing bracket of `open`. Errors: something else is there, or nothing.
    fn close(&mut self, open: Token, kind: TokenKind, expected: &str) -> Parsed<Token> {
        if let Some(token) = self.take(kind) {
            return Ok(token);
        }
        if self.peek().kind == TokenKind::End {
            return Err(ParseError::new(format!("`{}` is never closed", self.piece(open)), open.span));
        }
        Err(self.unexpected(expected))
    }

    /// Runs `inner` one level deeper. Errors: too deep.
    fn nested<T>(&mut self, place: Span, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting == NESTING_MAX {
            return Err(too_deep(place));
        }
        self.nesting += 1;
        let result = inner(self);
        self.nesting -= 1;
        result
    }

    /// An expression of operators that bind at least as tight as `tightness`.
    fn expr(&mut self, tightness: u8) -> Parsed<Operand> {
        let mut left = self.signed()?;
        while let Some(op) = self.operator(self.peek()) {
            let binding = precedence(op);
            if binding < tightness {
                break;
            }
            let op_token = self.next();
            let modifiers = self.modifiers(op_token)?;
            self.expect_operand(op_token)?;
            let is_power = op == Operator::Arithmetic(Arithmetic::Power);
            let right = self
                .nested(op_token.span, |parser| parser.expr(if is_power { binding } else { binding + 1 }))?;
            left = types::binary(self.text, op, op_token.span, modifiers, left, right)?;
        }
        Ok(left)
    }

    fn operator(&self, token: Token) -> Option<Operator> {
        use Operator::{Arithmetic as A, Comparison as C, Set as S};
        use TokenKind as T;
        Some(match token.kind {
            T::Plus => A(Arithmetic::Add),
            T::Minus => A(Arithmetic::Subtract),
            T::Star => A(Arithmetic::Multiply),
            T::Slash => A(Arithmetic::Divide),
            T::Percent => A(Arithmetic::Modulo),
            T::Caret => A(Arithmetic::Power),
            T::DoubleEqual => C(Comparison::Equal),
            T::NotEqual => C(Comparison::NotEqual),
            T::Less => C(Comparison::Less),
            T::LessOrEqual => C(Comparison::LessOrEqual),
            T::Greater => C(Comparison::Greater),
            T::GreaterOrEqual => C(Comparison::GreaterOrEqual),
            T::Word => match self.piece(token).to_ascii_lowercase().as_str() {
                "and" => S(SetOperator::And),
                "or" => S(SetOperator::Or),
                "unless" => S(SetOperator::Unless),
                "atan2" => A(Arithmetic::Atan2),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// What may stand between an operator and its right side.
    fn modifiers(&mut self, op: Token) -> Parsed<Modifiers> {
        let behind = Span { start: op.span.end, end: op.span.end };
        let returns_bool = self.take_keyword("bool").map(|token| token.span);
        let mut matching = Matching { span: behind, ..Matching::default() };
        let first = self.peek();
        let is_on = self.is_keyword(first, "on");
        if is_on || self.is_keyword(first, "ignoring") {
            self.next();
            let (labels, end) = self.label_list(first)?;
            matching.labels = if is_on { MatchLabels::On(labels) } else { MatchLabels::Ignoring(labels) };
            matching.span = first.span.to(end);
            let group = self.peek();
            let is_left = self.is_keyword(group, "group_left");
            if is_left || self.is_keyword(group, "group_right") {
                self.next();
                let (labels, end) = match self.peek().kind {
                    TokenKind::LeftParen => self.label_list(group)?,
                    _ => (Vec::new(), group.span),
                };
                matching.cardinality =
                    if is_left { Cardinality::ManyToOne(labels) } else { Cardinality::OneToMany(labels) };
                matching.span = first.span.to(end);
            }
        }
        self.refuse_misplaced_modifier()?;
        Ok(Modifiers { returns_bool, matching })
    }

    fn refuse_misplaced_modifier(&self) -> Parsed<()> {
        let token = self.peek();
        let word = self.piece(token).to_ascii_lowercase();
        let hint = match word.as_str() {
            _ if token.kind != TokenKind::Word => return Ok(()),
            "bool" => "write `bool` directly behind the operator",
            "group_left" | "group_right" => "it follows `on (...)` or `ignoring (...)`",
            "on" | "ignoring" => "name all labels in one `on (...)` or `ignoring (...)`",
            "fill" | "fill_left" | "fill_right"
                if self.options.dialect == Dialect::V3 && self.peek_ahead(1).kind == TokenKind::LeftParen =>
            {
                let error = ParseError::new(format!("`{word}` is experimental in Prometheus"), token.span);
                return Err(error.hint("add what is missing with `or on (...) 0 * other`"));
            }
            _ => return Ok(()),
        };
        Err(ParseError::new(format!("`{word}` cannot stand here"), token.span).hint(hint))
    }

    /// Errors: nothing follows an operator or sign.
    fn expect_operand(&self, before: Token) -> Parsed<()> {
        match self.peek().kind {
            TokenKind::End => {
                Err(ParseError::new(format!("nothing follows `{}`", self.piece(before)), before.span))
            }
            _ => Ok(()),
        }
    }

    /// An operand with the signs before it.
    fn signed(&mut self) -> Parsed<Operand> {
        let sign = self.peek();
        if !matches!(sign.kind, TokenKind::Plus | TokenKind::Minus) {
            return self.operand();
        }
        self.next();
        self.expect_operand(sign)?;
        let inner = self.nested(sign.span, |parser| parser.expr(SIGN_PRECEDENCE))?;
        types::signed(sign.kind == TokenKind::Minus, sign.span, inner)
    }
}

/// What stands between an operator and its right side.
struct Modifiers {
    /// Where `bool` stands.
    returns_bool: Option<Span>,
    matching: Matching,
}

fn too_deep(place: Span) -> ParseError {
    ParseError::new("the expression is nested too deeply", place).hint("split it with recording rules")
}

/// The height of a tree whose highest child has `depth`. Errors: too high.
fn deeper(depth: usize, place: Span) -> Parsed<usize> {
    if depth >= DEPTH_MAX { Err(too_deep(place)) } else { Ok(depth + 1) }
}

impl Binary {
    /// How tight its operator binds.
    pub(super) fn precedence(&self) -> u8 {
        precedence(self.op)
    }
}

#[cfg(test)]
mod tests;
