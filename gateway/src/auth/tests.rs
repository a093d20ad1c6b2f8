//! Tokens made by another implementation (jsonwebtoken), and every way we know to cheat with one.

use super::jwks;
use super::keys::KeyError;
use super::*;
use jsonwebtoken::{Algorithm as Alg, EncodingKey, Header as TheirHeader};
use proptest::prelude::*;
use serde_json::{Value, json};

const SECRET: &[u8] = b"0123456789abcdefghijklmnopqrstuv";
const RSA_PUBLIC: &[u8] = include_bytes!("../../tests/keys/rsa2048.pub.pem");
const RSA_PRIVATE: &[u8] = include_bytes!("../../tests/keys/rsa2048.pem");
const RSA_SHORT: &[u8] = include_bytes!("../../tests/keys/rsa1024.pub.pem");
const ED_PUBLIC: &[u8] = include_bytes!("../../tests/keys/ed25519.pub.pem");
const ED_PRIVATE: &[u8] = include_bytes!("../../tests/keys/ed25519.pem");

const NOW_MS: u64 = 1_000_000;

fn policy() -> Policy {
    Policy { leeway: Duration::from_secs(5), audience: None, issuer: None, name_bytes_max: 16 }
}

fn verifier(keys: &[(Option<&str>, &[u8])]) -> Verifier {
    let key = |(id, file): &(Option<&str>, &[u8])| Key::from_file(file, None).unwrap().named(*id);
    Verifier::new(Keys(keys.iter().map(key).collect()), policy())
}

fn body() -> Value {
    json!({ "sub": "al", "device": "phone", "exp": 2000 })
}

fn signed(alg: Alg, kid: Option<&str>, body: &Value) -> String {
    let header = TheirHeader { kid: kid.map(Into::into), ..TheirHeader::new(alg) };
    let key = match alg {
        Alg::RS256 | Alg::RS512 => EncodingKey::from_rsa_pem(RSA_PRIVATE).unwrap(),
        Alg::EdDSA => EncodingKey::from_ed_pem(ED_PRIVATE).unwrap(),
        _ => EncodingKey::from_secret(SECRET),
    };
    jsonwebtoken::encode(&header, body, &key).unwrap()
}

/// A token with any header, signed with HS256.
fn hmac_signed(header: &str, body: &str, secret: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(body));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn check(verifier: &Verifier, token: &str) -> Result<Claims, TokenError> {
    verifier.verify(&token.into(), NOW_MS)
}

fn good() -> Claims {
    Claims { sub: "al".into(), device: "phone".into(), exp: 2000 }
}

#[test]
fn accepts_what_another_implementation_signs() {
    for (alg, key) in [(Alg::HS256, SECRET), (Alg::RS256, RSA_PUBLIC), (Alg::EdDSA, ED_PUBLIC)] {
        let verifier = verifier(&[(None, key)]);
        assert_eq!(check(&verifier, &signed(alg, None, &body())), Ok(good()), "{alg:?}");
        assert_eq!(
            check(&verifier, &signed(alg, Some("any"), &body())),
            Ok(good()),
            "a key file has no name"
        );
        // Signed just as well, and for something else.
        let token = signed(alg, None, &body());
        let (head, _) = token.rsplit_once('.').unwrap();
        let other = signed(alg, None, &json!({ "sub": "bob", "exp": 2000 }));
        let (_, signature) = other.rsplit_once('.').unwrap();
        assert_eq!(check(&verifier, &format!("{head}.{signature}")), Err(TokenError::Signature), "{alg:?}");
    }
    let ours = Signer::new(SECRET).sign(&good()).unwrap();
    assert_eq!(check(&verifier(&[(None, SECRET)]), &ours), Ok(good()));
    assert_eq!(check(&verifier(&[(None, b"another")]), &ours), Err(TokenError::Signature));
}

