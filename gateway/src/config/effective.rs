//! What is in force, and where each value comes from: `--print-config`.

use super::file::may_stand;
use super::{Flags, is_switch};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args as _, Command};
use std::fmt::Write as _;

/// The flags with what a file adds to them.
#[derive(Debug)]
pub struct Effective {
    /// In force.
    pub flags: Flags,
    /// The same as clap sees them.
    pub(super) matches: ArgMatches,
    /// Names of those that the file gives and nobody else.
    pub(super) from_file: Vec<String>,
}

impl Effective {
    /// A file that `--config` reads back, one flag a line, each with where its value comes from: flag, environment, file or default.
    ///
    /// Secrets, and what no file may hold, are named and not shown.
    pub fn toml(&self) -> String {
        let mut text = String::new();
        for arg in Flags::augment_args(Command::new("gateway")).get_arguments() {
            if let Some(name) = arg.get_long().filter(|name| *name != "print-config") {
                self.line(&mut text, arg, name);
            }
        }
        text
    }

    fn line(&self, text: &mut String, arg: &Arg, name: &str) {
        let id = arg.get_id().as_str();
        let value = self.matches.get_raw(id).and_then(|mut values| values.next());
        let value = value.map(|value| value.to_string_lossy());
        let source = match self.matches.value_source(id) {
            _ if self.from_file.iter().any(|given| given == name) => "file",
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "environment",
            _ => "default",
        };
        // Writing to text does not fail.
        let _ = match value {
            None => writeln!(text, "# {name} is not set"),
            Some(_) if !may_stand(arg) && source == "default" => Ok(()),
            Some(value) if name == "config" => writeln!(text, "# config is {value:?}, from {source}"),
            Some(_) if !may_stand(arg) => {
                writeln!(text, "# {name} is set, from {source}; it is not shown, and no file takes it")
            }
            Some(value) if has_password(&value) => {
                writeln!(text, "# {name} is set, from {source}; it holds a password and is not shown")
            }
            Some(value) => writeln!(text, "{name} = {} # {source}", literal(arg, &value)),
        };
    }
}

/// A value of TOML that is read back as this text.
fn literal(arg: &Arg, value: &str) -> String {
    match (is_switch(arg), value.parse::<i64>()) {
        (true, _) => {
            matches!(value.to_lowercase().as_str(), "y" | "yes" | "t" | "true" | "on" | "1").to_string()
        }
        // Only a number that is spelt as TOML would spell it.
        (false, Ok(number)) if number.to_string() == value => value.to_owned(),
        // JSON's escapes are among those of TOML, which wants one more character escaped.
        _ => serde_json::Value::from(value).to_string().replace('\u{7f}', "\\u007f"),
    }
}

/// Whether it is an address with somebody's name, and so perhaps password, in it.
fn has_password(value: &str) -> bool {
    let authority = value.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    authority.is_some_and(|authority| authority.contains('@'))
}
