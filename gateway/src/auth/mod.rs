//! Who a client is: a JWT whose `sub` is the user and `device` the device.
//!
//! The key decides the algorithm; what the token's header says is only compared with it, so a token can choose neither `none`
//! nor to be checked with a public key as if that were a secret. The clock is an argument, so that virtual time can expire
//! tokens. A token is never shown: not in an error, a log, a metric or a `Debug` form.

mod jwks;
mod keys;
pub mod source;
mod spki;
#[cfg(test)]
mod tests;

pub use keys::{Algorithm, Key, Keys};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Longest signature, bytes: RSA with 8192 bits.
const SIGNATURE_BYTES_MAX: usize = 1024;

/// A token as it was received.
pub struct Token<'a>(Cow<'a, str>);

impl<'a, T: Into<Cow<'a, str>>> From<T> for Token<'a> {
    fn from(text: T) -> Token<'a> {
        Token(text.into())
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// The user.
    pub sub: String,
    /// The device; `default` where the issuer names none.
    pub device: String,
    /// End of validity, seconds since the Unix epoch.
    pub exp: u64,
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Neither an Authorization header nor `?token=`.
    #[error("no token: send `Authorization: Bearer …` or `?token=`")]
    Missing,
    /// Not three parts of base64url, or a header that cannot be understood.
    #[error("the token is not a signed JWT")]
    Malformed,
    /// `alg` is of no key here.
    #[error("the token's algorithm is not one this gateway has a key for")]
    Algorithm,
    /// `kid` names no key here, or is missing where there are several.
    #[error("the token's key is not one this gateway knows")]
    UnknownKey,
    /// The signature does not fit the key.
    #[error("the token's signature is wrong")]
    Signature,
    /// A claim is missing or not of its type.
    #[error("the token must say `sub` (a string) and `exp` (seconds since 1970)")]
    Claims,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("the token is not valid yet")]
    NotYet,
    /// Not issued for us.
    #[error("the token is for another audience")]
    Audience,
    /// Not issued by whom we trust.
    #[error("the token is from another issuer")]
    Issuer,
    /// `sub` or `device` is empty or too long.
    #[error("the token names no usable user and device")]
    Names,
}

/// What is asked of tokens beside a good signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Tolerated difference between the issuer's clock and ours.
    pub leeway: Duration,
    /// Must be among the token's `aud`, if given.
    pub audience: Option<String>,
    /// Must be the token's `iss`, if given.
    pub issuer: Option<String>,
    /// Longest user or device, bytes.
    pub name_bytes_max: usize,
}

/// Checks tokens. A clone shares the keys.
#[derive(Debug, Clone)]
pub struct Verifier(Arc<(Keys, Policy)>);

impl Verifier {
    /// Accepts tokens signed with one of `keys` that satisfy `policy`.
    pub fn new(keys: Keys, policy: Policy) -> Verifier {
        Verifier(Arc::new((keys, policy)))
    }

    /// The claims of a good token at `now_ms` since the Unix epoch.
    pub fn verify(&self, token: &Token<'_>, now_ms: u64) -> Result<Claims, TokenError> {
        let (keys, policy) = &*self.0;
        let token = token.0.trim();
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let parts = signed.split_once('.').filter(|(_, body)| !body.contains('.'));
        let (header, body) = parts.ok_or(TokenError::Malformed)?;
        let header = decode(header)?;
        let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
        // What is marked critical must be understood, and we understand none of it.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let key = keys.find(&header.alg, header.kid.as_deref())?;
        let mut bytes = [0; SIGNATURE_BYTES_MAX];
        let length =
            URL_SAFE_NO_PAD.decode_slice(signature, &mut bytes).map_err(|_| TokenError::Malformed)?;
        if !key.verifies(signed.as_bytes(), &bytes[..length]) {
            return Err(TokenError::Signature);
        }
        let body = decode(body)?;
        let body: Body<'_> = serde_json::from_slice(&body).map_err(|_| TokenError::Claims)?;
        body.check(policy, now_ms)
    }

    /// When a session with these claims ends, milliseconds since the Unix epoch: `exp` and the leeway.
    pub fn end_ms(&self, claims: &Claims) -> u64 {
        end_ms(claims.exp, &self.0.1)
    }
}

fn end_ms(exp: u64, policy: &Policy) -> u64 {
    exp.saturating_mul(1000).saturating_add(milliseconds(policy.leeway))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Body<'a> {
    sub: String,
    device: Option<String>,
    #[serde(deserialize_with = "seconds")]
    exp: u64,
    #[serde(default, deserialize_with = "seconds")]
    nbf: u64,
    #[serde(default, deserialize_with = "seconds")]
    iat: u64,
    iss: Option<String>,
    /// One string or several; read only where an audience is asked for.
    #[serde(borrow)]
    aud: Option<&'a RawValue>,
}

impl Body<'_> {
    fn check(self, policy: &Policy, now_ms: u64) -> Result<Claims, TokenError> {
        if end_ms(self.exp, policy) <= now_ms {
            return Err(TokenError::Expired);
        }
        let latest_ms = now_ms.saturating_add(milliseconds(policy.leeway));
        if self.nbf.max(self.iat).saturating_mul(1000) > latest_ms {
            return Err(TokenError::NotYet);
        }
        if policy.issuer.is_some() && self.iss != policy.issuer {
            return Err(TokenError::Issuer);
        }
        if let Some(audience) = &policy.audience
            && !self.is_for(audience)
        {
            return Err(TokenError::Audience);
        }
        let claims =
            Claims { sub: self.sub, device: self.device.unwrap_or_else(|| "default".into()), exp: self.exp };
        let usable = |name: &str| !name.is_empty() && name.len() <= policy.name_bytes_max;
        if usable(&claims.sub) && usable(&claims.device) { Ok(claims) } else { Err(TokenError::Names) }
    }

    fn is_for(&self, audience: &str) -> bool {
        let Some(aud) = self.aud.map(RawValue::get) else { return false };
        serde_json::from_str::<String>(aud).is_ok_and(|one| one == audience)
            || serde_json::from_str::<Vec<String>>(aud).is_ok_and(|all| all.iter().any(|one| one == audience))
    }
}

/// A JWT's NumericDate, which may have a fraction, as whole seconds. What lies before 1970 is 1970.
fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    struct Seconds;
    impl serde::de::Visitor<'_> for Seconds {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("seconds since 1970")
        }

        fn visit_u64<E>(self, seconds: u64) -> Result<u64, E> {
            Ok(seconds)
        }

        fn visit_i64<E>(self, seconds: i64) -> Result<u64, E> {
            Ok(u64::try_from(seconds).unwrap_or(0))
        }

        fn visit_f64<E>(self, seconds: f64) -> Result<u64, E> {
            // The cast saturates at both ends.
            Ok(seconds as u64)
        }
    }
    from.deserialize_any(Seconds)
}

/// Signs tokens with HS256, for clients that hold the key.
pub struct Signer(hmac::Key);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(HS256)")
    }
}

impl Signer {
    /// Signs with `key`.
    pub fn new(key: &[u8]) -> Signer {
        Signer(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The token that says `claims`.
    pub fn sign(&self, claims: &Claims) -> Result<String, serde_json::Error> {
        let mut token = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
        let signature = hmac::sign(&self.0, token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}
