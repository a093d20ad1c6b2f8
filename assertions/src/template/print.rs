//! Go's `printf`: verbs, flags, width and precision, and what it says of arguments that do not fit.

use super::numbers::{shortest, significant, special, with_exponent};
use super::value::Value;

/// Widest field and highest precision: beyond it Go refuses too.
const WIDTH_MAX: usize = 1_000_000;
/// Longest text of one field here, so that no template can fill the memory.
const PADDING_MAX: usize = 10_000;

/// What stands between `%` and the verb.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// A format on its way.
struct Printer<'v> {
    values: &'v [Value],
    /// The value that comes next.
    next: usize,
    /// A value was chosen by its number, so leftovers are nobody's mistake.
    reordered: bool,
    /// The number was one of a value.
    is_good_index: bool,
    text: String,
}

pub(super) fn formatted(format: &str, values: &[Value]) -> String {
    let mut printer = Printer { values, next: 0, reordered: false, is_good_index: true, text: String::new() };
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        printer.text += &rest[..at];
        rest = printer.verb(&rest[at + 1..]);
    }
    printer.text += rest;
    printer.leftovers();
    printer.text
}

impl<'v> Printer<'v> {
    /// One field; returns what follows its verb.
    fn verb<'t>(&mut self, mut rest: &'t str) -> &'t str {
        let mut flags = Flags::default();
        self.is_good_index = true;
        while let Some(c) = rest.chars().next().filter(|c| "#0+- ".contains(*c)) {
            match c {
                '#' => flags.sharp = true,
                '0' => flags.zero = !flags.minus,
                '+' => flags.plus = true,
                '-' => (flags.minus, flags.zero) = (true, false),
                _ => flags.space = true,
            }
            rest = &rest[1..];
        }
        let mut after_index = false;
        rest = self.argument_number(rest, &mut after_index);
        if let Some(after) = rest.strip_prefix('*') {
            rest = after;
            self.star_width(&mut flags);
            after_index = false;
        } else {
            (flags.width, rest) = leading_number(rest);
            // `%[3]2d` is an error.
            self.is_good_index &= !(after_index && flags.width.is_some());
        }
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            self.is_good_index &= !after_index;
            rest = self.argument_number(rest, &mut after_index);
            if let Some(after) = rest.strip_prefix('*') {
                rest = after;
                self.star_precision(&mut flags);
                after_index = false;
            } else {
                let (precision, after) = leading_number(rest);
                (flags.precision, rest) = (Some(precision.unwrap_or(0)), after);
            }
        }
        if !after_index {
            rest = self.argument_number(rest, &mut after_index);
        }
        let Some(verb) = rest.chars().next() else {
            self.text += "%!(NOVERB)";
            return "";
        };
        self.field(verb, flags);
        &rest[verb.len_utf8()..]
    }

    fn field(&mut self, verb: char, flags: Flags) {
        if verb == '%' {
            self.text.push('%');
        } else if !self.is_good_index {
            self.text += &format!("%!{verb}(BADINDEX)");
        } else if let Some(value) = self.values.get(self.next) {
            self.next += 1;
            self.text += &printed(value, verb, flags);
        } else {
            self.text += &format!("%!{verb}(MISSING)");
        }
    }

    /// `[2]` before a star or a verb.
    fn argument_number<'t>(&mut self, rest: &'t str, found: &mut bool) -> &'t str {
        let Some(after) = rest.strip_prefix('[') else { return rest };
        self.reordered = true;
        let Some((digits, after)) = after.split_once(']') else {
            self.is_good_index = false;
            return &rest[1..];
        };
        let number = digits.parse::<usize>().ok().filter(|number| (1..=self.values.len()).contains(number));
        match number {
            Some(number) => self.next = number - 1,
            None => self.is_good_index = false,
        }
        *found = true;
        after
    }

    fn star(&mut self) -> Option<i64> {
        let value = self.values.get(self.next);
        self.next += usize::from(value.is_some());
        match value {
            Some(Value::Int(number)) if number.unsigned_abs() <= WIDTH_MAX as u64 => Some(*number),
            _ => None,
        }
    }

    fn star_width(&mut self, flags: &mut Flags) {
        match self.star() {
            Some(width) => {
                // A negative width means: to the left.
                if width < 0 {
                    (flags.minus, flags.zero) = (true, false);
                }
                flags.width = usize::try_from(width.unsigned_abs()).ok();
            }
            None => self.text += "%!(BADWIDTH)",
        }
    }

    fn star_precision(&mut self, flags: &mut Flags) {
        match self.star() {
            Some(precision) => flags.precision = usize::try_from(precision).ok(),
            None => self.text += "%!(BADPREC)",
        }
    }

    fn leftovers(&mut self) {
        if self.reordered || self.next >= self.values.len() {
            return;
        }
        let shown: Vec<String> = self.values[self.next..].iter().map(typed).collect();
        self.text += &format!("%!(EXTRA {})", shown.join(", "));
    }
}

