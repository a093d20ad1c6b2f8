//! Label matchers as alertmanager.yml and scenarios write them: `severity="P1"`, `service=~"im-.+"`.
//!
//! Reads the classic syntax and the UTF-8 one (quoted names) with one parser. Where the two disagree, on the
//! meaning of a backslash, the classic reading wins, because that is what shipped files were written for.
//! A label that is absent equals the empty string; regular expressions are anchored at both ends.

use crate::labels::Labels;
use regex::Regex;
use std::ops::Range;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
}

impl Op {
    fn text(self) -> &'static str {
        match self {
            Op::Equal => "=",
            Op::NotEqual => "!=",
            Op::Matches => "=~",
            Op::MatchesNot => "!~",
        }
    }
}

/// One condition on one label.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// How it compares.
    pub op: Op,
    /// The value or the regular expression, as written, unquoted.
    pub value: String,
    regex: Option<Regex>,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

/// Why a text is no matcher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatcherProblem {
    /// No `=`, `!=`, `=~` or `!~` after the name.
    #[error("no operator after the label name")]
    NoOperator,
    /// Nothing, or a character that no name has, where the name should be.
    #[error("no label name")]
    NoName,
    /// A quoted text without its end.
    #[error("a double quote is never closed")]
    OpenQuote,
    /// A double quote inside an unquoted value, or text after a quoted one.
    #[error("a double quote inside a value must be written \\\"")]
    StrayQuote,
    /// The regular expression is none.
    #[error("bad regular expression: {0}")]
    BadRegex(String),
}

/// A problem and its place, in bytes of the text that was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct MatcherError {
    /// What is wrong.
    pub problem: MatcherProblem,
    /// Where.
    pub range: Range<usize>,
}

impl Matcher {
    /// A matcher from its parts. Errors: [`MatcherProblem::BadRegex`].
    pub fn new(name: &str, op: Op, value: &str) -> Result<Matcher, MatcherProblem> {
        let regex = match op {
            Op::Equal | Op::NotEqual => None,
            Op::Matches | Op::MatchesNot => Some(anchored(value)?),
        };
        Ok(Matcher { name: name.to_owned(), op, value: value.to_owned(), regex })
    }

    /// Reads `a="b"`, or several separated by commas, in braces or not.
    pub fn parse_all(text: &str) -> Result<Vec<Matcher>, MatcherError> {
        Parser { text, at: 0 }.matchers()
    }

    /// Whether the label set fulfils it.
    pub fn matches(&self, labels: &Labels) -> bool {
        let found = labels.get(&self.name);
        match (self.op, &self.regex) {
            (Op::Equal, _) => found == self.value,
            (Op::NotEqual, _) => found != self.value,
            (Op::Matches, Some(regex)) => regex.is_match(found),
            (Op::MatchesNot, Some(regex)) => !regex.is_match(found),
            (Op::Matches | Op::MatchesNot, None) => false,
        }
    }
}

/// Whether all matchers hold; true for none.
pub fn all_match(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels))
}

impl std::fmt::Display for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.text(), self.value)
    }
}

