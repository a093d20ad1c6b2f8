//! A short comment for a pull request: the verdict, what failed and why, the figures, how to run it again.

use crate::checklist::{self, Section, sign, tally};
use crate::figures;
use crate::record::{Outcome, RunRecord};
use std::io;

/// Writes the comment.
///
/// # Errors
/// Those of the writer.
pub fn write(record: &RunRecord, mut out: impl io::Write) -> io::Result<()> {
    let verdict = &record.verdict;
    let (mark, word) = if verdict.passed { ("✅", "passed") } else { ("❌", "failed") };
    writeln!(out, "### {mark} {} {word} (exit {})", escaped(&record.scenario.name), verdict.exit_code)?;
    writeln!(out, "\n{}  ", escaped(&verdict.reason))?;
    writeln!(out, "{}\n", obtained(record))?;
    checks(record, &mut out)?;
    figures(record, &mut out)?;
    warnings(record, &mut out)?;
    for hint in &verdict.hints {
        let fence = "`".repeat(3.max(longest_ticks(&hint.command) + 1));
        writeln!(out, "\n{}:\n{fence}sh\n{}\n{fence}", escaped(&hint.label), plain(&hint.command))?;
    }
    Ok(())
}

fn obtained(record: &RunRecord) -> String {
    let honesty = &record.honesty;
    let mut parts = vec![format!("{}, seed {}", escaped(&honesty.label), record.scenario.seed)];
    if !honesty.meaning.is_empty() {
        parts.push(escaped(&honesty.meaning));
    }
    if !honesty.history.is_empty() {
        parts.push(format!("history {}", escaped(&honesty.history)));
    }
    format!("<sub>{} · run {}</sub>", parts.join(" · "), escaped(&record.run_id))
}

/// One row a kind of check, then the failed ones with their reasons.
fn checks(record: &RunRecord, out: &mut impl io::Write) -> io::Result<()> {
    let items = checklist::items(&record.checks);
    writeln!(out, "| checks | passed | failed | not judged |\n| --- | ---: | ---: | ---: |")?;
    for section in Section::ALL {
        let tally = tally(&items, section);
        if tally.total() > 0 {
            let name = section.name();
            writeln!(out, "| {name} | {} | {} | {} |", tally.passed, tally.failed, tally.not_judged)?;
        }
    }
    for item in items.iter().filter(|item| item.outcome.fails_the_run()) {
        let note = if item.outcome == Outcome::NoData { " (no data)" } else { "" };
        let title = escaped(&item.title());
        let observed = escaped(&item.observed);
        write!(out, "\n- {} **{title}**{note}: {observed}", sign(item.outcome))?;
        if !item.wanted.is_empty() {
            write!(out, "; wanted: {}", escaped(&item.wanted))?;
        }
        if let Some(place) = &item.place {
            write!(out, " ({})", escaped(place))?;
        }
        for detail in &item.details {
            write!(out, "<br>{}", escaped(detail))?;
        }
    }
    writeln!(out)
}

fn figures(record: &RunRecord, out: &mut impl io::Write) -> io::Result<()> {
    let total = &record.total;
    writeln!(out, "\n| sent | of planned | lost | p50 | p99 | p99.9 | send lag p99 |")?;
    writeln!(out, "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    let latency = |pick: fn(&crate::record::LatencySummary) -> f64| {
        total
            .latency
            .as_ref()
            .map_or_else(|| "n/a".to_owned(), |latency| figures::milliseconds(pick(latency)))
    };
    let lag =
        total.send_lag.as_ref().map_or_else(|| "n/a".to_owned(), |lag| figures::milliseconds(lag.p99_ms));
    writeln!(
        out,
        "| {} | {} | {} | {} | {} | {} | {lag} |",
        figures::count(total.messages.sent()),
        figures::count(total.messages.planned),
        figures::count(total.messages.lost),
        latency(|latency| latency.median_ms),
        latency(|latency| latency.p99_ms),
        latency(|latency| latency.p999_ms),
    )
}

fn warnings(record: &RunRecord, out: &mut impl io::Write) -> io::Result<()> {
    record.warnings.iter().try_for_each(|warning| writeln!(out, "\n> warning: {}", escaped(warning)))
}

/// Text that shows as it is: no markup, no HTML, no mention of anybody, one line.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in plain(text).chars() {
        match character {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            // A backslash would not keep a mention or an issue number from being linked.
            '@' => shown.push_str("&#64;"),
            '#' => shown.push_str("&#35;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' | '$' => shown.extend(['\\', character]),
            other => shown.push(other),
        }
    }
    shown
}

/// One line without control characters.
fn plain(text: &str) -> String {
    let blank = |character: char| if character.is_control() { ' ' } else { character };
    text.chars().map(blank).collect()
}

/// Length of the longest row of backticks.
fn longest_ticks(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or(0)
}