/// RFC 8037 appendix A.4 and RFC 7515 appendix A.2: the signatures are good, the bodies are not claims of ours.
#[test]
fn the_rfcs_own_examples_pass_the_signature() {
    let (ed, _) = jwks::read(
        br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    )
    .unwrap();
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(check(&Verifier::new(Keys(ed), policy()), token), Err(TokenError::Claims));
    let (rsa, _) = jwks::read(
        br#"{"keys":[{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}]}"#,
    )
    .unwrap();
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    assert_eq!(check(&Verifier::new(Keys(rsa), policy()), token), Err(TokenError::Claims));
    let (tampered, _) = token.rsplit_once('.').unwrap();
    let wrong = format!("{tampered}.AC4hiUPoj9Eetdgtv3hF80EGrhuB");
    let (rsa, _) = jwks::read(br#"{"keys":[]}"#).unwrap();
    assert_eq!(check(&Verifier::new(Keys(rsa), policy()), &wrong), Err(TokenError::Algorithm));
}

#[test]
fn the_key_decides_the_algorithm() {
    let claims = body().to_string();
    let public = |key: &'static [u8]| verifier(&[(Some("1"), key)]);
    for name in ["none", "None", "NONE", "", "HS384", "RS512", "ES256", "hs256"] {
        let unsigned = format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{name}"}}"#)),
            URL_SAFE_NO_PAD.encode(&claims)
        );
        assert_eq!(check(&public(SECRET), &unsigned), Err(TokenError::Algorithm), "{name}");
        assert_eq!(check(&public(RSA_PUBLIC), &unsigned), Err(TokenError::Algorithm), "{name}");
    }
    // The public key as a secret, with and without the line end that a file has.
    for key in [RSA_PUBLIC, ED_PUBLIC] {
        for secret in [key, key.trim_ascii()] {
            let forged = hmac_signed(r#"{"alg":"HS256","kid":"1"}"#, &claims, secret);
            assert_eq!(check(&public(key), &forged), Err(TokenError::Algorithm));
            let both = verifier(&[(Some("1"), key), (None, SECRET)]);
            assert_eq!(check(&both, &forged), Err(TokenError::Signature), "only the secret is for HS256");
            let forged = hmac_signed(r#"{"alg":"RS256","kid":"1"}"#, &claims, secret);
            assert!(check(&both, &forged).is_err());
        }
    }
    // A good signature of the key's kind, under an algorithm that is not the key's.
    let token = signed(Alg::RS512, None, &body());
    assert_eq!(check(&public(RSA_PUBLIC), &token), Err(TokenError::Algorithm));
}

#[test]
fn a_header_brings_no_key_and_nothing_critical() {
    let claims = body().to_string();
    let verifier = verifier(&[(None, SECRET)]);
    let own =
        hmac_signed(r#"{"alg":"HS256","jwk":{"kty":"oct","k":"bXk"},"jku":"http://x/"}"#, &claims, b"my");
    assert_eq!(check(&verifier, &own), Err(TokenError::Signature));
    for header in [
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"typ":"JWT"}"#,
        "[]",
        "",
    ] {
        assert_eq!(
            check(&verifier, &hmac_signed(header, &claims, SECRET)),
            Err(TokenError::Malformed),
            "{header}"
        );
    }
}

#[test]
fn a_token_has_one_spelling() {
    let verifier = verifier(&[(None, SECRET)]);
    let token = hmac_signed(r#"{"alg":"HS256"}"#, &body().to_string(), SECRET);
    assert_eq!(check(&verifier, &token), Ok(good()));
    let (head, signature) = token.rsplit_once('.').unwrap();
    // 32 bytes are 43 characters of which the last has two unused bits; another last character would mean the same bytes.
    let last = signature.as_bytes()[42];
    let twin = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = twin.iter().position(|byte| *byte == last).unwrap();
    let respelled = format!("{head}.{}{}", &signature[..42], char::from(twin[place + 1]));
    for wrong in [
        respelled,
        format!("{token}="),
        format!("{token}.{signature}"),
        format!("{head}.{}", "A".repeat(2000)),
        token.replace('.', ""),
        head.to_owned(),
        ".".into(),
        "..".into(),
        String::new(),
    ] {
        assert_eq!(check(&verifier, &wrong), Err(TokenError::Malformed), "{wrong}");
    }
    assert_eq!(check(&verifier, &format!("{head}.")), Err(TokenError::Signature), "an empty signature");
    assert_eq!(check(&verifier, &format!("{head}.{}", &signature[..40])), Err(TokenError::Signature));
}

#[test]
fn times_are_held_against_the_clock_with_leeway() {
    let verifier = verifier(&[(None, SECRET)]);
    let at = |body: Value, now_ms: u64| {
        verifier
            .verify(&hmac_signed(r#"{"alg":"HS256"}"#, &body.to_string(), SECRET).into(), now_ms)
            .map(drop)
    };
    let exp = |exp: Value| json!({ "sub": "al", "exp": exp });
    assert_eq!(at(exp(json!(1000)), 1_004_999), Ok(()));
    assert_eq!(at(exp(json!(1000)), 1_005_000), Err(TokenError::Expired));
    assert_eq!(at(exp(json!(1000.9)), 1_004_999), Ok(()), "a NumericDate may have a fraction");
    for far in [json!(u64::MAX), json!(1e300), json!(i64::MAX)] {
        assert_eq!(at(exp(far), NOW_MS), Ok(()));
    }
    assert_eq!(at(exp(json!(-1)), NOW_MS), Err(TokenError::Expired));
    for wrong in [json!("2000"), json!(null), json!([2000]), json!(true)] {
        assert_eq!(at(exp(wrong), NOW_MS), Err(TokenError::Claims));
    }
    assert_eq!(at(json!({ "sub": "al" }), NOW_MS), Err(TokenError::Claims), "exp is required");
    for claim in ["nbf", "iat"] {
        let from = |second: u64| json!({ "sub": "al", "exp": 2000, claim: second });
        assert_eq!(at(from(1005), NOW_MS), Ok(()));
        assert_eq!(at(from(1006), NOW_MS), Err(TokenError::NotYet), "{claim}");
        assert_eq!(at(from(u64::MAX), NOW_MS), Err(TokenError::NotYet), "{claim}");
    }
    let end = |exp: u64| verifier.end_ms(&Claims { exp, ..good() });
    assert_eq!((end(1000), end(u64::MAX)), (1_005_000, u64::MAX));
}

#[test]
fn names_audience_and_issuer() {
    let claims = |extra: Value| {
        let mut all = body();
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        hmac_signed(r#"{"alg":"HS256"}"#, &all.to_string(), SECRET)
    };
    let plain = verifier(&[(None, SECRET)]);
    for (extra, expected) in [
        (json!({ "sub": "" }), TokenError::Names),
        (json!({ "sub": "x".repeat(17) }), TokenError::Names),
        (json!({ "device": "" }), TokenError::Names),
        (json!({ "sub": 7 }), TokenError::Claims),
        (json!({ "device": {} }), TokenError::Claims),
    ] {
        assert_eq!(check(&plain, &claims(extra.clone())), Err(expected), "{extra}");
    }
    assert!(check(&plain, &claims(json!({ "aud": "x", "iss": "y" }))).is_ok(), "not asked for");
    let policy = Policy { audience: Some("im".into()), issuer: Some("https://id".into()), ..policy() };
    let strict = Verifier::new(Key::secret(SECRET).unwrap().into(), policy);
    for (extra, expected) in [
        (json!({ "iss": "https://id", "aud": "im" }), Ok(())),
        (json!({ "iss": "https://id", "aud": ["other", "im"] }), Ok(())),
        (json!({ "iss": "https://id", "aud": ["other"] }), Err(TokenError::Audience)),
        (json!({ "iss": "https://id", "aud": { "im": 1 } }), Err(TokenError::Audience)),
        (json!({ "iss": "https://id" }), Err(TokenError::Audience)),
        (json!({ "iss": "https://id.evil", "aud": "im" }), Err(TokenError::Issuer)),
        (json!({ "aud": "im" }), Err(TokenError::Issuer)),
    ] {
        assert_eq!(check(&strict, &claims(extra.clone())).map(drop), expected, "{extra}");
    }
}

#[test]
fn a_key_is_found_by_its_name() {
    let two = verifier(&[(Some("old"), b"another"), (Some("new"), SECRET), (Some("r"), RSA_PUBLIC)]);
    assert_eq!(check(&two, &signed(Alg::HS256, Some("new"), &body())), Ok(good()));
    assert_eq!(check(&two, &signed(Alg::HS256, Some("old"), &body())), Err(TokenError::Signature));
    for (kid, what) in
        [(Some("gone"), "no such key"), (None, "which of the two?"), (Some("r"), "another kind")]
    {
        assert_eq!(check(&two, &signed(Alg::HS256, kid, &body())), Err(TokenError::UnknownKey), "{what}");
    }
    assert_eq!(check(&two, &signed(Alg::RS256, None, &body())), Ok(good()), "the only one that fits");
    assert_eq!(check(&two, &signed(Alg::EdDSA, Some("r"), &body())), Err(TokenError::Algorithm));
}

#[test]
fn key_files_are_what_they_seem_or_refused() {
    let file = |content: &[u8], asked| Key::from_file(content, asked).map(|key| key.algorithm());
    assert_eq!(file(RSA_PUBLIC, None), Ok(Algorithm::Rs256));
    assert_eq!(file(ED_PUBLIC, Some(Algorithm::EdDsa)), Ok(Algorithm::EdDsa));
    assert_eq!(file(b" secret\n", None), Ok(Algorithm::Hs256));
    assert_eq!(file(RSA_SHORT, None), Err(KeyError::RsaBits(1024)));
    assert_eq!(file(b" \n", None), Err(KeyError::Empty));
    assert_eq!(file(b"secret", Some(Algorithm::Rs256)), Err(KeyError::Pem));
    assert_eq!(file(&RSA_PUBLIC[..200], None), Err(KeyError::Pem));
    assert_eq!(file(RSA_PRIVATE, None), Err(KeyError::OtherPem("private key".into())));
    assert_eq!(file(br#"{"keys":[]}"#, None), Err(KeyError::Json));
    let (found, asked) = (Algorithm::Rs256, Algorithm::Hs256);
    assert_eq!(file(RSA_PUBLIC, Some(asked)), Err(KeyError::OtherAlgorithm { found, asked }));
    let modulus = |last: u8| [&[0xC0][..], &[1; 254], &[last]].concat();
    assert!(Key::rsa(&[&[0, 0][..], &modulus(1)].concat(), &[0, 1, 0, 1]).is_ok(), "leading zeros");
    for exponent in [&[][..], &[1], &[2], &[1, 0, 0, 0, 1]] {
        assert_eq!(Key::rsa(&modulus(1), exponent).map(drop), Err(KeyError::RsaExponent), "{exponent:?}");
    }
    assert_eq!(Key::rsa(&[], &[3]).map(drop), Err(KeyError::RsaBits(0)));
}

#[test]
fn a_jwks_gives_what_is_usable_and_says_what_is_not() {
    let k = URL_SAFE_NO_PAD.encode(SECRET);
    let x = URL_SAFE_NO_PAD.encode([7; 32]);
    let set = json!({ "keys": [
        { "kty": "oct", "kid": "a", "k": k, "alg": "HS256", "use": "sig", "key_ops": ["sign", "verify"] },
        { "kty": "oct", "kid": "a", "k": k },
        { "kty": "oct", "kid": "b", "k": k, "use": "enc" },
        { "kty": "oct", "kid": "c", "k": k, "key_ops": ["sign"] },
        { "kty": "oct", "kid": "d", "k": k, "alg": "HS512" },
        { "kty": "EC", "crv": "P-256", "x": x, "y": x },
        { "kty": "OKP", "crv": "X25519", "x": x },
        { "kty": "OKP", "crv": "Ed25519", "x": x, "alg": "Ed25519" },
        { "kty": "OKP", "crv": "Ed25519", "x": "AAAA" },
        { "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xFF; 128]), "e": "AQAB" },
        { "kty": "RSA", "n": "+/==", "e": "AQAB" },
        { "kty": "RSA", "e": "AQAB" },
        { "kid": "e" },
        7,
        { "kty": "oct", "k": "c2hvcnQ" },
        { "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "private", "d": x },
    ] });
    let (keys, warnings) = jwks::read(set.to_string().as_bytes()).unwrap();
    let ids: Vec<_> = keys.iter().map(|key| (key.id.as_deref(), key.algorithm())).collect();
    let expected = [
        (Some("a"), Algorithm::Hs256),
        (None, Algorithm::EdDsa),
        (None, Algorithm::Hs256),
        (Some("private"), Algorithm::EdDsa),
    ];
    assert_eq!(ids, expected);
    let places: Vec<_> = warnings.iter().map(|warning| warning.split(':').next().unwrap()).collect();
    let expected = [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15].map(|index| format!("keys[{index}]"));
    assert_eq!(places, expected, "{warnings:#?}");
    assert!(warnings.iter().all(|warning| !warning.contains(&k) && !warning.contains("c2hvcnQ")));
    for wrong in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[{"k":"hidden"]}"#] {
        let reason = jwks::read(wrong.as_bytes()).unwrap_err();
        assert!(!reason.contains("hidden"), "{reason}");
    }
}

#[test]
fn nothing_shows_a_token_or_a_key() {
    let verifier = verifier(&[(Some("1"), SECRET)]);
    let token = Token::from("head.body.signature");
    let shown = format!("{token:?} {verifier:?} {:?} {:?}", Signer::new(SECRET), Key::secret(SECRET));
    assert!(!shown.contains("body") && !shown.contains("0123") && !shown.contains("48, 49"), "{shown}");
}

proptest! {
    #[test]
    fn never_panics(token in "\\PC{0,80}", header in "\\PC{0,40}", body in "\\PC{0,80}") {
        let verifier = verifier(&[(None, SECRET)]);
        prop_assert!(check(&verifier, &token).is_err());
        prop_assert!(check(&verifier, &hmac_signed(&header, &body, SECRET)).is_err());
        let signed = hmac_signed(r#"{"alg":"HS256"}"#, &body, SECRET);
        prop_assert!(check(&verifier, &signed).is_err());
    }

    /// Any changed character is noticed.
    #[test]
    fn no_changed_token_is_accepted(place in 0usize..120, with in "[A-Za-z0-9_-]") {
        let verifier = verifier(&[(None, SECRET)]);
        let token = hmac_signed(r#"{"alg":"HS256"}"#, &body().to_string(), SECRET);
        let place = place % token.len();
        let changed = format!("{}{with}{}", &token[..place], &token[place + 1..]);
        prop_assume!(changed != token);
        prop_assert!(check(&verifier, &changed).is_err());
    }
}
