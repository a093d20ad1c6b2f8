//! What a metrics endpoint answers: Prometheus text 0.0.4 and OpenMetrics, read without copying where it can be.
//!
//! As tolerant as Prometheus' own parsers: blanks between tokens, comments, a comma too many, a missing last line end
//! are fine; a broken line makes the whole scrape fail. Exemplars are checked and left out, timestamps are told but
//! never used by the grid. It knows no series and no time.

use std::borrow::Cow;
use std::collections::BTreeMap;

mod line;

use line::{Cursor, Quoting};

/// Which of the two texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`
    Text,
    /// `application/openmetrics-text`
    OpenMetrics,
}

/// The type of a metric family, as its `# TYPE` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum FamilyType {
    /// Only grows, or starts again.
    Counter,
    /// Any number.
    Gauge,
    /// Buckets, their sum and count.
    Histogram,
    /// Quantiles, their sum and count.
    Summary,
    /// OpenMetrics' histogram of a gauge: its buckets may fall.
    GaugeHistogram,
    /// OpenMetrics' `info` and `stateset`: numbers that are 0 or 1.
    Info,
    /// Nothing was said, or `untyped`, or `unknown`.
    #[default]
    Unknown,
}

/// One sample of an exposition.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'t> {
    /// The metric's name, suffixes like `_bucket` included.
    pub name: Cow<'t, str>,
    /// Its labels, in the order written.
    pub labels: Vec<(Cow<'t, str>, Cow<'t, str>)>,
    /// The value.
    pub value: f64,
    /// The time that the target claims, ms since the epoch.
    pub timestamp: Option<i64>,
    /// The type of its family.
    pub family: FamilyType,
}

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct ExpositionError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, lower case, no full stop.
    pub reason: String,
}

impl Sample<'_> {
    /// Whether it only grows, so that it is stretched and its resets matter: counters, the buckets, count and sum of
    /// histograms, count and sum of summaries, and untyped names that end in `_total`.
    pub fn is_counter_like(&self) -> bool {
        let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| self.name.ends_with(suffix));
        match self.family {
            FamilyType::Counter => !ends(&["_created"]),
            FamilyType::Histogram => ends(&["_bucket", "_count", "_sum"]),
            FamilyType::Summary => ends(&["_count", "_sum"]),
            FamilyType::Unknown => ends(&["_total"]),
            FamilyType::Gauge | FamilyType::GaugeHistogram | FamilyType::Info => false,
        }
    }

    /// The label's value; "" if it has none of that name.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }
}

/// Reads an exposition. Errors: the first line that cannot be read; of OpenMetrics also a missing `# EOF`.
pub fn parse(text: &str, format: Format) -> Result<Vec<Sample<'_>>, ExpositionError> {
    let mut reader = Reader { format, families: BTreeMap::new(), samples: Vec::new(), ended: false };
    let mut lines = 0;
    for (index, line) in text.split('\n').enumerate() {
        lines = index + 1;
        let mut cursor = Cursor::new(line);
        reader.line(&mut cursor).map_err(|reason| ExpositionError {
            line: index + 1,
            column: line[..cursor.at()].chars().count() + 1,
            reason,
        })?;
    }
    if format == Format::OpenMetrics && !reader.ended {
        let reason = "the text does not end with `# EOF`: it is cut off".to_string();
        return Err(ExpositionError { line: lines, column: 1, reason });
    }
    Ok(reader.samples)
}

struct Reader<'t> {
    format: Format,
    families: BTreeMap<Cow<'t, str>, FamilyType>,
    samples: Vec<Sample<'t>>,
    /// `# EOF` was read.
    ended: bool,
}

impl<'t> Reader<'t> {
    fn line(&mut self, cursor: &mut Cursor<'t>) -> Result<(), String> {
        cursor.skip_blanks();
        if cursor.is_done() {
            return Ok(());
        }
        if self.ended {
            return Err("text after `# EOF`".into());
        }
        if cursor.take('#') {
            return self.comment(cursor);
        }
        let sample = self.sample(cursor)?;
        self.samples.push(sample);
        Ok(())
    }

    fn comment(&mut self, cursor: &mut Cursor<'t>) -> Result<(), String> {
        cursor.skip_blanks();
        match cursor.word() {
            "EOF" if self.format == Format::OpenMetrics => self.ended = true,
            "TYPE" => {
                let name = cursor.name_or_quoted(Quoting::Name)?;
                cursor.skip_blanks();
                let kind = family_type(cursor.word())?;
                self.families.insert(name, kind);
            }
            "HELP" | "UNIT" => {
                cursor.name_or_quoted(Quoting::Name)?;
            }
            // Any other comment.
            _ => {}
        }
        Ok(())
    }