fn anchored(pattern: &str) -> Result<Regex, MatcherProblem> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        MatcherProblem::BadRegex(reason.to_owned())
    })
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn matchers(mut self) -> Result<Vec<Matcher>, MatcherError> {
        let mut found = Vec::new();
        let trimmed = self.text.trim();
        let mut end = self.text.len();
        if trimmed.starts_with('{') && trimmed.ends_with('}') && trimmed.len() > 1 {
            self.at = self.text.find('{').map_or(0, |brace| brace + 1);
            end = self.text.rfind('}').unwrap_or(end);
        }
        let inner = Parser { text: &self.text[..end], at: self.at };
        self = inner;
        loop {
            self.skip_space();
            if self.at == self.text.len() {
                return Ok(found);
            }
            found.push(self.matcher()?);
            self.skip_space();
            self.take(",");
        }
    }

    fn matcher(&mut self) -> Result<Matcher, MatcherError> {
        let start = self.at;
        let name = self.name()?;
        self.skip_space();
        let op = self.operator().ok_or_else(|| self.error(MatcherProblem::NoOperator, start))?;
        self.skip_space();
        let start = self.at;
        let value = self.value()?;
        Matcher::new(&name, op, &value).map_err(|problem| self.error(problem, start))
    }

    fn name(&mut self) -> Result<String, MatcherError> {
        let start = self.at;
        if self.rest().starts_with('"') {
            return self.quoted();
        }
        let reserved = |c: char| c.is_whitespace() || "{}!=~,\\\"'`".contains(c);
        self.at += self.rest().find(reserved).unwrap_or(self.rest().len());
        if self.at == start {
            self.at = self.text.len();
            return Err(self.error(MatcherProblem::NoName, start));
        }
        Ok(self.text[start..self.at].to_owned())
    }

    fn operator(&mut self) -> Option<Op> {
        let by_length = [("=~", Op::Matches), ("!~", Op::MatchesNot), ("!=", Op::NotEqual), ("=", Op::Equal)];
        by_length.into_iter().find(|(text, _)| self.take(text)).map(|(_, op)| op)
    }

    /// A quoted text, or everything up to the next comma, without the white space around it.
    fn value(&mut self) -> Result<String, MatcherError> {
        let start = self.at;
        if self.rest().starts_with('"') {
            let value = self.quoted()?;
            self.skip_space();
            return match self.rest().chars().next() {
                None | Some(',') => Ok(value),
                Some(_) => Err(self.error(MatcherProblem::StrayQuote, start)),
            };
        }
        self.at += self.rest().find(',').unwrap_or(self.rest().len());
        let raw = self.text[start..self.at].trim_end();
        let mut value = String::new();
        let mut chars = raw.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => return Err(self.error(MatcherProblem::StrayQuote, start)),
                '\\' => unescape(chars.next(), &mut value),
                other => value.push(other),
            }
        }
        Ok(value)
    }

    fn quoted(&mut self) -> Result<String, MatcherError> {
        let start = self.at;
        let mut value = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(value);
                }
                '\\' => unescape(chars.next().map(|(_, next)| next), &mut value),
                other => value.push(other),
            }
        }
        self.at = self.text.len();
        Err(self.error(MatcherProblem::OpenQuote, start))
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        self.at += if found { wanted.len() } else { 0 };
        found
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn error(&self, problem: MatcherProblem, start: usize) -> MatcherError {
        MatcherError { problem, range: start..self.at.max(start) }
    }
}

/// `\n`, `\"` and `\\`; before anything else the backslash stands for itself, so that `\.` needs no doubling.
fn unescape(next: Option<char>, value: &mut String) {
    match next {
        Some('n') => value.push('\n'),
        Some(c @ ('"' | '\\')) => value.push(c),
        Some(other) => value.extend(['\\', other]),
        None => value.push('\\'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match Matcher::parse_all(text) {
            Ok(matchers) => matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => format!("{} at {:?}", error.problem, &text[error.range]),
        };
        assert_eq!(found, expected, "for {text:?}");
    }

    #[test]
    fn both_syntaxes_are_read() {
        check(r#"severity="P1""#, r#"severity="P1""#);
        check("severity = P1 ", r#"severity="P1""#);
        check(r#"{a!="b", c=~d|e,}"#, r#"a!="b" c=~"d|e""#);
        check(r#" { a = "x,y" } "#, r#"a="x,y""#);
        check(r#""host.name"=~"a\.b""#, r#"host.name=~"a\\.b""#);
        check(r#"größe!~"\"x\n""#, r#"größe!~"\"x\n""#);
        check(r#"a="""#, r#"a="""#);
        check("a=", r#"a="""#);
        check("", "");
    }

    #[test]
    fn what_is_wrong_is_marked() {
        check("severity", "no operator after the label name at \"severity\"");
        check("=x", "no label name at \"=x\"");
        check(r#"a="x"#, "a double quote is never closed at \"\\\"x\"");
        check(r#"a=x"y"#, "a double quote inside a value must be written \\\" at \"x\\\"y\"");
        check(r#"a="x"y"#, "a double quote inside a value must be written \\\" at \"\\\"x\\\"\"");
        check("a=~(", "bad regular expression: unclosed group at \"(\"");
    }

    #[test]
    fn an_absent_label_is_empty_and_a_regex_is_anchored() {
        let labels = Labels::from_pairs([("a", "im-gateway")]);
        for (text, expected) in [
            ("a=im-gateway", true),
            ("a=~im", false),
            ("a=~im-.+", true),
            ("a!~im", true),
            ("b=", true),
            ("b!=x", true),
            ("b=~.*", true),
            ("b=~.+", false),
        ] {
            let matchers = Matcher::parse_all(text).expect("valid");
            assert_eq!(all_match(&matchers, &labels), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[a-z{}!=~,\\\\\" é(]{0,30}") {
            let _ = Matcher::parse_all(&text);
        }

        #[test]
        fn what_is_printed_is_read_back(name in "[a-z]{1,4}", value in "[a-z,\"\\\\\n {}é]{0,8}") {
            let matcher = Matcher::new(&name, Op::Equal, &value).expect("no regex");
            prop_assert_eq!(Matcher::parse_all(&matcher.to_string()), Ok(vec![matcher]));
        }
    }
}
