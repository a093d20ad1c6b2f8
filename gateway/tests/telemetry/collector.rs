//! A collector.

use crate::driver::{Gateway, PATIENCE};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use prost::Message as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use wire::time::Time;

/// What the collector does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// All of it is taken.
    Taken,
    /// So many items are not.
    Partly(i64),
    Status(u16),
    /// 503 with this Retry-After.
    Later(u32),
    /// 200, with this body.
    Body(Vec<u8>),
    /// The connection stays open and nothing comes.
    Nothing,
    /// The connection is closed.
    Cut,
}

/// A request as the collector got it, and where its answer is expected.
pub(crate) struct Request {
    /// In lower case.
    pub(crate) head: String,
    /// Unpacked.
    pub(crate) body: Vec<u8>,
    answer: Sender<Answer>,
}

pub(crate) struct Collector {
    address: SocketAddr,
    /// With metrics.
    requests: Receiver<Request>,
    spans: Receiver<Request>,
    /// Log records; all are taken at once, for most tests are not about them.
    records: Receiver<Request>,
}

/// Where a connection's requests go, by signal.
#[derive(Clone)]
struct Inboxes {
    metrics: Sender<Request>,
    traces: Sender<Request>,
    logs: Sender<Request>,
}

impl Collector {
    pub(crate) fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (metrics, requests) = channel();
        let (traces, spans) = channel();
        let (logs, records) = channel();
        let inboxes = Inboxes { metrics, traces, logs };
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let inboxes = inboxes.clone();
                std::thread::spawn(move || serve(&mut stream.unwrap(), &inboxes));
            }
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
    pub(crate) fn answer(&self, answer: Answer) -> Request {
        let request = self.next();
        request.answer(answer);
        request
    }

    pub(crate) fn next_spans(&self) -> Request {
        self.spans.recv_timeout(PATIENCE).expect("a request with spans")
    }

    /// The next request with spans, answered.
    pub(crate) fn answer_spans(&self, answer: Answer) -> Request {
        let request = self.next_spans();
        request.answer(answer);
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
            let request = self.answer(Answer::Taken);
            if wanted(&request) {
                return request;
            }
            assert!(Time::now() < until, "what is wanted never comes");
        }
    }
}

impl Request {
    pub(crate) fn answer(&self, answer: Answer) {
        // A gateway that was killed waits for none.
        let _ = self.answer.send(answer);
    }

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

/// One connection, kept open between requests.
fn serve(stream: &mut TcpStream, inboxes: &Inboxes) {
    let mut bytes = Vec::new();
    while let Some((head, body)) = read(stream, &mut bytes) {
        let (answer, answered) = channel();
        let requests = if head.starts_with("post /v1/traces ") {
            &inboxes.traces
        } else if head.starts_with("post /v1/logs ") {
            answer.send(Answer::Taken).unwrap();
            &inboxes.logs
        } else {
            &inboxes.metrics
        };
        if requests.send(Request { head, body, answer }).is_err() {
            return;
        }
        let response = match answered.recv() {
            Ok(Answer::Taken) => response(200, "", &[]),
            Ok(Answer::Partly(rejected_data_points)) => {
                let error_message = "some are too old".to_owned();
                let partial_success =
                    Some(ExportMetricsPartialSuccess { rejected_data_points, error_message });
                response(200, "", &ExportMetricsServiceResponse { partial_success }.encode_to_vec())
            }
            Ok(Answer::Status(status)) => response(status, "", b"no"),
            Ok(Answer::Later(seconds)) => response(503, &format!("Retry-After: {seconds}\r\n"), &[]),
            Ok(Answer::Body(body)) => response(200, "", &body),
            Ok(Answer::Nothing) => {
                // Until the gateway gives up.
                let _ = stream.read(&mut [0]);
                return;
            }
            Ok(Answer::Cut) | Err(_) => return,
        };
        if stream.write_all(&response).is_err() {
            return;
        }
    }
}

fn response(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A request's head, in lower case, and body; `bytes` are those that came behind the one before.
fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let mut more = [0; 4096];
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut more) {
            Ok(read @ 1..) => bytes.extend_from_slice(&more[..read]),
            _ => return None,
        }
    };
    let head = String::from_utf8(bytes.drain(..head_end).collect()).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let length: usize = length.trim().parse().unwrap();
    while bytes.len() < length {
        let read = stream.read(&mut more).unwrap();
        bytes.extend_from_slice(&more[..read]);
    }
    let body: Vec<u8> = bytes.drain(..length).collect();
    if !head.contains("content-encoding: gzip") {
        return Some((head, body));
    }
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&*body).read_to_end(&mut unpacked).unwrap();
    Some((head, unpacked))
}
