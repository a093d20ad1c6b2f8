//! Named time intervals of alertmanager.yml: office hours, weekends, holidays.
//!
//! Judged on the calendar of UTC. A `location` elsewhere is read and warned of, because this crate carries no
//! table of time zones. A moment is inside if any period holds, a period holds if all its kinds of range do.

use crate::time::Millis;
use scenarios::problem::{Problem, nearest};
use scenarios::span::Span;
use scenarios::yaml::Node;
use std::ops::RangeInclusive;

/// A named set of periods.
#[derive(Debug, Clone)]
pub struct TimeInterval {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub span: Span,
    /// Any of them is enough.
    pub periods: Vec<Period>,
}

/// Ranges of each kind; a kind without ranges always holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Period {
    /// Minutes of the day, the end excluded.
    pub minutes: Vec<(i64, i64)>,
    /// Days of the week, Sunday 0.
    pub weekdays: Vec<RangeInclusive<i64>>,
    /// Days of the month from 1, or from −1, the last one, backwards.
    pub days: Vec<RangeInclusive<i64>>,
    /// Months from 1.
    pub months: Vec<RangeInclusive<i64>>,
    /// Years.
    pub years: Vec<RangeInclusive<i64>>,
}

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

impl TimeInterval {
    /// Whether the moment is inside.
    pub fn contains(&self, at: Millis) -> bool {
        self.periods.iter().any(|period| period.contains(at))
    }
}

impl Period {
    fn contains(&self, at: Millis) -> bool {
        let date = Date::of(at);
        let any = |ranges: &[RangeInclusive<i64>], value: i64| {
            ranges.is_empty() || ranges.iter().any(|range| range.contains(&value))
        };
        let time = self.minutes.is_empty()
            || self.minutes.iter().any(|(from, to)| (*from..*to).contains(&date.minute));
        time && any(&self.weekdays, date.weekday)
            && any(&self.months, date.month)
            && any(&self.years, date.year)
            && (self.days.is_empty() || self.days.iter().any(|range| date.in_days(range)))
    }
}

/// A moment on the proleptic Gregorian calendar, UTC.
#[derive(Debug, PartialEq, Eq)]
struct Date {
    year: i64,
    month: i64,
    day: i64,
    weekday: i64,
    minute: i64,
}

impl Date {
    /// Days since 1970 to a date through 400-year eras that begin on 1 March (Hinnant, "chrono-compatible
    /// low-level date algorithms").
    fn of(at: Millis) -> Date {
        let minutes = at.0.div_euclid(60_000);
        let days = minutes.div_euclid(1440);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Date {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            weekday: (days + 4).rem_euclid(7),
            minute: minutes.rem_euclid(1440),
        }
    }

    fn days_in_month(&self) -> i64 {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn in_days(&self, range: &RangeInclusive<i64>) -> bool {
        let length = self.days_in_month();
        let from_start = |day: i64| if day < 0 { length + day + 1 } else { day };
        (from_start(*range.start())..=from_start(*range.end())).contains(&self.day)
    }
}

/// Reads `time_intervals` and `mute_time_intervals` of the whole file.
pub(crate) fn read_sections(root: &Node, problems: &mut Vec<Problem>) -> Vec<TimeInterval> {
    let mut found: Vec<TimeInterval> = Vec::new();
    for section in ["mute_time_intervals", "time_intervals"] {
        let Some(list) = root.get(section).filter(|node| !node.is_null()) else { continue };
        for item in list.expect_sequence("a list of named time intervals", problems).unwrap_or_default() {
            let Some(interval) = read_interval(item, problems) else { continue };
            match found.iter().find(|earlier| earlier.name == interval.name) {
                Some(earlier) => problems.push(
                    Problem::error(
                        format!("time interval `{}` is defined twice", interval.name),
                        interval.span,
                    )
                    .related(earlier.span.clone(), "first defined here"),
                ),
                None => found.push(interval),
            }
        }
    }
    found
}

fn read_interval(item: &Node, problems: &mut Vec<Problem>) -> Option<TimeInterval> {
    item.expect_mapping("a time interval: a map with `name`", problems)?;
    known(item, &["name", "time_intervals"], problems);
    let Some(name) = item.get("name") else {
        problems.push(Problem::error("a time interval without `name`", item.head()));
        return None;
    };
    let text = name.expect_text("the interval's name", problems)?.to_owned();
    let list = item.get("time_intervals").filter(|node| !node.is_null());
    let items = list.and_then(|list| list.expect_sequence("a list of periods", problems)).unwrap_or_default();
    let periods = items.iter().filter_map(|item| read_period(item, problems)).collect();
    Some(TimeInterval { name: text, span: name.span.clone(), periods })
}

fn read_period(item: &Node, problems: &mut Vec<Problem>) -> Option<Period> {
    item.expect_mapping("a period: a map", problems)?;
    known(item, &["days_of_month", "location", "months", "times", "weekdays", "years"], problems);
    if let Some(place) = item.get("location").and_then(|node| node.expect_text("a time zone", problems))
        && !matches!(place, "UTC" | "Etc/UTC" | "Local")
        && let Some(node) = item.get("location")
    {
        let warning = Problem::error(format!("time zone `{place}` is read as UTC"), node.head()).warning();
        problems.push(warning.hint("start the run at a time at which the difference does not matter"));
    }
    Some(Period {
        minutes: read_times(item.get("times"), problems),
        weekdays: read_ranges(item.get("weekdays"), &|word| named(word, &WEEKDAYS, 0, 0..=6), problems),
        days: read_ranges(item.get("days_of_month"), &day_of_month, problems),
        months: read_ranges(item.get("months"), &|word| named(word, &MONTHS, 1, 1..=12), problems),
        years: read_ranges(item.get("years"), &|word| word.parse().ok().filter(|year| *year > 0), problems),
    })
}

fn read_times(list: Option<&Node>, problems: &mut Vec<Problem>) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    let Some(list) = list.filter(|node| !node.is_null()) else { return found };
    for item in list.expect_sequence("a list of times", problems).unwrap_or_default() {
        if item.expect_mapping("`start_time` and `end_time`", problems).is_none() {
            continue;
        }
        known(item, &["end_time", "start_time"], problems);
        let minute = |key: &str| item.get(key).and_then(Node::text).and_then(minute_of_day);
        match (minute("start_time"), minute("end_time")) {
            (Some(from), Some(to)) if from < to => found.push((from, to)),
            _ => problems.push(
                Problem::error("bad time range", item.head())
                    .hint("write `start_time: '09:00'` and a later `end_time: '17:00'`, up to '24:00'"),
            ),
        }
    }
    found
}

