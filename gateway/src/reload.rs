//! What is read from files at the start, and again on SIGHUP without a connection being dropped.

use crate::auth::source::{self, SourceError};
use crate::auth::{Keys, Policy, Verifier};
use crate::config::{AuthFlags, Flags};
use crate::log::{Event, Logger};
use crate::tls::{Certificate, TlsError};
use rustls::ServerConfig;
use std::sync::Arc;

/// The files, and how they are to be read.
#[derive(Debug)]
pub(crate) struct Reload {
    auth: AuthFlags,
    policy: Policy,
    certificate: Option<Certificate>,
}

impl Reload {
    pub(crate) fn new(flags: &Flags, name_bytes_max: usize) -> Result<Reload, TlsError> {
        let auth = flags.auth.clone();
        let policy = Policy {
            leeway: auth.auth_leeway,
            audience: auth.auth_audience.clone(),
            issuer: auth.auth_issuer.clone(),
            name_bytes_max,
        };
        let certificate = match (&flags.tls_cert, &flags.tls_key) {
            (Some(chain), Some(key)) => Some(Certificate::new(chain.clone(), key.clone())?),
            _ => None,
        };
        Ok(Reload { auth, policy, certificate })
    }

    /// What newcomers are served TLS with, from the files as they are now; `None`: nobody is.
    pub(crate) fn tls(&self) -> Result<Option<Arc<ServerConfig>>, TlsError> {
        self.certificate.as_ref().map(Certificate::load).transpose()
    }

    /// A verifier that accepts no token.
    pub(crate) fn none(&self) -> Verifier {
        Verifier::new(Keys::default(), self.policy.clone())
    }

    /// A verifier with the keys that are in the files now.
    pub(crate) fn keys(&self, logger: &Logger) -> Result<Verifier, SourceError> {
        let loaded = source::load(&self.auth)?;
        for warning in loaded.warnings {
            logger.say(Event::KeyWarning, warning, |record| record);
        }
        Ok(Verifier::new(loaded.keys, self.policy.clone()))
    }
}
