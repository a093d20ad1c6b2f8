//! The name that was probably meant.

/// The candidate closest to `name`, if one is close enough to be worth suggesting.
///
/// Close means few slips of the hand (Damerau-Levenshtein, at most a third of the letters), or the same
/// letters up to a missing or added part (Jaro-Winkler of 0.88 and more). Case and `-_.` do not count.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(name);
    let score = |candidate: &str| {
        let candidate = plain(candidate);
        let letters = wanted.chars().count().max(candidate.chars().count());
        let slips = strsim::damerau_levenshtein(&wanted, &candidate);
        let close = slips * 3 <= letters;
        let alike = strsim::jaro_winkler(&wanted, &candidate);
        (close || alike >= 0.88).then_some(alike - slips as f64 / letters.max(1) as f64)
    };
    let scored = candidates.into_iter().take(CANDIDATES_MAX);
    let best = scored.filter_map(|candidate| Some((score(candidate)?, candidate)));
    best.max_by(|left, right| left.0.total_cmp(&right.0)).map(|(_, candidate)| candidate)
}

/// More candidates than any rule file has; bounds the work for hostile input.
const CANDIDATES_MAX: usize = 10_000;

/// Letters that count, at most as many as a name has.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | '.')).flat_map(char::to_lowercase).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        let known = [
            "stands_for",
            "for",
            "faults",
            "ignore_first",
            "gateway.latency",
            "gateway.failure_rate",
            "HighMessageDeliveryLatency",
            "HighMessageLossRate",
        ];
        assert_eq!(nearest(name, known), expected);
    }

    #[test]
    fn suggestions_are_close_or_absent() {
        check("stand_for", Some("stands_for"));
        check("gateway.latancy", Some("gateway.latency"));
        check("HighDeliveryLatency", Some("HighMessageDeliveryLatency"));
        check("fault", Some("faults"));
        check("ignoreFirst", Some("ignore_first"));
        check("banana", None);
        check("", None);
    }
}