fn read_ranges(
    list: Option<&Node>,
    value: &dyn Fn(&str) -> Option<i64>,
    problems: &mut Vec<Problem>,
) -> Vec<RangeInclusive<i64>> {
    let mut found = Vec::new();
    let Some(list) = list.filter(|node| !node.is_null()) else { return found };
    for item in list.expect_sequence("a list of ranges", problems).unwrap_or_default() {
        let Some(text) = item.expect_text("a value or a range `from:to`", problems) else { continue };
        let text = text.to_ascii_lowercase();
        let (from, to) = text.split_once(':').unwrap_or((&text, &text));
        match (value(from.trim()), value(to.trim())) {
            (Some(from), Some(to)) if from <= to || (from > 0 && to < 0) => found.push(from..=to),
            _ => problems.push(Problem::error(format!("bad range `{text}`"), item.head())),
        }
    }
    found
}

fn named(word: &str, names: &[&str], first: i64, numbers: RangeInclusive<i64>) -> Option<i64> {
    let by_name = names.iter().zip(first..).find(|(name, _)| **name == word).map(|(_, number)| number);
    by_name.or_else(|| word.parse().ok().filter(|number| first > 0 && numbers.contains(number)))
}

fn day_of_month(word: &str) -> Option<i64> {
    word.parse().ok().filter(|day: &i64| *day != 0 && (-31..=31).contains(day))
}

fn minute_of_day(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let total =
        hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok().filter(|m| (0..60).contains(m))?;
    (hours.len() == 2 && minutes.len() == 2 && (0..=1440).contains(&total)).then_some(total)
}

fn known(node: &Node, keys: &[&str], problems: &mut Vec<Problem>) {
    for (key, _) in node.entries().filter(|(key, _)| !keys.contains(&key.text.as_str())) {
        let problem =
            Problem::error(format!("unknown key `{}` in a time interval", key.text), key.span.clone());
        problems.push(match nearest(&key.text, keys.iter().copied()) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::span::Source;
    use std::sync::Arc;

    fn read(yaml: &str) -> (Vec<TimeInterval>, Vec<String>) {
        let source =
            Arc::new(Source { name: "a.yml".to_owned(), text: format!("time_intervals:\n- {yaml}\n") });
        let mut problems = Vec::new();
        let found = read_sections(&scenarios::yaml::parse(source).expect("YAML"), &mut problems);
        (found, problems.into_iter().map(|problem| problem.summary).collect())
    }

    #[test]
    fn moments_are_inside_or_outside() {
        let check = |period: &str, seconds: i64, expected: bool| {
            let (found, problems) = read(&format!("{{name: x, time_intervals: [{period}]}}"));
            assert_eq!(problems, Vec::<String>::new());
            assert_eq!(found[0].contains(Millis(seconds * 1000)), expected, "{period} at {seconds}");
        };
        // 2024-02-29 was a Thursday; its 12:00 UTC is 1709208000.
        let noon = 1_709_208_000;
        check("{}", noon, true);
        check("{weekdays: ['monday:friday']}", noon, true);
        check("{weekdays: [saturday, sunday]}", noon, false);
        check("{times: [{start_time: '09:00', end_time: '12:00'}]}", noon, false);
        check("{times: [{start_time: '09:00', end_time: '12:00'}]}", noon - 1, true);
        check("{times: [{start_time: '12:00', end_time: '24:00'}]}", noon, true);
        check("{days_of_month: ['-1']}", noon, true);
        check("{days_of_month: ['-3:-2']}", noon, false);
        check("{days_of_month: ['1:-1'], months: [february], years: ['2020:2024']}", noon, true);
        check("{months: ['3:12']}", noon, false);
        check("{years: [2023]}", noon, false);
        check("{weekdays: [thursday], months: [january]}", noon, false);
        check("{weekdays: [thursday]}", 0, true);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |yaml: &str, expected: &str| {
            let (_, problems) = read(yaml);
            assert_eq!(problems, [expected], "{yaml}");
        };
        check("{name: x, time_intervals: [{weekdays: [someday]}]}", "bad range `someday`");
        check("{name: x, time_intervals: [{months: ['5:3']}]}", "bad range `5:3`");
        check(
            "{name: x, time_intervals: [{times: [{start_time: '9:00', end_time: '10:00'}]}]}",
            "bad time range",
        );
        check("{name: x, time_intervals: [{weekday: [monday]}]}", "unknown key `weekday` in a time interval");
        check(
            "{name: x, time_intervals: [{location: Europe/Rome}]}",
            "time zone `Europe/Rome` is read as UTC",
        );
        check("{time_intervals: []}", "a time interval without `name`");
    }
}
