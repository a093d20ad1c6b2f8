//! `loadgen explain FILE`: what would run, value by value, and what the rules are.

use super::ScenarioArguments;
use crate::prepare::prepare;
use assertions::exit;
use scenarios::units::format_duration;
use std::io::IsTerminal as _;

pub(super) fn explain(arguments: &ScenarioArguments) -> u8 {
    let prepared = match prepare(&arguments.file, &arguments.options()) {
        Ok(prepared) => prepared,
        Err(problems) => return super::run::refuse(&problems, std::io::stderr().is_terminal()),
    };
    for warning in &prepared.warnings {
        eprint!("{}", warning.render(std::io::stderr().is_terminal()));
    }
    let settings = &prepared.loaded.provenance;
    let width = settings.iter().map(|setting| setting.path.len()).max().unwrap_or(0).min(48);
    for setting in settings {
        println!("{:<width$}  {}  ({})", setting.path, setting.value, setting.origin);
    }
    println!("\nphases");
    for phase in &prepared.scenario().phases {
        println!(
            "  {:<12} {} on the wall stand for {} (x{})",
            phase.name.value,
            format_duration(phase.real),
            format_duration(phase.stands_for),
            phase.factor
        );
    }
    println!("\nrules ({})", prepared.rules().count());
    for rule in prepared.rules() {
        println!("  {:<32} for {:<6} {}", rule.name, format_duration(rule.hold()), rule.span);
    }
    exit::PASSED
}