/// `float64=1.5`.
fn typed(value: &Value) -> String {
    match value {
        Value::Missing | Value::Nil => "<nil>".into(),
        value => format!("{}={}", value.type_name(), value.shown()),
    }
}

fn leading_number(text: &str) -> (Option<usize>, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..digits].parse().ok().filter(|number| *number <= WIDTH_MAX);
    (number, &text[digits..])
}

fn printed(value: &Value, verb: char, flags: Flags) -> String {
    let wrong = || format!("%!{verb}({})", typed(value));
    if verb == 'T' {
        return padded(value.type_name().to_string(), flags);
    }
    match value {
        Value::Float(number) => float(*number, verb, flags).unwrap_or_else(wrong),
        Value::Int(number) => integer(*number, verb, flags).unwrap_or_else(wrong),
        Value::Text(string) => text(string, verb, flags).unwrap_or_else(wrong),
        Value::Bool(is_true) if matches!(verb, 't' | 'v') => padded(is_true.to_string(), flags),
        Value::Missing | Value::Nil if verb == 'v' => padded("<nil>".into(), flags),
        Value::Bool(_) | Value::Missing | Value::Nil => wrong(),
        Value::Time(_) | Value::Duration(_) => text(&value.shown(), verb, flags).unwrap_or_else(wrong),
        other if matches!(verb, 'v' | 's') => other.shown(),
        _ => wrong(),
    }
}

fn text(string: &str, verb: char, flags: Flags) -> Option<String> {
    let cut = |string: &str| match flags.precision {
        Some(precision) => string.chars().take(precision).collect(),
        None => string.to_string(),
    };
    match verb {
        'v' if flags.sharp => Some(padded(quoted(string, false), flags)),
        's' | 'v' => Some(padded(cut(string), flags)),
        'q' => {
            let string = cut(string);
            let raw = flags.sharp && !string.contains(['`', '\n']) && !string.chars().any(char::is_control);
            Some(padded(if raw { format!("`{string}`") } else { quoted(&string, flags.plus) }, flags))
        }
        'x' | 'X' => {
            let bytes = string.as_bytes();
            let bytes = &bytes[..flags.precision.unwrap_or(bytes.len()).min(bytes.len())];
            let prefix = if flags.sharp { if verb == 'x' { "0x" } else { "0X" } } else { "" };
            let digits = |byte: &u8| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") };
            let all: Vec<String> = bytes.iter().map(digits).collect();
            let separator = if flags.space { format!(" {prefix}") } else { String::new() };
            let text = all.join(&separator);
            Some(padded(if text.is_empty() { text } else { prefix.to_string() + &text }, flags))
        }
        _ => None,
    }
}

/// As Go quotes a text.
fn quoted(string: &str, only_ascii: bool) -> String {
    let mut text = String::from('"');
    for c in string.chars() {
        match c {
            '"' => text += "\\\"",
            '\\' => text += "\\\\",
            '\x07' => text += "\\a",
            '\x08' => text += "\\b",
            '\x0c' => text += "\\f",
            '\n' => text += "\\n",
            '\r' => text += "\\r",
            '\t' => text += "\\t",
            '\x0b' => text += "\\v",
            c if c.is_ascii_control() => text += &format!("\\x{:02x}", u32::from(c)),
            c if c.is_control() => text += &format!("\\u{:04x}", u32::from(c)),
            c if only_ascii && u32::from(c) > 0xffff => text += &format!("\\U{:08x}", u32::from(c)),
            c if only_ascii && !c.is_ascii() => text += &format!("\\u{:04x}", u32::from(c)),
            c => text.push(c),
        }
    }
    text + "\""
}

