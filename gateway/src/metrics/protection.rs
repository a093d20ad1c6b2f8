//! Who was let in, and what the gateway's protections did. Names and labels are those of the API gateway's operators.

use super::Metrics;
use super::labels::{
    AuthMethod, AuthResult, BreakerOutcome, CloseReason, ConnectError, LabelValue as _, LimitResult,
    LimitScope, SecurityEvent, Service,
};
use super::snapshot::{Families, Point, by, by_both};
use crate::auth::TokenError;
use crate::im::protocol::Refusal;
use std::sync::atomic::Ordering;

impl Metrics {
    pub(super) fn authentication(&self, families: &mut Families) {
        families.counters(
            "auth_attempts",
            "Attempts to open a session, by how the client said who it is",
            by_both(("result", "method"), |result: AuthResult, method: AuthMethod| {
                self.total(|s| s.auth_attempts[method as usize][result as usize].get())
            }),
        );
        let ok = Point { labels: vec![("result", "ok")], value: self.total(|s| s.tokens_accepted.get()) };
        let refused = by("result", |error| self.token_refusals(error));
        let validations = [ok].into_iter().chain(refused).collect();
        families.counters("auth_token_validations", "Tokens checked", validations);
    }

    fn token_refusals(&self, error: TokenError) -> u64 {
        self.total(|s| s.tokens_refused[error as usize].get())
    }

    fn limited(&self, scope: LimitScope) -> u64 {
        self.total(|s| s.rate_limited[scope as usize].get())
    }

    fn limited_by_all(&self) -> u64 {
        LimitScope::ALL.iter().map(|&scope| self.limited(scope)).sum()
    }

    pub(super) fn rate_limits(&self, families: &mut Families) {
        families.counters(
            "rate_limit_requests",
            "Frames that a rate limit was asked about",
            by("result", |result| match result {
                LimitResult::Allowed => self.total(|s| s.rate_allowed.get()),
                LimitResult::Limited => self.limited_by_all(),
            }),
        );
        // What kind of client was limited, never which one: clients are unbounded.
        families.counters(
            "rate_limit_violations",
            "Frames above a rate limit",
            by("client", |scope| self.limited(scope)),
        );
    }

    /// What a watch over security wants to see, each with how bad it is; counted elsewhere under its own name.
    pub(super) fn security(&self, families: &mut Families) {
        let points = SecurityEvent::ALL.iter().map(|&event| Point {
            labels: vec![("type", event.text()), ("severity", event.severity())],
            value: self.security_events(event),
        });
        families.counters("security_events", "Attempts to get in or to use up the gateway", points.collect());
    }

    fn security_events(&self, event: SecurityEvent) -> u64 {
        let connect = |error: ConnectError| self.total(|s| s.connect_errors[error as usize].get());
        let closed = |reason: CloseReason| self.total(|s| s.closed[reason as usize].get());
        let refused = |refusal: Refusal| self.total(|s| s.refused[refusal as usize].get());
        match event {
            SecurityEvent::AuthFailed => connect(ConnectError::Auth),
            SecurityEvent::TokenForged => self.token_refusals(TokenError::Signature),
            SecurityEvent::TlsFailed => connect(ConnectError::Tls),
            SecurityEvent::RateLimited => self.limited_by_all(),
            SecurityEvent::TooLarge => {
                connect(ConnectError::TooLarge) + refused(Refusal::TooLong) + refused(Refusal::TooDeep)
            }
            SecurityEvent::SlowClient => {
                let connects = connect(ConnectError::Timeout) + connect(ConnectError::SlowReader);
                connects + closed(CloseReason::SlowSender)
            }
            SecurityEvent::Flood => closed(CloseReason::Flood),
            SecurityEvent::ProtocolViolation => {
                connect(ConnectError::Protocol) + closed(CloseReason::Protocol)
            }
        }
    }

    /// A breaker that is off is closed for good.
    pub(super) fn breakers(&self, families: &mut Families) {
        families.counters(
            "circuit_breaker_requests",
            "Calls that a circuit breaker was asked about",
            by_both(("service", "outcome"), |service, outcome| self.asked(service, outcome)),
        );
        families.counters(
            "circuit_breaker_opened",
            "Times that a circuit breaker has opened",
            by("service", |service| self.breaker(service).opened()),
        );
        families.gauges(
            "circuit_breaker_state",
            "0 closed, 1 open, 2 half-open",
            by("service", |service| f64::from(self.breaker(service).state())),
        );
        families.gauges(
            "circuit_breaker_failure_rate",
            "Share of failures in the circuit breaker's window",
            by("service", |service| self.breaker(service).failure_rate()),
        );
    }

    fn asked(&self, service: Service, outcome: BreakerOutcome) -> u64 {
        match (service, outcome) {
            (Service::Messages, BreakerOutcome::Allowed) => self.total(|s| s.breaker_allowed.get()),
            (Service::Messages, BreakerOutcome::Rejected) => self.total(|s| s.breaker_rejected.get()),
            (Service::Push, BreakerOutcome::Allowed) => self.push.breaker_allowed.load(Ordering::Relaxed),
            (Service::Push, BreakerOutcome::Rejected) => self.push.breaker_rejected.load(Ordering::Relaxed),
        }
    }
}
