//! An expression's text to tokens, each with its place.
//!
//! A fault is a token too ([`TokenKind::Bad`]): the parser reports whatever it meets first, so that the place is that of the
//! first trouble. What a number or string means is told by `literal.rs`.

use super::ast::{Dialect, Span};

/// A piece of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Span,
}

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A name or keyword, without colons.
    Word,
    /// A metric's name with colons.
    ColonWord,
    Number,
    Duration,
    /// A string with both quotes.
    Text,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    /// Between range and step.
    Colon,
    At,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Caret,
    /// `==`
    DoubleEqual,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// `=`
    Equal,
    /// `=~`
    Match,
    /// `!~`
    NotMatch,
    /// Not a piece of the language.
    Bad(Flaw),
    /// Behind the last byte.
    End,
}

/// Why a piece is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// No token begins with it.
    Character,
    /// The closing quote is missing.
    OpenText,
    /// Neither a number nor a duration.
    Number,
}

/// The pieces without white space and comments; the last is [`TokenKind::End`], and the only one.
pub(super) fn tokens(text: &str, dialect: Dialect) -> Vec<Token> {
    let mut lexer = Lexer { text, bytes: text.as_bytes(), at: 0, dialect, inside: Inside::Nothing };
    let mut found = Vec::with_capacity(text.len() / 4 + 1);
    loop {
        lexer.skip_space();
        let start = lexer.at;
        let kind = lexer.token();
        found.push(Token { kind, span: span(start, lexer.at) });
        if kind == TokenKind::End {
            return found;
        }
    }
}

fn span(start: usize, end: usize) -> Span {
    let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span { start: place(start), end: place(end) }
}

/// Which bracket is open: names and colons mean something else in each.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Nothing,
    Braces,
    Brackets,
}

struct Lexer<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    dialect: Dialect,
    inside: Inside,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        // Zero is no byte of any token, so it can stand for the end.
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.at < self.bytes.len() && wanted(self.bytes[self.at]) {
            self.at += 1;
        }
    }

    fn skip_space(&mut self) {
        loop {
            self.skip_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'));
            if self.peek(0) != b'#' {
                return;
            }
            self.skip_while(|b| b != b'\n' && b != b'\r');
        }
    }

    fn token(&mut self) -> TokenKind {
        use TokenKind as T;
        if self.at >= self.bytes.len() {
            return T::End;
        }
        match self.peek(0) {
            b'"' | b'\'' | b'`' => self.text(),
            b'0'..=b'9' if self.inside != Inside::Braces => self.number(),
            b'.' if self.peek(1).is_ascii_digit() && self.inside != Inside::Braces => self.number(),
            b':' if self.inside == Inside::Brackets => self.take(1, T::Colon),
            b if is_letter(b) || (b == b':' && self.inside == Inside::Nothing) => self.word(),
            _ => self.sign(),
        }
    }

    fn take(&mut self, length: usize, kind: TokenKind) -> TokenKind {
        self.at += length;
        kind
    }

    fn sign(&mut self) -> TokenKind {
        use TokenKind as T;
        let (length, kind) = match (self.peek(0), self.peek(1)) {
            (b'(', _) => (1, T::LeftParen),
            (b')', _) => (1, T::RightParen),
            (b'{', _) => (1, T::LeftBrace),
            (b'}', _) => (1, T::RightBrace),
            (b'[', _) => (1, T::LeftBracket),
            (b']', _) => (1, T::RightBracket),
            (b',', _) => (1, T::Comma),
            (b'@', _) => (1, T::At),
            (b'+', _) => (1, T::Plus),
            (b'-', _) => (1, T::Minus),
            (b'*', _) => (1, T::Star),
            (b'/', _) => (1, T::Slash),
            (b'%', _) => (1, T::Percent),
            (b'^', _) => (1, T::Caret),
            (b'=', b'=') => (2, T::DoubleEqual),
            (b'=', b'~') => (2, T::Match),
            (b'=', _) => (1, T::Equal),
            (b'!', b'=') => (2, T::NotEqual),
            (b'!', b'~') => (2, T::NotMatch),
            (b'<', b'=') => (2, T::LessOrEqual),
            (b'<', _) => (1, T::Less),
            (b'>', b'=') => (2, T::GreaterOrEqual),
            (b'>', _) => (1, T::Greater),
            _ => {
                let length = self.text[self.at..].chars().next().map_or(1, char::len_utf8);
                (length, T::Bad(Flaw::Character))
            }
        };
        self.inside = match kind {
            T::LeftBrace => Inside::Braces,
            T::LeftBracket if self.inside == Inside::Nothing => Inside::Brackets,
            T::RightBrace | T::RightBracket => Inside::Nothing,
            _ => self.inside,
        };
        self.take(length, kind)
    }

    fn word(&mut self) -> TokenKind {
        let start = self.at;
        match self.inside {
            Inside::Nothing => self.skip_while(|b| is_alphanumeric(b) || b == b':'),
            _ => self.skip_while(is_alphanumeric),
        }
        if self.bytes[start..self.at].contains(&b':') { TokenKind::ColonWord } else { TokenKind::Word }
    }

    /// A string; only one in backticks may go over lines.
    fn text(&mut self) -> TokenKind {
        let quote = self.peek(0);
        self.at += 1;
        while self.at < self.bytes.len() {
            match self.bytes[self.at] {
                b'\\' if quote != b'`' => self.at += 2,
                b'\n' if quote != b'`' => return TokenKind::Bad(Flaw::OpenText),
                b => {
                    self.at += 1;
                    if b == quote {
                        return TokenKind::Text;
                    }
                }
            }
        }
        // A backslash may have stepped over the end, or into a letter of several bytes.
        self.at = self.bytes.len();
        TokenKind::Bad(Flaw::OpenText)
    }

    fn number(&mut self) -> TokenKind {
        self.skip_number();
        if !is_alphanumeric(self.peek(0)) {
            return TokenKind::Number;
        }
        let is_duration = self.skip_units();
        if is_duration && !is_alphanumeric(self.peek(0)) {
            return TokenKind::Duration;
        }
        self.skip_while(|b| is_alphanumeric(b) || b == b'.');
        TokenKind::Bad(Flaw::Number)
    }

    fn skip_number(&mut self) {
        let underscores = self.dialect == Dialect::V3;
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'X') {
            self.at += 2;
            return self.skip_while(|b| b.is_ascii_hexdigit() || (underscores && b == b'_') || b == b'.');
        }
        let is_digit = |b: u8| b.is_ascii_digit() || (underscores && b == b'_');
        self.skip_while(is_digit);
        if self.peek(0) == b'.' {
            self.at += 1;
            self.skip_while(is_digit);
        }
        if matches!(self.peek(0), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(0), b'+' | b'-') {
                self.at += 1;
            }
            self.skip_while(is_digit);
        }
    }

    /// Units and further numbers behind a number. Whether they make a duration; their order is not looked at.
    fn skip_units(&mut self) -> bool {
        loop {
            if !matches!(self.peek(0), b's' | b'm' | b'h' | b'd' | b'w' | b'y') {
                return false;
            }
            self.at += 1;
            if self.peek(0) == b's' {
                self.at += 1;
            }
            if !self.peek(0).is_ascii_digit() {
                return true;
            }
            self.skip_while(|b| b.is_ascii_digit());
        }
    }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether a text can be a label's name without quotes.
