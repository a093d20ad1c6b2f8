//! Tells a provider by HTTP that messages wait for a user who is not connected.
//!
//! An edge thread with a tokio runtime of its own: shards leave notifications in the edge's mailbox, the main thread puts them
//! into a bounded queue here, as many workers as there are connections take them out. Neither waits for the provider. A shard
//! must not wake this runtime itself: the runtime's descriptors are in the main table, and a shard has another.

mod attempt;

use crate::breaker::{Breaker, Outcomes, Settings};
use crate::config::Push;
use crate::metrics::{Metrics, PushMetrics, PushResult, Service};
use crate::outbound::{self, Retry};
use crate::random::Random;
use attempt::Ended;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc as threads;
use std::time::Duration;
use tokio::sync::mpsc;
use wire::time::Time;

/// Longest wait between two attempts, whatever the provider asks for.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Longest answer that is read, bytes. A provider's is empty, or a few words that nobody reads.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Notification {
    /// Who is not connected.
    user: Arc<str>,
    /// Messages that wait.
    waiting: usize,
    /// When the last of them came, milliseconds since the Unix epoch.
    at_ms: u64,
}

/// Why there can be no notifier.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not an address of HTTP.
    #[error("`{0}` is no address to push to; write for example https://push.example.com/notify")]
    Url(String),
    /// The token has bytes that no header may have.
    #[error("GATEWAY_PUSH_TOKEN cannot be a header")]
    Token,
    /// TLS or the system's resolver is not to be had.
    #[error("cannot make an HTTP client: {0}")]
    Client(#[source] reqwest::Error),
    /// No thread, or no runtime.
    #[error("cannot start the push notifier: {0}")]
    Thread(#[source] io::Error),
}

/// Where notifications are put; for any thread of the main descriptor table.
#[derive(Debug, Clone)]
pub struct Pusher {
    queue: mpsc::Sender<Notification>,
    metrics: Metrics,
    /// The wall clock at monotonic time zero, nanoseconds since the Unix epoch.
    wall_offset_ns: u64,
}

/// The running thread.
#[derive(Debug)]
pub struct Running {
    /// Closed by the thread's end.
    ended: threads::Receiver<()>,
    metrics: Metrics,
}

/// Starts the thread, if there is a URL. `seed`: of the chance in its waits; `wall_offset_ns`: the wall clock at monotonic time
/// zero, nanoseconds since the Unix epoch.
pub fn start(
    settings: &Push,
    metrics: &Metrics,
    seed: u64,
    wall_offset_ns: u64,
) -> Result<Option<(Pusher, Running)>, StartError> {
    let Some(url) = &settings.push_url else { return Ok(None) };
    let url = reqwest::Url::parse(url)
        .ok()
        .filter(|parsed| matches!(parsed.scheme(), "http" | "https"))
        .ok_or_else(|| StartError::Url(url.clone()))?;
    let client = outbound::client()
        .timeout(settings.push_timeout)
        .pool_max_idle_per_host(settings.push_connections as usize)
        .default_headers(headers(settings)?)
        .build()
        .map_err(StartError::Client)?;
    let worker = Worker {
        client,
        url,
        retry: Retry {
            attempts_max: settings.push_attempts,
            backoff: settings.push_backoff,
            wait_max: WAIT_MAX,
        },
        metrics: metrics.clone(),
        breaker: RefCell::new(Breaker::new(breaker(settings))),
        random: RefCell::new(Random::new(seed)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(StartError::Thread)?;
    metrics.process().watch(runtime.handle());
    let (queue, taken) = mpsc::channel(settings.push_queue as usize);
    let (alive, ended) = threads::channel();
    let workers = settings.push_connections;
    let thread = move || {
        runtime.block_on(work(worker, taken, workers));
        drop(alive);
    };
    std::thread::Builder::new().name("push".into()).spawn(thread).map_err(StartError::Thread)?;
    let pusher = Pusher { queue, metrics: metrics.clone(), wall_offset_ns };
    Ok(Some((pusher, Running { ended, metrics: metrics.clone() })))
}

impl Pusher {
    /// Takes a notification, or drops and counts it where too many wait.
    pub fn push(&self, user: Arc<str>, waiting: usize) {
        let at_ms = (self.wall_offset_ns + Time::now().0) / 1_000_000;
        let push = self.metrics.push();
        // Before it can be taken out, or the level would be negative for a moment.
        push.waiting.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(Notification { user, waiting, at_ms }).is_err() {
            push.waiting.fetch_sub(1, Ordering::Relaxed);
            push.count(PushResult::Dropped);
        }
    }
}

impl Running {
    /// After the last [`Pusher`] is gone: waits until all have been sent or given up, at most for `patience`. Gives how many
    /// were not.
    pub fn end(self, patience: Duration) -> usize {
        // Nothing is ever sent: this ends by time, or by the thread's end.
        let _ = self.ended.recv_timeout(patience);
        usize::try_from(self.metrics.push().waiting.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

fn headers(settings: &Push) -> Result<reqwest::header::HeaderMap, StartError> {
    use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(token) = &settings.push_token {
        let mut value =
            HeaderValue::try_from(format!("Bearer {}", token.text())).map_err(|_| StartError::Token)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn breaker(settings: &Push) -> Settings {
    Settings {
        ratio: settings.push_breaker,
        window: settings.push_breaker_window,
        events_min: settings.push_breaker_min_events,
        open_for: settings.push_breaker_open_for,
        probes: settings.push_breaker_probes,
    }
}

/// Runs `workers` of them until the queue is closed and empty.
async fn work(worker: Worker, queue: mpsc::Receiver<Notification>, workers: u32) {
    let (worker, queue) = (Rc::new(worker), Rc::new(tokio::sync::Mutex::new(queue)));
    let local = tokio::task::LocalSet::new();
    for _ in 0..workers {
        let (worker, queue) = (Rc::clone(&worker), Rc::clone(&queue));
        local.spawn_local(async move {
            loop {
                // The lock is held while waiting for the next one, so that workers wait in a row.
                let next = queue.lock().await.recv().await;
                let Some(notification) = next else { return };
                let result = worker.deliver(&notification).await;
                worker.push().waiting.fetch_sub(1, Ordering::Relaxed);
                worker.push().count(result);
            }
        });
    }
    local.await;
}

/// What the workers share; all of them run on one thread.
struct Worker {
    client: reqwest::Client,
    url: reqwest::Url,
    retry: Retry,
    metrics: Metrics,
    breaker: RefCell<Breaker>,
    random: RefCell<Random>,
}

impl Worker {
    fn push(&self) -> &PushMetrics {
        self.metrics.push()
    }

    async fn deliver(&self, notification: &Notification) -> PushResult {
        let body = notification.body(self.metrics.node());
        let mut attempt = 1;
        loop {
            if !self.permits() {
                return PushResult::Rejected;
            }
            let ended = self.attempt(body.clone()).await;
            self.record(&ended);
            let asked = match ended {
                Ended::Delivered => return PushResult::Delivered,
                Ended::Refused => return PushResult::Refused,
                Ended::Failed { retry_after } => retry_after,
            };
            let chance = self.random.borrow_mut().chance();
            let Some(wait) = self.retry.wait(attempt, asked, chance) else { return PushResult::Failed };
            self.push().retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn attempt(&self, body: String) -> Ended {
        match self.client.post(self.url.clone()).body(body).send().await {
            Ok(mut response) => {
                let retry_after = outbound::retry_after(response.headers());
                let status = response.status().as_u16();
                // Read to its end, so that the connection can be used again; a longer one ends the connection.
                let mut bytes = 0;
                while let Ok(Some(chunk)) = response.chunk().await
                    && bytes <= ANSWER_BYTES_MAX
                {
                    bytes += chunk.len();
                }
                Ended::by_status(status, retry_after)
            }
            Err(_) => Ended::Failed { retry_after: None },
        }
    }

    fn permits(&self) -> bool {
        let (now, mut breaker) = (Time::now(), self.breaker.borrow_mut());
        let permits = breaker.permits(now);
        self.metrics.breaker(Service::Push).publish(&mut breaker, now);
        let push = self.push();
        let counter = if permits { &push.breaker_allowed } else { &push.breaker_rejected };
        counter.fetch_add(1, Ordering::Relaxed);
        permits
    }

    fn record(&self, ended: &Ended) {
        let failed = u64::from(matches!(ended, Ended::Failed { .. }));
        let (now, mut breaker) = (Time::now(), self.breaker.borrow_mut());
        breaker.record(Outcomes { succeeded: 1 - failed, failed }, now);
        self.metrics.breaker(Service::Push).publish(&mut breaker, now);
    }
}

impl Notification {
    /// JSON, as PROTOCOL.md describes it. No sender and no body: a lock screen is read by others.
    fn body(&self, node: &str) -> String {
        serde_json::json!({
            "user": &*self.user,
            "waiting": self.waiting,
            "at": self.at_ms,
            "node": node,
        })
        .to_string()
    }
}
