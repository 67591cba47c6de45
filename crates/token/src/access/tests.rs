//! What an edge believes of tokens: every attack is refused in both profiles, and the generic one
//! is lenient exactly where it says so.

use serde_json::{Value, json};

use super::*;
use crate::testing::{ALL, AUDIENCE, Forge, ISSUER, NOW, claims, negate_s};
use crate::{Jwks, base64url};

fn verifier(profile: Profile) -> AccessVerifier {
    AccessVerifier {
        issuer: ISSUER.into(),
        profile,
        algorithms: ALL.to_vec(),
        skew: Skew::DEFAULT,
        roles_claim: "roles".into(),
        others: Vec::new(),
    }
}

/// The forge's keys as an issuer of this profile publishes them.
fn keys(forge: &Forge, profile: Profile) -> KeySet {
    let document = Jwks::new(vec![forge.key.public_jwk().clone()]).expect("one key");
    let document = document.to_json();
    KeySet::from_jwks(&Jwks::parse_as(&document, profile).expect("our own document"))
}

fn read(forge: &Forge, profile: Profile, token: &str) -> Result<AccessToken, VerifyError> {
    verifier(profile).verify(token, &keys(forge, profile), NOW)
}

#[test]
fn our_own_tokens_are_read_in_both_profiles() {
    for algorithm in ALL {
        let forge = Forge::new(algorithm);
        let ours = read(&forge, Profile::Portcullis, &forge.valid()).expect("valid");
        assert_eq!(ours.claims, AccessClaims::Portcullis(claims()));
        assert_eq!(ours.kid, forge.key.kid());
        let generic = read(&forge, Profile::Generic, &forge.valid()).expect("valid");
        for token in [&ours.claims, &generic.claims] {
            assert_eq!(token.subject(), "user-1");
            assert_eq!(token.roles(), ["admin", "auditor"]);
            assert_eq!(token.scope(), Some("openid profile"));
            assert_eq!(token.session(), Some("session-1"));
            assert_eq!(token.client(), Some("web"));
            assert!(token.is_for(AUDIENCE));
            assert!(!token.is_for("https://api.example.com/"));
        }
    }
}

#[test]
fn generic_tokens_need_less_and_nothing_malformed() {
    let forge = Forge::new(Algorithm::Es256);
    let read = |token: &str| read(&forge, Profile::Generic, token);
    for name in ["jti", "client_id", "sid", "iat", "nbf", "roles", "scope"] {
        read(&forge.with_claim(name, None)).unwrap_or_else(|error| panic!("no {name}: {error}"));
        for wrong in [json!({}), json!(1.5), json!([1]), Value::Null, json!(true)] {
            let token = forge.with_claim(name, Some(wrong.clone()));
            assert!(read(&token).is_err(), "{name}: {wrong}");
        }
    }
    for name in ["iss", "sub", "aud", "exp"] {
        assert!(read(&forge.with_claim(name, None)).is_err(), "no {name}");
    }
    for (name, wrong) in [
        ("aud", json!([])),
        ("exp", json!("1900000000")),
        ("exp", json!(1.9e9)),
        ("sub", json!("")),
        ("sub", json!("a\nb")),
        ("nbf", json!(NOW + 3600)),
        ("iat", json!(NOW + 3600)),
        ("exp", json!(NOW - 31)),
        ("iss", json!("https://auth.example.com/")),
    ] {
        let token = forge.with_claim(name, Some(wrong.clone()));
        assert!(read(&token).is_err(), "{name}: {wrong}");
    }
}

#[test]
fn types_are_those_of_the_profile() {
    let forge = Forge::new(Algorithm::EdDsa);
    for (typ, is_ours, is_generic) in [
        (Some(json!("at+jwt")), true, true),
        (Some(json!("application/at+jwt")), false, true),
        (Some(json!("JWT")), false, true),
        (Some(json!("jwt")), false, true),
        (None, false, true),
        (Some(json!("dpop+jwt")), false, false),
        (Some(json!("logout+jwt")), false, false),
        (Some(json!("session+jwt")), false, false),
        (Some(json!(["JWT"])), false, false),
        (Some(json!("")), false, false),
    ] {
        let token = forge.with_header("typ", typ.clone());
        for (profile, is_accepted) in [
            (Profile::Portcullis, is_ours),
            (Profile::Generic, is_generic),
        ] {
            let verdict = read(&forge, profile, &token);
            assert_eq!(verdict.is_ok(), is_accepted, "{typ:?} {profile:?}");
        }
    }
}

#[test]
fn sec_c20_only_foreign_issuers_may_write_the_second_signature() {
    let forge = Forge::new(Algorithm::Es256);
    let valid = forge.valid();
    let (signed, signature) = valid.rsplit_once('.').expect("a signature");
    let mut twin = base64url::decode(signature).expect("canonical");
    negate_s(&mut twin);
    let twin = format!("{signed}.{}", base64url::encode(&twin));
    assert_eq!(
        read(&forge, Profile::Portcullis, &twin),
        Err(VerifyError::BadSignature)
    );
    read(&forge, Profile::Generic, &twin).expect("RFC 7518 allows it");
    // What is no signature at all is none in either.
    let psychic = format!("{signed}.{}", base64url::encode(&[0; 64]));
    assert_eq!(
        read(&forge, Profile::Generic, &psychic),
        Err(VerifyError::BadSignature)
    );
}

