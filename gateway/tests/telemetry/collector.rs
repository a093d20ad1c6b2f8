//! A collector.

use crate::driver::{Gateway, PATIENCE, Reply, Request, listen};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use prost::Message as _;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use wire::time::Time;

/// All of a request is taken.
pub(crate) const TAKEN: Reply = Reply::Status(200);

/// So many data points of a request are not.
pub(crate) fn partly(rejected_data_points: i64) -> Reply {
    let error_message = "some are too old".to_owned();
    let partial_success = Some(ExportMetricsPartialSuccess { rejected_data_points, error_message });
    Reply::Body(ExportMetricsServiceResponse { partial_success }.encode_to_vec())
}

pub(crate) struct Collector {
    address: SocketAddr,
    /// With metrics.
    requests: Receiver<Request>,
    spans: Receiver<Request>,
    /// Log records; all are taken at once, for most tests are not about them.
    records: Receiver<Request>,
}

impl Collector {
    pub(crate) fn start() -> Collector {
        let (metrics, requests) = channel();
        let (traces, spans) = channel();
        let (logs, records) = channel();
        let address = listen(move |request| {
            let inbox = if request.head.starts_with("post /v1/traces ") {
                &traces
            } else if request.head.starts_with("post /v1/logs ") {
                request.answer(TAKEN);
                &logs
            } else {
                &metrics
            };
            // Fails where the test is over.
            let _ = inbox.send(request);
        });
        Collector { address, requests, spans, records }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A gateway that reports often and tries again soon.
    pub(crate) fn gateway(&self, variables: &[(&str, &str)], flags: &[&str]) -> Gateway {
        let (url, soon) =
            (self.url(), ["--otlp-interval", "100ms", "--otlp-backoff", "10ms", "--trace-ratio", "0"]);
        Gateway::start_in(variables, &[&["--otlp-endpoint", &url], &soon[..], flags].concat())
    }

    pub(crate) fn next(&self) -> Request {
        self.requests.recv_timeout(PATIENCE).expect("a request")
    }

    /// The next request, answered.
    pub(crate) fn answer(&self, reply: Reply) -> Request {
        let request = self.next();
        request.answer(reply);
        request
    }

    pub(crate) fn next_spans(&self) -> Request {
        self.spans.recv_timeout(PATIENCE).expect("a request with spans")
    }

    /// The next request with spans, answered.
    pub(crate) fn answer_spans(&self, reply: Reply) -> Request {
        let request = self.next_spans();
        request.answer(reply);
        request
    }

    /// The next request with log records, which is answered already.
    pub(crate) fn next_records(&self) -> Request {
        self.records.recv_timeout(PATIENCE).expect("a request with log records")
    }

    /// Takes requests until one is `wanted`; gives that one.
    pub(crate) fn take_until(&self, wanted: impl Fn(&Request) -> bool) -> Request {
        let until = Time::now() + PATIENCE;
        loop {
            let request = self.answer(TAKEN);
            if wanted(&request) {
                return request;
            }
            assert!(Time::now() < until, "what is wanted never comes");
        }
    }
}

impl Request {
    pub(crate) fn metrics(&self) -> ExportMetricsServiceRequest {
        ExportMetricsServiceRequest::decode(&*self.body).expect("metrics")
    }

    pub(crate) fn spans(&self) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest::decode(&*self.body).expect("spans")
    }

    pub(crate) fn records(&self) -> ExportLogsServiceRequest {
        ExportLogsServiceRequest::decode(&*self.body).expect("log records")
    }

    /// The sum of all points of a counter or gauge, in whole numbers; `None`: there is no such metric.
    pub(crate) fn value(&self, name: &str) -> Option<i64> {
        let request = self.metrics();
        let mut all = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        let metric = all.find_map(|scope| scope.metrics.iter().find(|metric| metric.name == name))?;
        let points = match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => &sum.data_points,
            Data::Gauge(gauge) => &gauge.data_points,
            other => panic!("{other:?}"),
        };
        let whole = |value: &Value| match value {
            Value::AsInt(value) => *value,
            Value::AsDouble(value) => *value as i64,
        };
        Some(points.iter().filter_map(|point| point.value.as_ref()).map(whole).sum())
    }
}
