//! The certificate that the gateway shows. Read by the edge at the start and again on SIGHUP; shards open no file.

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::{InconsistentKeys, ServerConfig};
use std::path::PathBuf;
use std::sync::Arc;

/// The one protocol spoken here. A client that offers others only is refused with no_application_protocol.
const PROTOCOL: &[u8] = b"http/1.1";

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read, or is no PEM.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, #[source] pem::Error),
    /// A chain of nothing.
    #[error("{0} holds no certificate in PEM")]
    NoCertificate(PathBuf),
    /// Two files that do not belong together.
    #[error("the key in {key} is not that of the first certificate in {chain}")]
    Mismatch {
        /// File of the certificates.
        chain: PathBuf,
        /// File of the key.
        key: PathBuf,
    },
    /// A certificate or key that cannot be used.
    #[error("cannot serve TLS with {0}: {1}")]
    Unusable(PathBuf, #[source] rustls::Error),
    /// No random numbers.
    #[error("cannot make keys for session tickets: {0}")]
    Tickets(#[source] rustls::Error),
}

/// The files of a certificate, and what outlives their contents.
#[derive(Debug)]
pub(crate) struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    /// Sessions are resumed by tickets that the client keeps: nothing per session is kept here, and a new certificate does
    /// not send all clients through full handshakes at once.
    tickets: Arc<dyn ProducesTickets>,
}

impl Certificate {
    pub(crate) fn new(chain: PathBuf, key: PathBuf) -> Result<Certificate, TlsError> {
        let tickets = ring::Ticketer::new().map_err(TlsError::Tickets)?;
        Ok(Certificate { chain, key, tickets })
    }

    /// What the files hold now.
    pub(crate) fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = CertificateDer::pem_file_iter(&self.chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| TlsError::Unreadable(self.chain.clone(), error))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate(self.chain.clone()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| TlsError::Unreadable(self.key.clone(), error))?;
        let unusable = |error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { chain: self.chain.clone(), key: self.key.clone() }
            }
            error => TlsError::Unusable(self.chain.clone(), error),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(unusable)?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.ticketer = Arc::clone(&self.tickets);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // One ticket for the one connection that a client opens after this one.
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }
}
