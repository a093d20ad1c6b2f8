//! Every key of the language, once: what it takes, its default, what it means.
//!
//! From this table come the unknown-key check (`check`), the built-in defaults that lowering reads, the
//! JSON Schema ([`json_schema`]) and the Markdown reference ([`reference()`](reference::reference)). A key that lowering reads and
//! this table lacks does not exist, and the reverse; a test holds both to it.
//!
//! A pattern names the place of a key: `*` is any name a user gives, `[]` any item of a list.

mod check;
mod reference;
mod schema;
mod table;

pub(crate) use check::check;
pub use reference::reference;
pub use schema::json_schema;
pub(crate) use table::TABLE;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A map with the keys listed below it.
    Map,
    /// A map from names to what is listed under `.*`.
    Named,
    /// A list of what is listed under `[]`.
    List,
    /// A list of texts, or one text.
    Texts,
    /// A name of `[a-z0-9-]`.
    Word,
    /// Any text.
    Text,
    /// A whole number without a unit.
    Integer,
    /// A count: `10k`.
    Count,
    /// A time: `1h30m`.
    Duration,
    /// A range of times: `200ms..10s`.
    DurationRange,
    /// A rate: `5k/s`.
    Rate,
    /// A size: `128B`.
    Size,
    /// A share: `2%`.
    Share,
    /// A share per minute: `5%/m`.
    ShareRate,
    /// A factor: `2x`.
    Factor,
    /// `true` or `false`.
    Bool,
    /// A point in time, RFC 3339.
    Timestamp,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of phase names, or `all`.
    Phases,
    /// The name of a secret: `{secret: NAME}`.
    Secret,
    /// Anything; the text says what.
    Any,
}

/// What is in force when the key is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// It must be written.
    Required,
    /// Nothing.
    Absent,
    /// This, as it would be written.
    Is(&'static str),
    /// It follows from other keys, as the text says.
    Follows(&'static str),
}

/// Whether this version can run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It runs.
    Runs,
    /// It is read and checked; a run that uses it is refused.
    Unrun,
    /// The name is taken for a later version; its use is refused.
    Later,
}

/// One key of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRow {
    /// Where it stands: `phases[].faults[].delay`.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds when it is absent.
    pub default: Default,
    /// Whether it runs.
    pub status: Status,
    /// What it means, one or two sentences in Markdown.
    pub doc: &'static str,
    /// How it is written; empty if the kind says it all.
    pub example: &'static str,
}

/// All keys in the order of the reference.
pub fn all() -> &'static [KeyRow] {
    TABLE
}

/// The row of a pattern.
pub fn row(pattern: &str) -> Option<&'static KeyRow> {
    TABLE.iter().find(|row| row.path == pattern)
}

/// Pattern of the map or list that holds the key, and the key's last part (`*`, `[]` or a word).
fn split(path: &str) -> (&str, &str) {
    if let Some(parent) = path.strip_suffix("[]") {
        return (parent, "[]");
    }
    path.rsplit_once('.').unwrap_or(("", path))
}

/// The rows directly under a pattern; `""` is the file itself.
pub(crate) fn children(pattern: &str) -> impl Iterator<Item = (&'static str, &'static KeyRow)> {
    TABLE.iter().filter_map(move |row| {
        let (parent, last) = split(row.path);
        (parent == pattern).then_some((last, row))
    })
}

/// The pattern of `key` under the pattern `parent`.
pub(crate) fn join(parent: &str, key: &str) -> String {
    match (parent, key) {
        ("", _) => key.to_owned(),
        (_, "[]") => format!("{parent}[]"),
        _ => format!("{parent}.{key}"),
    }
}
