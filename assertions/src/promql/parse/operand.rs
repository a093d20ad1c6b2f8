//! What stands between operators: literals, parentheses, and names with all that may follow them.

use super::{Operand, ParseError, Parsed, Parser, foreign};
use crate::promql::ast::Expr;
use crate::promql::lex::{Flaw, Token, TokenKind};
use crate::promql::literal;
use scenarios::problem::nearest;

/// What comes after a name or literal without making it another kind of operand.
pub(super) fn plain(expr: Expr) -> Operand {
    let outer = expr.span();
    Operand { expr, outer, in_parentheses: false, depth: 1 }
}

impl Parser<'_> {
    /// An operand with its ranges, offsets and `@`.
    pub(super) fn operand(&mut self) -> Parsed<Operand> {
        let mut operand = self.bare_operand()?;
        loop {
            let token = self.peek();
            operand = match token.kind {
                TokenKind::LeftBracket => self.ranged(operand)?,
                TokenKind::At => self.pinned(operand)?,
                TokenKind::Word if self.is_keyword(token, "offset") => self.shifted(operand)?,
                TokenKind::Word => {
                    self.refuse_range_modifier(token)?;
                    return Ok(operand);
                }
                _ => return Ok(operand),
            };
        }
    }

    fn bare_operand(&mut self) -> Parsed<Operand> {
        let token = self.peek();
        match token.kind {
            TokenKind::LeftParen => self.parentheses(),
            TokenKind::LeftBrace => self.selector(None),
            TokenKind::Number => {
                self.next();
                Ok(plain(Expr::Number(self.number(token)?, token.span)))
            }
            TokenKind::Duration => self.duration_operand(),
            TokenKind::Text => {
                self.next();
                Ok(plain(Expr::Text(self.string(token)?, token.span)))
            }
            TokenKind::ColonWord => self.selector(Some(token)),
            TokenKind::Word => self.word(token),
            _ => Err(self.unexpected("an expression")),
        }
    }

    fn parentheses(&mut self) -> Parsed<Operand> {
        let open = self.next();
        if self.peek().kind == TokenKind::RightParen {
            return Err(ParseError::new(
                "nothing stands between the parentheses",
                open.span.to(self.peek().span),
            ));
        }
        if self.peek().kind == TokenKind::End {
            return Err(ParseError::new("`(` is never closed", open.span));
        }
        let inner = self.nested(open.span, |parser| parser.expr(0))?;
        let close = match self.peek().kind {
            TokenKind::RightParen | TokenKind::End => self.close(open, TokenKind::RightParen, "`)`")?,
            _ => return Err(self.left_over(&inner)),
        };
        Ok(Operand { outer: open.span.to(close.span), in_parentheses: true, ..inner })
    }

    /// A duration as a number of seconds: of Prometheus 3.
    fn duration_operand(&mut self) -> Parsed<Operand> {
        let token = self.peek();
        if !literal::numbers_are_durations(self.options.dialect) {
            let error = ParseError::new(
                format!("the duration `{}` stands where a number must be", self.piece(token)),
                token.span,
            );
            return Err(match literal::duration(self.piece(token)) {
                Ok(millis) => error.hint(format!("write the seconds: `{}`", millis as f64 / 1000.0)),
                Err(_) => error,
            });
        }
        self.next();
        let millis = self.duration_of(token)?;
        Ok(plain(Expr::Number(millis as f64 / 1000.0, token.span)))
    }

    fn word(&mut self, token: Token) -> Parsed<Operand> {
        let word = self.piece(token).to_ascii_lowercase();
        match word.as_str() {
            "inf" | "nan" => {
                self.next();
                Ok(plain(Expr::Number(self.number(token)?, token.span)))
            }
            "bool" | "on" | "ignoring" | "group_left" | "group_right" | "atan2" => {
                Err(self.unexpected("an expression"))
            }
            _ if self.begins_aggregate(&word) => self.aggregate(),
            _ if self.peek_ahead(1).kind == TokenKind::LeftParen => self.call(),
            _ => self.selector(Some(token)),
        }
    }

    pub(super) fn number(&self, token: Token) -> Parsed<f64> {
        let piece = self.piece(token);
        literal::number(piece).ok_or_else(|| {
            let is_large = piece.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'+')
                && piece.ends_with(|c: char| c.is_ascii_hexdigit())
                && !piece.contains('_');
            let is_large = is_large && !(piece.starts_with("0x") && piece.contains('.'));
            let summary = if is_large { "is too large a number" } else { "is not a number" };
            ParseError::new(format!("`{piece}` {summary}"), token.span)
        })
    }

    /// The text of a string.
    pub(super) fn string(&self, token: Token) -> Parsed<String> {
        literal::unquoted(self.piece(token)).map_err(|flaw| {
            let start = token.span.start as usize;
            let range = start + flaw.start..start + flaw.end;
            let error = ParseError { summary: flaw.summary.to_string(), range, hint: None };
            error.hint("a backslash is written `\\\\`, or the string goes into backticks")
        })
    }

    /// The error of a token that cannot stand where it does.
    pub(super) fn unexpected(&self, expected: &str) -> ParseError {
        let token = self.peek();
        let piece = self.piece(token);
        let error = match token.kind {
            TokenKind::End => {
                let before = self.tokens[self.at.saturating_sub(1)];
                let summary = format!("the expression ends after `{}`", clipped(self.piece(before)));
                return ParseError::new(summary, before.span).hint(format!("{expected} must follow"));
            }
            TokenKind::Bad(Flaw::OpenText) => {
                return ParseError::new("the string does not end", token.span).hint("close the quote");
            }
            TokenKind::Bad(Flaw::Number) => {
                let error =
                    ParseError::new(format!("`{piece}` is neither a number nor a duration"), token.span);
                return error.hint("a number is written as in `1.5e3`, a duration as in `1h30m`; a name does not begin with a digit");
            }
            TokenKind::RightParen | TokenKind::RightBracket | TokenKind::RightBrace
                if !self.is_open(token) =>
            {
                ParseError::new(format!("`{piece}` closes nothing"), token.span)
            }
            _ => ParseError::new(format!("unexpected `{}`", clipped(piece)), token.span),
        };
        match foreign::hint(self.text, token) {
            Some(hint) => error.hint(hint),
            None => error.hint(format!("expected {expected}")),
        }
    }

    /// Whether a bracket that `close` could close is open before it.
    fn is_open(&self, close: Token) -> bool {
        let (open, closed) = match close.kind {
            TokenKind::RightParen => (TokenKind::LeftParen, TokenKind::RightParen),
            TokenKind::RightBracket => (TokenKind::LeftBracket, TokenKind::RightBracket),
            _ => (TokenKind::LeftBrace, TokenKind::RightBrace),
        };
        let before = &self.tokens[..self.at];
        let count = |kind| before.iter().filter(|token| token.kind == kind).count();
        count(open) > count(closed)
    }

    /// The error of what follows a complete expression.
    pub(super) fn left_over(&self, operand: &Operand) -> ParseError {
        let token = self.peek();
        let begins = matches!(
            token.kind,
            TokenKind::Word
                | TokenKind::ColonWord
                | TokenKind::Number
                | TokenKind::Duration
                | TokenKind::Text
                | TokenKind::LeftParen
                | TokenKind::LeftBrace
        );
        let foreign = foreign::hint(self.text, token);
        if !begins || foreign.is_some() {
            return self.unexpected("an operator");
        }
        let before = &self.text[operand.outer.range()];
        let error = ParseError::new(format!("unexpected `{}`", clipped(self.piece(token))), token.span);
        if let (Expr::Selector(_), Some(hint)) = (&operand.expr, foreign::word(before)) {
            return error.hint(hint);
        }
        match (token.kind, &operand.expr) {
            (TokenKind::LeftParen, Expr::Selector(selector)) if selector.matchers.is_empty() => {
                error.hint(format!("`{}` is no function; metrics take `{{...}}`", clipped(before)))
            }
            (TokenKind::LeftBrace, _) => {
                error.hint("matchers go into one pair of braces, before range and modifiers")
            }
            (TokenKind::Word, _) => match keyword_near(self.piece(token)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("an operator is missing between two expressions"),
            },
            _ => error.hint("an operator is missing between two expressions"),
        }
    }
}

/// The keyword that a word behind an expression was probably meant for.
fn keyword_near(word: &str) -> Option<&'static str> {
    const KEYWORDS: [&str; 7] = ["by", "without", "and", "or", "unless", "offset", "atan2"];
    // Two letters are near to too much.
    if word.len() < 3 { None } else { nearest(&word.to_ascii_lowercase(), KEYWORDS) }
}

/// The text, cut where nobody reads on.
pub(super) fn clipped(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_string(),
    }
}
