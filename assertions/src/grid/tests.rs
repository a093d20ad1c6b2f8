use super::*;
use crate::exposition::{Format, parse};
use crate::promql::ast::{Dialect, Expr, Selector};
use crate::promql::eval::{Query, Settings};
use crate::promql::parse::parse as parse_promql;
use crate::series::is_stale;

const INTERVAL: Duration = Duration::from_secs(15);

struct World {
    store: Store,
    grid: Grid,
}

impl World {
    fn new() -> World {
        World { store: Store::new(), grid: Grid::new("gw", "a:1", INTERVAL) }
    }

    fn scrape(&mut self, seconds: i64, stretch: f64, text: &str) -> Recorded {
        let samples = parse(text, Format::Text).unwrap();
        self.record(seconds, stretch, Outcome::Answered(&samples))
    }

    fn record(&mut self, seconds: i64, stretch: f64, outcome: Outcome<'_>) -> Recorded {
        let scrape =
            Scrape { at: Millis(seconds * 1000), stretch, duration: Duration::from_millis(2), outcome };
        self.grid.record(&mut self.store, &scrape).unwrap()
    }

    fn history(&mut self, until: i64, length: u64, begin: &str, end: &str, failures: &[Selector]) {
        let (begin, end) = (parse(begin, Format::Text).unwrap(), parse(end, Format::Text).unwrap());
        let plan = HistoryPlan {
            length: Duration::from_secs(length),
            until: Millis(until * 1000),
            begin: &begin,
            end: &end,
            warmup: Duration::from_secs(10),
            failures,
        };
        self.grid.lay_history(&mut self.store, &plan).unwrap();
    }

    fn value(&self, query: &str, seconds: i64) -> Option<f64> {
        let expr = parse_promql(query, Dialect::V2.into()).unwrap();
        let at = Millis(seconds * 1000);
        let elements = Query::instant(&self.store, Settings::default(), at).elements(&expr, at).unwrap();
        elements.first().map(|element| element.value)
    }
}

fn selector(text: &str) -> Selector {
    match parse_promql(text, Dialect::V2.into()).unwrap() {
        Expr::Selector(selector) => selector,
        _ => panic!("not a selector"),
    }
}

#[test]
fn real_samples_pass_as_they_are() {
    let mut world = World::new();
    world.scrape(0, 1.0, "# TYPE a counter\na 10.1\ng 5");
    world.scrape(15, 1.0, "# TYPE a counter\na 13.3\ng 4");
    world.scrape(30, 1.0, "# TYPE a counter\na 2\ng 9");
    assert_eq!(world.value("a", 15), Some(13.3));
    assert_eq!(world.value("a", 30), Some(2.0));
    assert_eq!(world.value("resets(a[30s])", 30), Some(1.0));
    assert_eq!(world.value("up{job=\"gw\", instance=\"a:1\"}", 30), Some(1.0));
    assert_eq!(world.value("scrape_samples_scraped", 30), Some(2.0));
}

#[test]
fn counters_are_stretched_and_gauges_are_not() {
    let mut world = World::new();
    world.scrape(0, 60.0, "# TYPE a counter\na 100\ng 5");
    // A quarter of a second on the wall, at 10 a second.
    world.scrape(15, 60.0, "# TYPE a counter\na 102.5\ng 6");
    world.scrape(30, 60.0, "# TYPE a counter\na 105\ng 7");
    assert_eq!(world.value("a", 0), Some(100.0), "a newborn series starts at its raw value");
    assert_eq!(world.value("rate(a[30s])", 30), Some(10.0), "rates are those of the wall clock");
    assert_eq!(world.value("g", 30), Some(7.0));
}

#[test]
fn a_stretched_reset_is_seen_once_even_where_numbers_rise() {
    let mut world = World::new();
    world.scrape(0, 60.0, "# TYPE a counter\na 1000");
    world.scrape(15, 60.0, "# TYPE a counter\na 900");
    world.scrape(30, 60.0, "# TYPE a counter\na 901");
    assert_eq!(world.value("a", 15), Some(54_000.0));
    assert_eq!(world.value("resets(a[1m])", 30), Some(1.0));
    // From zero to 54,000, and 60 more.
    let increase = world.value("increase(a[30s])", 30).unwrap();
    assert!((increase - 54_060.0).abs() < 1e-6, "{increase}");
}

#[test]
fn a_histogram_is_reset_as_a_whole() {
    let mut world = World::new();
    let text = |fast: u32, all: u32| {
        format!(
            "# TYPE h histogram\nh_bucket{{le=\"1\"}} {fast}\nh_bucket{{le=\"+Inf\"}} {all}\nh_count {all}\nh_sum {all}\n"
        )
    };
    world.scrape(0, 1.0, &text(5, 100));
    world.scrape(15, 2.0, &text(6, 102));
    // The restart left more fast ones than before, and fewer in all.
    world.scrape(30, 2.0, &text(8, 10));
    assert_eq!(world.value("resets(h_bucket{le=\"1\"}[1m])", 30), Some(1.0));
    assert_eq!(world.value("h_bucket{le=\"1\"}", 30), Some(16.0));
    assert_eq!(world.value("h_count", 30), Some(20.0));
}

