//! Header and serialisation: what a token may look like before its signature counts.

use serde_json::{Value, json};

use crate::testing::{ALL, Forge, NOW, key, key_set, signing_input, verifier};
use crate::verify::{HEADER_BYTES_MAX, TOKEN_BYTES_MAX};
use crate::{Algorithm, VerifyError, base64url};

#[test]
fn valid_tokens_of_every_algorithm_are_accepted() {
    for algorithm in ALL {
        let forge = Forge::new(algorithm);
        let verified = forge.verify(&forge.valid()).expect("valid");
        assert_eq!(verified.claims, crate::testing::claims());
        assert_eq!(verified.kid, forge.key.kid());
    }
}

#[test]
fn sec_c01_alg_none_in_any_spelling_or_kind_is_refused() {
    for algorithm in ALL {
        let forge = Forge::new(algorithm);
        let names = ["none", "None", "NONE", "nOnE", ""].map(|name| Some(json!(name)));
        let kinds = [
            json!(["none"]),
            json!([algorithm.name()]),
            Value::Null,
            json!(0),
            json!({}),
        ];
        let all = names.into_iter().chain(kinds.map(Some)).chain([None]);
        for alg in all {
            let token = forge.with_header("alg", alg);
            forge.refuses(&token);
            let (signed, _) = token.rsplit_once('.').expect("a signature");
            forge.refuses(&format!("{signed}."));
            forge.refuses(signed);
        }
    }
}

#[test]
fn sec_c04_key_material_and_locations_in_the_header_are_refused() {
    let forge = Forge::new(Algorithm::EdDsa);
    let attacker = key(Algorithm::EdDsa);
    for (name, value) in [
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/chain.pem")),
        ("jwk", attacker.public_jwk().to_value()),
        ("jwk", forge.key.public_jwk().to_value()),
        ("x5c", json!(["MIIB"])),
        ("jku", Value::Null),
    ] {
        let token = forge.with_header(name, Some(value));
        assert_eq!(
            forge.verify(&token),
            Err(VerifyError::Malformed("refused header parameter")),
            "{name}"
        );
    }
}

#[test]
fn sec_c05_a_strange_kid_is_refused_without_asking_for_new_keys() {
    let forge = Forge::new(Algorithm::EdDsa);
    let kid = forge.key.kid();
    let long = "k".repeat(10 * 1024);
    let strange = [
        json!("../../../dev/null"),
        json!("/etc/passwd"),
        json!(format!("{kid}\0")),
        json!(format!(" {kid}")),
        json!("x' UNION SELECT 'secret"),
        json!("|/bin/sleep 5"),
        json!("http://127.0.0.1/k"),
        json!(long),
        json!("k".repeat(129)),
        json!(""),
        json!(1),
        json!([kid]),
        Value::Null,
    ];
    for value in strange.into_iter().map(Some).chain([None]) {
        let verdict = forge.verify(&forge.with_header("kid", value.clone()));
        assert!(
            matches!(verdict, Err(VerifyError::Malformed(_))),
            "{value:?}: {verdict:?}"
        );
    }
    let doubled = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}","kid":"{kid}"}}"#);
    forge.refuses(&forge.with_raw_header(&doubled));
}

#[test]
fn sec_c05_an_unknown_kid_is_told_apart() {
    let forge = Forge::new(Algorithm::EdDsa);
    for kid in ["nope", &forge.key.kid().to_ascii_uppercase()] {
        assert_eq!(
            forge.verify(&forge.with_header("kid", Some(json!(kid)))),
            Err(VerifyError::UnknownKey {
                kid: kid.to_owned()
            })
        );
    }
    let nobody = verifier().verify(&forge.valid(), &key_set(&[]), NOW);
    assert!(matches!(nobody, Err(VerifyError::UnknownKey { .. })));
}

#[test]
fn sec_c06_extensions_that_change_the_meaning_are_refused() {
    let forge = Forge::new(Algorithm::EdDsa);
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(["b64"])),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
    ] {
        forge.refuses(&forge.with_header(name, Some(value)));
    }
}

#[test]
fn sec_c06_other_serialisations_are_refused() {
    let forge = Forge::new(Algorithm::EdDsa);
    let valid = forge.valid();
    let parts: Vec<_> = valid.split('.').collect();
    let json = json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]});
    forge.refuses(&json.to_string());
    let general = json!({
        "payload": parts[1],
        "signatures": [{"protected": parts[0], "signature": parts[2]}],
    });
    forge.refuses(&general.to_string());
    forge.refuses("eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAA.AAAA.AAAA");
    for token in [
        "",
        ".",
        "..",
        "...",
        "abc",
        parts[0],
        &valid[..valid.len() / 2],
        &".".repeat(5000),
    ] {
        forge.refuses(token);
    }
    for extra in [".", "..", ".x"] {
        forge.refuses(&format!("{valid}{extra}"));
        forge.refuses(&format!("{extra}{valid}"));
    }
    let detached = format!("{}..{}", parts[0], parts[2]);
    forge.refuses(&detached);
}

#[test]
fn sec_c06_a_token_inside_a_token_is_refused() {
    let forge = Forge::new(Algorithm::EdDsa);
    let inner = forge.valid();
    forge.refuses(&forge.with_payload(&inner));
    forge.refuses(&forge.with_payload(&json!(inner).to_string()));
}

