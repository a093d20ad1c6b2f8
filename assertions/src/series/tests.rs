use super::*;
use proptest::prelude::*;

/// A step of a generated series.
#[derive(Debug, Clone)]
enum Step {
    Value(f64),
    Reset(f64),
    Stale,
    Gap,
    Line { count: usize, first: f64, increment: f64 },
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        20 => (0..2_000_000_u32).prop_map(|n| f64::from(n) / 16.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
    ];
    prop_oneof![
        30 => value.clone().prop_map(Step::Value),
        2 => (0..1000_u32).prop_map(|n| Step::Reset(f64::from(n))),
        1 => Just(Step::Stale),
        1 => Just(Step::Gap),
        1 => (1..300_usize, 0..1000_u32, 0..40_u32).prop_map(|(count, first, increment)| Step::Line {
            count,
            first: f64::from(first),
            increment: f64::from(increment) / 8.0,
        }),
    ]
}

/// The series, and every sample of it in a plain list.
fn build(steps: &[Step]) -> (Series, Vec<Point>) {
    let mut series = Series::default();
    let mut plain = Vec::new();
    let mut at = 0;
    for step in steps {
        at += 15_000;
        match step {
            Step::Value(value) => {
                series.push(Millis(at), *value).unwrap();
                plain.push(Point { at: Millis(at), value: *value, reset: false });
            }
            Step::Reset(value) => {
                series.push_reset(Millis(at), *value).unwrap();
                plain.push(Point { at: Millis(at), value: *value, reset: true });
            }
            Step::Stale => series.push(Millis(at), stale_marker()).unwrap(),
            Step::Gap => {}
            Step::Line { count, first, increment } => {
                series.push_line(Millis(at), 15_000, *count, *first, *increment).unwrap();
                for i in 0..*count {
                    let value = first + increment * i as f64;
                    plain.push(Point { at: Millis(at + 15_000 * i as i64), value, reset: false });
                }
                at += 15_000 * (*count as i64 - 1);
            }
        }
    }
    (series, plain)
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

proptest! {
    #[test]
    fn a_window_answers_as_a_scan_does(
        steps in proptest::collection::vec(step(), 1..400),
        from in 0..6_000_000_i64,
        length in 0..12_000_000_i64,
    ) {
        let (series, plain) = build(&steps);
        let inside: Vec<Point> =
            plain.iter().filter(|p| p.at.0 >= from && p.at.0 <= from + length).copied().collect();
        let window = series.window(Millis(from), Millis(from + length));
        prop_assert_eq!(window.is_some(), !inside.is_empty());
        let Some(window) = window else { return Ok(()) };
        let mut naive = inside[inside.len() - 1].value - inside[0].value;
        for pair in inside.windows(2) {
            if pair[1].reset || pair[1].value < pair[0].value {
                naive += pair[0].value;
            }
        }
        prop_assert_eq!(window.count(), inside.len());
        prop_assert_eq!(window.first().at, inside[0].at);
        prop_assert_eq!(window.last().at, inside[inside.len() - 1].at);
        let sum: f64 = inside.iter().map(|p| p.value).sum();
        prop_assert!(window.total().is_none_or(|total| same(total, sum)));
        prop_assert!(window.total().is_some() || inside.len() <= 96 || !sum.is_normal() || sum.abs() < 1.0);
        let (least, greatest) = window.extremes();
        prop_assert!(same(least, inside.iter().fold(f64::NAN, |least, p| least.min(p.value))));
        prop_assert!(same(greatest, inside.iter().fold(f64::NAN, |greatest, p| greatest.max(p.value))));
        let before_last = inside.len().checked_sub(2).map(|index| inside[index].at);
        prop_assert_eq!(window.last_two().map(|(before, _)| before.at), before_last);
        prop_assert!(same(window.increase(), naive), "{} {}", window.increase(), naive);
        let walked: Vec<Millis> = window.points().map(|p| p.at).collect();
        prop_assert_eq!(walked, inside.iter().map(|p| p.at).collect::<Vec<_>>());
    }

    #[test]
    fn the_latest_value_is_the_newest_not_after(steps in proptest::collection::vec(step(), 1..200), at in 0..9_000_000_i64) {
        let (series, plain) = build(&steps);
        let newest = plain.iter().rfind(|p| p.at.0 <= at);
        match series.latest(Millis(at)) {
            Some((_, value)) if is_stale(value) => {}
            Some((found, _)) => prop_assert_eq!(Some(found), newest.map(|p| p.at)),
            None => prop_assert!(newest.is_none()),
        }
    }
}

#[test]
fn a_line_takes_constant_space_and_continues() {
    let mut series = Series::default();
    series.push_line(Millis(0), 15_000, 172_800, 1.0, 0.0).unwrap();
    for i in 172_800..200_000 {
        series.push(Millis(i * 15_000), 1.0).unwrap();
    }
    assert_eq!(series.runs.len(), 1, "live samples on the line extend it");
    assert!(series.bytes() < 1000);
    assert_eq!(series.window(Millis(0), Millis(i64::MAX)).unwrap().total(), Some(200_000.0));
}

#[test]
fn samples_that_are_not_newer_are_refused() {
    let mut series = Series::default();
    series.push(Millis(10), 1.0).unwrap();
    assert_eq!(series.push(Millis(10), 2.0), Err(OutOfOrder { at: Millis(10), newest: Millis(10) }));
    assert!(series.push_line(Millis(5), 1, 3, 0.0, 1.0).is_err());
}
