//! A snapshot as text, in the two forms that Prometheus reads: its own 0.0.4 and OpenMetrics 1.0.
//!
//! They differ in how a counter's family is called, in units, and in `# EOF`. Series are the same in both. No `_created` is
//! written: all series are as old as the process, and Prometheus would keep each as one more series.

use super::cell::Distribution;
use super::snapshot::{Family, Point, Points, Snapshot};
use std::fmt::{self, Write as _};
use wire::http::Preference;

/// A form of the exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics text 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The form that a client's `Accept` headers want most, the first of equals; Prometheus text where they name none, as other
    /// exporters do.
    pub fn negotiate<'a>(accept: impl Iterator<Item = Preference<'a>>) -> Format {
        let offers = accept.filter_map(|wanted| Some((wanted.quality, Format::named(&wanted)?)));
        let better = |best: (f32, Format), next: (f32, Format)| if next.0 > best.0 { next } else { best };
        offers.fold((0.0, Format::Prometheus), better).1
    }

    fn named(wanted: &Preference<'_>) -> Option<Format> {
        let version_is = |ours| wanted.parameter("version").is_none_or(|version| version == ours);
        if wanted.is("application/openmetrics-text") && version_is("1.0.0") {
            Some(Format::OpenMetrics)
        } else if wanted.is("text/plain") && version_is("0.0.4") || wanted.is("text/*") || wanted.is("*/*") {
            Some(Format::Prometheus)
        } else {
            None
        }
    }

    /// Content type of the exposition.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Snapshot {
    /// The exposition.
    pub fn text(&self, format: Format) -> String {
        let mut writer = Writer { out: String::new(), format, node: escape(&self.node) };
        for family in &self.families {
            // A String takes everything.
            let _ = writer.family(family);
        }
        if format == Format::OpenMetrics {
            writer.out.push_str("# EOF\n");
        }
        writer.out
    }
}

/// As a label's value is written in both forms.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

struct Writer {
    out: String,
    format: Format,
    node: String,
}

impl Writer {
    fn family(&mut self, family: &Family) -> fmt::Result {
        let (kind, total) = match &family.points {
            Points::Counter(_) => ("counter", "_total"),
            Points::Gauge(_) => ("gauge", ""),
            Points::Histogram(_) => ("histogram", ""),
        };
        let described = if self.format == Format::Prometheus { total } else { "" };
        writeln!(self.out, "# HELP {}{described} {}", family.name, family.help)?;
        writeln!(self.out, "# TYPE {}{described} {kind}", family.name)?;
        if let Some(unit) = family.unit().filter(|_| self.format == Format::OpenMetrics) {
            writeln!(self.out, "# UNIT {} {unit}", family.name)?;
        }
        match &family.points {
            Points::Counter(points) | Points::Gauge(points) => points
                .iter()
                .try_for_each(|point| self.sample(family, total, &point.labels, None, point.value)),
            Points::Histogram(points) => points.iter().try_for_each(|point| self.histogram(family, point)),
        }
    }

    fn histogram(&mut self, family: &Family, point: &Point<Distribution>) -> fmt::Result {
        let (labels, distribution) = (&point.labels, &point.value);
        let bounds = distribution.bounds.iter().copied().chain([f64::INFINITY]);
        let mut up_to = 0;
        for (bound, count) in bounds.zip(&distribution.counts) {
            up_to += count;
            self.sample(family, "_bucket", labels, Some(bound), up_to as f64)?;
        }
        self.sample(family, "_sum", labels, None, distribution.sum)?;
        self.sample(family, "_count", labels, None, distribution.count() as f64)
    }

