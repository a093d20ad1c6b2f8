//! Label values. They are closed enums, so that what clients send never becomes a series.

use crate::auth::TokenError;
use crate::im::protocol::{Parsed, Refusal, Request};

/// The values of one label.
pub(super) trait LabelValue: Copy + 'static {
    /// All of them, in the order of their numbers.
    const ALL: &'static [Self];

    /// The value as it is exported.
    fn text(self) -> &'static str;
}

/// What each variant of an enum is as a label's value, by which logs and traces call it too.
macro_rules! label_texts {
    ($vis:vis $name:ident { $($variant:ident = $text:literal,)+ }) => {
        impl $name {
            /// Its name in metrics, logs and traces.
            $vis fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                }
            }
        }

        impl $crate::metrics::labels::LabelValue for $name {
            const ALL: &'static [$name] = &[$($name::$variant),+];

            fn text(self) -> &'static str {
                self.name()
            }
        }
    };
}
pub(super) use label_texts;

/// An enum, each variant with its text as a label's value.
macro_rules! label_values {
    ($($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$about:meta])* $variant:ident = $text:literal,)+ })+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name {
            $($(#[$about])* $variant,)+
        }

        $crate::metrics::labels::label_texts! { $vis $name { $($variant = $text,)+ } }
    )+};
}
pub(super) use label_values;

label_values! {
    /// What a message is addressed to.
    pub enum Kind {
        /// A user.
        Direct = "direct",
        /// A group.
        Group = "group",
    }

    /// Why a delivery is lost after its message was confirmed.
    pub enum FailReason {
        /// An injected fault.
        Test = "test",
        /// The recipient's offline queue, or the shard's, is full.
        QueueFull = "queue_full",
    }

    /// Why a connection never became a session.
    pub enum ConnectError {
        /// No token, or a bad one.
        Auth = "auth",
        /// The shard is at its cap.
        Limit = "limit",
        /// Not a valid upgrade.
        Protocol = "protocol",
        /// No complete request in time.
        Timeout = "timeout",
        /// The gateway is shutting down.
        Draining = "draining",
        /// A head above its limit.
        TooLarge = "too_large",
        /// The TLS handshake failed, or was none.
        Tls = "tls",
        /// It goes on asking over HTTP and does not read the answers.
        SlowReader = "slow_reader",
    }

    /// Why a session's connection ended.
    pub enum CloseReason {
        /// The client closed it.
        Client = "client",
        /// The connection was cut.
        Reset = "reset",
        /// No sign of life for two heartbeats.
        Heartbeat = "heartbeat",
        /// The client broke the protocol.
        Protocol = "protocol",
        /// The client does not take its deliveries.
        SlowReader = "slow_reader",
        /// The same device connected again.
        Replaced = "replaced",
        /// The gateway shut down.
        Drain = "drain",
        /// The token's time was over.
        TokenExpired = "token_expired",
        /// Too many control frames, or empty fragments.
        Flood = "flood",
        /// The client does not complete its messages.
        SlowSender = "slow_sender",
    }

    /// Why a log record was not written.
    pub enum Dropped {
        /// The same happens too often.
        RateLimit = "rate_limit",
        /// Too many wait: standard error is not read, or not fast enough.
        QueueFull = "queue_full",
    }

    /// What is read again on SIGHUP.
    pub enum Reloaded {
        /// Key and JWKS files.
        Keys = "keys",
        /// Certificate and its key.
        Certificate = "certificate",
    }

    /// Whether what was read took effect.
    pub enum ReloadResult {
        /// What was in force stays in force.
        Failed = "failed",
        /// It did.
        Ok = "ok",
    }

    /// Whose limit a message was above.
    pub enum LimitScope {
        /// The connection's.
        Connection = "connection",
        /// The user's, over all connections.
        User = "user",
    }

    /// What a rate limit said.
    pub(super) enum LimitResult {
        /// There was room.
        Allowed = "allowed",
        /// It was used up.
        Limited = "limited",
    }

    /// What a circuit breaker said.
    pub(super) enum BreakerOutcome {
        /// The call may be made.
        Allowed = "allowed",
        /// It may not.
        Rejected = "rejected",
    }

    /// What a circuit breaker is for.
    pub enum Service {
        /// Accepting messages, while they are not lost.
        Messages = "messages",
        /// Push notifications.
        Push = "push",
    }

    /// How a client says who it is.
    pub enum AuthMethod {
        /// The header `Authorization`.
        Header = "header",
        /// The query's `token`.
        Query = "query",
        /// Not at all.
        None = "none",
    }

    /// How an attempt to say who one is ended.
    pub(super) enum AuthResult {
        /// A session may begin.
        Success = "success",
        /// `auth_token_validations_total` knows why.
        Failure = "failure",
    }

    /// Which way a message goes.
    pub(super) enum Direction {
        /// From a client.
        Inbound = "inbound",
        /// To a client.
        Outbound = "outbound",
    }

    /// A WebSocket message by its im.v1 type.
    pub enum Frame {
        /// From a client: a message for others.
        Send = "send",
        /// From a client: deliveries have arrived.
        Ack = "ack",
        /// From a client: to become a member.
        Join = "join",
        /// From a client: to be one no more.
        Leave = "leave",
        /// From a client: none of these.
        Invalid = "invalid",
        /// To a client: the session has begun.
        Hello = "hello",
        /// To a client: the gateway has taken responsibility.
        Sent = "sent",
        /// To a client: a delivery, also one that is repeated.
        Message = "message",
        /// To a client: it is a member.
        Joined = "joined",
        /// To a client: it is one no more.
        Left = "left",
        /// To a client: a refusal.
        Error = "error",
    }

    /// What a watch over security wants to see.
    pub(super) enum SecurityEvent {
        /// No token, or a bad one.
        AuthFailed = "auth_failed",
        /// Among those: a token that nobody with a key has signed.
        TokenForged = "token_forged",
        /// A TLS handshake that failed.
        TlsFailed = "tls_failed",
        /// More than a rate limit allows.
        RateLimited = "rate_limited",
        /// A head, name or body above its limit.
        TooLarge = "too_large",
        /// A head or message that is not completed in time.
        SlowClient = "slow_client",
        /// Pings or empty fragments without end.
        Flood = "flood",
        /// What breaks HTTP or WebSocket.
        ProtocolViolation = "protocol_violation",
    }

    /// How a push notification ended.
    pub enum PushResult {
        /// The provider has taken it.
        Delivered = "delivered",
        /// The provider does not want it.
        Refused = "refused",
        /// All attempts failed.
        Failed = "failed",
        /// The breaker was open.
        Rejected = "rejected",
        /// Too many waited.
        Dropped = "dropped",
    }

    /// A kind of telemetry that is exported.
    pub enum Signal {
        /// Data points.
        Metrics = "metrics",
        /// Spans.
        Traces = "traces",
        /// Log records.
        Logs = "logs",
    }

    /// Why an attempt to export failed.
    pub enum ExportError {
        /// No connection, or it was cut.
        Connection = "connection",
        /// No answer in time.
        Timeout = "timeout",
        /// The receiver asks for another attempt: 429, 502, 503 or 504.
        Unavailable = "unavailable",
        /// Any other status that is not success.
        Refused = "refused",
        /// Success, with a body that is no OTLP.
        Garbled = "garbled",
    }

    /// What became of a data point, span or log record.
    pub enum Fate {
        /// The receiver has taken it.
        Exported = "exported",
        /// The receiver has taken its request, and not it.
        Rejected = "rejected",
        /// Its request was refused, or all attempts failed.
        Failed = "failed",
        /// Too many waited.
        Dropped = "dropped",
    }
}

