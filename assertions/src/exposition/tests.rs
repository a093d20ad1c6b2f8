use super::*;
use proptest::prelude::*;

/// Each sample as `name{label=value,...} value type`.
fn check(format: Format, text: &str, expected: &[&str]) {
    let samples = parse(text, format).unwrap();
    let shown: Vec<String> = samples
        .iter()
        .map(|sample| {
            let labels: Vec<String> =
                sample.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let time = sample.timestamp.map(|time| format!(" @{time}")).unwrap_or_default();
            let counter = if sample.is_counter_like() { " counts" } else { "" };
            format!(
                "{}{{{}}} {}{time} {:?}{counter}",
                sample.name,
                labels.join(","),
                sample.value,
                sample.family
            )
        })
        .collect();
    assert_eq!(shown, expected);
}

fn check_error(format: Format, text: &str, expected: &str) {
    assert_eq!(parse(text, format).unwrap_err().to_string(), expected);
}

#[test]
fn text_as_gateways_write_it() {
    check(
        Format::Text,
        "# HELP a_total what \\n ever\n# TYPE a_total counter\na_total 3\na_total{node=\"x\",} 4 1700000000000\n\n\
         # TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 0.3\nh_count 2\n\
         # TYPE s summary\ns{quantile=\"0.5\"} NaN\ns_count 7\nfree_total 1\nfree +Inf\n#just a comment\n\
         # TYPE g gauge\n  g \t {a = \"x\\\"y\\\\z\\n\" , b=\"\"}   -1e3",
        &[
            "a_total{} 3 Counter counts",
            "a_total{node=x} 4 @1700000000000 Counter counts",
            "h_bucket{le=0.1} 1 Histogram counts",
            "h_bucket{le=+Inf} 2 Histogram counts",
            "h_sum{} 0.3 Histogram counts",
            "h_count{} 2 Histogram counts",
            "s{quantile=0.5} NaN Summary",
            "s_count{} 7 Summary counts",
            "free_total{} 1 Unknown counts",
            "free{} inf Unknown",
            "g{a=x\"y\\z\n,b=} -1000 Gauge",
        ],
    );
}

#[test]
fn open_metrics() {
    check(
        Format::OpenMetrics,
        "# TYPE a counter\n# UNIT a seconds\na_total 3 1700000000.5 # {trace_id=\"x\"} 1 1700000000\n\
         a_created 1700000000\n# TYPE i info\ni_info{version=\"1\"} 1\n{\"utf.8\", b=\"c\"} 2\n# EOF\n",
        &[
            "a_total{} 3 @1700000000500 Counter counts",
            "a_created{} 1700000000 Counter",
            "i_info{version=1} 1 Info",
            "utf.8{b=c} 2 Unknown",
        ],
    );
}

#[test]
fn errors_say_where() {
    check_error(Format::Text, "a 1\nb{x=\"1\" 2\n", "line 2, column 9: `,` or `}` is due here");
    check_error(Format::Text, "a", "line 1, column 2: a value is due here");
    check_error(Format::Text, "a one", "line 1, column 3: `one` is not a number");
    check_error(Format::Text, "a 1 2 3", "line 1, column 7: text after the sample");
    check_error(Format::Text, "a{x=\"1} 1", "line 1, column 6: the text in quotes does not end");
    check_error(Format::Text, "a{x=\"1\",x=\"2\"} 1", "line 1, column 14: label `x` stands twice");
    check_error(Format::Text, "# TYPE a thing", "line 1, column 15: `thing` is not a metric type");
    check_error(Format::Text, "é 1", "line 1, column 1: a metric's name is due here");
    check_error(Format::Text, "a 1 1.5", "line 1, column 5: `1.5` is not a time in milliseconds");
    check_error(
        Format::OpenMetrics,
        "a 1\n",
        "line 2, column 1: the text does not end with `# EOF`: it is cut off",
    );
    check_error(Format::OpenMetrics, "# EOF\na 1", "line 2, column 1: text after `# EOF`");
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in "[ -~\n\té\\\\\"{}#]{0,200}") {
        let _ = parse(&text, Format::Text);
        let _ = parse(&text, Format::OpenMetrics);
    }

    #[test]
    fn what_is_rendered_is_read_back(
        name in "[a-z_:][a-z0-9_:]{0,9}",
        label in "[a-z_][a-z0-9_]{0,9}",
        value in any::<String>(),
        number in any::<f64>(),
    ) {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let text = format!("{name}{{{label}=\"{escaped}\"}} {number:?}\n");
        let samples = parse(&text, Format::Text).unwrap();
        prop_assert_eq!(samples[0].label(&label), value);
        prop_assert!(samples[0].value == number || number.is_nan());
    }
}
