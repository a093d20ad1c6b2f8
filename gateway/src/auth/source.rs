//! Where the keys come from. Read by the edge at the start and again on SIGHUP; shards open no file.

use super::keys::{self, Key, KeyError, Keys};
use super::{Algorithm, jwks};
use crate::config::AuthFlags;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Longest key or JWKS file that is read, bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing was named.
    #[error("no key for tokens: give --auth-key-file FILE or --auth-jwks-file FILE, or set GATEWAY_AUTH_KEY")]
    None,
    /// The key from the environment.
    #[error("cannot use the key in GATEWAY_AUTH_KEY: {0}")]
    Given(#[source] KeyError),
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, #[source] io::Error),
    /// A key file without a key.
    #[error("cannot use the key in {0}: {1}")]
    KeyFile(PathBuf, #[source] KeyError),
    /// A JWKS file that is none.
    #[error("cannot use the keys in {0}: {1}")]
    Jwks(PathBuf, String),
    /// A JWKS of which nothing can be used.
    #[error("{0} holds no key for HS256, RS256 or EdDSA{1}")]
    NoneUsable(PathBuf, String),
}

/// The keys, and what the operator should know of them.
#[derive(Debug)]
pub struct Loaded {
    /// At least one.
    pub keys: Keys,
    /// Sentences without any secret in them.
    pub warnings: Vec<String>,
}

/// Reads all keys that `flags` name.
pub fn load(flags: &AuthFlags) -> Result<Loaded, SourceError> {
    let (mut found, mut warnings) = (Vec::new(), Vec::new());
    if let Some(given) = flags.auth_key.as_ref().filter(|given| !given.text().is_empty()) {
        let given = given.text().as_bytes();
        found.push(one(given, flags.auth_algorithm, &mut warnings).map_err(SourceError::Given)?);
    }
    if let Some(path) = &flags.auth_key_file {
        let key = one(&read(path)?, flags.auth_algorithm, &mut warnings);
        found.push(key.map_err(|error| SourceError::KeyFile(path.clone(), error))?);
    }
    if let Some(path) = &flags.auth_jwks_file {
        let (keys, skipped) =
            jwks::read(&read(path)?).map_err(|reason| SourceError::Jwks(path.clone(), reason))?;
        if keys.is_empty() {
            let reasons: String = skipped.iter().map(|reason| format!("; {reason}")).collect();
            return Err(SourceError::NoneUsable(path.clone(), reasons));
        }
        found.extend(keys);
        warnings.extend(skipped.into_iter().map(|reason| format!("{}: {reason}", path.display())));
    }
    if found.is_empty() { Err(SourceError::None) } else { Ok(Loaded { keys: Keys(found), warnings }) }
}

fn one(content: &[u8], asked: Option<Algorithm>, warnings: &mut Vec<String>) -> Result<Key, KeyError> {
    let key = Key::from_file(content, asked)?;
    if key.algorithm() == Algorithm::Hs256 {
        warnings.extend(keys::short_secret(content.trim_ascii()));
    }
    Ok(key)
}

fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content));
    match read {
        Ok(bytes) if bytes as u64 <= FILE_BYTES_MAX => Ok(content),
        Ok(_) => Err(SourceError::Unreadable(path.into(), io::Error::other("it is longer than 1 MiB"))),
        Err(error) => Err(SourceError::Unreadable(path.into(), error)),
    }
}
