//! Public keys as `openssl pkey -pubout` writes them: PEM around a SubjectPublicKeyInfo (RFC 5280, RFC 8017, RFC 8410).
//!
//! Reads just the two kinds that sign tokens here. DER only: one way to write each length, nothing left over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT: u8 = 0x06;
const NULL: u8 = 0x05;
/// 1.2.840.113549.1.1.1
const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
/// 1.3.101.112
const ED25519: &[u8] = &[0x2B, 0x65, 0x70];

/// A public key's numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa(Vec<u8>, Vec<u8>),
    /// The point, 32 bytes.
    Ed25519(Vec<u8>),
}

/// What a PEM file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pem {
    /// A public key.
    Public(PublicKey),
    /// A block of another kind: its label.
    Other(String),
    /// Nothing that can be read.
    Broken,
}

/// Whether `text` is meant to be PEM.
pub(super) fn is_pem(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"-----BEGIN ")
}

/// Reads the only block of a PEM file.
pub(super) fn read_pem(text: &[u8]) -> Pem {
    match block(text) {
        Some(("PUBLIC KEY", der)) => subject_public_key(&der).map_or(Pem::Broken, Pem::Public),
        Some(("RSA PUBLIC KEY", der)) => rsa_public_key(&der).map_or(Pem::Broken, Pem::Public),
        Some((label, _)) => Pem::Other(label.to_owned()),
        None => Pem::Broken,
    }
}

fn block(text: &[u8]) -> Option<(&str, Vec<u8>)> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let (label, rest) = text.strip_prefix("-----BEGIN ")?.split_once("-----")?;
    let body = rest.strip_suffix("-----")?.strip_suffix(label)?.strip_suffix("-----END ")?;
    let body: String = body.split_ascii_whitespace().collect();
    // A second block would leave its dashes here.
    Some((label, STANDARD.decode(body).ok()?))
}

fn subject_public_key(der: &[u8]) -> Option<PublicKey> {
    let info = only(SEQUENCE, der)?;
    let (algorithm, rest) = value(SEQUENCE, info)?;
    let (object, parameters) = value(OBJECT, algorithm)?;
    // The first byte counts the unused bits, and keys are whole bytes.
    let key = only(BIT_STRING, rest)?.strip_prefix(&[0])?;
    match object {
        RSA if only(NULL, parameters) == Some(&[]) => rsa_public_key(key),
        ED25519 if parameters.is_empty() && key.len() == 32 => Some(PublicKey::Ed25519(key.to_vec())),
        _ => None,
    }
}

fn rsa_public_key(der: &[u8]) -> Option<PublicKey> {
    let numbers = only(SEQUENCE, der)?;
    let (modulus, rest) = value(INTEGER, numbers)?;
    let exponent = only(INTEGER, rest)?;
    Some(PublicKey::Rsa(positive(modulus)?, positive(exponent)?))
}

/// A DER integer above zero, without the zero that keeps its sign bit clear.
fn positive(integer: &[u8]) -> Option<Vec<u8>> {
    match integer {
        [0, rest @ ..] if rest.first().is_some_and(|first| *first >= 0x80) => Some(rest.to_vec()),
        [1..=0x7F, ..] => Some(integer.to_vec()),
        _ => None,
    }
}

/// The value of an element that is all of `der`.
fn only(tag: u8, der: &[u8]) -> Option<&[u8]> {
    value(tag, der).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}

/// The value of the first element, and what follows it.
fn value(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der {
        [first, length @ 0..=0x7F, rest @ ..] if *first == tag => (usize::from(*length), rest),
        [first, 0x81, length @ 0x80..=0xFF, rest @ ..] if *first == tag => (usize::from(*length), rest),
        [first, 0x82, high @ 1..=0xFF, low, rest @ ..] if *first == tag => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_openssl_writes() {
        let ed25519 = include_bytes!("../../tests/keys/ed25519.pub.pem");
        assert!(matches!(read_pem(ed25519), Pem::Public(PublicKey::Ed25519(point)) if point.len() == 32));
        let rsa = include_bytes!("../../tests/keys/rsa2048.pub.pem");
        let Pem::Public(PublicKey::Rsa(modulus, exponent)) = read_pem(rsa) else { panic!("no RSA key") };
        assert_eq!((modulus.len(), &*exponent), (256, &[1, 0, 1][..]));
        let private = include_bytes!("../../tests/keys/ed25519.pem");
        assert_eq!(read_pem(private), Pem::Other("PRIVATE KEY".into()));
    }

    #[test]
    fn every_shortened_or_lengthened_key_is_refused() {
        let (_, der) = block(include_bytes!("../../tests/keys/rsa2048.pub.pem")).unwrap();
        assert!(subject_public_key(&der).is_some());
        for end in 0..der.len() {
            assert_eq!(subject_public_key(&der[..end]), None, "{end} bytes");
        }
        assert_eq!(subject_public_key(&[&der[..], &[0]].concat()), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_pem(&bytes);
            let _ = subject_public_key(&bytes);
            let _ = rsa_public_key(&bytes);
        }
    }
}
