//! The HTTP interface: requests by method, route and status; how long they took, how large they and their answers were.

use super::cell::{Counter, Gauge, Histogram};
use super::labels::{LabelValue, label_values};
use super::snapshot::{Families, Point};
use super::{Metrics, ShardMetrics};
use std::time::Duration;

/// Upper bounds of the duration buckets, seconds. 5 is the operators' threshold.
const DURATION_BOUNDS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of the size buckets, bytes.
const SIZE_BOUNDS: [f64; 7] = [128.0, 512.0, 2048.0, 8192.0, 32_768.0, 131_072.0, 1_048_576.0];

label_values! {
    /// A request's method. Clients may make up their own.
    pub enum Method {
        /// GET.
        Get = "GET",
        /// HEAD.
        Head = "HEAD",
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
        /// DELETE.
        Delete = "DELETE",
        /// OPTIONS.
        Options = "OPTIONS",
        /// Any other, or one that could not be read.
        Other = "other",
    }

    /// A route, never the path that was sent.
    pub enum Endpoint {
        /// The upgrade.
        Ws = "/ws",
        /// Whether the process lives.
        Health = "/health",
        /// Whether it takes work.
        Ready = "/ready",
        /// The exposition.
        Metrics = "/metrics",
        /// The fault that delays.
        TestLatency = "/test/latency",
        /// The fault that loses.
        TestFailureRate = "/test/failure-rate",
        /// No route, or a request that could not be read.
        Other = "other",
    }

    /// Status of an answer.
    pub enum Status {
        /// The upgrade.
        SwitchingProtocols = "101",
        /// Done.
        Ok = "200",
        /// It cannot be understood.
        BadRequest = "400",
        /// No token, or a bad one.
        Unauthorized = "401",
        /// Not to this peer, or not with these flags.
        Forbidden = "403",
        /// No such route.
        NotFound = "404",
        /// The route is for other methods.
        MethodNotAllowed = "405",
        /// It did not come to its end.
        Timeout = "408",
        /// The body is too long.
        BodyTooLarge = "413",
        /// The route is for WebSockets.
        UpgradeRequired = "426",
        /// The head is too long.
        HeadTooLarge = "431",
        /// Not now.
        Unavailable = "503",
    }
}

impl Method {
    /// The method of this name.
    pub fn of(name: &str) -> Method {
        named(name).unwrap_or(Method::Other)
    }
}

impl Endpoint {
    /// The route that a path leads to.
    pub fn of(path: &str) -> Endpoint {
        named(path).unwrap_or(Endpoint::Other)
    }
}

fn named<L: LabelValue>(text: &str) -> Option<L> {
    L::ALL.iter().copied().find(|value| value.text() == text)
}

impl Status {
    /// As it is sent.
    pub fn code(self) -> u16 {
        match self {
            Status::SwitchingProtocols => 101,
            Status::Ok => 200,
            Status::BadRequest => 400,
            Status::Unauthorized => 401,
            Status::Forbidden => 403,
            Status::NotFound => 404,
            Status::MethodNotAllowed => 405,
            Status::Timeout => 408,
            Status::BodyTooLarge => 413,
            Status::UpgradeRequired => 426,
            Status::HeadTooLarge => 431,
            Status::Unavailable => 503,
        }
    }
}

/// Requests that a shard has answered, and those under way.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    requests: [[[Counter; Status::ALL.len()]; Endpoint::ALL.len()]; Method::ALL.len()],
    duration: Histogram<{ DURATION_BOUNDS.len() }>,
    request_bytes: Histogram<{ SIZE_BOUNDS.len() }>,
    response_bytes: Histogram<{ SIZE_BOUNDS.len() }>,
    /// Requests of which the first byte has come and that are not answered.
    pub in_flight: Gauge,
}

impl HttpMetrics {
    /// Counts an answer, `took` after its request's first byte; `bytes`: of request and answer, heads included.
    pub fn answered(
        &self,
        method: Method,
        endpoint: Endpoint,
        status: Status,
        took: Duration,
        bytes: (usize, usize),
    ) {
        self.requests[method as usize][endpoint as usize][status as usize].increment();
        self.duration.observe(took.as_secs_f64(), &DURATION_BOUNDS);
        self.request_bytes.observe(bytes.0 as f64, &SIZE_BOUNDS);
        self.response_bytes.observe(bytes.1 as f64, &SIZE_BOUNDS);
    }
}

