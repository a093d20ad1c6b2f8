//! The configuration file: TOML whose keys are the names of flags.
//!
//! It has no table of its own: a value that neither the command line nor the environment gives becomes a word of the command
//! line. So a flag wins over the environment, the environment over the file and the file over what is built in, and what the
//! flags demand of each other holds for the file too (default values, the other way in, would escape it).

use super::effective::Effective;
use super::{Flags, is_switch};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args as _, Command, FromArgMatches as _};
use std::error::Error as _;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Longest file that is read, bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// A name that is less alike than this is no hint.
const LIKENESS_MIN: f64 = 0.8;

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, #[source] io::Error),
    /// It is longer than a megabyte.
    #[error("{0} is longer than {FILE_BYTES_MAX} bytes")]
    TooLong(PathBuf),
    /// All that is wrong in it, in its order; at least one.
    #[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\nerror: "))]
    Refused(Vec<Problem>),
    /// The command line does not go with it.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
}

/// Something in a file that is not taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    file: PathBuf,
    /// From 1.
    line: usize,
    summary: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.summary)
    }
}

/// A flag and its value as on a command line.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    name: String,
    value: String,
}

impl Setting {
    fn word(&self) -> OsString {
        format!("--{}={}", self.name, self.value).into()
    }
}

/// What is in force: `flags`, read from `command`'s line before, with what the file that they name adds to them; and where each
/// value comes from.
///
/// `command` holds the flags itself or in its `subcommand`; `words` is the whole command line, program included.
pub fn complete(
    flags: Flags,
    command: Command,
    subcommand: Option<&str>,
    words: impl IntoIterator<Item = OsString>,
) -> Result<Effective, FileError> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let Some(path) = &flags.config else {
        let matches = at(command.try_get_matches_from(words)?, subcommand);
        return Ok(Effective { flags, matches, from_file: Vec::new() });
    };
    let mut settings = settings(path, &read(path)?).map_err(FileError::Refused)?;
    // A key from the environment stands in place of one that only the file names, not beside it.
    settings.retain(|setting| setting.name != "auth-key-file" || flags.auth.auth_key.is_none());
    let given = at(command.clone().try_get_matches_from(&words)?, subcommand);
    settings.retain(|setting| !is_given(&given, &setting.name));
    words.extend(settings.iter().map(Setting::word));
    let matches = at(command.try_get_matches_from(words)?, subcommand);
    let flags = Flags::from_arg_matches(&matches)?;
    Ok(Effective { flags, matches, from_file: settings.into_iter().map(|setting| setting.name).collect() })
}

fn at(mut matches: ArgMatches, subcommand: Option<&str>) -> ArgMatches {
    let own = subcommand.and_then(|_| matches.remove_subcommand());
    own.map_or(matches, |(_, matches)| matches)
}

/// Whether the command line or the environment has it. Ids are the flags' names with underscores.
fn is_given(matches: &ArgMatches, name: &str) -> bool {
    let source = matches.value_source(&name.replace('-', "_"));
    matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

fn read(path: &Path) -> Result<String, FileError> {
    let mut text = String::new();
    let unreadable = |error| FileError::Unreadable(path.to_owned(), error);
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let length = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if length as u64 > FILE_BYTES_MAX { Err(FileError::TooLong(path.to_owned())) } else { Ok(text) }
}

/// What `text` sets, or all that is wrong with it.
fn settings(file: &Path, text: &str) -> Result<Vec<Setting>, Vec<Problem>> {
    let problem = |at: usize, summary: String| {
        let line = 1 + text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count();
        Problem { file: file.to_owned(), line, summary }
    };
    let document = toml_edit::Document::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        vec![problem(at, format!("this is no TOML: {}", error.message()))]
    })?;
    // Deaf to the environment, so that a value is judged by itself.
    let command = Flags::augment_args(Command::new("gateway").disable_help_flag(true))
        .mut_args(|arg| arg.env(clap::builder::Resettable::Reset));
    let (mut settings, mut problems) = (Vec::new(), Vec::new());
    for (name, item) in document.as_table() {
        let start = |span: Option<std::ops::Range<usize>>| span.map_or(0, |span| span.start);
        let key_at = start(document.as_table().key(name).and_then(toml_edit::Key::span));
        match setting(&command, name, item) {
            Ok(setting) => settings.push(setting),
            Err(summary) => problems.push(problem(key_at, summary)),
        }
    }
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

