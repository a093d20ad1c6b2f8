//! Where in an expression the trouble is: the parser below reports none.
//!
//! A tolerant scan into words, numbers and brackets. It never decides whether an expression is right, only
//! where to point, and it bounds what the parser is given.

use std::ops::Range;

/// Longest expression, bytes.
pub(super) const LENGTH_MAX: usize = 32 * 1024;
/// Deepest nesting of brackets, and longest chain of operators.
pub(super) const DEPTH_MAX: usize = 250;

/// A piece of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) range: Range<usize>,
}

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A name or keyword.
    Word,
    /// A number or duration.
    Number,
    /// A quoted string with both quotes.
    Text,
    /// A string whose end is missing.
    OpenText,
    /// One of `( [ {`.
    Open,
    /// One of `) ] }`.
    Close,
    /// Any other character.
    Sign,
}

/// The pieces, without white space and comments.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (kind, end) = match bytes[at] {
            b if b.is_ascii_whitespace() => (None, at + 1),
            b'#' => (None, end_of(bytes, at, |b| b != b'\n')),
            quote @ (b'"' | b'\'' | b'`') => {
                let (end, closed) = end_of_text(bytes, at + 1, quote);
                (Some(if closed { TokenKind::Text } else { TokenKind::OpenText }), end)
            }
            b'(' | b'[' | b'{' => (Some(TokenKind::Open), at + 1),
            b')' | b']' | b'}' => (Some(TokenKind::Close), at + 1),
            b if is_word(b) && !b.is_ascii_digit() => (Some(TokenKind::Word), end_of(bytes, at, is_word)),
            b if b.is_ascii_digit() => (
                Some(TokenKind::Number),
                end_of(bytes, at, |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.'),
            ),
            _ => (Some(TokenKind::Sign), at + text[at..].chars().next().map_or(1, char::len_utf8)),
        };
        found.extend(kind.map(|kind| Token { kind, range: at..end }));
        at = end;
    }
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

fn end_of(bytes: &[u8], from: usize, inside: impl Fn(u8) -> bool) -> usize {
    bytes[from..].iter().position(|b| !inside(*b)).map_or(bytes.len(), |length| from + length)
}

fn end_of_text(bytes: &[u8], from: usize, quote: u8) -> (usize, bool) {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote != b'`' => at += 2,
            b if b == quote => return (at + 1, true),
            _ => at += 1,
        }
    }
    (bytes.len(), false)
}

/// A fault the scan itself finds: what, where, what to write.
pub(super) struct Fault {
    pub(super) summary: String,
    pub(super) range: Range<usize>,
    pub(super) hint: Option<String>,
}

/// What would make the parser fail without saying where, or answer wrongly.
pub(super) fn obvious_fault(text: &str, tokens: &[Token]) -> Option<Fault> {
    let fault = |summary: String, range: &Range<usize>, hint: Option<&str>| {
        Some(Fault { summary, range: range.clone(), hint: hint.map(String::from) })
    };
    if text.len() > LENGTH_MAX {
        let summary = format!("the expression has {} bytes, more than {LENGTH_MAX}", text.len());
        return fault(summary, &(0..1), Some("split it with recording rules"));
    }
    let Some(last) = tokens.last() else { return fault("the expression is empty".into(), &(0..0), None) };
    let mut open: Vec<&Token> = Vec::new();
    let mut operators = 0;
    for token in tokens {
        let piece = &text[token.range.clone()];
        match token.kind {
            TokenKind::OpenText => {
                return fault("the string does not end".into(), &token.range, Some("close the quote"));
            }
            TokenKind::Open => open.push(token),
            TokenKind::Close => match open.pop() {
                Some(opened) if closes(&text[opened.range.clone()], piece) => {}
                Some(opened) => {
                    let wanted = closing(&text[opened.range.clone()]);
                    return fault(format!("`{piece}` where `{wanted}` is due"), &token.range, None);
                }
                None => return fault(format!("`{piece}` closes nothing"), &token.range, None),
            },
            TokenKind::Number if digits_max(piece) > 15 => {
                return fault(format!("the number `{piece}` is too large"), &token.range, None);
            }
            TokenKind::Number if piece.ends_with(|c: char| "smhdwy".contains(c)) && digits_max(piece) > 9 => {
                return fault(format!("the duration `{piece}` is too long"), &token.range, None);
            }
            TokenKind::Sign => operators += 1,
            _ => {}
        }
        if open.len() > DEPTH_MAX || operators > 8 * DEPTH_MAX {
            let summary = "the expression is nested too deeply".to_string();
            return fault(summary, &token.range, Some("split it with recording rules"));
        }
    }
    if let Some(opened) = open.last() {
        let piece = &text[opened.range.clone()];
        return fault(format!("`{piece}` is never closed"), &opened.range, None);
    }
    let ends_open = last.kind == TokenKind::Sign
        || matches!(&text[last.range.clone()], "and" | "or" | "unless" | "offset");
    if ends_open {
        let piece = &text[last.range.clone()];
        return fault(format!("nothing follows `{piece}`"), &last.range, None);
    }
    None
}

