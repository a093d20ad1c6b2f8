//! The keys that tokens may be signed with. Each has one algorithm, its own.

use super::TokenError;
use super::spki::{self, Pem, PublicKey};
use ring::{hmac, signature};
use std::fmt;

/// Least modulus of an RSA key, bits.
const RSA_BITS_MIN: usize = 2048;
/// Largest modulus of an RSA key, bits.
const RSA_BITS_MAX: usize = 8192;
/// RFC 7518 section 3.2: a key of the size of the hash, or larger, must be used.
const SECRET_BYTES_ADVISED: usize = 32;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Algorithm {
    /// HMAC with SHA-256: whoever can check a token can make one.
    #[value(name = "HS256")]
    Hs256,
    /// RSA PKCS #1 v1.5 with SHA-256.
    #[value(name = "RS256")]
    Rs256,
    /// Ed25519.
    #[value(name = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// By its name in a token or a JWK. RFC 9864 renames EdDSA with this curve to Ed25519; both are in use.
    pub(super) fn named(name: &str) -> Option<Algorithm> {
        match name {
            "HS256" => Some(Algorithm::Hs256),
            "RS256" => Some(Algorithm::Rs256),
            "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::EdDsa => "EdDSA",
        })
    }
}

/// Why something is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// PEM that is not understood.
    #[error(
        "it is neither an RSA nor an Ed25519 public key in PEM; `openssl pkey -pubin -text -noout -in FILE` shows what it is"
    )]
    Pem,
    /// A private key, a certificate …
    #[error("it holds a {0}; only the public key is needed: `openssl pkey -in FILE -pubout` writes it")]
    OtherPem(String),
    /// JSON given as a key.
    #[error("it is JSON; give a JWKS with --auth-jwks-file")]
    Json,
    /// Another algorithm was asked for.
    #[error("it is a key for {found}, and --auth-algorithm says {asked}")]
    OtherAlgorithm {
        /// What it is for.
        found: Algorithm,
        /// What was asked for.
        asked: Algorithm,
    },
    /// RSA below 2048 bits, or beyond 8192.
    #[error("its RSA modulus has {0} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} are accepted")]
    RsaBits(usize),
    /// An exponent that is even, 1, or longer than 32 bits.
    #[error("its RSA exponent is unusable")]
    RsaExponent,
    /// Not 32 bytes.
    #[error("an Ed25519 key has 32 bytes, this one {0}")]
    Ed25519Bytes(usize),
}

/// A key and its name.
#[derive(Clone)]
pub struct Key {
    pub(super) id: Option<Box<str>>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Hs256(hmac::Key),
    Rs256(signature::RsaPublicKeyComponents<Box<[u8]>>),
    EdDsa(signature::UnparsedPublicKey<Box<[u8]>>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {:?})", self.algorithm(), self.id)
    }
}

impl Key {
    /// An HS256 key without a name.
    pub fn secret(secret: &[u8]) -> Result<Key, KeyError> {
        if secret.is_empty() {
            return Err(KeyError::Empty);
        }
        Ok(Key { id: None, material: Material::Hs256(hmac::Key::new(hmac::HMAC_SHA256, secret)) })
    }

    /// An RS256 key without a name, from its big-endian numbers.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Key, KeyError> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
            return Err(KeyError::RsaBits(bits));
        }
        let is_odd = exponent.last().is_some_and(|last| last % 2 == 1);
        if !is_odd || exponent == [1] || exponent.len() > 4 {
            return Err(KeyError::RsaExponent);
        }
        let components = signature::RsaPublicKeyComponents { n: modulus.into(), e: exponent.into() };
        Ok(Key { id: None, material: Material::Rs256(components) })
    }

    /// An EdDSA key without a name.
    pub(super) fn ed25519(point: &[u8]) -> Result<Key, KeyError> {
        if point.len() != signature::ED25519_PUBLIC_KEY_LEN {
            return Err(KeyError::Ed25519Bytes(point.len()));
        }
        let key = signature::UnparsedPublicKey::new(&signature::ED25519, point.into());
        Ok(Key { id: None, material: Material::EdDsa(key) })
    }

    /// What a key file holds: a public key in PEM, or else an HS256 secret, white space around it not counted.
    pub fn from_file(content: &[u8], asked: Option<Algorithm>) -> Result<Key, KeyError> {
        let content = content.trim_ascii();
        let key = if spki::is_pem(content) {
            match spki::read_pem(content) {
                Pem::Public(PublicKey::Rsa(modulus, exponent)) => Key::rsa(&modulus, &exponent)?,
                Pem::Public(PublicKey::Ed25519(point)) => Key::ed25519(&point)?,
                Pem::Other(label) => return Err(KeyError::OtherPem(label.to_lowercase())),
                Pem::Broken => return Err(KeyError::Pem),
            }
        } else if matches!(asked, Some(Algorithm::Rs256 | Algorithm::EdDsa)) {
            return Err(KeyError::Pem);
        } else if serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(content).is_ok() {
            return Err(KeyError::Json);
        } else {
            Key::secret(content)?
        };
        match asked {
            // Above all: a public key must never serve as a secret.
            Some(asked) if asked != key.algorithm() => {
                Err(KeyError::OtherAlgorithm { found: key.algorithm(), asked })
            }
            _ => Ok(key),
        }
    }

    /// The same key under a name.
    pub(super) fn named(self, id: Option<&str>) -> Key {
        Key { id: id.map(Into::into), ..self }
    }

    /// The one algorithm that this key is for.
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Hs256(_) => Algorithm::Hs256,
            Material::Rs256(_) => Algorithm::Rs256,
            Material::EdDsa(_) => Algorithm::EdDsa,
        }
    }

    /// Whether `signature` is this key's under `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Hs256(key) => hmac::verify(key, message, signature).is_ok(),
            Material::Rs256(key) => {
                key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            Material::EdDsa(key) => key.verify(message, signature).is_ok(),
        }
    }
}

/// What to tell the operator of a secret as short as this; nothing if it is long enough.
pub(super) fn short_secret(secret: &[u8]) -> Option<String> {
    let bytes = secret.len();
    (bytes < SECRET_BYTES_ADVISED).then(|| {
        format!("the HS256 key has {bytes} bytes and could be guessed; RFC 7518 asks for at least {SECRET_BYTES_ADVISED}")
    })
}

fn without_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().position(|byte| *byte != 0).unwrap_or(number.len())..]
}

/// All keys that tokens may be signed with.
#[derive(Debug, Clone, Default)]
pub struct Keys(pub(super) Vec<Key>);

impl From<Key> for Keys {
    fn from(key: Key) -> Keys {
        Keys(vec![key])
    }
}

impl Keys {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key for a token with this header: the one named `kid`, else the only one of `alg` that could be meant.
    ///
    /// A key without a name (from a key file) could be meant by any `kid`; a token without `kid` could mean any key.
    pub(super) fn find(&self, alg: &str, kid: Option<&str>) -> Result<&Key, TokenError> {
        let algorithm = Algorithm::named(alg).ok_or(TokenError::Algorithm)?;
        let fitting = || self.0.iter().filter(|key| key.algorithm() == algorithm);
        if fitting().next().is_none() {
            return Err(TokenError::Algorithm);
        }
        if let Some(named) = fitting().find(|key| kid.is_some() && key.id.as_deref() == kid) {
            return Ok(named);
        }
        let mut possible = fitting().filter(|key| kid.is_none() || key.id.is_none());
        match (possible.next(), possible.next()) {
            (Some(key), None) => Ok(key),
            _ => Err(TokenError::UnknownKey),
        }
    }
}
