//! Expressions over small series, against values worked out by hand or known from Prometheus 2.42.

use super::eval::{Evaluator, Value};
use super::{Dialect, parse::parse};
use crate::labels::Labels;
use crate::store::Store;
use crate::time::Millis;
use std::time::Duration;

/// Series of one sample a minute from 0: name, labels, values.
fn store() -> Store {
    let mut store = Store::default();
    for (name, labels, values) in [
        (
            "requests_total",
            &[("job", "a"), ("code", "200")][..],
            &[0.0, 60.0, 120.0, 180.0, 240.0, 300.0][..],
        ),
        ("requests_total", &[("job", "a"), ("code", "500")], &[0.0, 6.0, 12.0, 0.0, 6.0, 12.0]),
        ("requests_total", &[("job", "b"), ("code", "200")], &[0.0, 30.0, 60.0, 90.0, 120.0, 150.0]),
        ("up", &[("job", "a")], &[1.0, 1.0, 0.0, 1.0, 1.0, 1.0]),
        ("up", &[("job", "b")], &[1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
        ("h_bucket", &[("le", "0.1")], &[50.0, 50.0, 50.0, 50.0, 50.0, 50.0]),
        ("h_bucket", &[("le", "0.5")], &[90.0, 90.0, 90.0, 90.0, 90.0, 90.0]),
        ("h_bucket", &[("le", "+Inf")], &[100.0, 100.0, 100.0, 100.0, 100.0, 100.0]),
        ("noise", &[("job", "a")], &[f64::NAN, f64::NAN, f64::NAN, f64::NAN, f64::NAN, f64::NAN]),
    ] {
        let labels = Labels::from_pairs(labels.iter().copied().chain([("__name__", name)]));
        for (minute, value) in values.iter().enumerate() {
            store.series_mut(&labels).push(Millis(minute as i64 * 60_000), *value);
        }
    }
    store
}

fn eval(text: &str, dialect: Dialect, at: i64) -> String {
    let store = store();
    let evaluator = Evaluator {
        store: &store,
        dialect,
        lookback: Duration::from_secs(300),
        default_step: Duration::from_secs(60),
        at: Millis(at),
    };
    match parse(text).map(|expr| evaluator.eval(&expr)) {
        Err(error) => error.to_string(),
        Ok(Err(error)) => error.to_string(),
        Ok(Ok(Value::Scalar(value))) => value.to_string(),
        Ok(Ok(Value::Text(text))) => format!("{text:?}"),
        Ok(Ok(Value::Vector(elements))) => {
            let round = |value: f64| (value * 1e9).round() / 1e9;
            let mut lines: Vec<_> = elements
                .iter()
                .map(|element| format!("{} {}", element.labels, round(element.value)))
                .collect();
            lines.sort();
            lines.join("; ")
        }
    }
}

fn check(text: &str, expected: &str) {
    assert_eq!(eval(text, Dialect::Two, 300_000), expected, "{text}");
}

#[test]
fn selectors_and_shifts() {
    check("up", r#"{__name__="up", job="a"} 1; {__name__="up", job="b"} 0"#);
    check(r#"up{job!="a"}"#, r#"{__name__="up", job="b"} 0"#);
    check(r#"up{job=~"a|c"} offset 3m"#, r#"{__name__="up", job="a"} 0"#);
    check(r#"up{job="a"} @ 120"#, r#"{__name__="up", job="a"} 0"#);
    check("absent_metric", "");
    assert_eq!(
        eval(r#"up{job="a"}"#, Dialect::Two, 600_000),
        r#"{__name__="up", job="a"} 1"#,
        "closed lookback"
    );
    assert_eq!(eval(r#"up{job="a"}"#, Dialect::Three, 600_000), "", "open lookback");
}

#[test]
fn rates_extrapolate_and_see_resets() {
    check(r#"rate(requests_total{job="a",code="200"}[5m])"#, r#"{code="200", job="a"} 1"#);
    check(r#"increase(requests_total{job="a",code="500"}[5m])"#, r#"{code="500", job="a"} 24"#);
    check(r#"resets(requests_total{code="500"}[5m])"#, r#"{code="500", job="a"} 1"#);
    check(r#"irate(requests_total{job="b"}[5m])"#, r#"{code="200", job="b"} 0.5"#);
    check(r#"rate(requests_total{job="b"}[30s])"#, "");
    // Three samples in dialect 2 (closed), two in dialect 3: both extrapolate to the whole range here.
    check("count_over_time(up{job=\"a\"}[2m])", r#"{job="a"} 3"#);
    assert_eq!(eval("count_over_time(up{job=\"a\"}[2m])", Dialect::Three, 300_000), r#"{job="a"} 2"#);
    check("rate(requests_total[5m] offset 10m)", "");
}

#[test]
fn aggregations() {
    check("sum(up)", "{} 1");
    check("sum by (job) (rate(requests_total[5m]))", r#"{job="a"} 1.08; {job="b"} 0.5"#);
    check("avg without (job, code) (up)", "{} 0.5");
    check("count(up == 1)", "{} 1");
    check("max(requests_total)", "{} 300");
    check("min(requests_total)", "{} 12");
    check("topk(1, requests_total)", r#"{__name__="requests_total", code="200", job="a"} 300"#);
    check("quantile(0.5, requests_total)", "{} 150");
    check(r#"count_values("v", up)"#, r#"{v="0"} 1; {v="1"} 1"#);
    check("sum(absent_metric)", "");
    check("max(noise)", "{} NaN");
}

#[test]
fn operators_and_matching() {
    check("1 + 2 * 3 ^ 2", "19");
    check("1 > bool 2", "0");
    check("up == 0", r#"{__name__="up", job="b"} 0"#);
    check("up == bool 0", r#"{job="a"} 0; {job="b"} 1"#);
    check(r#"sum(requests_total{code="500"}) / sum(requests_total)"#, "{} 0.025974026");
    check(r#"requests_total{code="500"} / on (job) requests_total{code="200"}"#, r#"{job="a"} 0.04"#);
    check(
        "requests_total / on (job) group_left sum by (job) (requests_total)",
        r#"{code="200", job="a"} 0.961538462; {code="200", job="b"} 1; {code="500", job="a"} 0.038461538"#,
    );
    check("up and on (job) requests_total{code=\"500\"}", r#"{__name__="up", job="a"} 1"#);
    check("up unless on (job) requests_total{code=\"500\"}", r#"{__name__="up", job="b"} 0"#);
    check("absent_metric or up{job=\"b\"}", r#"{__name__="up", job="b"} 0"#);
    check("0 / 0 > bool 1", "0");
    check("vector(0) / vector(0) > 0", "");
    assert!(eval("up / on () requests_total", Dialect::Two, 300_000).contains("many-to-many"));
}

#[test]
fn over_time_histograms_and_the_rest() {
    check(r#"avg_over_time(up{job="a"}[5m])"#, r#"{job="a"} 0.833333333"#);
    check("1 - avg_over_time(up{job=\"a\"}[5m])", r#"{job="a"} 0.166666667"#);
    check("histogram_quantile(0.5, h_bucket)", "{} 0.1");
    check("histogram_quantile(0.7, h_bucket)", "{} 0.3");
    check("histogram_quantile(0.99, h_bucket)", "{} 0.5");
    check("histogram_quantile(0.99, rate(h_bucket[5m]))", "{} NaN");
    check(r#"absent(up{job="zz"})"#, r#"{job="zz"} 1"#);
    check("absent(up)", "");
    check("max_over_time(sum(up)[5m:1m])", "{} 2");
    check("clamp_max(up, 0.5)", r#"{job="a"} 0.5; {job="b"} 0"#);
    check("time()", "300");
    check(
        r#"label_replace(up{job="a"}, "x", "$1-y", "job", "(.*)")"#,
        r#"{__name__="up", job="a", x="a-y"} 1"#,
    );
    check("deriv(requests_total{job=\"b\"}[5m])", r#"{code="200", job="b"} 0.5"#);
}

#[test]
fn what_is_not_supported_is_refused_when_read() {
    for (text, part) in [("hour()", "`hour()`"), ("limitk(1, up)", "limitk"), ("up +", "not valid PromQL")] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert_eq!(parse("hour()").unwrap_err().subject(), Some("hour"));
}
