//! Key sets: what is published, and which documents are believed.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::testing::{ALL, key};
use crate::{Algorithm, JwkError, Jwks, JwksError, KeySet};

fn published() -> Value {
    let keys = ALL.map(|algorithm| key(algorithm).public_jwk().clone());
    let jwks = Jwks::new(keys.to_vec()).expect("distinct keys");
    serde_json::from_slice(&jwks.to_json()).expect("own document")
}

fn parse(document: &Value) -> Result<Jwks, JwksError> {
    Jwks::parse(document.to_string().as_bytes())
}

/// The verdict on the published set after one member of its key for `algorithm` changed.
fn changed(algorithm: Algorithm, name: &str, value: Value) -> Result<Jwks, JwkError> {
    static PUBLISHED: LazyLock<Value> = LazyLock::new(published);
    let keys = PUBLISHED["keys"].as_array().expect("a set");
    let key = keys.iter().find(|key| key["alg"] == algorithm.name());
    let mut document = json!({ "keys": [key] });
    document["keys"][0][name] = value;
    parse(&document).map_err(|error| match error {
        JwksError::Key { index: 0, source } => source,
        other => panic!("{other}"),
    })
}

#[test]
fn a_printed_set_reads_back() {
    let document = published();
    let again = parse(&document).expect("own document");
    assert_eq!(
        serde_json::from_slice::<Value>(&again.to_json()).expect("JSON"),
        document
    );
    let set = KeySet::from_jwks(&again);
    for key in again.keys() {
        assert_eq!(
            set.find(key.kid()).map(crate::Jwk::algorithm),
            Some(key.algorithm())
        );
        assert_eq!(key.thumbprint(), key.kid());
    }
    assert!(set.find("").is_none());
}

#[test]
fn sec_c16_published_keys_have_exactly_their_public_members() {
    let document = published();
    let names = |index: usize| {
        let key = document["keys"][index].as_object().expect("an object");
        let mut names: Vec<_> = key.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(0), ["alg", "e", "kid", "kty", "n", "use"]);
    assert_eq!(names(1), ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!(names(2), ["alg", "crv", "kid", "kty", "use", "x"]);
}

#[test]
fn sec_c16_private_members_make_the_set_unacceptable() {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let refusal = changed(Algorithm::Rs256, name, json!("AQAB"));
        assert!(
            matches!(refusal, Err(JwkError::Private(at)) if at == name),
            "{name}"
        );
    }
}

#[test]
fn sec_c13_labels_that_do_not_fit_the_key_are_refused() {
    for (algorithm, label) in [
        (Algorithm::Es256, "ES384"),
        (Algorithm::Es256, "RS256"),
        (Algorithm::Rs256, "PS256"),
        (Algorithm::Rs256, "HS256"),
        (Algorithm::Rs256, "none"),
        (Algorithm::EdDsa, "ES256"),
    ] {
        let refusal = changed(algorithm, "alg", json!(label));
        assert!(matches!(refusal, Err(JwkError::Mismatch)), "{label}");
    }
    assert!(matches!(
        changed(Algorithm::Rs256, "alg", Value::Null),
        Err(JwkError::Member("alg"))
    ));
}

#[test]
fn sec_c13_weak_rsa_numbers_are_refused() {
    let odd = |bytes: usize| {
        let mut modulus = vec![0xff; bytes];
        modulus[bytes - 1] = 1;
        json!(crate::base64url::encode(&modulus))
    };
    for (bytes, bits) in [(128, 1024), (255, 2040), (1025, 8200)] {
        let refusal = changed(Algorithm::Rs256, "n", odd(bytes));
        assert!(matches!(refusal, Err(JwkError::Modulus { bits: found }) if found == bits));
    }
    let mut almost = vec![0xff; 256];
    almost[0] = 0x7f;
    let refusal = changed(
        Algorithm::Rs256,
        "n",
        json!(crate::base64url::encode(&almost)),
    );
    assert!(matches!(refusal, Err(JwkError::Modulus { bits: 2047 })));
    let even = json!(crate::base64url::encode(&[0xfe; 256]));
    assert!(changed(Algorithm::Rs256, "n", even).is_err());
    changed(Algorithm::Rs256, "n", odd(256)).expect("2048 bits");
    // 1, 3, 17, 65535, 65538, 2^32 + 1, zero, nothing, a leading zero.
    for exponent in [
        "AQ", "Aw", "EQ", "__8", "AQAC", "AQAAAAE", "AA", "", "AAEAAQ",
    ] {
        let refusal = changed(Algorithm::Rs256, "e", json!(exponent));
        assert!(matches!(refusal, Err(JwkError::Exponent)), "{exponent}");
    }
}