fn setting(command: &Command, name: &str, item: &toml_edit::Item) -> Result<Setting, String> {
    let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(name)) else {
        return Err(match nearest(command, name) {
            Some(near) => format!("there is no flag `{name}`; did you mean `{near}`?"),
            None => format!("there is no flag `{name}`; `--help` lists them, write them without dashes"),
        });
    };
    if !may_stand(arg) {
        return Err(format!("`{name}` is not taken from a file"));
    }
    let value = match item.as_value() {
        Some(toml_edit::Value::String(text)) => text.value().clone(),
        Some(toml_edit::Value::Integer(number)) => number.value().to_string(),
        Some(toml_edit::Value::Float(number)) => number.value().to_string(),
        Some(toml_edit::Value::Boolean(is_on)) => is_on.value().to_string(),
        _ => return Err(format!("`{name}` takes one value: text in quotes, a number, true or false")),
    };
    let name = name.to_owned();
    if is_switch(arg) && item.as_bool().is_none() {
        return Err(format!("`{name}` is switched on by true and off by false"));
    }
    let setting = Setting { name, value: value.clone() };
    let words = ["gateway".into(), setting.word()];
    match command.clone().try_get_matches_from(words) {
        // What it demands of other flags is judged when all are together.
        Err(error) if !matches!(error.kind(), ErrorKind::MissingRequiredArgument) => {
            let reason = error.source().map(|reason| format!(": {reason}")).unwrap_or_default();
            Err(format!("`{value}` is no value of `{}`{reason}", setting.name))
        }
        _ => Ok(setting),
    }
}

/// Secrets are kept out of files that many may read; a file names no other file; a parent is followed by its child alone.
pub(super) fn may_stand(arg: &Arg) -> bool {
    !arg.is_hide_set() && !matches!(arg.get_long(), Some("config" | "print-config"))
}

fn nearest<'a>(command: &'a Command, name: &str) -> Option<&'a str> {
    let likeness = |other: &str| strsim::jaro_winkler(name, other);
    let names = command.get_arguments().filter(|arg| may_stand(arg)).filter_map(Arg::get_long);
    let near = names.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(near) >= LIKENESS_MIN).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let problems = settings(Path::new("g.toml"), text).err().unwrap_or_default();
        assert_eq!(problems.iter().map(Problem::to_string).collect::<Vec<_>>(), expected, "{text}");
    }

    /// Every flag can be looked up by its name, or a file's value would stand beside the one that wins over it.
    #[test]
    fn ids_are_names_with_underscores() {
        for arg in Flags::augment_args(Command::new("gateway")).get_arguments() {
            let name = arg.get_long().unwrap_or_default();
            assert_eq!(arg.get_id().as_str(), name.replace('-', "_"), "{name}");
        }
    }

    #[test]
    fn everything_that_is_not_taken_is_said_with_its_line() {
        check("node = \"n\"\nshards = 2 # two\ndeflate = true\nack-timeout = \"2s\"\n", &[]);
        check(
            "\ncachesize = 1\nack-timeout = \"8\"\n",
            &[
                "g.toml:2: there is no flag `cachesize`; did you mean `cache-size`?",
                "g.toml:3: `8` is no value of `ack-timeout`: `8` is no duration; write for example 600ms, 5s, 2m or 1h",
            ],
        );
        check("tls-cert = \"c.pem\"\ntls-key = \"k.pem\"", &[]);
        check("deflate = \"yes\"", &["g.toml:1: `deflate` is switched on by true and off by false"]);
        check("node = [1]", &["g.toml:1: `node` takes one value: text in quotes, a number, true or false"]);
        for own in ["auth-key", "config", "print-config", "follow-stdin"] {
            check(&format!("{own} = \"x\""), &[&format!("g.toml:1: `{own}` is not taken from a file")]);
        }
    }
}
