//! What a text says of a burn rate, held against the expression: the share of budget, the factor, the objective.
//!
//! A text speaks of many numbers. One is held against the rule only where its own words say what it is, and it is right if it
//! fits any of the rule's burn rates.

use super::{Burn, DAY, burn, is_named, round};
use crate::check::rules::{Expression, RuleView};
use crate::check::tree::{self, Limit};
use crate::check::{Report, lints};
use scenarios::units::format_duration;
use std::ops::Range;
use std::time::Duration;

pub(super) fn check(rule: &RuleView, expression: &Expression, report: &mut Report<'_>) {
    let limits = tree::limits(&expression.full).into_iter().filter(Limit::is_upper);
    let is_named = is_named(rule);
    let burns: Vec<Burn<'_>> = limits
        .map(burn)
        .filter(|burn| burn.window.is_some() && (burn.rate.is_some() || is_named && !burn.guesses.is_empty()))
        .collect();
    let Some(longest) = burns.iter().max_by_key(|burn| burn.window) else { return };
    for text in &rule.annotations {
        let prose = prose(&text.text);
        let found = numbers(&prose).into_iter().find_map(|number| {
            spent(&burns, longest, period(&prose), &number)
                .or_else(|| factor(&burns, &number))
                .or_else(|| objective(&burns, &number))
                .map(|(summary, fix)| (number.range.clone(), summary, fix))
        });
        if let Some((range, summary, fix)) = found {
            report.add(&lints::BURN_TEXT, text.within(range), summary, fix);
        }
    }
}

/// What is wrong, and what to write.
type Wrong = (String, String);

impl Burn<'_> {
    /// What the burn rate is, or may be.
    fn factors(&self) -> Vec<f64> {
        self.rate.map_or_else(|| self.guesses.clone(), |rate| vec![rate.factor])
    }

    /// The shares of a period's budget that are spent in a time, percent.
    fn spends(&self, time: Duration, period: Duration) -> impl Iterator<Item = f64> {
        self.factors()
            .into_iter()
            .map(move |factor| factor * time.as_secs_f64() / period.as_secs_f64() * 100.0)
    }
}