    fn sample(&mut self, cursor: &mut Cursor<'t>) -> Result<Sample<'t>, String> {
        let mut name = cursor.metric_name();
        let mut labels = Vec::new();
        cursor.skip_blanks();
        if cursor.take('{') {
            read_labels(cursor, &mut name, &mut labels)?;
        }
        let name = name.ok_or("a metric's name is due here")?;
        cursor.skip_blanks();
        let value = cursor.number("a value")?;
        cursor.skip_blanks();
        let timestamp = self.timestamp(cursor)?;
        cursor.skip_blanks();
        if self.format == Format::OpenMetrics && cursor.take('#') {
            exemplar(cursor)?;
        }
        cursor.skip_blanks();
        if !cursor.is_done() {
            return Err("text after the sample".into());
        }
        let family = self.family(&name);
        Ok(Sample { name, labels, value, timestamp, family })
    }

    fn timestamp(&self, cursor: &mut Cursor<'t>) -> Result<Option<i64>, String> {
        if cursor.is_done() || cursor.peek() == Some('#') {
            return Ok(None);
        }
        match self.format {
            Format::Text => {
                let word = cursor.peek_word();
                let millis = word.parse().map_err(|_| format!("`{word}` is not a time in milliseconds"))?;
                cursor.word();
                Ok(Some(millis))
            }
            Format::OpenMetrics => {
                let seconds = cursor.number("a time in seconds")?;
                if !seconds.is_finite() {
                    return Err("a time must be finite".into());
                }
                Ok(Some((seconds * 1000.0) as i64))
            }
        }
    }

    /// The type of the family a sample's name belongs to: its own, or that of the name without a suffix.
    fn family(&self, name: &str) -> FamilyType {
        if let Some(kind) = self.families.get(name) {
            return *kind;
        }
        const SUFFIXES: [&str; 8] =
            ["_bucket", "_count", "_sum", "_total", "_created", "_gcount", "_gsum", "_info"];
        let without_suffix = |suffix: &&str| self.families.get(name.strip_suffix(*suffix)?).copied();
        SUFFIXES.iter().find_map(without_suffix).unwrap_or_default()
    }
}

/// Labels up to the closing brace; a quoted text without `=` is the metric's name (UTF-8 names of Prometheus 3).
fn read_labels<'t>(
    cursor: &mut Cursor<'t>,
    name: &mut Option<Cow<'t, str>>,
    labels: &mut Vec<(Cow<'t, str>, Cow<'t, str>)>,
) -> Result<(), String> {
    loop {
        cursor.skip_blanks();
        if cursor.take('}') {
            return Ok(());
        }
        let quoted = cursor.peek() == Some('"');
        let label = cursor.name_or_quoted(Quoting::Label)?;
        cursor.skip_blanks();
        if cursor.take('=') {
            cursor.skip_blanks();
            let value = cursor.quoted()?;
            if labels.iter().any(|(known, _)| *known == label) {
                return Err(format!("label `{label}` stands twice"));
            }
            labels.push((label, value));
        } else if quoted && name.is_none() {
            *name = Some(label);
        } else {
            return Err("`=` is due here".into());
        }
        cursor.skip_blanks();
        if !cursor.take(',') && cursor.peek() != Some('}') {
            return Err("`,` or `}` is due here".into());
        }
    }
}

/// ` # {labels} value [time]` of OpenMetrics: checked, not kept.
fn exemplar(cursor: &mut Cursor<'_>) -> Result<(), String> {
    cursor.skip_blanks();
    if !cursor.take('{') {
        return Err("an exemplar begins with `{`".into());
    }
    read_labels(cursor, &mut Some(Cow::Borrowed("")), &mut Vec::new())?;
    cursor.skip_blanks();
    cursor.number("the exemplar's value")?;
    cursor.skip_blanks();
    if !cursor.is_done() {
        cursor.number("the exemplar's time")?;
    }
    Ok(())
}

fn family_type(word: &str) -> Result<FamilyType, String> {
    Ok(match word {
        "counter" => FamilyType::Counter,
        "gauge" => FamilyType::Gauge,
        "histogram" => FamilyType::Histogram,
        "summary" => FamilyType::Summary,
        "gaugehistogram" => FamilyType::GaugeHistogram,
        "info" | "stateset" => FamilyType::Info,
        "untyped" | "unknown" => FamilyType::Unknown,
        _ => return Err(format!("`{word}` is not a metric type")),
    })
}

#[cfg(test)]
mod tests;
