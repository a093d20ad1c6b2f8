use super::*;

/// What Go and Prometheus make of it (2.42, checked with promtool).
fn check(template: &str, value: f64, expected: &str) {
    let (parsed, trouble) = Template::parse(template);
    assert_eq!(trouble, [], "{template}");
    let labels = Labels::from_pairs([("instance", "gw-1:8080"), ("share", "0.25")]);
    let external_labels = Labels::from_pairs([("cluster", "eu")]);
    let facts = Facts { value, labels: &labels, external_labels: &external_labels };
    assert_eq!(parsed.fill(&facts), expected, "{template}");
}

#[test]
fn actions_are_filled_in() {
    check("plain", 1.0, "plain");
    check("{{ $labels.instance }} is at {{$value}}{{ $labels.none }}.", 10_001.0, "gw-1:8080 is at 10001.");
    check("{{ $externalLabels.cluster | toUpper }}", 1.0, "EU");
    check("{{ $value }}", 1e6, "1e+06");
    check("{{ $value }}", 123_456_789.25, "1.2345678925e+08");
    check("{{ $value }}", 0.000012345678, "1.2345678e-05");
    check("{{ .Value }} {{ .Labels.instance }}", f64::NAN, "NaN gw-1:8080");
    check("{{ $value | humanize }} {{ humanize $value }}", 123_456.0, "123.5k 123.5k");
    check("{{ $value | humanize }}", 0.00042, "420u");
    check("{{ $value | humanize1024 }}", 123_456_789.25, "117.7Mi");
    check("{{ $value | humanizePercentage }}", 0.000_100_1, "0.01001%");
    check("{{ $labels.share | humanizePercentage }}", 0.0, "25%");
    check("{{ $value | humanizeDuration }}", 0.6, "600ms");
    check("{{ $value | humanizeDuration }}", 123_456_789.25, "1428d 21h 33m 9s");
    check("{{ $value | humanizeDuration }}", 0.0, "0s");
    check("{{ printf \"%.2f and %%\" $value }}", 1.239, "1.24 and %");
    check("{{ $value | printf \"%8.3f|\" }}", 1.0, "   1.000|");
    check("{{ printf \"%.3e %d\" $value }}", 123_456_789.25, "1.235e+08 %!d(MISSING)");
    check("{{ printf \"%s\" $labels.instance }}", 1.0, "gw-1:8080");
    check("{{ \"a | b\" }}", 1.0, "a | b");
}

#[test]
fn what_is_beyond_stays_as_written() {
    for text in [
        "{{ if gt $value 1.0 }}",
        "{{ range query \"up\" }}",
        "{{- $value }}",
        "{{ $labels }}",
        "{{ first . }}",
        "{{ (query \"x\") }}",
    ] {
        let (parsed, trouble) = Template::parse(text);
        assert_eq!(trouble.len(), 1, "{text}");
        let none = Labels::default();
        assert_eq!(parsed.fill(&Facts { value: 1.0, labels: &none, external_labels: &none }), text);
    }
    assert_eq!(Template::parse("a {{ b").1[0].1, 2..6);
}

proptest::proptest! {
    #[test]
    fn nothing_makes_it_panic(text in "[ -~é]{0,60}", inner in "[ -~é]{0,30}", value: f64) {
        let none = Labels::default();
        for text in [text, format!("{{{{{inner}}}}}"), format!("{{{{ printf \"{inner}\" $value }}}}")] {
            Template::parse(&text).0.fill(&Facts { value, labels: &none, external_labels: &none });
        }
    }
}
