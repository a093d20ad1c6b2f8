use super::*;
use proptest::prelude::*;

fn show<T: fmt::Debug>(read: Result<T, UnitError>) -> String {
    match read {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{} ({})", error.summary, error.hint),
    }
}

#[track_caller]
fn check<T: fmt::Debug>(read: fn(&str) -> Result<T, UnitError>, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(&show(read(text)), expected, "for {text:?}");
    }
}

#[test]
fn times() {
    check(
        duration,
        &[
            ("600ms", "600ms"),
            ("1h30m", "5400s"),
            ("2w1d", "1296000s"),
            ("1.5s", "1.5s"),
            ("0s", "0ns"),
            ("30", "time `30` has no unit (write `30s`, `30ms` or `30m`)"),
            ("0", "time `0` has no unit (write `0s`)"),
            ("1m1h", "`1m1h` has its units out of order (each unit once, the larger first, as in `1h30m`)"),
            ("5min", "`min` in `5min` is not a unit of time (write `5m`)"),
            ("10 seconds", "`10 seconds` is not a time (write `10s`)"),
            ("1 hour, 30 min", "`1 hour, 30 min` is not a time (write `1h30m`)"),
            (
                "5fortnights",
                "`fortnights` in `5fortnights` is not a unit of time (units: ms s m h d w (m is minutes))",
            ),
            ("5 ns", "a number in `5 ns` has no unit (units: ms s m h d w (m is minutes))"),
            ("1h30", "a number in `1h30` has no unit (units: ms s m h d w (m is minutes))"),
            ("-5s", "`-5s` is not a time (times look like `600ms`, `12m` or `1h30m`; units: ms s m h d w)"),
            ("99999999999999999999999w", "the time is longer than 100 years (write a shorter one)"),
            ("", "`` is not a time (times look like `600ms`, `12m` or `1h30m`; units: ms s m h d w)"),
        ],
    );
    check(
        duration_range,
        &[
            ("200ms..10s", "DurationRange { shortest: 200ms, longest: 10s }"),
            (
                "5s",
                "`5s` is one value, a range is needed (write the shortest and the longest wait, as in `200ms..10s`)",
            ),
            ("5s..1s", "`5s..1s` is a range that ends before it begins (write `1s..5s`)"),
        ],
    );
}

#[test]
fn amounts() {
    check(
        rate,
        &[
            ("5k/s", "Rate { per_second: 5000.0 }"),
            ("300/m", "Rate { per_second: 5.0 }"),
            ("5000", "rate `5000` does not say per what (write `5000/s`, or `5000/m` for minutes)"),
            ("5/d", "`d` in `5/d` is not a time that rates are given for (rates are per `/s`, `/m` or `/h`)"),
            ("x/s", "`x` in `x/s` is not a number (rates look like `5k/s` or `300/m`)"),
            ("500 per second", "rate `500 per second` does not say per what (write `500/s`)"),
            ("500rps", "rate `500rps` does not say per what (write `500/s`)"),
            ("5K/sec", "`sec` in `5K/sec` is not a time that rates are given for (write `5k/s`)"),
            ("1,000/s", "`1,000` in `1,000/s` is not a number (write `1000/s`)"),
        ],
    );
    check(
        count,
        &[
            ("10k", "10000"),
            ("1.001k", "1001"),
            ("2M", "2000000"),
            ("1.5", "`1.5` is not a whole number (counts look like `250`, `10k` or `1.5k`)"),
            ("-1", "`-1` is not a count (counts look like `250`, `10k` or `1.5k`)"),
            ("10K", "`10K` is not a count (write `10k`)"),
            ("1_000", "`1_000` is not a count (write `1000`)"),
            ("1,5k", "`1,5k` is not a count (counts look like `250`, `10k` or `1.5k`)"),
            ("10 K", "`10 K` is not a count (write `10k`)"),
            ("10m", "`10m` is not a count (counts look like `250`, `10k` or `1.5k`)"),
        ],
    );
    check(
        size,
        &[
            ("128B", "128"),
            ("4KiB", "4096"),
            ("128", "size `128` has no unit (write `128B` or `128KiB`)"),
            ("1kB", "`kB` in `1kB` is not a unit of size (write `1KiB`)"),
            ("1PB", "`PB` in `1PB` is not a unit of size (units: B KiB MiB GiB)"),
        ],
    );
    check(
        share,
        &[
            ("2%", "Share(0.02)"),
            ("0.1%", "Share(0.001)"),
            ("0.02", "share `0.02` has no `%` (write `0.02%`, or `2%` if a part of one is meant)"),
            ("2", "share `2` has no `%` (write `2%`)"),
            ("101%", "`101%` is more than the whole (a share is at most `100%`)"),
        ],
    );
    check(
        share_per_minute,
        &[("5%/m", "Share(0.05)"), ("5%", "`5%` is not a share per minute (write `5%/m`)")],
    );
    check(factor, &[("0.5x", "0.5"), ("2", "`2` is not a factor (write `2x`)")]);
}

proptest! {
    #[test]
    fn times_round_trip(nanoseconds in 0u64..3_000_000_000_000_000_000) {
        let time = Duration::from_nanos(nanoseconds);
        prop_assert_eq!(duration(&format_duration(time)), Ok(time));
    }

    #[test]
    fn amounts_round_trip(bytes in 0u64..1 << 53, thousandths in 0u32..=100_000, per_second in 0u32..1_000_000) {
        prop_assert_eq!(size(&format_size(bytes)), Ok(bytes));
        prop_assert_eq!(count(&bytes.to_string()), Ok(bytes));
        let written = Share(f64::from(thousandths) / 1e5);
        let read = share(&written.to_string()).map(|share| share.0);
        prop_assert!((read.expect("readable") - written.0).abs() < 1e-12);
        let written = Rate::per_second(f64::from(per_second) / 8.0);
        prop_assert_eq!(rate(&written.to_string()), Ok(written));
    }

    #[test]
    fn no_text_panics(text in ".{0,12}", units in "[0-9.]{0,25}[mshdw%kMB/x.]{0,3}") {
        for text in [&text, &units] {
            let _ = (duration(text), duration_range(text), rate(text), count(text));
            let _ = (size(text), share(text), share_per_minute(text), factor(text));
        }
    }
}
