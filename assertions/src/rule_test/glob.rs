//! Patterns of file names as Go's `filepath.Match` has them: `*`, `?`, `[a-z]`, `[^a-z]`, `\` before a character.

/// Whether a whole name, without `/`, is matched. `None`: the pattern is none.
pub fn matches(pattern: &str, name: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let pieces = pieces(&pattern)?;
    Some(found(&pieces, &name))
}

/// Whether it has anything but plain characters.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// One element of a pattern.
enum Piece {
    Any,
    One,
    Char(char),
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Piece {
    fn takes(&self, c: char) -> bool {
        match self {
            Piece::Any => false,
            Piece::One => true,
            Piece::Char(wanted) => *wanted == c,
            Piece::Set { negated, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated
            }
        }
    }
}

/// Goes back to the last `*` where the rest does not fit: linear for one star, quadratic at worst.
fn found(pieces: &[Piece], name: &[char]) -> bool {
    let (mut at, mut taken) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while taken < name.len() {
        match pieces.get(at) {
            Some(Piece::Any) => {
                star = Some((at + 1, taken));
                at += 1;
            }
            Some(piece) if piece.takes(name[taken]) => {
                at += 1;
                taken += 1;
            }
            _ => {
                let Some((after, from)) = star else { return false };
                star = Some((after, from + 1));
                (at, taken) = (after, from + 1);
            }
        }
    }
    pieces[at..].iter().all(|piece| matches!(piece, Piece::Any))
}

fn pieces(pattern: &[char]) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = pattern.iter().copied().peekable();
    while let Some(c) = rest.next() {
        pieces.push(match c {
            '*' => Piece::Any,
            '?' => Piece::One,
            '\\' => Piece::Char(rest.next()?),
            '[' => set(&mut rest)?,
            c => Piece::Char(c),
        });
    }
    Some(pieces)
}

fn set(rest: &mut std::iter::Peekable<impl Iterator<Item = char>>) -> Option<Piece> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let first = match rest.next()? {
            ']' if !ranges.is_empty() => return Some(Piece::Set { negated, ranges }),
            ']' | '-' => return None,
            '\\' => rest.next()?,
            c => c,
        };
        let last = match rest.next_if_eq(&'-') {
            None => first,
            Some(_) => match rest.next()? {
                ']' | '-' => return None,
                '\\' => rest.next()?,
                c => c,
            },
        };
        ranges.push((first, last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_go() {
        for (pattern, name, expected) in [
            ("rules.yml", "rules.yml", Some(true)),
            ("*.yml", "rules.yml", Some(true)),
            ("*.yml", "rules.yaml", Some(false)),
            ("r*s*.yml", "rules.test.yml", Some(true)),
            ("a*b*c*", "aXbXc", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
            ("?", "ü", Some(true)),
            ("[a-c]x", "bx", Some(true)),
            ("[^a-c]x", "bx", Some(false)),
            ("[\\]a]", "]", Some(true)),
            ("a\\*", "a*", Some(true)),
            ("a\\*", "ab", Some(false)),
            ("**", "", Some(true)),
            ("", "", Some(true)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[a-", "a", None),
            ("a[", "a", None),
            ("\\", "a", None),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn it_ends_and_never_panics(pattern in "[ab*?\\[\\]^\\\\-]{0,24}", name in "[ab]{0,40}") {
            let _ = matches(&pattern, &name);
        }
    }
}