/// `2 % of the budget`, `error budget: 2 % in an hour`.
fn spent(burns: &[Burn<'_>], longest: &Burn<'_>, period: Duration, number: &Number<'_>) -> Option<Wrong> {
    if number.unit != Unit::Percent || !number.is_of_budget() {
        return None;
    }
    let percent = number.value;
    let fits = |spent: f64, tolerance: f64| (percent - spent).abs() <= tolerance * spent.max(percent);
    let periods = [period, 30 * DAY];
    let is_right = burns.iter().any(|burn| {
        let window = burn.window.unwrap_or_default();
        // `a 0.1 % budget` says how large it is.
        let size = burn.rate.and_then(|rate| rate.budget).map_or(0.0, |budget| budget * 100.0);
        fits(size, 0.01) || periods.iter().any(|period| {
            burn.spends(window, *period).any(|spent| fits(spent, 0.05))
                // In a time of its own: `100 % in two days`.
                || number.times().into_iter().any(|time| burn.spends(time, *period).any(|spent| fits(spent, 0.15)))
        })
    });
    let (window, factor) = (longest.window?, *longest.factors().first()?);
    let spent = longest.spends(window, period).next()?;
    if is_right {
        return None;
    }
    let (shown, days) = (format_duration(window), period.as_secs() / 86_400);
    let summary = format!(
        "the text says {percent} % of the budget; {factor} × {shown} is {} % of {days} days",
        round(spent)
    );
    let fix =
        format!("write {} %, or let the burn rate be {}", round(spent), round(factor * percent / spent));
    Some((summary, fix))
}

/// `burns 14.4x as fast`.
fn factor(burns: &[Burn<'_>], number: &Number<'_>) -> Option<Wrong> {
    let is_factor = number.unit == Unit::Times && number.sentence_has("burn") || number.is_after_burn_rate();
    // A guess is too little to contradict a text.
    let told: Option<Vec<f64>> = burns.iter().map(|burn| burn.rate.map(|rate| rate.factor)).collect();
    let told = told.filter(|_| is_factor)?;
    let is_whole = number.value.fract() == 0.0;
    let fits = |factor: &f64| {
        (factor - number.value).abs() <= 0.01 * factor || is_whole && (factor - number.value).abs() < 1.0
    };
    if told.iter().any(fits) {
        return None;
    }
    let told = told.first()?;
    let summary = format!("the text says a burn rate of {}; the condition's is {told}", number.value);
    Some((summary, format!("write {told}, or change the condition")))
}

/// `the 99.9 % objective`.
fn objective(burns: &[Burn<'_>], number: &Number<'_>) -> Option<Wrong> {
    if number.unit != Unit::Percent || !(50.0..100.0).contains(&number.value) || !number.is_objective() {
        return None;
    }
    let budgets: Vec<f64> = burns.iter().filter_map(|burn| burn.rate?.budget).collect();
    let wanted = 1.0 - number.value / 100.0;
    let first = *budgets.first()?;
    if budgets.iter().any(|budget| (budget - wanted).abs() <= 0.01 * wanted) {
        return None;
    }
    let summary = format!(
        "the text says an objective of {} %; the condition's budget of {} is one of {} %",
        number.value,
        super::significant(first),
        super::significant((1.0 - first) * 100.0)
    );
    Some((summary, format!("use a budget of {}, or correct the text", super::significant(wanted))))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Percent,
    Times,
    None,
}

/// A number of a text and the words around it, all in lower case.
struct Number<'t> {
    value: f64,
    unit: Unit,
    range: Range<usize>,
    /// Its sentence up to it.
    before: &'t str,
    /// The rest of its sentence, behind its unit.
    after: &'t str,
}

/// Words that say that a share is one of something else.
const OF_OTHERS: &[&str] = &[
    "availability",
    "available",
    "error rate",
    "error ratio",
    "errors",
    "fail",
    "latency",
    "left",
    "loss",
    "objective",
    "of requests",
    "remain",
    "slo",
    "success",
    "target",
    "threshold",
    "traffic",
    "uptime",
];

impl Number<'_> {
    fn sentence_has(&self, word: &str) -> bool {
        self.before.contains(word) || self.after.contains(word)
    }

    /// Whether the words between it and the next `budget`, behind it or just before, speak of nothing else.
    fn is_of_budget(&self) -> bool {
        let speaks_of_others = |words: &str| OF_OTHERS.iter().any(|word| words.contains(word));
        let near = first(self.after, 60);
        if let Some(at) = near.find("budget") {
            let rest = first(&self.after[at + "budget".len()..], 20);
            let is_another = near[..at].contains('%') || speaks_of_others(last(self.before, 16));
            return !is_another
                && !speaks_of_others(&near[..at])
                && !["left", "remain"].iter().any(|word| rest.contains(word));
        }
        let tail = last(self.before, 40);
        tail.rfind("budget").is_some_and(|at| {
            self.value < 90.0 && !speaks_of_others(&tail[at..]) && !speaks_of_others(first(self.after, 16))
        })
    }

    fn is_objective(&self) -> bool {
        let says = |words: &str| {
            ["availability", "objective", "slo", "uptime"].iter().any(|word| words.contains(word))
        };
        says(first(self.after, 16)) || says(last(self.before, 16))
    }

    /// `burn rate of 6`, `burn rate > 6`.
    fn is_after_burn_rate(&self) -> bool {
        let tail = last(self.before, 24).trim_end_matches(|c: char| !c.is_alphanumeric());
        let tail = ["is", "of", "above", "over", "exceeds", "at", "than"]
            .iter()
            .find_map(|word| tail.strip_suffix(*word).map(str::trim_end))
            .unwrap_or(tail);
        self.unit == Unit::None
            && (tail.ends_with("burn rate") || tail.ends_with("burnrate"))
            && self.is_bare()
    }

    /// Whether no unit of time follows.
    fn is_bare(&self) -> bool {
        let next =
            self.after.trim_start_matches(['-', ' ']).split(|c: char| !c.is_ascii_alphanumeric()).next();
        next.is_none_or(|word| time("1", word).is_none())
    }

    /// The times that its sentence speaks of.
    fn times(&self) -> Vec<Duration> {
        let sentence = format!("{} {}", self.before, self.after);
        let words: Vec<&str> = sentence.split(|c: char| c.is_whitespace() || ",;:()".contains(c)).collect();
        let pair = |pair: &[&str]| time(pair[0], pair[1]);
        words.windows(2).filter_map(pair).collect()
    }
}

/// `2 days`, `an hour`, `6h`.
fn time(number: &str, unit: &str) -> Option<Duration> {
    let unit_of = |unit: &str| match unit.trim_end_matches('.') {
        "m" | "min" | "minute" | "minutes" => Some(Duration::from_secs(60)),
        "h" | "hour" | "hours" => Some(super::HOUR),
        "d" | "day" | "days" => Some(DAY),
        "w" | "week" | "weeks" => Some(7 * DAY),
        _ => None,
    };
    let value = |number: &str| match number {
        "a" | "an" | "one" => Some(1.0),
        "two" => Some(2.0),
        "three" => Some(3.0),
        number => number.parse::<f64>().ok().filter(|value| (0.0..10_000.0).contains(value)),
    };
    let split = number.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let joined = value(split).zip(unit_of(&number[split.len()..]));
    let (value, unit) = joined.or_else(|| value(number).zip(unit_of(unit)))?;
    Some(unit.mul_f64(value))
}

/// The text in lower case, with blanks for what stands inside of `{{ }}`; every byte keeps its place.
fn prose(text: &str) -> String {
    let mut prose = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let end = rest[open..].find("}}").map_or(rest.len(), |close| open + close + 2);
        prose += &rest[..open];
        prose.extend(std::iter::repeat_n(' ', end - open));
        rest = &rest[end..];
    }
    (prose + rest).to_ascii_lowercase()
}

