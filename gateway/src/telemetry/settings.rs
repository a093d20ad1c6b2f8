//! What telemetry goes where, from flags and the standard variables; checked before anything starts.

use super::environment::{Environment, Variable, pairs};
use super::otlp::Resource;
use super::resource;
use crate::config::Telemetry;
use crate::config::telemetry::milliseconds;
use crate::metrics::Signal;
use crate::outbound::Retry;
use crate::trace::Sampler;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Identity, Url};
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

/// Longest wait between two attempts, whatever the receiver asks for.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Why telemetry cannot be exported as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not an address of HTTP.
    #[error("`{0}` is no address to send telemetry to; write for example http://localhost:4318")]
    Endpoint(String),
    /// A variable has a value that is not known.
    #[error("{name} is `{value}`; {wanted}")]
    Variable {
        /// The variable.
        name: String,
        /// What it is.
        value: String,
        /// What it could be.
        wanted: &'static str,
    },
    /// A list is none. It may hold secrets, so it is not shown.
    #[error(
        "{0} is no list of name=value, separated by commas, with what is special in values percent-encoded"
    )]
    List(String),
    /// A header that cannot be sent. Its value may be a secret.
    #[error("{0}: `{1}` cannot be a header, or not with its value")]
    Header(String, String),
    /// A file that a variable names cannot be read.
    #[error("{0}: cannot read {1}: {2}")]
    File(String, PathBuf, #[source] io::Error),
    /// It can, and is not what it should be.
    #[error("{0}: {1} holds no PEM of that kind")]
    Pem(String, PathBuf),
}

/// Where telemetry goes, and how.
#[derive(Debug)]
pub struct Settings {
    pub(super) metrics: Option<Destination>,
    pub(super) traces: Option<Destination>,
    pub(super) logs: Option<Destination>,
    pub(super) sampler: Sampler,
    /// Of spans.
    pub(super) batch: Batch,
    /// Of log records.
    pub(super) log_batch: Batch,
    pub(super) resource: Resource,
    pub(super) interval: Duration,
    pub(super) retry: Retry,
}

/// How spans, or log records, are gathered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    /// Items in one request.
    pub(super) size: usize,
    /// How long one may wait for others.
    pub(super) delay: Duration,
    /// Items that may wait, over all threads.
    pub(super) queue: usize,
}

/// Where one signal goes.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    pub(super) gzip: bool,
    /// Authorities that are trusted instead of the system's.
    pub(super) authorities: Option<Vec<Certificate>>,
    /// Who the gateway is, to a receiver that asks.
    pub(super) identity: Option<Identity>,
}