/// A number where a duration stands (in brackets, after `offset`) that is none: 2.x wants a unit, and the parser below
/// cannot take what is not finite.
pub(super) fn duration_fault(text: &str, tokens: &[Token], units_needed: bool) -> Option<Fault> {
    let mut in_brackets = false;
    let mut after_offset = false;
    for token in tokens {
        let piece = &text[token.range.clone()];
        let is_number =
            token.kind == TokenKind::Number || matches!(piece.to_ascii_lowercase().as_str(), "inf" | "nan");
        if (in_brackets || after_offset) && is_number {
            let is_plain = piece.bytes().all(|b| b.is_ascii_digit() || b == b'.') && digits_max(piece) <= 9;
            let has_unit = piece.ends_with(['s', 'm', 'h', 'd', 'w', 'y']);
            if !has_unit && (units_needed || !is_plain) {
                let hint = is_plain.then(|| format!("write `{piece}s`, `{piece}m` or `{piece}h`"));
                return Some(Fault {
                    summary: format!("`{piece}` is not a duration"),
                    range: token.range.clone(),
                    hint,
                });
            }
        }
        match piece {
            "[" => in_brackets = true,
            "]" => in_brackets = false,
            _ => {}
        }
        after_offset = piece.eq_ignore_ascii_case("offset") || (after_offset && matches!(piece, "-" | "+"));
    }
    None
}

fn digits_max(piece: &str) -> usize {
    piece.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0)
}

fn closing(open: &str) -> &'static str {
    match open {
        "(" => ")",
        "[" => "]",
        _ => "}",
    }
}

fn closes(open: &str, close: &str) -> bool {
    closing(open) == close
}

/// The best place for a message of the parser: the first word or string of the expression that it quotes.
pub(super) fn quoted_place(text: &str, tokens: &[Token], message: &str) -> Option<Range<usize>> {
    let is_quoted = |piece: &str| {
        piece.len() > 1
            && message
                .split(|c: char| c.is_whitespace() || "'\"`(),".contains(c))
                .any(|word| word == piece.trim_matches(['"', '\'', '`']))
    };
    let candidates =
        || tokens.iter().filter(|t| !matches!(t.kind, TokenKind::Sign | TokenKind::Open | TokenKind::Close));
    let called = candidates().find(|token| {
        let next = text[token.range.end..].trim_start();
        token.kind == TokenKind::Word && next.starts_with('(') && is_quoted(&text[token.range.clone()])
    });
    called
        .or_else(|| candidates().find(|token| is_quoted(&text[token.range.clone()])))
        .map(|t| t.range.clone())
}

/// The names that are called as functions, and where.
pub(super) fn called<'t>(
    text: &'t str,
    tokens: &'t [Token],
) -> impl Iterator<Item = (&'t str, Range<usize>)> {
    tokens.windows(2).filter_map(move |pair| {
        let is_call = pair[0].kind == TokenKind::Word && &text[pair[1].range.clone()] == "(";
        is_call.then(|| (&text[pair[0].range.clone()], pair[0].range.clone()))
    })
}