#[test]
fn sec_c03_keys_of_other_algorithms_than_configured_are_not_used() {
    let forge = Forge::new(Algorithm::Es256);
    let mut verifier = verifier(Profile::Portcullis);
    verifier.algorithms = vec![Algorithm::Rs256, Algorithm::EdDsa];
    assert_eq!(
        verifier.verify(&forge.valid(), &forge.keys, NOW),
        Err(VerifyError::WrongAlgorithm)
    );
}

#[test]
fn envelopes_are_as_strict_for_foreign_issuers() {
    let forge = Forge::new(Algorithm::Rs256);
    let valid = forge.valid();
    let mut tokens = vec![
        String::new(),
        "..".into(),
        format!("{valid}="),
        format!("{valid}."),
        valid.replacen('.', " .", 1),
        "A".repeat(crate::TOKEN_BYTES_MAX + 1),
    ];
    for name in ["crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c"] {
        tokens.push(forge.with_header(name, Some(json!("x"))));
    }
    for alg in ["none", "HS256", "RS384", "PS256", "rs256", ""] {
        tokens.push(forge.with_header("alg", Some(json!(alg))));
    }
    for kid in [
        json!(null),
        json!(1),
        json!(""),
        json!("a b"),
        json!("k".repeat(129)),
    ] {
        tokens.push(forge.with_header("kid", Some(kid)));
    }
    tokens.push(forge.with_header("kid", None));
    for token in tokens {
        assert!(read(&forge, Profile::Generic, &token).is_err(), "{token}");
    }
}

#[test]
fn roles_and_scopes_are_found_where_issuers_put_them() {
    let forge = Forge::new(Algorithm::EdDsa);
    let keys = keys(&forge, Profile::Generic);
    let mut verifier = verifier(Profile::Generic);
    verifier.roles_claim = "realm_access.roles".into();
    let keycloak = forge.with_claim("realm_access", Some(json!({ "roles": ["admin", "a b"] })));
    let read = verifier.verify(&keycloak, &keys, NOW).expect("valid");
    assert_eq!(read.claims.roles(), ["admin", "a b"]);
    verifier.roles_claim = "https://example.com/roles".into();
    let named = forge.with_claim("https://example.com/roles", Some(json!("admin")));
    let read = verifier.verify(&named, &keys, NOW).expect("valid");
    assert_eq!(read.claims.roles(), ["admin"]);
    for (claims, expected) in [
        (json!({ "scope": "a b" }), Some("a b")),
        (json!({ "scope": ["a", "b"] }), Some("a b")),
        (json!({ "scp": ["a", "b"] }), Some("a b")),
        (json!({ "scope": "" }), None),
        (json!({}), None),
    ] {
        let (_, payload) = forge.texts();
        let mut payload: Value = serde_json::from_str(&payload).expect("JSON");
        payload.as_object_mut().expect("an object").remove("scope");
        for (name, value) in claims.as_object().expect("an object") {
            payload[name] = value.clone();
        }
        let token = forge.with_payload(&payload.to_string());
        let read = verifier.verify(&token, &keys, NOW).expect("valid");
        assert_eq!(read.claims.scope(), expected, "{claims}");
    }
}

#[test]
fn other_claims_are_read_where_text_can_hold_them() {
    let forge = Forge::new(Algorithm::EdDsa);
    let mut verifier = verifier(Profile::Portcullis);
    verifier.others = ["tenant", "org.id", "none", "groups", "deep"]
        .map(str::to_owned)
        .to_vec();
    let (_, payload) = forge.texts();
    let mut payload: Value = serde_json::from_str(&payload).expect("JSON");
    payload["tenant"] = json!("blue");
    payload["org"] = json!({ "id": 7 });
    payload["groups"] = json!(["a", true]);
    payload["deep"] = json!([{ "a": 1 }]);
    let token = forge.with_payload(&payload.to_string());
    let read = verifier.verify(&token, &forge.keys, NOW).expect("valid");
    assert_eq!(
        read.others,
        [
            Some(ClaimValue::One("blue".into())),
            Some(ClaimValue::One("7".into())),
            None,
            Some(ClaimValue::Many(vec!["a".into(), "true".into()])),
            None,
        ]
    );
}

#[test]
fn a_foreign_key_set_keeps_the_keys_that_we_can_use() {
    let forge = Forge::new(Algorithm::Es256);
    let jwks = Jwks::new(vec![forge.key.public_jwk().clone()]).expect("one key");
    let document: Value = serde_json::from_slice(&jwks.to_json()).expect("JSON");
    let sound = &document["keys"][0];
    let with = |name: &str, value: Value| {
        let mut key = sound.clone();
        key[name] = value;
        key
    };
    let mut nameless = sound.clone();
    nameless.as_object_mut().expect("an object").remove("kid");
    let mut silent = with("kid", json!("base64+/="));
    silent.as_object_mut().expect("an object").remove("alg");
    let keys = json!({ "keys": [
        sound, silent, nameless,
        with("alg", json!("ES384")), with("use", json!("enc")), with("crv", json!("P-521")),
        with("x", json!("AAAA")),
        { "kty": "RSA", "kid": "weak", "alg": "RS256", "n": "AQAB", "e": "Aw" },
    ] });
    let document = keys.to_string();
    let kept = Jwks::parse_as(document.as_bytes(), Profile::Generic).expect("usable");
    let kept: Vec<&str> = kept.keys().iter().map(crate::Jwk::kid).collect();
    assert_eq!(kept, [forge.key.kid(), "base64+/="]);
    assert!(
        Jwks::parse(document.as_bytes()).is_err(),
        "ours must be sound"
    );
    let leaked = json!({ "keys": [sound, with("d", json!("AAAA"))] }).to_string();
    assert!(Jwks::parse_as(leaked.as_bytes(), Profile::Generic).is_err());
}
