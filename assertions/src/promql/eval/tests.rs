use super::*;
use crate::notation;
use crate::promql::parse::parse;
use proptest::prelude::*;

fn elements(store: &Store, dialect: Dialect, query: &str, at: i64) -> Result<Vec<Element>, EvalError> {
    let expr = parse(query, dialect.into()).unwrap();
    let settings = Settings { dialect, ..Settings::default() };
    Query::instant(store, settings, Millis(at)).elements(&expr, Millis(at))
}

/// The one value of a query over one series `x` of points a minute apart, in both dialects.
fn check(points: &str, query: &str, minute: i64, expected: [Option<f64>; 2]) {
    let mut store = Store::new();
    let labels = notation::labels("x").unwrap();
    for (index, point) in notation::points(points).unwrap().into_iter().enumerate() {
        if let Some(value) = point {
            store.append(&labels, Millis(index as i64 * 60_000), value).unwrap();
        }
    }
    for (dialect, expected) in [Dialect::V2, Dialect::V3].into_iter().zip(expected) {
        let found = elements(&store, dialect, query, minute * 60_000).unwrap();
        let value = found.first().map(|element| (element.value * 1e9).round() / 1e9);
        assert_eq!(value, expected, "{query} at {minute}m, {dialect:?}");
    }
}

#[test]
fn the_dialects_differ_at_the_left_edge() {
    check("0+60x20", "count_over_time(x[5m])", 10, [Some(6.0), Some(5.0)]);
    check("0+60x20", "rate(x[1m])", 10, [Some(1.0), None]);
    check("1", "x", 5, [Some(1.0), None]);
    check("1x20", "count_over_time(x[5m:1m])", 10, [Some(6.0), Some(5.0)]);
}

#[test]
fn rates_are_extrapolated() {
    // Aligned samples reach both edges.
    check("0+60x20", "increase(x[5m])", 10, [Some(300.0), Some(300.0)]);
    // A counter is not stretched back beyond its zero.
    check("_ _ _ _ 0+60x20", "increase(x[5m])", 6, [Some(120.0), Some(120.0)]);
    // A far edge is bridged by half a distance.
    check("_ _ _ 600+60x20", "increase(x[10m])", 8, [Some(330.0), Some(330.0)]);
    // Resets add what was lost.
    check("0 60 120 30 90", "increase(x[4m])", 4, [Some(210.0), Some(200.0)]);
    check("5", "rate(x[5m])", 1, [None, None]);
}

/// `rate` and `increase` as their definition reads, by a scan.
fn naive_increase(points: &[(i64, f64)], from: i64, until: i64, dialect: Dialect) -> Option<f64> {
    let edge = if dialect == Dialect::V2 { from } else { from + 1 };
    let inside: Vec<(i64, f64)> =
        points.iter().copied().filter(|(at, _)| (edge..=until).contains(at)).collect();
    let (&(first_at, first), &(last_at, last)) = (inside.first()?, inside.last()?);
    if inside.len() < 2 {
        return None;
    }
    let mut change = last - first;
    for pair in inside.windows(2) {
        if pair[1].1 < pair[0].1 {
            change += pair[0].1;
        }
    }
    let sampled = (last_at - first_at) as f64 / 1000.0;
    let mean = sampled / (inside.len() - 1) as f64;
    let (mut start, mut end) = ((first_at - from) as f64 / 1000.0, (until - last_at) as f64 / 1000.0);
    let zero = if change > 0.0 && first >= 0.0 { sampled * first / change } else { f64::INFINITY };
    if dialect == Dialect::V2 {
        start = start.min(zero);
    }
    if start >= mean * 1.1 {
        start = mean / 2.0;
    }
    if dialect == Dialect::V3 {
        start = start.min(zero);
    }
    if end >= mean * 1.1 {
        end = mean / 2.0;
    }
    Some(change * (sampled + start + end) / sampled)
}

