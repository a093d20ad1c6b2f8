//! METRICS.md, and an exposition, read into the same form.

use std::collections::{BTreeMap, BTreeSet};

/// A family by its type, and whether and with which labels its series come; the buckets' `le` does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) labels: BTreeSet<String>,
}

/// Families by the names of their series.
pub(crate) type Families = BTreeMap<String, Family>;

/// The rows of all tables that begin with a metric: their cells.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let page = include_str!("../../METRICS.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(|cell| cell.trim().trim_end_matches('`')).collect())
}

/// What the page says is exported.
pub(crate) fn documented() -> Families {
    let exported = rows().filter(|row| row.len() == 5);
    exported.map(|row| (row[0].to_owned(), documented_family(row[1], row[2]))).collect()
}

fn documented_family(kind: &str, labels: &str) -> Family {
    let own = labels.split(", ").map(|label| label.trim_matches('`')).filter(|label| !label.is_empty());
    let labels =
        if labels == "-" { BTreeSet::new() } else { own.chain(["node"]).map(str::to_owned).collect() };
    Family { kind: kind.to_owned(), labels }
}

/// What the page says is not exported.
pub(crate) fn left_out() -> BTreeSet<String> {
    rows().filter(|row| row.len() == 3).map(|row| row[0].to_owned()).collect()
}

/// One line of an exposition: the series' name and labels, and its value.
pub(crate) fn sample(line: &str) -> (&str, Vec<(&str, &str)>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
    let labels =
        labels.map(|label| label.split_once('=').unwrap()).map(|(name, text)| (name, text.trim_matches('"')));
    (name, labels.collect(), value.parse().unwrap())
}

/// The family that a series of this name belongs to.
pub(crate) fn family_of<'a>(series: &'a str, kinds: &BTreeMap<String, String>) -> &'a str {
    let of_histogram = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| {
        series.strip_suffix(suffix).filter(|name| kinds.get(*name).is_some_and(|kind| kind == "histogram"))
    });
    of_histogram.unwrap_or(series)
}

/// What an exposition in Prometheus text exports. Panics where series of a family have other labels than their first.
pub(crate) fn exported(text: &str) -> Families {
    let kinds: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    let mut families = Families::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, labels, _) = sample(line);
        let name = family_of(series, &kinds);
        let labels = labels.iter().map(|(name, _)| *name).filter(|name| *name != "le").map(str::to_owned);
        let kind = kinds.get(name).unwrap_or_else(|| panic!("{line} has no type")).clone();
        let family = Family { kind, labels: labels.collect() };
        let first = families.entry(name.to_owned()).or_insert_with(|| family.clone());
        assert_eq!(*first, family, "{line} is not as the first of its family");
    }
    families
}
