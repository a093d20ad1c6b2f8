//! What the gateway's protections did. Names follow those that the API gateway's operators use.

use super::{LimitScope, Metrics, Service};
use crate::im::protocol::Refusal;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Metric families of this file.
pub(super) const INSTRUMENTS: u64 = 7;

impl Metrics {
    pub(super) fn protection(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let refused = Refusal::ALL.iter().map(|&refusal| {
            (vec![("code", refusal.code())], self.total(|s| s.refused[refusal as usize].get()))
        });
        let help = "Frames refused with an error code";
        self.counters(encoder, "im_gateway_messages_refused", help, refused.collect())?;
        let limited = |scope: LimitScope| self.total(|s| s.rate_limited[scope as usize].get());
        let all_limited = LimitScope::ALL.iter().map(|&(scope, _)| limited(scope)).sum();
        self.counters(
            encoder,
            "im_gateway_rate_limit_requests",
            "Frames that a rate limit was asked about",
            vec![
                (vec![("result", "allowed")], self.total(|s| s.rate_allowed.get())),
                (vec![("result", "limited")], all_limited),
            ],
        )?;
        // By whose limit it was, never by client: clients are unbounded.
        let violations = LimitScope::ALL.iter().map(|&(scope, name)| (vec![("scope", name)], limited(scope)));
        let help = "Frames above a rate limit";
        self.counters(encoder, "im_gateway_rate_limit_violations", help, violations.collect())?;
        self.breakers(encoder)
    }

    /// A breaker that is off is closed for good.
    fn breakers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services = || Service::ALL.iter().map(|&(service, name)| (name, self.breaker(service)));
        let mut requests = Vec::new();
        for &(service, name) in &Service::ALL {
            let (allowed, rejected) = match service {
                Service::Messages => {
                    (self.total(|s| s.breaker_allowed.get()), self.total(|s| s.breaker_rejected.get()))
                }
                Service::Push => {
                    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                    (get(&self.push.breaker_allowed), get(&self.push.breaker_rejected))
                }
            };
            requests.push((vec![("service", name), ("outcome", "allowed")], allowed));
            requests.push((vec![("service", name), ("outcome", "rejected")], rejected));
        }
        let help = "Calls that a circuit breaker was asked about";
        self.counters(encoder, "im_gateway_circuit_breaker_requests", help, requests)?;
        let opened = services().map(|(name, breaker)| (vec![("service", name)], breaker.opened()));
        let help = "Times that a circuit breaker has opened";
        self.counters(encoder, "im_gateway_circuit_breaker_opened", help, opened.collect())?;
        let states = services().map(|(name, breaker)| (name, f64::from(breaker.state())));
        let help = "0 closed, 1 open, 2 half-open";
        self.by_service(encoder, "im_gateway_circuit_breaker_state", help, states)?;
        let rates = services().map(|(name, breaker)| (name, breaker.failure_rate()));
        let help = "Share of failures in the circuit breaker's window";
        self.by_service(encoder, "im_gateway_circuit_breaker_failure_rate", help, rates)
    }

    fn by_service(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (&'static str, f64)>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (service, value) in values {
            let labels = self.with_node(vec![("service", service)]);
            ConstGauge::new(value).encode(family.encode_family(&labels.as_slice())?)?;
        }
        Ok(())
    }
}
