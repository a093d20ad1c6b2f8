//! Who a client is: a JWT (HS256) whose `sub` is the user and `device` the device.
//!
//! The clock is an argument, so that virtual time can expire tokens; tokens are never logged.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// Tolerated difference between the issuer's clock and ours, seconds.
const LEEWAY_SECONDS: u64 = 60;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user.
    pub sub: String,
    /// The device; `default` where the issuer names none.
    #[serde(default = "default_device")]
    pub device: String,
    /// End of validity, seconds since the Unix epoch.
    pub exp: u64,
}

fn default_device() -> String {
    "default".into()
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Neither an Authorization header nor `?token=`.
    #[error("no token: send `Authorization: Bearer …` or `?token=`")]
    Missing,
    /// Not a JWT, another algorithm, or a wrong signature.
    #[error("the token is not one this gateway accepts")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// `sub` or `device` is empty or too long.
    #[error("the token names no usable user and device")]
    Names,
}

/// Checks tokens.
#[derive(Clone)]
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
    name_bytes_max: usize,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(HS256)")
    }
}

impl Verifier {
    /// Accepts tokens signed with `key`, naming users and devices of at most `name_bytes_max` bytes.
    pub fn new(key: &[u8], name_bytes_max: usize) -> Verifier {
        let mut validation = Validation::new(Algorithm::HS256);
        // The library would ask the system's clock; expiry is checked below against the time we are told.
        validation.validate_exp = false;
        Verifier { key: DecodingKey::from_secret(key), validation, name_bytes_max }
    }

    /// The claims of a good token at `now_seconds` since the Unix epoch.
    pub fn verify(&self, token: &str, now_seconds: u64) -> Result<Claims, TokenError> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        let claims = decoded.map_err(|_| TokenError::Invalid)?.claims;
        if claims.exp.saturating_add(LEEWAY_SECONDS) < now_seconds {
            return Err(TokenError::Expired);
        }
        let usable = |name: &str| !name.is_empty() && name.len() <= self.name_bytes_max;
        if usable(&claims.sub) && usable(&claims.device) { Ok(claims) } else { Err(TokenError::Names) }
    }
}

/// Signs tokens, for clients that hold the key.
pub struct Signer(EncodingKey);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(HS256)")
    }
}

impl Signer {
    /// Signs with `key`.
    pub fn new(key: &[u8]) -> Signer {
        Signer(EncodingKey::from_secret(key))
    }

    /// The token that says `claims`.
    pub fn sign(&self, claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims { sub: "al".into(), device: "phone".into(), exp: 1000 }
    }

    #[test]
    fn accepts_good_tokens_only() {
        let verifier = Verifier::new(b"key", 16);
        let token = Signer::new(b"key").sign(&claims()).unwrap();
        assert_eq!(verifier.verify(&token, 1000), Ok(claims()));
        assert_eq!(verifier.verify(&token, 1060), Ok(claims()), "within the leeway");
        assert_eq!(verifier.verify(&token, 1061), Err(TokenError::Expired));
        let other = Signer::new(b"other").sign(&claims()).unwrap();
        assert_eq!(verifier.verify(&other, 0), Err(TokenError::Invalid));
        let long = Signer::new(b"key").sign(&Claims { sub: "x".repeat(17), ..claims() }).unwrap();
        assert_eq!(verifier.verify(&long, 0), Err(TokenError::Names));
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbCIsImV4cCI6MTAwMH0.";
        assert_eq!(verifier.verify(unsigned, 0), Err(TokenError::Invalid));
    }
}
