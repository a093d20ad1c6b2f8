//! Sends the requests of one signal, one at a time.

use super::StartError;
use super::answer::{Answer, BODY_BYTES_MAX};
use super::settings::Destination;
use crate::log::{Event, Logger};
use crate::metrics::{ExportError, Fate, Metrics, Signal};
use crate::outbound::{self, Retry};
use crate::random::Random;
use prost::bytes::Bytes;
use std::io::Write as _;
use tokio::sync::watch;
use tokio::time::Instant;

const USER_AGENT: &str = concat!("OTel-OTLP-Exporter-Rust-im-gateway/", env!("CARGO_PKG_VERSION"));

/// Becomes true when the gateway ends.
#[derive(Debug, Clone)]
pub(super) struct Stop(pub(super) watch::Receiver<bool>);

impl Stop {
    /// Waits until `due`. True: the gateway ends, possibly before.
    pub(super) async fn within(&mut self, due: Instant) -> bool {
        tokio::time::timeout_at(due, self.0.wait_for(|stop| *stop)).await.is_ok()
    }
}

/// Sends one signal to its receiver.
#[derive(Debug)]
pub(super) struct Exporter {
    signal: Signal,
    client: reqwest::Client,
    destination: Destination,
    retry: Retry,
    random: Random,
    metrics: Metrics,
    logger: Logger,
    /// Whether the last request was taken as a whole; changes are logged.
    is_well: bool,
}

impl Exporter {
    pub(super) fn new(
        signal: Signal,
        mut destination: Destination,
        retry: Retry,
        seed: u64,
        metrics: Metrics,
        logger: Logger,
    ) -> Result<Exporter, StartError> {
        let mut client = outbound::client().user_agent(USER_AGENT).timeout(destination.timeout);
        if let Some(authorities) = destination.authorities.take() {
            client = client.tls_certs_only(authorities);
        }
        if let Some(identity) = destination.identity.take() {
            client = client.identity(identity);
        }
        let client = client.build().map_err(StartError::Client)?;
        let random = Random::new(seed ^ signal as u64);
        Ok(Exporter { signal, client, destination, retry, random, metrics, logger, is_well: true })
    }

    /// Sends a request with so many `items` until it is taken, refused or given up, and counts them accordingly.
    pub(super) async fn export(&mut self, body: Vec<u8>, items: u64, stop: &mut Stop) {
        let body = Bytes::from(if self.destination.gzip { gzip(&body) } else { body });
        let mut attempt = 1;
        let ended = loop {
            let answer = self.attempt(body.clone()).await;
            if let Answer::Later(error, _) | Answer::Never(error) = answer {
                self.metrics.telemetry().error(self.signal, error);
            }
            let Answer::Later(_, asked) = answer else { break answer };
            let Some(wait) = self.retry.wait(attempt, asked, self.random.chance()) else { break answer };
            // A gateway that ends has no time for another attempt.
            if stop.within(Instant::now() + wait).await {
                break answer;
            }
            self.metrics.telemetry().retried(self.signal);
            attempt += 1;
        };
        self.count(&ended, items);
    }

    async fn attempt(&self, body: Bytes) -> Answer {
        use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
        let destination = &self.destination;
        let mut request = self.client.post(destination.url.clone()).headers(destination.headers.clone());
        request = request.header(CONTENT_TYPE, "application/x-protobuf").body(body);
        if destination.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        match request.send().await {
            Ok(response) => {
                let (status, retry_after) =
                    (response.status().as_u16(), outbound::retry_after(response.headers()));
                match read(response).await {
                    Ok(body) => Answer::new(status, retry_after, &body),
                    Err(answer) => answer,
                }
            }
            Err(error) => failed(&error),
        }
    }

    fn count(&mut self, ended: &Answer, items: u64) {
        let telemetry = self.metrics.telemetry();
        let complaint = match ended {
            Answer::Taken { rejected, message } => {
                let rejected = (*rejected).min(items);
                telemetry.count(self.signal, Fate::Rejected, rejected);
                telemetry.count(self.signal, Fate::Exported, items - rejected);
                (rejected > 0 || !message.is_empty()).then(|| format!("{rejected} rejected: {message}"))
            }
            Answer::Later(error, _) | Answer::Never(error) => {
                telemetry.count(self.signal, Fate::Failed, items);
                Some(error.name().to_owned())
            }
        };
        let is_well = complaint.is_none();
        if is_well != self.is_well {
            let event = if is_well { Event::TelemetryExported } else { Event::TelemetryNotExported };
            let complaint = complaint.map(|complaint| format!(": {complaint}")).unwrap_or_default();
            let message = format!("{} to {}{complaint}", self.signal.name(), shown(&self.destination.url));
            self.logger.say(event, message, |record| record);
            self.is_well = is_well;
        }
    }
}

/// The answer's body, to its end so that the connection can be used again.
async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, Answer> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(Answer::Never(ExportError::Garbled));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn failed(error: &reqwest::Error) -> Answer {
    let kind = if error.is_timeout() { ExportError::Timeout } else { ExportError::Connection };
    Answer::Later(kind, None)
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Writing to a Vec cannot fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

/// Without what may be a secret.
fn shown(url: &reqwest::Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
