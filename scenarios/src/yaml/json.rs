//! What JSON may hold and YAML does not know: a character written as two halves, `\ud83d\ude00`.

/// The text with such pairs as the character that they stand for, and the byte in `text` of each of its characters.
///
/// `None` if there is nothing to change: the text is no JSON, or has no pair.
pub(super) fn without_surrogates(text: &str) -> Option<(String, Vec<usize>)> {
    let is_json = text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[']);
    if !is_json || !text.contains("\\u") {
        return None;
    }
    let (mut changed, mut bytes, mut at) = (String::with_capacity(text.len()), Vec::new(), 0);
    while let Some(c) = text[at..].chars().next() {
        let (written, length) = match (pair(&text[at..]), c) {
            (Some(whole), _) => (whole, PAIR_BYTES),
            // A backslash that is escaped begins nothing.
            (None, '\\') if text[at + 1..].starts_with('\\') => {
                changed.push('\\');
                bytes.push(at);
                at += 1;
                ('\\', 1)
            }
            _ => (c, c.len_utf8()),
        };
        changed.push(written);
        bytes.push(at);
        at += length;
    }
    (changed.len() != text.len()).then_some((changed, bytes))
}

/// Bytes of a pair.
pub(super) const PAIR_BYTES: usize = 12;

/// The character whose two halves stand at the start.
pub(super) fn pair(text: &str) -> Option<char> {
    let half = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let halves = [half(0)?, half(6)?];
    // A half alone is no character, so this is none unless both belong together.
    let mut whole = char::decode_utf16(halves).flatten();
    let first = whole.next()?;
    (whole.next().is_none() && first.len_utf16() == 2).then_some(first)
}
