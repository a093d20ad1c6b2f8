//! What a client would rather have: the lists of `Accept` and `Accept-Encoding` (RFC 9110 section 12).

/// One entry of such a list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preference<'a> {
    /// What is wanted, such as `text/plain` or `gzip`.
    pub wanted: &'a str,
    parameters: &'a str,
    /// How much, 0 (not at all) to 1.
    pub quality: f32,
}

impl<'a> Preference<'a> {
    fn parse(entry: &'a str) -> Preference<'a> {
        let (wanted, parameters) = entry.split_once(';').unwrap_or((entry, ""));
        let mut preference = Preference { wanted: wanted.trim(), parameters, quality: 1.0 };
        // What cannot be read is not wanted.
        let quality = preference.parameter("q").map(|quality| quality.parse().unwrap_or(0.0));
        preference.quality = quality.unwrap_or(1.0);
        preference
    }

    /// Whether this is what it names, in any case.
    pub fn is(&self, wanted: &str) -> bool {
        self.wanted.eq_ignore_ascii_case(wanted)
    }

    /// The value of a parameter, without its quotes.
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.split(';').find_map(|parameter| {
            let (found, value) = parameter.split_once('=')?;
            found.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
        })
    }
}

/// The entries of `lists`, the values of all headers of one name, in order.
pub fn preferences<'a>(lists: impl Iterator<Item = &'a str>) -> impl Iterator<Item = Preference<'a>> {
    lists.flat_map(|list| list.split(',')).map(Preference::parse).filter(|entry| !entry.wanted.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists() {
        let lists = ["text/plain; version=\"0.0.4\";q=0.5,, */*;q=0.1", "Gzip", "br;q=x"];
        let read: Vec<_> =
            preferences(lists.into_iter()).map(|entry| (entry.wanted, entry.quality)).collect();
        assert_eq!(read, [("text/plain", 0.5), ("*/*", 0.1), ("Gzip", 1.0), ("br", 0.0)]);
        let first = preferences(lists.into_iter()).next().unwrap();
        assert_eq!((first.parameter("Version"), first.parameter("charset")), (Some("0.0.4"), None));
        assert!(preferences(lists.into_iter()).any(|entry| entry.is("gzip")));
    }
}
