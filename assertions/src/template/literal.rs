//! Go's literals: numbers, characters and quoted texts.

use super::tree::Number;

/// A number as Go writes it: `1`, `-0x1F`, `1_000`, `1e3`, `'a'`.
pub(super) fn number(text: &str) -> Option<Number> {
    if let Some(inner) = text.strip_prefix('\'') {
        let character = unescaped(inner.strip_suffix('\'')?, '\'')?;
        let mut characters = character.chars();
        let (Some(only), None) = (characters.next(), characters.next()) else { return None };
        let code = i64::from(u32::from(only));
        return Some(Number { text: text.into(), whole: Some(code), float: code as f64, is_float: false });
    }
    let (sign, bare) = match text.strip_prefix(['+', '-']) {
        Some(bare) => (if text.starts_with('-') { -1_i64 } else { 1 }, bare),
        None => (1, text),
    };
    let lower = bare.to_ascii_lowercase();
    if let Some(whole) = whole_number(&lower) {
        let float = sign as f64 * whole as f64;
        // Too large for an int is found only where an int is needed.
        let whole = i64::try_from(i128::from(sign) * i128::from(whole)).ok();
        return Some(Number { text: text.into(), whole, float, is_float: false });
    }
    // Digits alone that are no whole number: a wrong octal, or too many.
    let is_decimal = lower.contains(['.', 'e'])
        && lower.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && lower.bytes().all(|b| b.is_ascii_digit() || b".e+-".contains(&b));
    let float = lower.parse::<f64>().ok().filter(|value| is_decimal && value.is_finite())? * sign as f64;
    let whole = (float.fract() == 0.0 && float.abs() < 9.2e18).then_some(float as i64);
    Some(Number { text: text.into(), whole, float, is_float: true })
}

fn whole_number(text: &str) -> Option<u64> {
    let radix = |prefix: &str, radix: u32| {
        text.strip_prefix(prefix).map(|digits| u64::from_str_radix(&digits.replace('_', ""), radix).ok())
    };
    let prefixed = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2));
    match prefixed {
        Some(number) => number,
        None if text.len() > 1 && text.starts_with('0') => {
            u64::from_str_radix(&text[1..].replace('_', ""), 8).ok()
        }
        None if text.starts_with(|c: char| c.is_ascii_digit()) => text.replace('_', "").parse().ok(),
        None => None,
    }
}

/// What a Go literal in double quotes or backquotes says.
pub(super) fn unquoted(written: &str) -> Option<String> {
    match written.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
        Some(raw) => Some(raw.replace('\r', "")),
        None => unescaped(written.strip_prefix('"')?.strip_suffix('"')?, '"'),
    }
}

fn unescaped(inner: &str, quote: char) -> Option<String> {
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        let code = |rest: &mut std::str::Chars<'_>, digits: usize, radix: u32| {
            let text: String = rest.take(digits).collect();
            let well = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
            well.then(|| u32::from_str_radix(&text, radix).ok()).flatten()
        };
        match rest.next()? {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            '\\' => bytes.push(b'\\'),
            'x' => bytes.push(u8::try_from(code(&mut rest, 2, 16)?).ok()?),
            letter @ ('u' | 'U') => {
                let digits = if letter == 'u' { 4 } else { 8 };
                let c = char::from_u32(code(&mut rest, digits, 16)?)?;
                bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
            }
            first @ '0'..='7' => {
                let others = code(&mut rest, 2, 8)?;
                bytes.push(u8::try_from(first.to_digit(8)? * 64 + others).ok()?);
            }
            other if other == quote => bytes.push(quote as u8),
            _ => return None,
        }
    }
    // Bytes that are no text would be sent as they are; here they become the usual replacement.
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