fn float(number: f64, verb: char, flags: Flags) -> Option<String> {
    let digits = match verb {
        'v' | 'g' | 'G' => match flags.precision {
            // Trailing zeros go anyway, and the formatter panics beyond 65,535.
            Some(precision) => significant(number, precision.min(PADDING_MAX)),
            None => special(number).unwrap_or_else(|| shortest(number, 6)),
        },
        'f' | 'F' => special(number).unwrap_or_else(|| format!("{number:.*}", precision_of(flags))),
        'e' | 'E' => special(number).unwrap_or_else(|| {
            let text = format!("{number:.*e}", precision_of(flags));
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            with_exponent(mantissa, exponent.parse().unwrap_or(0))
        }),
        _ => return None,
    };
    let digits = if matches!(verb, 'G' | 'E') && number.is_finite() { digits.to_uppercase() } else { digits };
    if !number.is_finite() {
        let signed = match (number.is_nan(), flags.plus, flags.space) {
            (true, true, _) => "+NaN".into(),
            (true, false, true) => " NaN".into(),
            (false, false, true) if number > 0.0 => " Inf".into(),
            _ => digits,
        };
        // No zeros before what is no number.
        return Some(padded(signed, Flags { zero: false, ..flags }));
    }
    Some(signed_and_padded(&digits, flags))
}

fn precision_of(flags: Flags) -> usize {
    flags.precision.unwrap_or(6).min(PADDING_MAX)
}

/// Puts the sign before zeros that fill the field.
fn signed_and_padded(digits: &str, flags: Flags) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None if flags.plus => ("+", digits),
        None if flags.space => (" ", digits),
        None => ("", digits),
    };
    let width = flags.width.unwrap_or(0).min(PADDING_MAX);
    if flags.zero && width > sign.len() + digits.len() && !sign.is_empty() {
        let zeros = "0".repeat(width - sign.len() - digits.len());
        return format!("{sign}{zeros}{digits}");
    }
    padded(format!("{sign}{digits}"), flags)
}

fn integer(number: i64, verb: char, flags: Flags) -> Option<String> {
    let magnitude = number.unsigned_abs();
    let character = || u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
    let (digits, prefix) = match verb {
        'v' | 'd' => (magnitude.to_string(), ""),
        'b' => (format!("{magnitude:b}"), if flags.sharp { "0b" } else { "" }),
        'o' => (format!("{magnitude:o}"), if flags.sharp { "0" } else { "" }),
        'O' => (format!("{magnitude:o}"), "0o"),
        'x' => (format!("{magnitude:x}"), if flags.sharp { "0x" } else { "" }),
        'X' => (format!("{magnitude:X}"), if flags.sharp { "0X" } else { "" }),
        'c' => return Some(padded(character().to_string(), flags)),
        'q' => return Some(padded(format!("'{}'", character().escape_default()), flags)),
        'U' => return Some(padded(format!("U+{magnitude:04X}"), Flags { zero: false, ..flags })),
        _ => return None,
    };
    let sign = match (number < 0, flags.plus, flags.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    };
    let wanted = match (flags.precision, flags.width) {
        (Some(0), _) if number == 0 => return Some(padded(String::new(), Flags { zero: false, ..flags })),
        (Some(precision), _) => precision,
        (None, Some(width)) if flags.zero => width.saturating_sub(sign.len()),
        _ => 0,
    };
    let zeros = "0".repeat(wanted.min(PADDING_MAX).saturating_sub(digits.len()));
    Some(padded(format!("{sign}{prefix}{zeros}{digits}"), Flags { zero: false, ..flags }))
}

fn padded(text: String, flags: Flags) -> String {
    let width = flags.width.unwrap_or(0).min(PADDING_MAX);
    let missing = width.saturating_sub(text.chars().count());
    match (flags.minus, flags.zero) {
        _ if missing == 0 => text,
        (true, _) => text + &" ".repeat(missing),
        (false, true) => "0".repeat(missing) + &text,
        (false, false) => " ".repeat(missing) + &text,
    }
}