/// The numbers that a text writes out.
fn numbers(prose: &str) -> Vec<Number<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = prose[at..].find(|c: char| c.is_ascii_digit()).map(|offset| at + offset) {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let end = prose[start..].find(|c: char| !is_number(c)).map_or(prose.len(), |length| start + length);
        at = end;
        let written = prose[start..end].trim_end_matches('.');
        let is_part_of_word = prose[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let Ok(value) = written.parse() else { continue };
        if is_part_of_word {
            continue;
        }
        let behind = &prose[start + written.len()..];
        let (unit, length) = unit(behind);
        let end = start + written.len() + length;
        let before = prose[..start].rsplit(". ").next().unwrap_or_default();
        let after = prose[end..].split(". ").next().unwrap_or_default();
        found.push(Number { value, unit, range: start..end, before, after });
    }
    found
}

/// The unit that a text begins with, and its bytes.
fn unit(text: &str) -> (Unit, usize) {
    let blanks = text.len() - text.trim_start_matches(' ').len();
    let rest = &text[blanks..];
    for (word, unit) in [
        ("%", Unit::Percent),
        ("percent", Unit::Percent),
        ("per cent", Unit::Percent),
        ("×", Unit::Times),
        ("x", Unit::Times),
        ("times", Unit::Times),
    ] {
        let is_whole = |rest: &str| word == "%" || !rest.starts_with(|c: char| c.is_alphanumeric());
        if rest.strip_prefix(word).is_some_and(is_whole) {
            return (unit, blanks + word.len());
        }
    }
    (Unit::None, 0)
}

fn first(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(end, _)| &text[..end])
}

fn last(text: &str, count: usize) -> &str {
    text.char_indices().rev().nth(count).map_or(text, |(start, _)| &text[start..])
}

/// The period that a text speaks of; 30 days where it does not.
fn period(text: &str) -> Duration {
    const PERIODS: &[(&str, u32)] = &[
        ("week", 7),
        ("7 day", 7),
        ("7-day", 7),
        ("7d", 7),
        ("28 day", 28),
        ("28-day", 28),
        ("28d", 28),
        ("quarter", 90),
        ("90 day", 90),
    ];
    let found = PERIODS.iter().find(|(word, _)| text.contains(word));
    DAY * found.map_or(30, |(_, days)| *days)
}