pub(super) fn is_plain_label(name: &str) -> bool {
    name.bytes().all(is_alphanumeric) && name.bytes().next().is_some_and(is_letter)
}

/// Whether a text can be a metric's name without quotes, where no keyword is meant.
pub(super) fn is_plain_metric(name: &str) -> bool {
    name.bytes().all(|b| is_alphanumeric(b) || b == b':')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, dialect: Dialect, expected: &[(&str, TokenKind)]) {
        let found = tokens(text, dialect);
        let found: Vec<_> = found.iter().map(|token| (&text[token.span.range()], token.kind)).collect();
        assert_eq!(found[..found.len() - 1], *expected, "{text}");
    }

    #[test]
    fn colons_belong_to_names_outside_brackets_only() {
        use TokenKind as T;
        check("a:b", Dialect::V2, &[("a:b", T::ColonWord)]);
        check(
            "a[5m:1m]",
            Dialect::V2,
            &[
                ("a", T::Word),
                ("[", T::LeftBracket),
                ("5m", T::Duration),
                (":", T::Colon),
                ("1m", T::Duration),
                ("]", T::RightBracket),
            ],
        );
        check("{a:", Dialect::V2, &[("{", T::LeftBrace), ("a", T::Word), (":", T::Bad(Flaw::Character))]);
    }

    #[test]
    fn numbers_and_durations() {
        use TokenKind as T;
        check("1_000", Dialect::V2, &[("1_000", T::Bad(Flaw::Number))]);
        check("1_000", Dialect::V3, &[("1_000", T::Number)]);
        check("0x1e+5", Dialect::V2, &[("0x1e", T::Number), ("+", T::Plus), ("5", T::Number)]);
        check("1e-3", Dialect::V2, &[("1e-3", T::Number)]);
        check("1h30m5ms", Dialect::V2, &[("1h30m5ms", T::Duration)]);
        check("5mfoo", Dialect::V2, &[("5mfoo", T::Bad(Flaw::Number))]);
        check("1.2.3", Dialect::V2, &[("1.2", T::Number), (".3", T::Number)]);
    }

    #[test]
    fn strings_and_comments() {
        use TokenKind as T;
        check("'a\\'' # \"b\n`\\`", Dialect::V2, &[("'a\\''", T::Text), ("`\\`", T::Text)]);
        check("\"a\\", Dialect::V2, &[("\"a\\", T::Bad(Flaw::OpenText))]);
        check("'a\\é", Dialect::V2, &[("'a\\é", T::Bad(Flaw::OpenText))]);
        check("'a\n'", Dialect::V2, &[("'a", T::Bad(Flaw::OpenText)), ("'", T::Bad(Flaw::OpenText))]);
    }
}
