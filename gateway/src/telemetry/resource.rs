//! Who sends: the resource, the scope, and how their attributes are written.

use super::SettingsError;
use super::environment::{Environment, pairs};
use super::otlp::{
    Any, AnyValue, KeyValue, LogRecord, LogsRequest, Metric, MetricsRequest, Resource, ResourceLogs,
    ResourceMetrics, ResourceSpans, Scope, ScopeLogs, ScopeMetrics, ScopeSpans, Span, TraceRequest,
};

/// What the gateway is called where nobody calls it otherwise.
pub(super) const SERVICE_NAME: &str = "im-gateway";

/// An attribute with a text.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Any::Text(value.into()))
}

/// An attribute with a number.
pub(super) fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Any::Int(value))
}

pub(super) fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// The gateway named `node`; the environment's attributes win over ours, and OTEL_SERVICE_NAME over all.
pub(super) fn resource(node: &str, environment: &Environment<'_>) -> Result<Resource, SettingsError> {
    let mut attributes = vec![
        ("service.name".to_owned(), SERVICE_NAME.to_owned()),
        ("service.instance.id".to_owned(), node.to_owned()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("telemetry.sdk.name".to_owned(), "im-gateway".to_owned()),
        ("telemetry.sdk.language".to_owned(), "rust".to_owned()),
        ("telemetry.sdk.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let mut set = |name: String, value: String| match attributes.iter_mut().find(|(other, _)| *other == name)
    {
        Some((_, old)) => *old = value,
        None => attributes.push((name, value)),
    };
    if let Some(list) = environment.get("OTEL_RESOURCE_ATTRIBUTES") {
        for (name, value) in pairs(&list.value).ok_or(SettingsError::List(list.name))? {
            set(name, value);
        }
    }
    if let Some(name) = environment.get("OTEL_SERVICE_NAME") {
        set("service.name".to_owned(), name.value);
    }
    let attributes = attributes.into_iter().map(|(name, value)| text(&name, value)).collect();
    Ok(Resource { attributes })
}

fn scope() -> Scope {
    Scope { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

pub(super) fn metrics_request(resource: Resource, metrics: Vec<Metric>) -> MetricsRequest {
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics }];
    MetricsRequest { resource_metrics: vec![ResourceMetrics { resource: Some(resource), scope_metrics }] }
}

pub(super) fn trace_request(resource: Resource, spans: Vec<Span>) -> TraceRequest {
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans }];
    TraceRequest { resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans }] }
}

pub(super) fn logs_request(resource: Resource, log_records: Vec<LogRecord>) -> LogsRequest {
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records }];
    LogsRequest { resource_logs: vec![ResourceLogs { resource: Some(resource), scope_logs }] }
}