#[test]
fn a_failed_scrape_ends_every_series() {
    let mut world = World::new();
    world.scrape(0, 1.0, "a_total 1\nb 2");
    world.record(15, 1.0, Outcome::Failed);
    assert_eq!(world.value("up", 15), Some(0.0));
    assert_eq!(world.value("a_total", 15), None);
    world.record(30, 1.0, Outcome::Failed);
    world.scrape(45, 1.0, "a_total 3");
    assert_eq!(world.value("a_total", 45), Some(3.0));
    assert_eq!(world.value("b", 45), None);
    let b = world.store.named("b").next().unwrap();
    let markers: Vec<i64> = (0..4)
        .map(|i| i * 15_000)
        .filter(|at| {
            b.samples
                .latest(Millis(*at))
                .is_some_and(|(sampled, value)| sampled == Millis(*at) && is_stale(value))
        })
        .collect();
    assert_eq!(markers, [15_000], "one marker, at the first scrape without the series");
}

#[test]
fn a_vanished_series_ends_and_a_missed_slot_is_a_gap() {
    let mut world = World::new();
    world.scrape(0, 1.0, "a 1\nb 2");
    assert_eq!(world.scrape(15, 1.0, "a 1").missed_slots, 0);
    assert_eq!(world.value("b", 15), None);
    assert_eq!(world.scrape(60, 1.0, "a 1").missed_slots, 2);
    assert_eq!(world.grid.missed_slots(), 2);
    assert_eq!(world.value("a", 45), Some(1.0), "a gap is bridged by the look-back");
}

#[test]
fn a_change_of_stretch_across_a_failed_scrape_takes_the_mean() {
    let mut world = World::new();
    world.scrape(0, 1.0, "a_total 0");
    world.record(15, 1.0, Outcome::Failed);
    // 15 s at 1 and 15 s at 15: 16 s on the wall at 10 a second.
    world.scrape(30, 15.0, "a_total 160");
    assert_eq!(world.value("a_total", 30), Some(300.0));
}

#[test]
fn own_labels_of_the_target_give_way() {
    let mut world = World::new();
    assert_eq!(world.scrape(0, 1.0, "a{job=\"theirs\"} 1\na{job=\"theirs\"} 2").repeated, 1);
    assert_eq!(world.value("a{exported_job=\"theirs\", job=\"gw\"}", 0), Some(1.0));
}

#[test]
fn a_history_joins_the_live_samples() {
    let mut world = World::new();
    let failed = [selector("failed_total")];
    let begin = "ok_total 100\nfailed_total 3\ng 1";
    world.history(86_400, 86_400, begin, "ok_total 200\nfailed_total 5\ng 2", &failed);
    world.scrape(86_415, 60.0, "ok_total 202.5\nfailed_total 5\ng 2");
    world.scrape(86_430, 60.0, "ok_total 205\nfailed_total 6\ng 3");
    for window in ["30s", "5m", "1h", "1d"] {
        let rate = world.value(&format!("rate(ok_total[{window}])"), 86_430).unwrap();
        assert!((rate - 10.0).abs() < 1e-9, "{window}: {rate}");
    }
    assert_eq!(world.value("increase(failed_total[1h])", 86_415), Some(0.0));
    let lost = world.value("increase(failed_total[1h])", 86_430).unwrap();
    assert!((lost - 60.0).abs() < 1e-9, "{lost}");
    assert_eq!(world.value("avg_over_time(up[1d])", 86_430), Some(1.0));
    assert_eq!(world.value("count_over_time(up[1h])", 86_430), Some(241.0), "one spacing throughout");
    assert_eq!(world.value("g", 86_430), Some(3.0));
    assert!(world.store.bytes() < 10_000);
}

#[test]
fn a_series_that_the_target_does_not_expose_stays_unborn() {
    let mut world = World::new();
    world.history(3600, 3600, "a_total 1", "a_total 2", &[]);
    world.scrape(3615, 1.0, "a_total 3\nborn_total 1");
    assert_eq!(world.value("count_over_time(born_total[1h])", 3615), Some(1.0));
}

#[test]
fn impossible_scrapes_are_refused() {
    let mut world = World::new();
    world.scrape(15, 1.0, "a 1");
    let mut at = |seconds: i64, stretch| {
        let scrape =
            Scrape { at: Millis(seconds * 1000), stretch, duration: INTERVAL, outcome: Outcome::Failed };
        world.grid.record(&mut world.store, &scrape)
    };
    assert!(matches!(at(15, 1.0), Err(GridError::OutOfOrder { .. })));
    assert!(matches!(at(30, 0.0), Err(GridError::Stretch(_))));
    assert!(matches!(at(30, f64::NAN), Err(GridError::Stretch(_))));
    assert!(at(30, 1.0).is_ok());
}
