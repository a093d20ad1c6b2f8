//! Latency and loss inside the gateway, through its test endpoints.
//!
//! The gateway ends such a fault by itself when its lease is over, whatever becomes of us.

use scenarios::scenario::Pick;
use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// How soon a gateway must have said that a fault is in force.
const INJECT_WITHIN: Duration = Duration::from_secs(5);
/// The same for its end. Sooner, because it is asked again, and what keeps it from answering may be a fault that heals next.
const HEAL_WITHIN: Duration = Duration::from_secs(2);

/// A fault inside the gateway.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GatewayFault {
    /// Deliveries are held before their first write.
    Latency {
        /// How long.
        delay: Duration,
        /// Which share of deliveries, 0 to 1.
        share: f64,
    },
    /// Deliveries are lost after they were confirmed.
    FailureRate {
        /// Which share of deliveries, 0 to 1.
        share: f64,
        /// How they are chosen.
        pick: Pick,
    },
}

/// Why a gateway did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No answer.
    #[error("no answer from {url}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// It answered with an error.
    #[error("{url} answered {status}: {body}")]
    Refused {
        /// What was asked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        body: String,
    },
    /// The state read back is not what was asked for.
    #[error("{url} says {found}, not {wanted}")]
    NotInForce {
        /// What was asked.
        url: String,
        /// What was asked for.
        wanted: String,
        /// What is in force.
        found: String,
    },
}

/// What the gateway says is in force.
#[derive(Debug, serde::Deserialize)]
struct Answer {
    in_force: Option<serde_json::Value>,
    shards_in_force: usize,
    shards: usize,
}

impl GatewayFault {
    /// Where the gateway at `base` is asked for it.
    pub fn url(&self, base: &str) -> String {
        format!("{base}{}", self.path())
    }

    fn path(&self) -> &'static str {
        match self {
            GatewayFault::Latency { .. } => "/test/latency",
            GatewayFault::FailureRate { .. } => "/test/failure-rate",
        }
    }

    fn query(&self, lease: Duration) -> String {
        let lease = lease.as_millis();
        match self {
            GatewayFault::Latency { delay, share } => {
                format!("delay={}ms&share={share}&for={lease}ms", delay.as_millis())
            }
            GatewayFault::FailureRate { share, pick } => {
                let pick = if *pick == Pick::Even { "even" } else { "random" };
                format!("rate={share}&pick={pick}&for={lease}ms")
            }
        }
    }

    /// Puts the fault in for at most `lease`. When this returns, every shard of the gateway has said that it is in force.
    pub async fn inject(
        &self,
        client: &reqwest::Client,
        base: &str,
        lease: Duration,
    ) -> Result<(), GatewayError> {
        let url = format!("{}?{}&asked={}", self.url(base), self.query(lease), now_us());
        let answer = ask(client.post(&url), &url, INJECT_WITHIN).await?;
        if answer.shards_in_force == answer.shards && answer.in_force.is_some() {
            return Ok(());
        }
        let found = format!("in force on {} of {} shards", answer.shards_in_force, answer.shards);
        Err(GatewayError::NotInForce { url, wanted: "in force on all shards".into(), found })
    }
}

/// Takes out the fault that a gateway has at `url`, and proves it by reading the state back. Gives the proof.
pub async fn heal(client: &reqwest::Client, url: &str) -> Result<String, GatewayError> {
    // The request that put the fault in may lie unread somewhere, of a dead run too. This overtakes it: by the time of asking.
    ask(client.delete(format!("{url}?asked={}", now_us())), url, HEAL_WITHIN).await?;
    let answer = ask(client.get(url), url, HEAL_WITHIN).await?;
    let path = reqwest::Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.path().to_owned());
    let found = format!("in force on {} of {} shards", answer.shards_in_force, answer.shards);
    if answer.shards_in_force == 0 && answer.in_force.is_none() {
        return Ok(format!("GET {path}: {found}"));
    }
    Err(GatewayError::NotInForce { url: url.to_owned(), wanted: "healed".into(), found })
}

impl GatewayError {
    /// Whether nobody listens there. Only this machine's word counts: elsewhere something between may refuse as well.
    pub fn nobody_listens(&self) -> bool {
        let GatewayError::Unreachable { url, source } = self else { return false };
        let address = reqwest::Url::parse(url).ok().and_then(|url| url.host_str()?.parse::<IpAddr>().ok());
        let causes = std::iter::successors(source.source(), |cause| (*cause).source());
        let mut errors = causes.filter_map(|cause| cause.downcast_ref::<io::Error>());
        address.is_some_and(|address| address.is_loopback())
            && errors.any(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// Microseconds since 1970.
fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

async fn ask(request: reqwest::RequestBuilder, url: &str, within: Duration) -> Result<Answer, GatewayError> {
    let unreachable = |source| GatewayError::Unreachable { url: url.to_owned(), source };
    let response = request.timeout(within).send().await.map_err(unreachable)?;
    let status = response.status().as_u16();
    let body = response.text().await.map_err(unreachable)?;
    if status != 200 {
        return Err(GatewayError::Refused { url: url.to_owned(), status, body });
    }
    serde_json::from_str(&body).map_err(|_| GatewayError::Refused { url: url.to_owned(), status, body })
}
