//! Lines that fit: wraps at words under a hanging indent, colours only when asked, lets nothing through that
//! would command the terminal.

use std::io;

/// How a piece of text is meant. Never the only carrier of a meaning: signs and words say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
}

impl Ink {
    /// The SGR parameters; `None` for text as it comes.
    fn code(self) -> Option<&'static str> {
        match self {
            Ink::Plain => None,
            Ink::Strong => Some("1"),
            Ink::Faint => Some("2"),
            Ink::Good => Some("32"),
            Ink::Bad => Some("1;31"),
        }
    }
}

/// Text of one ink.
#[derive(Debug, Clone)]
pub(super) struct Run(pub(super) Ink, pub(super) String);

impl From<String> for Run {
    fn from(text: String) -> Run {
        Run(Ink::Plain, text)
    }
}

impl From<&str> for Run {
    fn from(text: &str) -> Run {
        Run(Ink::Plain, text.to_owned())
    }
}

/// A blank at which a line does not break; printed as a blank.
pub(super) const TIE: char = '\u{a0}';

/// Text that stays together on a line.
pub(super) fn tied(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

/// A writer of lines for one width.
pub(super) struct Paper<W> {
    out: W,
    columns: usize,
    colour: bool,
}

impl<W: io::Write> Paper<W> {
    /// `columns` is the width; under 40 it is taken as 40.
    pub(super) fn new(out: W, columns: usize, colour: bool) -> Paper<W> {
        Paper { out, columns: columns.max(40), colour }
    }

    /// Usable columns.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// An empty line.
    pub(super) fn blank(&mut self) -> io::Result<()> {
        self.out.write_all(b"\n")
    }

    /// One line never wrapped: a command to copy, a drawing that was measured before.
    pub(super) fn verbatim(&mut self, runs: &[Run]) -> io::Result<()> {
        let mut line = Vec::new();
        for Run(ink, text) in runs {
            line.push((*ink, clean(text)));
        }
        self.put(&line)
    }

    /// A label and what it says: the body starts in column `body_at`, or under the label if that is longer, and goes
    /// on there line by line.
    pub(super) fn entry(&mut self, label: &[Run], body_at: usize, body: &[Run]) -> io::Result<()> {
        let mut line: Vec<(Ink, String)> = label.iter().map(|Run(ink, text)| (*ink, clean(text))).collect();
        let body_at = body_at.min(self.columns / 2);
        let mut column = width_of(&line);
        if column + 1 > body_at && column > 0 && !body.is_empty() {
            if column > self.columns {
                line = self.folded(line)?;
            }
            self.put(&line)?;
            line.clear();
            column = 0;
        }
        let mut empty = true;
        for (ink, word) in words(body) {
            for piece in pieces(&word, self.columns - body_at) {
                let size = piece.chars().count();
                if !empty && column + size > self.columns {
                    self.put(&line)?;
                    line.clear();
                    column = 0;
                    empty = true;
                }
                if empty {
                    if piece.trim().is_empty() {
                        continue;
                    }
                    line.push((Ink::Plain, " ".repeat(body_at.saturating_sub(column))));
                    column = body_at;
                }
                line.push((ink, piece));
                column += size;
                empty = false;
            }
        }
        self.put(&line)
    }

    /// Prints a label too long for a line in whole lines; gives back the rest.
    fn folded(&mut self, label: Vec<(Ink, String)>) -> io::Result<Vec<(Ink, String)>> {
        let mut line: Vec<(Ink, String)> = Vec::new();
        let mut column = 0;
        for (ink, text) in label {
            for character in text.chars() {
                if column == self.columns {
                    self.put(&line)?;
                    line.clear();
                    column = 0;
                }
                line.push((ink, character.to_string()));
                column += 1;
            }
        }
        Ok(line)
    }

    /// Writes a finished line without blanks at its end.
    fn put(&mut self, line: &[(Ink, String)]) -> io::Result<()> {
        let last = line.iter().rposition(|(_, text)| !text.trim_end().is_empty());
        for (index, (ink, text)) in line.iter().enumerate() {
            match last {
                Some(last) if index < last => self.ink(*ink, text)?,
                Some(last) if index == last => self.ink(*ink, text.trim_end())?,
                _ => {}
            }
        }
        self.out.write_all(b"\n")
    }

    fn ink(&mut self, ink: Ink, text: &str) -> io::Result<()> {
        let text = text.replace(TIE, " ");
        match ink.code().filter(|_| self.colour && !text.trim().is_empty()) {
            Some(code) => write!(self.out, "\u{1b}[{code}m{text}\u{1b}[0m"),
            None => self.out.write_all(text.as_bytes()),
        }
    }
}

/// Words and the blanks between them, each with its ink.
fn words(body: &[Run]) -> Vec<(Ink, String)> {
    let mut words: Vec<(Ink, String)> = Vec::new();
    let mut joins = false;
    for Run(ink, text) in body {
        for character in clean(text).chars() {
            let blank = character == ' ';
            match words.last_mut() {
                Some((last_ink, word)) if joins && *last_ink == *ink && word.ends_with(' ') == blank => {
                    word.push(character);
                }
                _ => words.push((*ink, character.to_string())),
            }
            joins = true;
        }
    }
    words
}

/// A word cut into pieces of at most `columns` characters.
fn pieces(word: &str, columns: usize) -> Vec<String> {
    let characters: Vec<char> = word.chars().collect();
    characters.chunks(columns.max(1)).map(|chunk| chunk.iter().collect()).collect()
}

fn width_of(line: &[(Ink, String)]) -> usize {
    line.iter().map(|(_, text)| text.chars().count()).sum()
}

/// Text that cannot move the cursor, change colours or reverse the line: line breaks and tabs become blanks, other control
/// characters and directional marks the replacement character.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\r' | '\t' => ' ',
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            control if control.is_control() => '\u{fffd}',
            plain => plain,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(columns: usize, colour: bool, label: &[Run], at: usize, body: &[Run]) -> String {
        let mut out = Vec::new();
        Paper::new(&mut out, columns, colour).entry(label, at, body).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn wraps_under_a_hanging_indent() {
        let check = |label: &str, body: &str, expected: &str| {
            assert_eq!(print(40, false, &[label.into()], 10, &[body.into()]), expected);
        };
        check("a", "b", "a         b\n");
        check("", "b", "          b\n");
        check("alone", "", "alone\n");
        check("a", "one two three four five six seven eight", {
            "a         one two three four five six\n          seven eight\n"
        });
        check("longer than ten", "b", "longer than ten\n          b\n");
        check("a", &"x".repeat(65), &{
            let thirty = "x".repeat(30);
            format!("a         {thirty}\n          {thirty}\n          xxxxx\n")
        });
        check(&"l".repeat(50), "b", &format!("{}\n{}\n          b\n", "l".repeat(40), "l".repeat(10)));
    }

    #[test]
    fn colour_only_when_asked_and_never_from_the_text() {
        let hostile = "\u{1b}[2Jx\u{202e}y\nz";
        let plain = print(80, false, &[Run(Ink::Bad, "no".into())], 4, &[hostile.into()]);
        assert_eq!(plain, "no  \u{fffd}[2Jx\u{fffd}y z\n");
        let coloured = print(80, true, &[Run(Ink::Bad, "no".into())], 4, &[hostile.into()]);
        assert_eq!(coloured, "\u{1b}[1;31mno\u{1b}[0m  \u{fffd}[2Jx\u{fffd}y z\n");
    }
}
