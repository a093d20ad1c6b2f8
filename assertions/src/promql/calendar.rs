//! Parts of a calendar date, UTC, from seconds since the epoch.

use super::ast::Expr;
use super::eval::{Element, Evaluated, Query};
use super::function::CalendarPart;
use crate::labels::Labels;
use crate::time::Millis;

/// The part for each element; without an argument, of the evaluation's time.
pub(super) fn vector(
    query: &Query<'_>,
    part: CalendarPart,
    arguments: &[Expr],
    at: Millis,
) -> Evaluated<Vec<Element>> {
    let Some(expr) = arguments.first() else {
        return Ok(vec![Element::new(Labels::default(), value(part, at.seconds()))]);
    };
    let mut elements = query.vector(expr, at)?;
    elements.iter_mut().for_each(|element| element.value = value(part, element.value));
    query.drop_names(elements)
}

fn value(part: CalendarPart, seconds: f64) -> f64 {
    let seconds = whole_seconds(seconds);
    let days = seconds.div_euclid(86_400);
    let date = Date::of_days(days);
    let number = match part {
        CalendarPart::Minute => seconds.rem_euclid(3600) / 60,
        CalendarPart::Hour => seconds.rem_euclid(86_400) / 3600,
        // 1970-01-01 was a Thursday; Sunday is 0.
        CalendarPart::DayOfWeek => (days + 4).rem_euclid(7),
        CalendarPart::DayOfMonth => date.day,
        CalendarPart::DayOfYear => days - days_of(date.year, 1, 1) + 1,
        CalendarPart::DaysInMonth => match date.month {
            12 => 31,
            month => days_of(date.year, month + 1, 1) - days_of(date.year, month, 1),
        },
        CalendarPart::Month => date.month,
        CalendarPart::Year => date.year,
    };
    number as f64
}

/// The moment that Prometheus takes a value for.
///
/// Go on amd64 makes the smallest 64-bit number of NaN and of what lies beyond 64 bits, and its calendar, which counts
/// from its own year 0 without a sign, wraps that (and whatever is before that year) into the far future.
fn whole_seconds(value: f64) -> i128 {
    const YEAR_ZERO: i128 = -9_223_372_028_715_321_600;
    let fits = value >= i64::MIN as f64 && value < i64::MAX as f64;
    let seconds = if fits { value as i128 } else { i128::from(i64::MIN) };
    if seconds < YEAR_ZERO { seconds + (1_i128 << 64) } else { seconds }
}

struct Date {
    year: i128,
    month: i128,
    day: i128,
}

impl Date {
    /// The date of a day counted from 1970-01-01, proleptic Gregorian. Source: the usual reckoning with years
    /// that begin in March, so that the leap day is the last (H. Hinnant, chrono-compatible date algorithms).
    fn of_days(days: i128) -> Date {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = year_of_era + era * 400 + i128::from(month <= 2);
        Date { year, month, day: day_of_year - (153 * march_month + 2) / 5 + 1 }
    }
}

/// Days from 1970-01-01 to a date; the inverse of [`Date::of_days`].
fn days_of(year: i128, month: i128, day: i128) -> i128 {
    let year = year - i128::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_survives_the_round_trip() {
        for days in -800_000..800_000 {
            let date = Date::of_days(days);
            assert_eq!(days_of(date.year, date.month, date.day), days);
        }
    }

    #[test]
    fn known_dates() {
        let check = |seconds: f64, part, expected: f64| {
            assert_eq!(value(part, seconds), expected, "{seconds} {part:?}")
        };
        check(1_709_164_800.0, CalendarPart::DayOfMonth, 29.0);
        check(1_709_164_800.0, CalendarPart::DaysInMonth, 29.0);
        check(1_709_164_800.0, CalendarPart::DayOfWeek, 4.0);
        check(1_709_164_800.0, CalendarPart::DayOfYear, 60.0);
        check(1_230_802_979.0, CalendarPart::Year, 2009.0);
        check(-1.0, CalendarPart::Hour, 23.0);
        for nowhere in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            check(nowhere, CalendarPart::Year, 292_277_026_596.0);
            check(nowhere, CalendarPart::Month, 12.0);
            check(nowhere, CalendarPart::Hour, 15.0);
        }
    }
}
