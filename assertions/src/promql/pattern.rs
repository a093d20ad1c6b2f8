//! Regular expressions as Go reads them, for the engine that is here.
//!
//! Both are RE2's language, and yet: here `[a&&b]` is an intersection and there three letters, here `\d` knows all digits of
//! Unicode and there ten, there `a{` is a brace and here an error. What differs is rewritten, what Go refuses is refused.

use super::ast::Dialect;
use regex::Regex;

/// Largest count of a repetition.
const REPEAT_MAX: u32 = 1000;

/// A pattern as PromQL means it: anchored at both ends; in dialect 3 a dot matches a line end too. Errors: the reason.
pub(super) fn anchored(pattern: &str, dialect: Dialect) -> Result<Regex, String> {
    let inner = translated(pattern, dialect)?;
    compiled(&match dialect {
        Dialect::V2 => format!("^(?:{inner})$"),
        Dialect::V3 => format!("^(?s:{inner})$"),
    })
}

/// A pattern as Go's `regexp` has it, to be found anywhere in a text. Errors: the reason.
pub(crate) fn found_anywhere(pattern: &str) -> Result<Regex, String> {
    // Of the two dialects the newer: what it knows more is `(?<name>...)`, which Go reads since 1.22.
    compiled(&translated(pattern, Dialect::V3)?)
}

fn translated(pattern: &str, dialect: Dialect) -> Result<String, String> {
    Translator { rest: pattern, dialect, out: String::with_capacity(pattern.len() + 8) }.translated()
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| {
        let text = error.to_string();
        text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

/// A template with `$1`, `${1}`, `$name` or `${name}` filled in; `$$` is a dollar, and so is one that nothing follows.
///
/// A name goes on as long as letters, digits and underscores do: `$1a` is the group `1a`, which is empty.
pub(crate) fn expanded(template: &str, captures: &regex::Captures<'_>) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(dollar) = rest.find('$') {
        text.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            text.push('$');
            rest = after;
            continue;
        }
        let (name, after) = group_name(rest);
        if name.is_empty() {
            text.push('$');
            continue;
        }
        // `01` is a name, not a number.
        let is_index = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
        let group = match is_index {
            true => name.parse().ok().and_then(|index| captures.get(index)),
            false => captures.name(name),
        };
        text.push_str(group.map_or("", |group| group.as_str()));
        rest = after;
    }
    text + rest
}

/// The name of a group at the start of a text, and what follows; empty if there is none.
fn group_name(text: &str) -> (&str, &str) {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let bare = text.strip_prefix('{').unwrap_or(text);
    let end = bare.find(|c| !is_word(c)).unwrap_or(bare.len());
    let (name, after) = bare.split_at(end);
    match (bare.len() < text.len(), after.strip_prefix('}')) {
        (false, _) => (name, after),
        (true, Some(after)) => (name, after),
        (true, None) => ("", text),
    }
}

/// What may stand in `[:alpha:]`.
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

struct Translator<'p> {
    rest: &'p str,
    dialect: Dialect,
    out: String,
}

type Step = Result<(), String>;

