//! A template's text to tokens, as Go's lexer cuts it.
//!
//! Text between actions is one token, trimmed where `{{-` and `-}}` say so. Blanks inside actions are tokens, because
//! `$x .y` is two operands and `$x.y` is one.

use super::Fault;
use std::ops::Range;

pub(super) const LEFT: &str = "{{";
const RIGHT: &str = "}}";

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// `}}`; its opening is implied by what comes before.
    Right,
    Left,
    Space,
    Identifier,
    /// `.name`
    Field,
    /// `$name` or `$`
    Variable,
    /// Digits, or a character in single quotes.
    Number,
    /// In double quotes or backquotes.
    Quoted,
    Bool,
    Nil,
    Dot,
    Pipe,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    LeftParen,
    RightParen,
    Comma,
    Keyword,
    End,
}

/// A piece of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Its bytes.
    pub(super) range: Range<usize>,
}

const KEYWORDS: [&str; 10] =
    ["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), parens: 0 };
    lexer.all()?;
    Ok(lexer.tokens)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token>,
    /// Parentheses that are open.
    parens: usize,
}

fn fault<T>(summary: impl Into<String>, range: Range<usize>) -> Result<T, Fault> {
    Err(Fault { summary: summary.into(), range, hint: None })
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn push(&mut self, kind: Kind, length: usize) {
        self.tokens.push(Token { kind, range: self.at..self.at + length });
        self.at += length;
    }

    fn all(&mut self) -> Result<(), Fault> {
        loop {
            let Some(length) = self.rest().find(LEFT) else {
                self.text_until(self.text.len());
                self.push(Kind::End, 0);
                return Ok(());
            };
            let open = self.at + length;
            let after = &self.text[open + LEFT.len()..];
            let trims = after.starts_with('-') && after[1..].starts_with(is_space);
            let before = &self.text[self.at..open];
            let kept = if trims { before.trim_end_matches(is_space).len() } else { before.len() };
            self.text_until(self.at + kept);
            self.at = open;
            let inside = open + LEFT.len() + if trims { 2 } else { 0 };
            if self.text[inside..].starts_with("/*") {
                self.comment(open, inside)?;
                continue;
            }
            self.push(Kind::Left, LEFT.len());
            self.at = inside;
            self.action(open)?;
        }
    }

    /// The text before an action, if there is any.
    fn text_until(&mut self, end: usize) {
        if end > self.at {
            self.push(Kind::Text, end - self.at);
        }
    }

    fn comment(&mut self, open: usize, inside: usize) -> Result<(), Fault> {
        let Some(length) = self.text[inside..].find("*/") else {
            return fault("a comment is never closed", open..self.text.len());
        };
        self.at = inside + length + 2;
        match self.right_end() {
            Some((length, trims)) => {
                self.at += length;
                self.skip_if(trims);
                Ok(())
            }
            None => fault("a comment must be alone in its braces", open..self.at),
        }
    }

    /// The length of `}}` or ` -}}` if it stands here, and whether it trims what follows.
    fn right_end(&self) -> Option<(usize, bool)> {
        let rest = self.rest();
        if rest.starts_with(is_space) && rest[1..].starts_with("-}}") {
            return Some((2 + RIGHT.len(), true));
        }
        rest.starts_with(RIGHT).then_some((RIGHT.len(), false))
    }

    fn skip_if(&mut self, trims: bool) {
        if trims {
            self.at += self.rest().len() - self.rest().trim_start_matches(is_space).len();
        }
    }

    /// Everything up to and including the closing braces.
    fn action(&mut self, open: usize) -> Result<(), Fault> {
        self.parens = 0;
        loop {
            if let Some((length, trims)) = self.right_end() {
                if self.parens > 0 {
                    return fault("`(` is never closed", open..self.at + length);
                }
                self.push(Kind::Right, length);
                self.skip_if(trims);
                return Ok(());
            }
            let Some(c) = self.peek() else {
                return fault("`{{` without `}}`", open..self.text.len());
            };
            self.token(c)?;
        }
    }

    fn token(&mut self, c: char) -> Result<(), Fault> {
        let next = self.rest()[c.len_utf8()..].chars().next();
        match c {
            c if is_space(c) => self.space(),
            '=' => self.push(Kind::Assign, 1),
            ':' if next == Some('=') => self.push(Kind::Declare, 2),
            '|' => self.push(Kind::Pipe, 1),
            ',' => self.push(Kind::Comma, 1),
            '(' => {
                self.parens += 1;
                self.push(Kind::LeftParen, 1);
            }
            ')' if self.parens == 0 => return fault("`)` without `(`", self.at..self.at + 1),
            ')' => {
                self.parens -= 1;
                self.push(Kind::RightParen, 1);
            }
            '"' => return self.quoted(),
            '`' => return self.raw(),
            '\'' => return self.character(),
            '$' => return self.dotted(Kind::Variable),
            '.' if !next.is_some_and(|c| c.is_ascii_digit()) => return self.dotted(Kind::Field),
            '+' | '-' | '.' | '0'..='9' => return self.number(),
            c if is_name(c) => return self.word(),
            c => return fault(format!("`{c}` has no meaning here"), self.at..self.at + c.len_utf8()),
        }
        Ok(())
    }

    fn space(&mut self) {
        let rest = self.rest();
        let mut length = rest.len() - rest.trim_start_matches(is_space).len();
        // The last blank may belong to ` -}}`.
        if rest[length..].starts_with("-}}") {
            length -= 1;
        }
        if length > 0 {
            self.push(Kind::Space, length);
        }
    }

    fn quoted(&mut self) -> Result<(), Fault> {
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                '"' if !escaped => {
                    self.push(Kind::Quoted, offset + 1);
                    return Ok(());
                }
                _ => escaped = c == '\\' && !escaped,
            }
        }
        fault("a text is never closed", self.at..self.text.len())
    }

    fn raw(&mut self) -> Result<(), Fault> {
        match self.rest()[1..].find('`') {
            Some(length) => {
                self.push(Kind::Quoted, length + 2);
                Ok(())
            }
            None => fault("a text is never closed", self.at..self.text.len()),
        }
    }

    fn character(&mut self) -> Result<(), Fault> {
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                '\'' if !escaped => {
                    self.push(Kind::Number, offset + 1);
                    return Ok(());
                }
                _ => escaped = c == '\\' && !escaped,
            }
        }
        fault("a character is never closed", self.at..self.text.len())
    }

    /// `.name`, `$name`, `.` or `$`.
    fn dotted(&mut self, kind: Kind) -> Result<(), Fault> {
        let rest = &self.rest()[1..];
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let kind = if length == 0 && kind == Kind::Field { Kind::Dot } else { kind };
        self.push(kind, 1 + length);
        self.must_end()
    }

    fn word(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let kind = match &rest[..length] {
            "true" | "false" => Kind::Bool,
            "nil" => Kind::Nil,
            word if KEYWORDS.contains(&word) => Kind::Keyword,
            _ => Kind::Identifier,
        };
        self.push(kind, length);
        self.must_end()
    }

    /// After a name only what cannot be part of one.
    fn must_end(&self) -> Result<(), Fault> {
        match self.peek() {
            Some(c) if !is_space(c) && !".,|:)(".contains(c) && !self.rest().starts_with(RIGHT) => {
                fault(format!("`{c}` after a name has no meaning"), self.at..self.at + c.len_utf8())
            }
            _ => Ok(()),
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        let signed = usize::from(rest.starts_with(['+', '-']));
        let mut length = signed;
        let mut previous = ' ';
        for c in rest[signed..].chars() {
            let is_sign = matches!(c, '+' | '-') && matches!(previous, 'e' | 'E' | 'p' | 'P');
            if !(is_name(c) || c == '.' || is_sign) {
                break;
            }
            length += c.len_utf8();
            previous = c;
        }
        if length == signed {
            return fault(format!("`{rest:.1}` has no meaning here"), self.at..self.at + 1);
        }
        self.push(Kind::Number, length);
        Ok(())
    }
}
