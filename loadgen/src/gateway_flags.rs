//! `target.gateway.flags`: held against the gateway's own command line before anything is started.

use clap::builder::Resettable;
use clap::{Arg, Args as _, Command};
use scenarios::problem::{Problem, nearest};
use scenarios::span::Spanned;
use std::error::Error as _;

/// Flags that the run sets itself, or that would keep its clients out.
const OWN: [&str; 5] = ["config", "print-config", "listen", "follow-stdin", "enable-test-faults"];
const OWN_PREFIXES: [&str; 2] = ["auth-", "tls-"];

/// A flag and its value, as the scenario has them.
type Flag = (Spanned<String>, Spanned<String>);

/// The command line that the flags make.
pub fn arguments(flags: &[Flag]) -> Vec<String> {
    flags.iter().map(|(name, value)| argument(&name.value, &value.value)).collect()
}

/// Flags that the gateway does not have or take.
pub fn problems(flags: &[Flag]) -> Vec<Problem> {
    let command = command();
    flags.iter().filter_map(|(name, value)| problem(&command, name, value)).collect()
}

fn problem(command: &Command, name: &Spanned<String>, value: &Spanned<String>) -> Option<Problem> {
    let place = name.span.clone()?;
    if is_own(&name.value) {
        let problem = Problem::error(format!("the run sets the gateway's `{}` itself", name.value), place);
        return Some(problem.hint("take it out"));
    }
    if find(command, &name.value).is_none() {
        let problem = Problem::error(format!("the gateway has no flag `{}`", name.value), place);
        let names = command.get_arguments().filter_map(Arg::get_long).filter(|name| !is_own(name));
        return Some(problem.hint(match nearest(&name.value, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`loadgen gateway --help` lists them; write them without dashes".into(),
        }));
    }
    let argument = argument(&name.value, &value.value);
    let error = command.clone().try_get_matches_from(["gateway".to_owned(), argument]).err()?;
    let reason = match error.source() {
        _ if find(command, &name.value).is_some_and(gateway::config::is_switch) => {
            "it is switched on by `true` and off by `false`".into()
        }
        Some(reason) => reason.to_string(),
        _ => "`loadgen gateway --help` says what it takes".into(),
    };
    let place = value.span.clone().unwrap_or(place);
    let summary = format!("`{}` is no value of the gateway's flag `{}`", value.value, name.value);
    Some(Problem::error(summary, place).hint(reason))
}

fn argument(name: &str, value: &str) -> String {
    format!("--{name}={value}")
}

fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(name))
}

fn is_own(name: &str) -> bool {
    OWN.contains(&name) || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The gateway's flags, deaf to the environment: a run does not depend on it.
fn command() -> Command {
    let command = Command::new("gateway").disable_help_flag(true);
    gateway::config::Flags::augment_args(command).mut_args(|arg| arg.env(Resettable::Reset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::span::{Source, Span};
    use std::sync::Arc;

    fn flag(name: &str, value: &str) -> Flag {
        let source = Arc::new(Source { name: "t".into(), text: format!("{name}{value}") });
        let at = |text: &str, from: usize| {
            Spanned::at(text.to_owned(), Span::new(source.clone(), from, from + text.len()))
        };
        (at(name, 0), at(value, name.len()))
    }

    #[track_caller]
    fn check(name: &str, value: &str, expected: Option<(&str, &str)>) {
        let found = problems(&[flag(name, value)]).pop();
        let found = found.map(|problem| (problem.summary, problem.hint.unwrap_or_default()));
        assert_eq!(found.as_ref().map(|(summary, hint)| (summary.as_str(), hint.as_str())), expected);
    }

    #[test]
    fn a_flag_that_the_gateway_would_refuse_is_refused_with_its_place() {
        check("cache-size", "100", None);
        check("ack-timeout", "8s", None);
        check("cachesize", "1", Some(("the gateway has no flag `cachesize`", "did you mean `cache-size`?")));
        check(
            "ack-timeout",
            "8",
            Some((
                "`8` is no value of the gateway's flag `ack-timeout`",
                "`8` is no duration; write for example 600ms, 5s, 2m or 1h",
            )),
        );
        for own in ["listen", "auth-key-file", "enable-test-faults"] {
            let summary = format!("the run sets the gateway's `{own}` itself");
            check(own, "x", Some((&summary, "take it out")));
        }
    }

    #[test]
    fn a_switch_is_on_or_off() {
        assert_eq!(arguments(&[flag("echo", "true"), flag("node", "n1")]), ["--echo=true", "--node=n1"]);
        check("echo", "true", None);
        check("echo", "false", None);
        check(
            "echo",
            "perhaps",
            Some((
                "`perhaps` is no value of the gateway's flag `echo`",
                "it is switched on by `true` and off by `false`",
            )),
        );
    }
}
