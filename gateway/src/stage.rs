//! How far the end of a gateway is.

/// The stages of a gateway's life, each after those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Nobody has asked for its end.
    Serving,
    /// Newcomers should look elsewhere, and are served all the same.
    Leaving,
    /// No new work is taken.
    Draining,
    /// All sessions are closed; one that begins now begins too late.
    Closing,
}

impl Stage {
    /// What `/ready` says for it; `None`: nothing, for it is no reason against newcomers.
    pub(crate) fn why_not_ready(self) -> Option<&'static str> {
        match self {
            Stage::Serving => None,
            Stage::Leaving => Some("leaving\n"),
            Stage::Draining | Stage::Closing => Some("draining\n"),
        }
    }
}