impl Frame {
    /// The type of what a client has sent.
    pub(crate) fn of(parsed: &Parsed<'_>) -> Frame {
        match parsed {
            Ok(Request::Send { .. }) => Frame::Send,
            Ok(Request::Ack(_)) => Frame::Ack,
            Ok(Request::Join(_)) => Frame::Join,
            Ok(Request::Leave(_)) => Frame::Leave,
            Err(_) => Frame::Invalid,
        }
    }

    pub(super) fn direction(self) -> Direction {
        match self {
            Frame::Send | Frame::Ack | Frame::Join | Frame::Leave | Frame::Invalid => Direction::Inbound,
            Frame::Hello | Frame::Sent | Frame::Message | Frame::Joined | Frame::Left | Frame::Error => {
                Direction::Outbound
            }
        }
    }
}

impl SecurityEvent {
    /// How bad one of them is by itself.
    pub(super) fn severity(self) -> &'static str {
        match self {
            SecurityEvent::TlsFailed | SecurityEvent::RateLimited | SecurityEvent::TooLarge => "low",
            SecurityEvent::AuthFailed | SecurityEvent::SlowClient | SecurityEvent::ProtocolViolation => {
                "medium"
            }
            SecurityEvent::TokenForged | SecurityEvent::Flood => "high",
        }
    }
}

label_texts! {
    pub(super) TokenError {
        Missing = "missing",
        Malformed = "malformed",
        Algorithm = "algorithm",
        UnknownKey = "unknown_key",
        Signature = "signature",
        Claims = "claims",
        Expired = "expired",
        NotYet = "not_yet",
        Audience = "audience",
        Issuer = "issuer",
        Names = "names",
    }
}

impl LabelValue for Refusal {
    const ALL: &'static [Refusal] = &Refusal::ALL;

    fn text(self) -> &'static str {
        self.code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counters are arrays that the number of a value is an index of.
    #[test]
    fn every_value_has_its_number_and_a_text_of_its_own() {
        fn check<L: LabelValue>(number: fn(L) -> usize) {
            let texts: std::collections::BTreeSet<_> = L::ALL.iter().map(|value| value.text()).collect();
            assert_eq!(texts.len(), L::ALL.len(), "{texts:?}");
            assert!(L::ALL.iter().enumerate().all(|(index, value)| number(*value) == index), "{texts:?}");
        }
        check(|value: TokenError| value as usize);
        check(|value: Refusal| value as usize);
        check(|value: CloseReason| value as usize);
        check(|value: ConnectError| value as usize);
        check(|value: Signal| value as usize);
        check(|value: ExportError| value as usize);
        check(|value: Fate| value as usize);
    }
}
