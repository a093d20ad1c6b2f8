//! A JSON Web Key Set (RFC 7517): the keys of an issuer, several during a rotation.
//!
//! What is of no use here is skipped with the reason, so that an issuer can publish keys for others in the same set.
//! Reasons name the place of a key and never its contents.

use super::keys::{self, Algorithm, Key};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// The usable keys, and what is to be said of the others.
pub(super) fn read(text: &[u8]) -> Result<(Vec<Key>, Vec<String>), String> {
    // Only the place: the parser's own words could quote a key.
    let set: Value = serde_json::from_slice(text)
        .map_err(|error| format!("not JSON at line {}, column {}", error.line(), error.column()))?;
    let Some(entries) = set.get("keys").and_then(Value::as_array) else {
        return Err("no `keys`: a JWKS is {\"keys\": [ … ]}".into());
    };
    let (mut keys, mut warnings) = (Vec::<Key>::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        let mut warn = |text: String| warnings.push(format!("keys[{index}]: {text}"));
        match entry
            .as_object()
            .ok_or_else(|| "not an object".to_owned())
            .and_then(|entry| key(entry, &mut warn))
        {
            Ok(key) if is_taken(&keys, &key) => warn("skipped: an earlier key has the same `kid`".into()),
            Ok(key) => keys.push(key),
            Err(reason) => warn(format!("skipped: {reason}")),
        }
    }
    Ok((keys, warnings))
}

fn is_taken(keys: &[Key], key: &Key) -> bool {
    key.id.is_some() && keys.iter().any(|other| other.id == key.id && other.algorithm() == key.algorithm())
}

fn key(entry: &Object, warn: &mut impl FnMut(String)) -> Result<Key, String> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    if entry.contains_key("use") && text("use") != Some("sig") {
        return Err("its `use` is not `sig`".into());
    }
    if let Some(operations) = entry.get("key_ops") {
        let verify = |operations: &Vec<Value>| operations.iter().any(|operation| operation == "verify");
        if !operations.as_array().is_some_and(verify) {
            return Err("its `key_ops` are without `verify`".into());
        }
    }
    let algorithm = match (text("kty"), text("crv")) {
        (Some("oct"), _) => Algorithm::Hs256,
        (Some("RSA"), _) => Algorithm::Rs256,
        (Some("OKP"), Some("Ed25519")) => Algorithm::EdDsa,
        (Some("OKP"), _) => return Err("its `crv` is not Ed25519".into()),
        (Some(_), _) => return Err("its `kty` is none of oct, RSA and OKP".into()),
        (None, _) => return Err("it has no `kty`".into()),
    };
    if entry.contains_key("alg") && text("alg").and_then(Algorithm::named) != Some(algorithm) {
        return Err(format!("its `alg` is not {algorithm}"));
    }
    if algorithm != Algorithm::Hs256 && entry.contains_key("d") {
        warn("holds a private key; the gateway needs only the public one".into());
    }
    let key = match algorithm {
        Algorithm::Hs256 => {
            let secret = number(entry, "k")?;
            keys::short_secret(&secret).into_iter().for_each(&mut *warn);
            Key::secret(&secret)
        }
        Algorithm::Rs256 => Key::rsa(&number(entry, "n")?, &number(entry, "e")?),
        Algorithm::EdDsa => Key::ed25519(&number(entry, "x")?),
    };
    key.map(|key| key.named(text("kid"))).map_err(|error| error.to_string())
}

fn number(entry: &Object, name: &str) -> Result<Vec<u8>, String> {
    let text = entry.get(name).and_then(Value::as_str).ok_or_else(|| format!("it has no `{name}`"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("its `{name}` is not base64url"))
}
