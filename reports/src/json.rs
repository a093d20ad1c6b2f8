//! `result.json`: the record itself, and the JSON Schema that describes it.

use crate::record::{RunRecord, SCHEMA};
use std::io;

/// Why a saved record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, or not a record.
    #[error("not a record of a run")]
    Malformed(#[from] serde_json::Error),
    /// A record of another version.
    #[error("the record has schema {found}; this loadgen reads schema {SCHEMA}")]
    Schema {
        /// The version found.
        found: u64,
    },
}

/// Writes the record, indented, with a line feed at the end.
///
/// # Errors
/// Those of the writer.
pub fn write(record: &RunRecord, mut out: impl io::Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut out, record)?;
    out.write_all(b"\n")
}

/// Reads a record back, for reports written later. The version is looked at first, so that a newer record is
/// refused by its version and not by the first field that differs.
///
/// # Errors
/// [`ReadError::Malformed`] with the place, [`ReadError::Schema`] for another version.
pub fn read(text: &str) -> Result<RunRecord, ReadError> {
    #[derive(serde::Deserialize)]
    struct Version {
        schema: u64,
    }
    let Version { schema: found } = serde_json::from_str(text)?;
    if found != u64::from(SCHEMA) {
        return Err(ReadError::Schema { found });
    }
    Ok(serde_json::from_str(text)?)
}

/// The JSON Schema of the record, indented, with a line feed at the end.
pub fn schema() -> String {
    let mut text = format!("{:#}", schemars::schema_for!(RunRecord).as_value());
    text.push('\n');
    text
}