impl Settings {
    /// `None`: nothing is to be sent. `node` is this gateway's name.
    pub fn new(
        flags: &Telemetry,
        node: &str,
        environment: &Environment<'_>,
    ) -> Result<Option<Settings>, SettingsError> {
        if environment.get("OTEL_SDK_DISABLED").is_some_and(|it| it.value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let metrics = destination(Signal::Metrics, flags, environment)?;
        let traces = destination(Signal::Traces, flags, environment)?;
        let logs = destination(Signal::Logs, flags, environment)?;
        if metrics.is_none() && traces.is_none() && logs.is_none() {
            return Ok(None);
        }
        let batch = Batch {
            size: flags.otlp_batch as usize,
            delay: flags.otlp_delay,
            queue: flags.otlp_queue as usize,
        };
        Ok(Some(Settings {
            metrics,
            traces,
            logs,
            sampler: sampler(flags.trace_ratio, environment)?,
            batch,
            log_batch: log_batch(batch, environment)?,
            resource: resource::resource(node, environment)?,
            interval: flags.otlp_interval,
            retry: Retry {
                attempts_max: flags.otlp_attempts,
                backoff: flags.otlp_backoff,
                wait_max: WAIT_MAX,
            },
        }))
    }

    /// Log records that may wait to be sent; `None`: they are not sent.
    pub fn log_queue(&self) -> Option<usize> {
        self.logs.as_ref().map(|_| self.log_batch.queue)
    }
}

/// As spans are gathered, where the variables for log records do not say otherwise.
fn log_batch(of_spans: Batch, environment: &Environment<'_>) -> Result<Batch, SettingsError> {
    let number = |name: &str, otherwise: usize| match environment.get(name) {
        Some(number) => match number.value.parse() {
            Ok(number @ 1..=1_000_000) => Ok(number),
            _ => Err(refused(number, "write a number from 1 to 1000000")),
        },
        None => Ok(otherwise),
    };
    let delay = match environment.get("OTEL_BLRP_SCHEDULE_DELAY") {
        Some(delay) => milliseconds(&delay.value)
            .map_err(|_| refused(delay, "write a number of milliseconds, such as 1000"))?,
        None => of_spans.delay,
    };
    Ok(Batch {
        size: number("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", of_spans.size)?,
        delay,
        queue: number("OTEL_BLRP_MAX_QUEUE_SIZE", of_spans.queue)?,
    })
}

/// By the names of the standard; without one, by `ratio` where the request does not decide.
fn sampler(ratio: f64, environment: &Environment<'_>) -> Result<Sampler, SettingsError> {
    let Some(sampler) = environment.get("OTEL_TRACES_SAMPLER") else {
        return Ok(Sampler { ratio, follows_parent: true });
    };
    let (follows_parent, name) = match sampler.value.strip_prefix("parentbased_") {
        Some(name) => (true, name),
        None => (false, sampler.value.as_str()),
    };
    let ratio = match name {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => ratio,
        _ => {
            return Err(refused(
                sampler,
                "write always_on, always_off or traceidratio, or parentbased_ and one of them",
            ));
        }
    };
    Ok(Sampler { ratio, follows_parent })
}

/// `None`: the signal is not sent.
fn destination(
    signal: Signal,
    flags: &Telemetry,
    environment: &Environment<'_>,
) -> Result<Option<Destination>, SettingsError> {
    if !is_wanted(signal, environment)? {
        return Ok(None);
    }
    let Some(url) = url(signal, flags, environment)? else { return Ok(None) };
    if let Some(protocol) = environment.exporter(signal, "PROTOCOL").filter(|it| it.value != "http/protobuf")
    {
        return Err(refused(protocol, "only http/protobuf is spoken"));
    }
    let gzip = match environment.exporter(signal, "COMPRESSION") {
        Some(compression) if compression.value == "gzip" => true,
        Some(compression) if compression.value != "none" => {
            return Err(refused(compression, "write gzip or none"));
        }
        _ => false,
    };
    let timeout = match environment.of_signal(signal, "TIMEOUT") {
        Some(timeout) => milliseconds(&timeout.value)
            .map_err(|_| refused(timeout, "write a number of milliseconds, such as 10000"))?,
        None => flags.otlp_timeout,
    };
    let headers = headers(signal, environment)?;
    let authorities = match environment.exporter(signal, "CERTIFICATE") {
        Some(path) => {
            Some(pem(path, |pem| Certificate::from_pem_bundle(pem).ok().filter(|all| !all.is_empty()))?)
        }
        None => None,
    };
    let identity = identity(signal, environment)?;
    Ok(Some(Destination { url, headers, timeout, gzip, authorities, identity }))
}

fn is_wanted(signal: Signal, environment: &Environment<'_>) -> Result<bool, SettingsError> {
    let Some(exporter) = environment.get(&format!("OTEL_{}_EXPORTER", signal.name().to_ascii_uppercase()))
    else {
        return Ok(true);
    };
    match exporter.value.as_str() {
        "otlp" => Ok(true),
        "none" => Ok(false),
        _ => Err(refused(exporter, "write otlp or none")),
    }
}

/// The signal's own address is taken as it is; to that of all signals its path is added.
fn url(
    signal: Signal,
    flags: &Telemetry,
    environment: &Environment<'_>,
) -> Result<Option<Url>, SettingsError> {
    let own = environment.of_signal(signal, "ENDPOINT").map(|own| own.value);
    let is_own = own.is_some();
    let Some(text) = own.or_else(|| flags.otlp_endpoint.clone()).filter(|text| !text.trim().is_empty())
    else {
        return Ok(None);
    };
    let parsed = Url::parse(text.trim()).ok();
    let parsed = parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    let mut url = parsed.ok_or(SettingsError::Endpoint(text))?;
    if !is_own {
        let path = format!("{}/v1/{}", url.path().trim_end_matches('/'), signal.name());
        url.set_path(&path);
    }
    Ok(Some(url))
}

fn headers(signal: Signal, environment: &Environment<'_>) -> Result<HeaderMap, SettingsError> {
    let mut headers = HeaderMap::new();
    let Some(list) = environment.exporter(signal, "HEADERS") else { return Ok(headers) };
    for (name, value) in pairs(&list.value).ok_or_else(|| SettingsError::List(list.name.clone()))? {
        let header = HeaderName::try_from(&name).ok().zip(HeaderValue::try_from(value).ok());
        let (key, mut value) = header.ok_or_else(|| SettingsError::Header(list.name.clone(), name))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// Certificate and key, in the order in which a reader of both finds them in one text.
fn identity(signal: Signal, environment: &Environment<'_>) -> Result<Option<Identity>, SettingsError> {
    let certificate = environment.exporter(signal, "CLIENT_CERTIFICATE");
    let key = environment.exporter(signal, "CLIENT_KEY");
    let (certificate, key) = match (certificate, key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(alone), None) => return Err(refused(alone, "its key must be named by …_CLIENT_KEY")),
        (None, Some(alone)) => {
            return Err(refused(alone, "its certificate must be named by …_CLIENT_CERTIFICATE"));
        }
    };
    let mut both = pem(key, |pem| Some(pem.to_vec()))?;
    pem(certificate, |pem| {
        both.push(b'\n');
        both.extend_from_slice(pem);
        Identity::from_pem(&both).ok()
    })
    .map(Some)
}

fn pem<T>(variable: Variable, read: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, SettingsError> {
    let path = PathBuf::from(&variable.value);
    match fs::read(&path) {
        Ok(pem) => read(&pem).ok_or(SettingsError::Pem(variable.name, path)),
        Err(error) => Err(SettingsError::File(variable.name, path, error)),
    }
}

fn refused(variable: Variable, wanted: &'static str) -> SettingsError {
    SettingsError::Variable { name: variable.name, value: variable.value, wanted }
}

#[cfg(test)]
mod tests;
