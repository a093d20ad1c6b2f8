//! The exposition's forms over HTTP, as Prometheus asks for them.

use crate::driver::Gateway;
use std::io::Read as _;

const OPENMETRICS: &str = "Accept: application/openmetrics-text;version=1.0.0\r\n";

#[test]
fn prometheus_text_is_the_default_and_openmetrics_is_there_for_the_asking() {
    let gateway = Gateway::start(&[]);
    let plain = gateway.ask("GET", "/metrics", "");
    assert!(
        plain.head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{}",
        plain.head
    );
    let plain = String::from_utf8(plain.body).unwrap();
    assert!(plain.contains("\n# TYPE http_requests_total counter\n") && !plain.contains("# EOF"));
    let open = gateway.ask("GET", "/metrics", OPENMETRICS);
    let kind = "\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(
        open.head.contains(kind) && open.head.contains("\r\nVary: Accept, Accept-Encoding\r\n"),
        "{}",
        open.head
    );
    let open = String::from_utf8(open.body).unwrap();
    assert!(open.ends_with("\n# EOF\n") && open.matches("# EOF").count() == 1);
    check_openmetrics(&open);
    let series = |text: &str| -> Vec<String> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    assert_eq!(series(&plain), series(&open), "both forms have the same series");
}

/// The rules of OpenMetrics 1.0 that this exposition could break: what a family's series are called, that a family's lines stand
/// together under one head, that units end names, that counters do not say when they were created.
fn check_openmetrics(text: &str) {
    let mut family = ("", "");
    let mut seen = std::collections::BTreeSet::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = (help.split(' ').next().unwrap(), "");
            assert!(seen.insert(family.0), "{} twice", family.0);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!((name, family.1), (family.0, ""), "{line}");
            family.1 = kind;
        } else if let Some(unit) = line.strip_prefix("# UNIT ") {
            let (name, unit) = unit.split_once(' ').unwrap();
            assert!(name == family.0 && name.ends_with(&format!("_{unit}")), "{line}");
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let suffixes: &[&str] = match family.1 {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_count", "_sum"],
                other => panic!("{other}: {line}"),
            };
            let suffix = name.strip_prefix(family.0).unwrap_or_else(|| panic!("{line} under {family:?}"));
            assert!(suffixes.contains(&suffix), "{line} under {family:?}");
        }
    }
}

#[test]
fn it_is_compressed_for_those_who_take_gzip() {
    let gateway = Gateway::start(&[]);
    let plain = gateway.ask("GET", "/metrics", "");
    let answer = gateway.ask("GET", "/metrics", &format!("{OPENMETRICS}Accept-Encoding: gzip\r\n"));
    assert!(answer.head.contains("\r\nContent-Encoding: gzip\r\n"), "{}", answer.head);
    let mut text = String::new();
    flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    assert!(text.ends_with("# EOF\n") && answer.body.len() < plain.body.len() / 4, "{}", answer.body.len());
    for refusal in ["", "Accept-Encoding: gzip;q=0\r\n", "Accept-Encoding: br\r\n"] {
        let answer = gateway.ask("GET", "/metrics", refusal);
        assert!(!answer.head.contains("Content-Encoding") && answer.body.starts_with(b"# HELP"), "{refusal}");
    }
}