    /// `bound`: of a bucket.
    fn sample(
        &mut self,
        family: &Family,
        suffix: &str,
        labels: &[(&str, &str)],
        bound: Option<f64>,
        value: f64,
    ) -> fmt::Result {
        write!(self.out, "{}{suffix}", family.name)?;
        let mut separator = '{';
        let node = family.is_of_node.then_some(("node", &*self.node));
        for (name, text) in node.iter().chain(labels) {
            write!(self.out, "{separator}{name}=\"{text}\"")?;
            separator = ',';
        }
        match bound {
            Some(f64::INFINITY) => write!(self.out, "{separator}le=\"+Inf\"}}")?,
            // Always with a point, as OpenMetrics has it: otherwise the two forms would be two series.
            Some(bound) => write!(self.out, "{separator}le=\"{bound:?}\"}}")?,
            None if separator == ',' => self.out.push('}'),
            None => {}
        }
        writeln!(self.out, " {value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: [f64; 2] = [0.5, 1.0];

    fn snapshot() -> Snapshot {
        let counts = vec![Point { labels: vec![("type", "a")], value: 3.0 }];
        let histogram = Distribution { bounds: &BOUNDS, counts: vec![1, 0, 2], sum: 7.25 };
        let of_node = |name, points| Family { name, help: "Help", is_of_node: true, points };
        Snapshot {
            node: "n\"1".into(),
            families: vec![
                of_node("things", Points::Counter(counts)),
                of_node("wait_seconds", Points::Histogram(vec![Point { labels: vec![], value: histogram }])),
                Family {
                    name: "level_bytes",
                    help: "Help",
                    is_of_node: false,
                    points: Points::Gauge(vec![Point { labels: vec![], value: -1.0 }]),
                },
            ],
        }
    }

    #[test]
    fn a_client_gets_the_form_that_it_wants_most() {
        let check = |accept: &[&str], expected| {
            let wanted = wire::http::preferences(accept.iter().copied());
            assert_eq!(Format::negotiate(wanted), expected, "{accept:?}");
        };
        check(&[], Format::Prometheus);
        check(&["*/*"], Format::Prometheus);
        check(&["application/openmetrics-text"], Format::OpenMetrics);
        check(&["application/openmetrics-text; version=0.0.1"], Format::Prometheus);
        check(&["application/openmetrics-text;q=0.1, text/plain"], Format::Prometheus);
        check(&["application/openmetrics-text, */*"], Format::OpenMetrics);
        check(&["application/openmetrics-text;q=0"], Format::Prometheus);
        check(&["text/plain;version=0.0.4;q=0.2", "application/openmetrics-text;q=0.3"], Format::OpenMetrics);
        // Prometheus 3, with its own protocol buffers first.
        let prometheus = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
            application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
            text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        check(&[prometheus], Format::OpenMetrics);
    }

    #[test]
    fn writes_openmetrics() {
        let expected = "# HELP things Help\n# TYPE things counter\n\
            things_total{node=\"n\\\"1\",type=\"a\"} 3\n\
            # HELP wait_seconds Help\n# TYPE wait_seconds histogram\n# UNIT wait_seconds seconds\n\
            wait_seconds_bucket{node=\"n\\\"1\",le=\"0.5\"} 1\n\
            wait_seconds_bucket{node=\"n\\\"1\",le=\"1.0\"} 1\n\
            wait_seconds_bucket{node=\"n\\\"1\",le=\"+Inf\"} 3\n\
            wait_seconds_sum{node=\"n\\\"1\"} 7.25\nwait_seconds_count{node=\"n\\\"1\"} 3\n\
            # HELP level_bytes Help\n# TYPE level_bytes gauge\n# UNIT level_bytes bytes\nlevel_bytes -1\n# EOF\n";
        assert_eq!(snapshot().text(Format::OpenMetrics), expected);
    }

    #[test]
    fn writes_prometheus_text() {
        let text = snapshot().text(Format::Prometheus);
        assert!(
            text.starts_with("# HELP things_total Help\n# TYPE things_total counter\nthings_total{"),
            "{text}"
        );
        assert!(!text.contains("# UNIT") && text.ends_with("level_bytes -1\n"), "{text}");
    }
}
