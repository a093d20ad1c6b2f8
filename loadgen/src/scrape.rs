//! The only reader of the target's metrics endpoint.

use std::time::Duration;

/// Reads a target's metrics.
#[derive(Debug, Clone)]
pub struct Scraper {
    client: reqwest::Client,
    url: String,
    timeout: Duration,
}

/// Why a scrape failed: the target is `up 0` then.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// No answer in time.
    #[error("no answer: {0}")]
    Unreachable(#[source] reqwest::Error),
    /// The next scrape was due.
    #[error("no answer in time")]
    Late,
    /// Another status than 200.
    #[error("status {0}")]
    Status(u16),
}

impl Scraper {
    /// Reads `url`, giving up after `timeout` (real time, also in a stretched run).
    pub fn new(client: reqwest::Client, url: String, timeout: Duration) -> Scraper {
        Scraper { client, url, timeout }
    }

    /// The exposition as the target gives it now.
    pub async fn scrape(&self) -> Result<String, ScrapeError> {
        let request = self.client.get(&self.url).timeout(self.timeout);
        let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        let response = request.header("accept", accept).send().await.map_err(ScrapeError::Unreachable)?;
        match response.status().as_u16() {
            200 => response.text().await.map_err(ScrapeError::Unreachable),
            status => Err(ScrapeError::Status(status)),
        }
    }
}