#[test]
fn sec_c20_invalid_points_are_refused() {
    let refusal = changed(
        Algorithm::Es256,
        "x",
        json!(crate::base64url::encode(&[1; 32])),
    );
    assert!(matches!(refusal, Err(JwkError::Point)));
    for mut small in [
        [0; 32],
        crate::key::ed25519::SMALL_ORDER[2],
        crate::key::ed25519::SMALL_ORDER[4],
    ] {
        for sign in [0, 0x80] {
            small[31] |= sign;
            let refusal = changed(
                Algorithm::EdDsa,
                "x",
                json!(crate::base64url::encode(&small)),
            );
            assert!(matches!(refusal, Err(JwkError::Point)));
        }
    }
}

#[test]
fn malformed_members_are_refused() {
    for (algorithm, name) in [
        (Algorithm::Rs256, "kid"),
        (Algorithm::Rs256, "kty"),
        (Algorithm::Rs256, "n"),
        (Algorithm::Rs256, "e"),
        (Algorithm::Es256, "x"),
        (Algorithm::Es256, "y"),
        (Algorithm::EdDsa, "x"),
    ] {
        for value in [
            Value::Null,
            json!(7),
            json!(["AQAB"]),
            json!("AQAB="),
            json!("A+A/"),
        ] {
            let verdict = changed(algorithm, name, value.clone());
            assert!(
                verdict.is_err() || (name == "kty" && value.is_string()),
                "{name}: {value}"
            );
        }
    }
    for coordinate in ["AQAB", &"A".repeat(44)] {
        let refusal = changed(Algorithm::EdDsa, "x", json!(coordinate));
        assert!(matches!(refusal, Err(JwkError::Member("x"))));
    }
    for kid in ["", "../x", "a b"] {
        assert!(matches!(
            changed(Algorithm::EdDsa, "kid", json!(kid)),
            Err(JwkError::KeyId(_))
        ));
    }
}

#[test]
fn keys_of_other_kinds_and_uses_are_left_out() {
    let known = key(Algorithm::EdDsa).public_jwk().to_value();
    let mut for_encryption = known.clone();
    for_encryption["use"] = json!("enc");
    let document = json!({ "keys": [
        {"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AAAA"},
        {"kty": "EC", "crv": "P-384", "alg": "ES384", "kid": "big", "x": "AAAA", "y": "AAAA"},
        for_encryption,
        known,
    ]});
    let jwks = parse(&document).expect("one usable key");
    assert_eq!(jwks.keys().len(), 1);
}

#[test]
fn sec_c05_two_keys_of_one_id_are_refused() {
    let first = key(Algorithm::EdDsa).with_kid("same").expect("fine");
    let second = key(Algorithm::EdDsa).with_kid("same").expect("fine");
    let keys = vec![first.public_jwk().clone(), second.public_jwk().clone()];
    let twice = Err(JwksError::Duplicate { kid: "same".into() });
    assert_eq!(Jwks::new(keys).map(|_| ()), twice);
    let document =
        json!({ "keys": [first.public_jwk().to_value(), second.public_jwk().to_value()] });
    assert_eq!(parse(&document).map(|_| ()), twice);
}

#[test]
fn documents_have_bounds() {
    let key = key(Algorithm::EdDsa).public_jwk().to_value();
    let many = |count: usize| {
        let keys: Vec<_> = (0..count)
            .map(|number| {
                let mut key = key.clone();
                key["kid"] = json!(format!("key-{number}"));
                key
            })
            .collect();
        parse(&json!({ "keys": keys })).map(|jwks| jwks.keys().len())
    };
    assert_eq!(many(0), Ok(0));
    assert_eq!(many(32), Ok(32));
    assert_eq!(many(33), Err(JwksError::TooMany));
    let padded = |bytes: usize| parse(&json!({ "keys": [], "padding": "x".repeat(bytes) })).is_ok();
    assert!(padded(200 * 1024));
    assert!(!padded(256 * 1024));
    for text in [
        "",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[1]}"#,
        r#"{"keys":[],"keys":[]}"#,
    ] {
        assert_eq!(
            Jwks::parse(text.as_bytes()).map(|_| ()),
            Err(JwksError::Malformed),
            "{text}"
        );
    }
}

#[test]
fn rfc_7638_example_has_its_thumbprint() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let document = json!({ "keys": [
        {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"},
    ]});
    let jwks = parse(&document).expect("the RFC's key");
    assert_eq!(jwks.keys()[0].kid(), "2011-04-29");
    assert_eq!(
        jwks.keys()[0].thumbprint(),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
}