proptest! {
    #[test]
    fn increase_by_totals_equals_a_scan(
        steps in proptest::collection::vec((1..4_i64, 0..500_u32, proptest::bool::weighted(0.03)), 2..600),
        until in 0..12_000_i64,
        range in 1..12_000_i64,
    ) {
        let labels = notation::labels("x").unwrap();
        let mut store = Store::new();
        let mut points = Vec::new();
        let (mut at, mut value) = (0, 0.0);
        for (gap, growth, reset) in steps {
            at += gap * 15_000;
            value = if reset { 0.0 } else { value } + f64::from(growth) / 4.0;
            store.append(&labels, Millis(at), value).unwrap();
            points.push((at, value));
        }
        for dialect in [Dialect::V2, Dialect::V3] {
            let found = elements(&store, dialect, &format!("increase(x[{range}s])"), until * 1000).unwrap();
            let naive = naive_increase(&points, (until - range) * 1000, until * 1000, dialect);
            match (found.first(), naive) {
                (None, None) => {}
                (Some(found), Some(naive)) => {
                    prop_assert!((found.value - naive).abs() <= 1e-9 * naive.abs(), "{} {}", found.value, naive);
                }
                (found, naive) => prop_assert!(false, "{:?} {:?}", found, naive),
            }
        }
    }
}

#[test]
fn matching_errors_are_told() {
    let mut store = Store::new();
    for series in ["x{a=\"1\", b=\"1\"}", "x{a=\"1\", b=\"2\"}", "y{a=\"1\", b=\"1\"}", "y{a=\"1\", b=\"2\"}"]
    {
        store.append(&notation::labels(series).unwrap(), Millis(0), 1.0).unwrap();
    }
    let error = |query: &str| elements(&store, Dialect::V2, query, 0).unwrap_err();
    assert!(matches!(error("x + on(a) y"), EvalError::ManyToMany { side: "right", .. }));
    assert!(matches!(error("x + on(a) sum by (a) (y)"), EvalError::ManyToOne));
    assert!(matches!(error("-{a=\"1\"}"), EvalError::DuplicateLabels(_)));
    assert!(matches!(error("label_replace(x, \"b\", \"\", \"\", \"\")"), EvalError::DuplicateLabels(_)));
    assert!(matches!(error("count_over_time(x[100y:1ms])"), EvalError::TooManySteps(_)));
}

/// A series of one sample a minute, on the minute or up to 7 s late.
fn long_series(samples: usize, is_even: bool, value: impl Fn(usize) -> f64) -> Store {
    let mut store = Store::new();
    let id = store.series_id(&notation::labels("x{a=\"b\"}").unwrap());
    for index in 0..samples {
        let late = if is_even { 0 } else { index as i64 * 7919 % 7000 };
        store.samples_mut(id).push(Millis(index as i64 * 60_000 + late), value(index)).unwrap();
    }
    store
}

/// A rule over 30 days sees 172,800 samples of each series at every step: what walks over them is right, and of no use. Samples
/// that are looked at are counted instead of timed, so that this holds on every machine.
#[test]
fn what_a_step_looks_at_grows_with_the_logarithm_of_its_window() {
    let steady = |index: usize| index as f64;
    let with_resets = |index: usize| (index % 5_003) as f64;
    let up_and_down = |index: usize| (index * 7919 % 101) as f64;
    let functions = [
        "rate",
        "increase",
        "delta",
        "irate",
        "idelta",
        "sum_over_time",
        "avg_over_time",
        "count_over_time",
        "min_over_time",
        "max_over_time",
        "last_over_time",
        "present_over_time",
    ];
    for exponent in [8, 12, 16] {
        let window = 1_usize << exponent;
        for value in [steady as fn(usize) -> f64, with_resets, up_and_down] {
            for is_even in [true, false] {
                let store = long_series(window + 200, is_even, value);
                for function in functions {
                    let query =
                        format!("sum({function}(x[{window}m])) + ignoring(a) {function}(x[{window}m])");
                    let looked_at = (window..window + 200).step_by(33).map(|minute| {
                        crate::series::work::looked_at(|| {
                            let found = elements(&store, Dialect::V2, &query, minute as i64 * 60_000 + 8_000);
                            assert_eq!(found.unwrap().len(), 1, "{query}");
                        })
                    });
                    let most = looked_at.max().unwrap();
                    // Twice: walked up to 96, or both ends in their blocks of 64 by three looks; two ends a level of a tree.
                    let bound = 2 * (6 * 64 + 22 * exponent);
                    assert!(most <= bound, "{query} looked at {most} samples, more than {bound}");
                }
            }
        }
    }
}
