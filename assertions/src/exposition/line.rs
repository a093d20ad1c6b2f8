//! A place in one line of an exposition, and the tokens found there.

use std::borrow::Cow;

/// A line and how far it is read.
pub(super) struct Cursor<'t> {
    line: &'t str,
    at: usize,
}

/// Which characters a name may have when it is not quoted.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Quoting {
    /// A metric's name: colons too.
    Name,
    /// A label's name.
    Label,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(line: &'t str) -> Cursor<'t> {
        Cursor { line, at: 0 }
    }

    /// Bytes read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'t str {
        &self.line[self.at..]
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == self.line.len()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Steps over `wanted` if it stands here.
    pub(super) fn take(&mut self, wanted: char) -> bool {
        let found = self.rest().starts_with(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    pub(super) fn skip_blanks(&mut self) {
        self.take_while(|c| c == ' ' || c == '\t');
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Everything up to the next blank.
    pub(super) fn word(&mut self) -> &'t str {
        self.take_while(|c| c != ' ' && c != '\t')
    }

    /// The same without reading it.
    pub(super) fn peek_word(&self) -> &'t str {
        self.rest().split([' ', '\t']).next().unwrap_or_default()
    }

    /// An unquoted metric name, if one stands here.
    pub(super) fn metric_name(&mut self) -> Option<Cow<'t, str>> {
        self.name(Quoting::Name).map(Cow::Borrowed)
    }

    fn name(&mut self, kind: Quoting) -> Option<&'t str> {
        let may_have = |c: char| c.is_ascii_alphanumeric() || c == '_' || (c == ':' && kind == Quoting::Name);
        let starts_well = self.peek().is_some_and(|c| may_have(c) && !c.is_ascii_digit());
        starts_well.then(|| self.take_while(may_have))
    }

    /// A name, quoted or not.
    pub(super) fn name_or_quoted(&mut self, kind: Quoting) -> Result<Cow<'t, str>, String> {
        self.skip_blanks();
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let what = if kind == Quoting::Name { "a metric's name" } else { "a label's name" };
        self.name(kind).map(Cow::Borrowed).ok_or_else(|| format!("{what} is due here"))
    }

    /// A text in double quotes, with `\\`, `\"` and `\n` resolved; any other backslash stays.
    pub(super) fn quoted(&mut self) -> Result<Cow<'t, str>, String> {
        if !self.take('"') {
            return Err("a `\"` is due here".into());
        }
        let rest = self.rest();
        let mut escaped = false;
        let mut has_escapes = false;
        for (at, c) in rest.char_indices() {
            match c {
                '"' if !escaped => {
                    self.at += at + 1;
                    let inner = &rest[..at];
                    return Ok(if has_escapes { Cow::Owned(unescaped(inner)) } else { Cow::Borrowed(inner) });
                }
                '\\' if !escaped => {
                    escaped = true;
                    has_escapes = true;
                }
                _ => escaped = false,
            }
        }
        Err("the text in quotes does not end".into())
    }

    /// A number as Go reads it: decimal, `NaN`, `Inf` with a sign.
    pub(super) fn number(&mut self, what: &str) -> Result<f64, String> {
        let word = self.peek_word();
        let number = word.parse().map_err(|_| match word {
            "" => format!("{what} is due here"),
            word => format!("`{word}` is not a number"),
        })?;
        self.word();
        Ok(number)
    }
}

fn unescaped(inner: &str) -> String {
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => text.push('\n'),
            Some(other @ ('"' | '\\')) => text.push(other),
            Some(other) => text.extend(['\\', other]),
            None => text.push('\\'),
        }
    }
    text
}