#[test]
fn sec_c07_duplicate_header_names_are_refused() {
    let forge = Forge::new(Algorithm::EdDsa);
    let (header, _) = forge.texts();
    let open = header.strip_suffix('}').expect("an object");
    for twice in [
        r#""alg":"EdDSA""#,
        r#""alg":"none""#,
        r#""\u0061lg":"EdDSA""#,
        r#""typ":"at+jwt""#,
        r#""other":1,"other":1"#,
        r#""other":{"a":1,"a":1}"#,
    ] {
        forge.refuses(&forge.with_raw_header(&format!("{open},{twice}}}")));
    }
    let unknown = format!(r#"{open},"other":1}}"#);
    forge
        .verify(&forge.with_raw_header(&unknown))
        .expect("unknown parameters mean nothing");
}

#[test]
fn sec_c07_duplicate_claims_are_refused() {
    let forge = Forge::new(Algorithm::EdDsa);
    let (_, payload) = forge.texts();
    let open = payload.strip_suffix('}').expect("an object");
    for twice in [
        r#""sub":"user-1""#,
        r#""sub":"admin""#,
        r#""\u0073ub":"admin""#,
        r#""other":1,"other":1"#,
        r#""other":[{"a":1,"a":1}]"#,
    ] {
        forge.refuses(&forge.with_payload(&format!("{open},{twice}}}")));
    }
    let unknown = format!(r#"{open},"other":{{"a":[1.5,null]}}}}"#);
    forge
        .verify(&forge.with_payload(&unknown))
        .expect("unknown claims mean nothing");
}

#[test]
fn sec_c09_token_types_are_not_interchangeable() {
    let forge = Forge::new(Algorithm::EdDsa);
    for typ in [
        "JWT",
        "jwt",
        "session+jwt",
        "logout+jwt",
        "dpop+jwt",
        "AT+JWT",
        "at+jwt ",
        "application/at+jwt",
        "",
    ] {
        assert_eq!(
            forge.verify(&forge.with_header("typ", Some(json!(typ)))),
            Err(VerifyError::WrongType),
            "{typ}"
        );
    }
    for typ in [
        None,
        Some(Value::Null),
        Some(json!(1)),
        Some(json!(["at+jwt"])),
    ] {
        assert_eq!(
            forge.verify(&forge.with_header("typ", typ)),
            Err(VerifyError::WrongType)
        );
    }
}

#[test]
fn sec_c12_second_spellings_of_base64url_are_refused() {
    let forge = Forge::new(Algorithm::EdDsa);
    let valid = forge.valid();
    let parts: Vec<_> = valid.split('.').collect();
    for index in 0..3 {
        for change in ["=", "==", " ", "\n", "\t", "\r\n", "%3D", "\0"] {
            let mut changed = parts.clone();
            let after = format!("{}{change}", parts[index]);
            changed[index] = &after;
            forge.refuses(&changed.join("."));
            let before = format!("{change}{}", parts[index]);
            changed[index] = &before;
            forge.refuses(&changed.join("."));
        }
    }
}

#[test]
fn sec_c12_trailing_bits_are_refused() {
    // 64 bytes leave four unused bits in the last character: sixteen spellings, one canonical.
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let forge = Forge::new(Algorithm::EdDsa);
    let valid = forge.valid();
    let (head, last) = valid.split_at(valid.len() - 1);
    let position = ALPHABET.iter().position(|byte| *byte == last.as_bytes()[0]);
    let position = position.expect("in the alphabet");
    assert_eq!(position % 16, 0, "canonical");
    for bits in 1..16 {
        forge.refuses(&format!("{head}{}", char::from(ALPHABET[position + bits])));
    }
}

#[test]
fn sec_c12_the_standard_alphabet_is_refused() {
    let forge = Forge::new(Algorithm::EdDsa);
    // Signatures are random: within a few tokens one holds a character that differs.
    let token = (0..)
        .map(|number| forge.with_claim("jti", Some(json!(format!("token-{number}")))))
        .find(|token| token.contains(['-', '_']))
        .expect("an endless supply");
    forge.verify(&token).expect("valid");
    forge.refuses(&token.replace('-', "+").replace('_', "/"));
}

#[test]
fn sec_c12_tokens_above_8_kib_are_refused() {
    let forge = Forge::new(Algorithm::EdDsa);
    let padded = |bytes: usize| forge.with_claim("padding", Some(json!("x".repeat(bytes))));
    let overhead = padded(0).len();
    let fits = padded((TOKEN_BYTES_MAX - overhead) / 4 * 3 - 3);
    assert!(fits.len() <= TOKEN_BYTES_MAX && fits.len() > TOKEN_BYTES_MAX - 16);
    forge.verify(&fits).expect("just below the limit");
    let too_long = padded((TOKEN_BYTES_MAX - overhead) / 4 * 3 + 6);
    assert!(too_long.len() > TOKEN_BYTES_MAX);
    assert_eq!(
        forge.verify(&too_long),
        Err(VerifyError::Malformed("too long"))
    );
    let long_header = forge.with_header("padding", Some(json!("x".repeat(HEADER_BYTES_MAX))));
    assert_eq!(
        forge.verify(&long_header),
        Err(VerifyError::Malformed("header too long"))
    );
}

#[test]
fn headers_that_are_not_one_json_object_are_refused() {
    let forge = Forge::new(Algorithm::EdDsa);
    let (header, payload) = forge.texts();
    for text in [
        "",
        "null",
        "[]",
        "\"x\"",
        &format!("{header}x"),
        &format!("[{header}]"),
        &format!("\u{feff}{header}"),
    ] {
        forge.refuses(&forge.raw(text, &payload));
    }
    let invalid_utf8 = base64url::encode(b"{\"alg\":\"\xff\"}");
    let valid = signing_input(&header, &payload);
    let (_, payload) = valid.split_once('.').expect("two parts");
    forge.refuses(&format!("{invalid_utf8}.{payload}.AAAA"));
}