impl Translator<'_> {
    fn translated(mut self) -> Result<String, String> {
        let mut after_repeat = false;
        while let Some(c) = self.rest.chars().next() {
            let repeats = self.piece(c)?;
            if repeats && after_repeat {
                return Err("a repetition of a repetition".into());
            }
            after_repeat = repeats;
        }
        Ok(self.out)
    }

    /// Translates what begins with `c`; tells whether it was a repetition.
    fn piece(&mut self, c: char) -> Result<bool, String> {
        match c {
            '\\' => self.escape()?,
            '[' => self.class()?,
            '(' => self.group()?,
            '*' | '+' | '?' => {
                self.copy(1);
                self.lazy();
                return Ok(true);
            }
            '{' => {
                if let Some(length) = repetition(self.rest)? {
                    self.copy(length);
                    self.lazy();
                    return Ok(true);
                }
                self.literal(c);
            }
            '.' | '^' | '$' | '|' | ')' => self.copy(1),
            _ => self.literal(c),
        }
        Ok(false)
    }

    fn copy(&mut self, length: usize) {
        self.out.push_str(&self.rest[..length]);
        self.rest = &self.rest[length..];
    }

    fn skip(&mut self, length: usize) {
        self.rest = &self.rest[length..];
    }

    fn lazy(&mut self) {
        if self.rest.starts_with('?') {
            self.copy(1);
        }
    }

    fn literal(&mut self, c: char) {
        self.skip(c.len_utf8());
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }

    fn group(&mut self) -> Step {
        let Some(inner) = self.rest.strip_prefix("(?") else {
            self.copy(1);
            return Ok(());
        };
        if inner.starts_with("P<") || (inner.starts_with('<') && self.dialect == Dialect::V3) {
            let end = self.rest.find('>').ok_or("a group's name is not closed")?;
            self.copy(end + 1);
            return Ok(());
        }
        let flags = inner.find(|c: char| !matches!(c, 'i' | 'm' | 's' | 'U' | '-')).unwrap_or(inner.len());
        match inner[flags..].chars().next() {
            Some(':' | ')') => {
                self.copy(2 + flags + 1);
                Ok(())
            }
            _ => Err("look-around, back-references and flags but `imsU` are not supported".into()),
        }
    }

    fn escape(&mut self) -> Step {
        if let Some(quoted) = self.rest.strip_prefix("\\Q") {
            let length = quoted.find("\\E").unwrap_or(quoted.len());
            self.out.push_str(&regex::escape(&quoted[..length]));
            self.skip((2 + length + 2).min(self.rest.len()));
            return Ok(());
        }
        let kind = self.rest[1..].chars().next().ok_or("a backslash at the end")?;
        let replacement = match kind {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            's' => "[\\t\\n\\f\\r ]",
            'S' => "[^\\t\\n\\f\\r ]",
            'b' => "(?-u:\\b)",
            'B' | 'A' | 'z' => {
                self.copy(2);
                return Ok(());
            }
            'p' | 'P' => return self.property(),
            _ => return self.character(),
        };
        self.out.push_str(replacement);
        self.skip(2);
        Ok(())
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`.
    fn property(&mut self) -> Step {
        let length = match self.rest[2..].chars().next() {
            Some('{') => self.rest.find('}').ok_or("a character class is not closed")? + 1,
            Some(c) => 2 + c.len_utf8(),
            None => return Err("a character class without a name".into()),
        };
        if let Some(name) = self.rest[2..length].strip_prefix("{^") {
            let is_negated = self.rest.as_bytes()[1] == b'P';
            self.out.push_str(if is_negated { "\\p{" } else { "\\P{" });
            self.out.push_str(name);
            self.skip(length);
        } else {
            self.copy(length);
        }
        Ok(())
    }

    /// An escaped single character.
    fn character(&mut self) -> Step {
        let (c, length) = escaped(self.rest)?;
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
        self.skip(length);
        Ok(())
    }

    /// `[...]`, of which each member is written so that it means itself.
    fn class(&mut self) -> Step {
        self.copy(1);
        if self.rest.starts_with('^') {
            self.copy(1);
        }
        let mut is_first = true;
        loop {
            let c = self.rest.chars().next().ok_or("a class is not closed: `]` is missing")?;
            if c == ']' && !is_first {
                self.copy(1);
                return Ok(());
            }
            is_first = false;
            self.member(c)?;
        }
    }

    fn member(&mut self, c: char) -> Step {
        // Without its end it is a bracket and a colon, as `[[:]]` is one of both and a bracket behind.
        if let Some(length) = self.rest.strip_prefix("[:").and_then(|inner| inner.find(":]")) {
            let name = &self.rest[2..2 + length];
            if !POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
                return Err(format!("there is no class `[:{name}:]`"));
            }
            self.copy(2 + length + 2);
            return Ok(());
        }
        let kind = if c == '\\' { self.rest[1..].chars().next() } else { None };
        match kind {
            Some('d' | 'D' | 'w' | 'W' | 's' | 'S') => return self.escape(),
            Some('p' | 'P') => return self.property(),
            _ => {}
        }
        let (low, length) = single(self.rest)?;
        self.skip(length);
        self.out.push_str(&regex::escape(low.encode_utf8(&mut [0; 4])));
        let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest.len() > 1;
        if is_range {
            self.skip(1);
            let (high, length) = single(self.rest)?;
            if high < low {
                return Err(format!("the range `{low}-{high}` runs backwards"));
            }
            self.skip(length);
            self.out.push('-');
            self.out.push_str(&regex::escape(high.encode_utf8(&mut [0; 4])));
        }
        Ok(())
    }
}

/// One member of a class, escaped or not, and its length.
fn single(text: &str) -> Result<(char, usize), String> {
    match text.chars().next() {
        Some('\\') => escaped(text),
        Some(c) => Ok((c, c.len_utf8())),
        None => Err("a class is not closed: `]` is missing".into()),
    }
}

/// The character that the escape at the start of `text` stands for, and its length.
fn escaped(text: &str) -> Result<(char, usize), String> {
    let unknown = |kind: char| format!("there is no escape `\\{kind}`");
    let kind = text[1..].chars().next().ok_or("a backslash at the end")?;
    let single = match kind {
        'a' => Some('\u{7}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        c if c.is_ascii_punctuation() => Some(c),
        _ => None,
    };
    if let Some(c) = single {
        return Ok((c, 2));
    }
    let octal = |text: &str| text.bytes().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
    let (digits, radix, length) = match kind {
        '0'..='7' => {
            let count = octal(&text[1..]);
            if kind != '0' && count == 1 {
                return Err("there are no back-references".into());
            }
            (&text[1..=count], 8, 1 + count)
        }
        'x' if text[2..].starts_with('{') => {
            let end = text.find('}').ok_or("an escape is not closed")?;
            (&text[3..end], 16, end + 1)
        }
        'x' => (text.get(2..4).ok_or_else(|| unknown(kind))?, 16, 4),
        other => return Err(unknown(other)),
    };
    let code = u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    code.map(|c| (c, length)).ok_or_else(|| format!("`{}` is no character", &text[..length]))
}

/// The length of a repetition at the start of `text`; `None`: the brace means itself. Errors: it counts wrongly.
fn repetition(text: &str) -> Result<Option<usize>, String> {
    let Some(end) = text.find('}') else { return Ok(None) };
    let inner = &text[1..end];
    let (low, high) = inner.split_once(',').unwrap_or((inner, inner));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(low) || !(is_number(high) || high.is_empty()) {
        return Ok(None);
    }
    let count = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
    let (low, high) = (count(low), if high.is_empty() { None } else { Some(count(high)) });
    if low > REPEAT_MAX || high.is_some_and(|high| high > REPEAT_MAX || high < low) {
        return Err(format!("`{{{inner}}}` counts from a smaller to a larger number, at most {REPEAT_MAX}"));
    }
    Ok(Some(end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        for dialect in [Dialect::V2, Dialect::V3] {
            let regex = anchored(pattern, dialect).unwrap_or_else(|reason| panic!("{pattern}: {reason}"));
            matching.iter().for_each(|text| assert!(regex.is_match(text), "{pattern} must match {text:?}"));
            others
                .iter()
                .for_each(|text| assert!(!regex.is_match(text), "{pattern} must not match {text:?}"));
        }
    }

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        check("a|b", &["a", "b"], &["ab", ""]);
        check(r"\d+", &["12"], &["٣", "a"]);
        check(r"\w\W\s\S", &["a- b"], &["é- b"]);
        check("[a&&b]", &["a", "&", "b"], &["c"]);
        check("[a~~b]", &["~", "b"], &["c"]);
        check("[]a]", &["]", "a"], &[""]);
        check("[^]a]", &["b"], &["]"]);
        check("[[:alpha:][:^space:]]", &["a", "1"], &[" "]);
        check("[[:]]", &["[]", ":]"], &["[", ":"]);
        check("[[:alpha]+", &["[:pa"], &["x"]);
        check("[--0]", &["-", ".", "/", "0"], &["1"]);
        check("[a-]", &["a", "-"], &["b"]);
        check(r"[\d\-x]", &["4", "-", "x"], &["d"]);
        check("a{", &["a{"], &["a"]);
        check("a{,3}", &["a{,3}"], &["aa"]);
        check("a{2}", &["aa"], &["a"]);
        check("a{2,}?", &["aaa"], &["a"]);
        check(r"\Qa.b\E.", &["a.bc"], &["axbc"]);
        check(r"\Qa.b", &["a.b"], &["axb"]);
        check(r"\<\_\-\/", &["<_-/"], &[]);
        check(r"\x41\x{42}\103", &["ABC"], &[]);
        check("(?i)abc", &["ABC"], &[]);
        check("(?s-i:x)(?P<n>y)", &["xy"], &[]);
        check(r"\p{Greek}\p{^Greek}\pL", &["αab"], &[]);
        check("é", &["é"], &["e"]);
        check("# x", &["# x"], &["#x"]);
        check(r"foo\b.*", &["foo bar"], &["foobar"]);
    }

    #[test]
    fn a_dot_matches_a_line_end_from_3_on() {
        assert!(!anchored("a.b", Dialect::V2).unwrap().is_match("a\nb"));
        assert!(anchored("a.b", Dialect::V3).unwrap().is_match("a\nb"));
        assert!(anchored("(?<n>x)", Dialect::V2).is_err());
        assert!(anchored("(?<n>x)", Dialect::V3).is_ok());
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in [
            "(",
            "a{2,1}",
            "a{1001}",
            "x(?=y)",
            r"\C",
            r"\Z",
            "x**",
            "x{2}{3}",
            r"[a-\d]",
            "(?x) a",
            r"\u0041",
            "[",
            "[z-a]",
            "[b--c]",
            r"\1",
            r"\",
            "*",
            r"\é",
            r"\x4",
            r"\x{110000}",
            r"\p{Nope}",
            "[[:nope:]]",
            "[[:]:]]",
            "[[:",
        ] {
            assert!(anchored(pattern, Dialect::V2).is_err(), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(pattern in r"[-a&~\[\]{}(),?*+\\QEdpPx0-9^:é]{0,16}") {
            let _ = anchored(&pattern, Dialect::V3);
        }

        #[test]
        fn quoting_makes_a_text_mean_itself(text in "[ -~é]{0,12}") {
            let regex = anchored(&regex::escape(&text), Dialect::V2);
            prop_assert!(regex.is_ok_and(|regex| regex.is_match(&text)));
        }
    }
}