/// What a well-meaning client can cause: exposed from the start, so that `rate` sees the first. The rest appears with its first.
fn is_expected(method: Method, endpoint: Endpoint, status: Status) -> bool {
    use Status::{
        BadRequest, Forbidden, HeadTooLarge, NotFound, Ok, SwitchingProtocols, Timeout, Unauthorized,
        Unavailable, UpgradeRequired,
    };
    let statuses: &[Status] = match (endpoint, method) {
        (Endpoint::Ws, Method::Get) => {
            &[SwitchingProtocols, BadRequest, Unauthorized, UpgradeRequired, Unavailable]
        }
        (Endpoint::Ready, Method::Get | Method::Head) => &[Ok, Unavailable],
        (Endpoint::Health | Endpoint::Metrics, Method::Get | Method::Head) => &[Ok],
        (Endpoint::TestLatency | Endpoint::TestFailureRate, Method::Get | Method::Post | Method::Delete) => {
            &[Ok, BadRequest, Forbidden]
        }
        (Endpoint::Other, Method::Get) => &[NotFound],
        (Endpoint::Other, Method::Other) => &[BadRequest, Timeout, HeadTooLarge],
        _ => &[],
    };
    statuses.contains(&status)
}

impl Metrics {
    pub(super) fn http(&self, families: &mut Families) {
        families.counters("http_requests", "HTTP requests answered", self.requests());
        families.gauge(
            "http_requests_in_flight",
            "HTTP requests begun and not answered",
            self.level(|s| s.http.in_flight.get()),
        );
        families.histogram(
            "http_request_duration_seconds",
            "From a request's first byte to its answer",
            self.distribution(&DURATION_BOUNDS, |s| &s.http.duration),
        );
        families.histogram(
            "http_request_size_bytes",
            "Size of requests, with their heads",
            self.distribution(&SIZE_BOUNDS, |s| &s.http.request_bytes),
        );
        families.histogram(
            "http_response_size_bytes",
            "Size of answers, with their heads",
            self.distribution(&SIZE_BOUNDS, |s| &s.http.response_bytes),
        );
    }

    fn requests(&self) -> Vec<Point<u64>> {
        let mut points = Vec::new();
        for &method in Method::ALL {
            for &endpoint in Endpoint::ALL {
                for &status in Status::ALL {
                    let count = |shard: &ShardMetrics| {
                        shard.http.requests[method as usize][endpoint as usize][status as usize].get()
                    };
                    let value = self.total(count);
                    if value > 0 || is_expected(method, endpoint, status) {
                        let labels = vec![
                            ("method", method.text()),
                            ("endpoint", endpoint.text()),
                            ("status_code", status.text()),
                        ];
                        points.push(Point { labels, value });
                    }
                }
            }
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_make_up_becomes_no_series() {
        assert_eq!((Method::of("GET"), Method::of("get")), (Method::Get, Method::Other));
        assert_eq!((Endpoint::of("/ws"), Endpoint::of("/ws/1")), (Endpoint::Ws, Endpoint::Other));
    }

    #[test]
    fn the_code_that_is_sent_is_the_one_that_is_counted() {
        for status in Status::ALL {
            assert_eq!(status.code().to_string(), status.text());
        }
    }

    #[test]
    fn the_unexpected_appears_with_its_first() {
        let metrics = Metrics::new("n", 2);
        let odd =
            |metrics: &Metrics| metrics.requests().iter().filter(|point| point.labels[0].1 == "PUT").count();
        assert_eq!(odd(&metrics), 0);
        let (shard, took) = (metrics.shard(1), Duration::from_millis(3));
        shard.http.answered(Method::Put, Endpoint::Metrics, Status::MethodNotAllowed, took, (100, 200));
        assert_eq!(odd(&metrics), 1);
    }
}
