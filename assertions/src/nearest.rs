//! What the user may have meant: the known word that takes the fewest edits.

/// The known word nearest to `word`, if at most a third of it (but at least one letter) was mistyped.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    let scored = known.into_iter().map(|candidate| (distance(word, candidate), candidate));
    scored.filter(|(edits, _)| *edits <= limit).min().map(|(_, candidate)| candidate)
}

/// Insertions, removals and replacements of characters from one word to the other (Levenshtein 1966).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, right) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_nearest_word_is_offered_only_if_it_is_near() {
        let known = ["receiver", "receivers", "route", "routes"];
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(super::nearest(word, known), expected, "{word}");
        };
        check("reciever", Some("receiver"));
        check("rout", Some("route"));
        check("templates", None);
        check("", None);
    }
}
