//! Rules that cannot do in this run what they do in production. Said before it: a rule that never fires passes for silent.

use super::{Rule, RuleSet};
use crate::promql::selection;
use scenarios::problem::Problem;
use scenarios::units::format_duration;
use std::time::Duration;

/// Scrapes that a window should hold: Prometheus' own advice, so that one may fail.
const SCRAPES_PER_WINDOW: u32 = 4;

/// Warnings about rules whose windows are too short for scrapes `interval` apart, or that mean nothing where rule time is
/// stretched.
pub fn doubts(rules: &RuleSet, interval: Duration, is_stretched: bool) -> Vec<Problem> {
    let of_rule = |rule| {
        let stretch = if is_stretched { not_stretchable(rule) } else { None };
        short_window(rule, interval).into_iter().chain(stretch)
    };
    rules.rules().flat_map(of_rule).collect()
}

fn short_window(rule: &Rule, interval: Duration) -> Option<Problem> {
    let window = selection::shortest_range(&rule.expr)?;
    if window >= interval * SCRAPES_PER_WINDOW {
        return None;
    }
    let (shown, every) = (format_duration(window), format_duration(interval));
    let name = &rule.name().value;
    let summary = if window < interval {
        format!(
            "{name} looks at {shown}, and scrapes are {every} apart: most of its functions never have a value"
        )
    } else {
        format!("{name} looks at {shown}, which is fewer than {SCRAPES_PER_WINDOW} scrapes of {every}")
    };
    let problem = Problem::error(summary, rule.name().span.clone()?).warning();
    Some(problem.hint("let `alerts.scrape_interval` be that of production"))
}

fn not_stretchable(rule: &Rule) -> Option<Problem> {
    let functions = selection::not_stretchable(&rule.expr);
    if functions.is_empty() {
        return None;
    }
    let names: Vec<String> = functions.iter().map(|name| format!("`{name}`")).collect();
    let summary = format!(
        "{} uses {}, which cannot be stretched: what it does in this run says nothing of production",
        rule.name().value,
        names.join(" and ")
    );
    let problem = Problem::error(summary, rule.name().span.clone()?).warning();
    Some(problem.hint("drill it with `clock: real`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::ast::Dialect;
    use scenarios::span::Source;
    use std::sync::Arc;

    #[track_caller]
    fn check(expr: &str, is_stretched: bool, expected: &[&str]) {
        let text = format!("groups: [{{name: g, rules: [{{alert: A, expr: '{expr}'}}]}}]");
        let source = Arc::new(Source { name: "r.yml".into(), text });
        let rules = super::super::load(&[source], Dialect::V2.into()).expect("readable").rules;
        let found = doubts(&rules, Duration::from_secs(15), is_stretched);
        let found: Vec<_> = found.iter().map(|problem| problem.summary.as_str()).collect();
        assert_eq!(found, expected, "{expr}");
    }

    #[test]
    fn windows_hold_four_scrapes() {
        check("rate(x[1m]) > 1", true, &[]);
        check("up == 0", true, &[]);
        check("rate(x[45s]) > 1", false, &["A looks at 45s, which is fewer than 4 scrapes of 15s"]);
        let never = "A looks at 5s, and scrapes are 15s apart: most of its functions never have a value";
        check("rate(x[1h]) > rate(x[5s])", true, &[never]);
        // A subquery evaluates at its own steps.
        check("max_over_time(up[20s:5s]) > 1", false, &[]);
    }

    #[test]
    fn what_cannot_be_stretched_is_flagged_on_a_stretched_clock_only() {
        let doubt = "A uses `changes` and `hour`, which cannot be stretched: what it does in this run says nothing of production";
        check("changes(x[5m]) > 1 and on() hour() > 8", true, &[doubt]);
        check("changes(x[5m]) > 1 and on() hour() > 8", false, &[]);
        check("increase(x[5m]) > 1", true, &[]);
    }
}
