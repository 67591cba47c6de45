//! Claims: present, of their kind, in range, for us, and in time.

use serde_json::{Value, json};

use crate::testing::{AUDIENCE, Forge, ISSUER, NOW, claims, verifier};
use crate::{Algorithm, ClaimsError, SignError, Skew, TokenType, VerifyError, sign};

const REQUIRED: [&str; 8] = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "sid"];

#[test]
fn sec_c08_times_that_are_not_integers_in_range_are_refused() {
    let forge = Forge::new(Algorithm::EdDsa);
    let values = [
        "\"1800000300\"",
        "\"never\"",
        "1e30",
        "1e400",
        "1800000300.0",
        "1800000300.5",
        "18e8",
        "-1",
        "-0",
        "NaN",
        "Infinity",
        "null",
        "true",
        "[1800000300]",
        "{}",
        "9223372036854775807",
        "9223372036854775808",
        "253402300800",
        "01800000300",
        "0x6b49d200",
    ];
    for name in ["exp", "nbf", "iat"] {
        for value in values {
            let verdict = forge.verify(&forge.with_raw_claim(name, value));
            assert!(
                matches!(verdict, Err(VerifyError::Claims(_))),
                "{name}: {value}: {verdict:?}"
            );
        }
    }
    forge
        .verify(&forge.with_raw_claim("exp", "1800000300"))
        .expect("the writing itself is sound");
}

#[test]
fn sec_c08_required_claims_are_required_even_beside_malformed_optional_ones() {
    let forge = Forge::new(Algorithm::EdDsa);
    for name in REQUIRED {
        assert_eq!(
            forge.verify(&forge.with_claim(name, None)),
            Err(VerifyError::Claims(ClaimsError(name)))
        );
        for value in [Value::Null, json!({}), json!(false), json!(""), json!([])] {
            let verdict = forge.verify(&forge.with_claim(name, Some(value)));
            assert_eq!(verdict, Err(VerifyError::Claims(ClaimsError(name))));
        }
    }
    let (_, payload) = forge.texts();
    let mut payload: Value = serde_json::from_str(&payload).expect("own payload");
    payload["nbf"] = json!("soon");
    payload.as_object_mut().expect("an object").remove("exp");
    forge.refuses(&forge.with_payload(&payload.to_string()));
}

#[test]
fn sec_c08_optional_claims_of_the_wrong_kind_are_refused() {
    let forge = Forge::new(Algorithm::EdDsa);
    for (name, value) in [
        ("roles", json!("admin")),
        ("roles", Value::Null),
        ("roles", json!([1])),
        ("roles", json!([["admin"]])),
        ("roles", json!(["admin,root"])),
        ("roles", json!([""])),
        ("roles", json!(vec!["r"; 65])),
        ("scope", json!(["openid"])),
        ("scope", Value::Null),
        ("scope", json!("x".repeat(2049))),
        ("tier", json!(["pro"])),
        ("tier", Value::Null),
        ("tier", json!("")),
        ("tier", json!("pro\n")),
        ("auth_time", json!("1800000000")),
        ("auth_time", json!(-1)),
        ("auth_time", json!(1.5e9)),
        ("auth_time", Value::Null),
        ("acr", json!(["aal2"])),
        ("acr", json!("")),
        ("acr", json!("aal2\r\nX: y")),
        ("amr", json!("mfa")),
        ("amr", Value::Null),
        ("amr", json!([1])),
        ("amr", json!([""])),
        ("amr", json!(vec!["pwd"; 17])),
    ] {
        let verdict = forge.verify(&forge.with_claim(name, Some(value.clone())));
        assert_eq!(
            verdict,
            Err(VerifyError::Claims(ClaimsError(name))),
            "{value}"
        );
    }
    for name in ["nbf", "roles", "scope", "tier", "auth_time", "acr", "amr"] {
        forge
            .verify(&forge.with_claim(name, None))
            .expect("optional");
    }
}

#[test]
fn sec_c08_strings_have_bounds_and_no_control_characters() {
    let forge = Forge::new(Algorithm::EdDsa);
    for name in ["iss", "sub", "jti", "client_id", "sid"] {
        for value in [
            "x".repeat(600),
            "a\nb".into(),
            "a\r\nX-Auth-Roles: admin".into(),
            "\0".into(),
            "a\u{7f}".into(),
        ] {
            let verdict = forge.verify(&forge.with_claim(name, Some(json!(value))));
            assert_eq!(verdict, Err(VerifyError::Claims(ClaimsError(name))));
        }
    }
}

#[test]
fn payloads_that_are_not_one_json_object_are_refused() {
    let forge = Forge::new(Algorithm::EdDsa);
    let (_, payload) = forge.texts();
    let deep = format!("{}1{}", "{\"a\":".repeat(500), "}".repeat(500));
    for text in [
        "",
        "hello",
        "[1]",
        "\"x\"",
        "null",
        &deep,
        &format!("{payload}x"),
        &format!("\u{feff}{payload}"),
        &payload[1..],
    ] {
        let verdict = forge.verify(&forge.with_payload(text));
        assert_eq!(
            verdict,
            Err(VerifyError::Claims(ClaimsError("payload"))),
            "{text}"
        );
    }
}

#[test]
fn sec_c09_the_issuer_must_match_byte_by_byte() {
    let forge = Forge::new(Algorithm::EdDsa);
    for issuer in [
        format!("{ISSUER}/"),
        format!("{ISSUER}:443"),
        format!("{ISSUER}.evil.example"),
        ISSUER.to_ascii_uppercase(),
        ISSUER.replace("https", "http"),
        ISSUER.replace("auth", "\u{430}uth"),
        ISSUER.replace("auth", "xn--uth-7cd"),
        format!(" {ISSUER}"),
    ] {
        assert_eq!(
            forge.verify(&forge.with_claim("iss", Some(json!(issuer)))),
            Err(VerifyError::WrongIssuer),
            "{issuer}"
        );
    }
    forge.refuses(&forge.with_claim("iss", Some(json!([ISSUER]))));
}

#[test]
fn sec_c09_the_audience_must_hold_this_resource() {
    let forge = Forge::new(Algorithm::EdDsa);
    for audience in [
        json!("other"),
        json!(format!("{AUDIENCE}.evil.example")),
        json!(format!("{AUDIENCE}/")),
        json!(&AUDIENCE[..AUDIENCE.len() - 1]),
        json!(AUDIENCE.to_ascii_uppercase()),
        json!(["other", "another"]),
    ] {
        assert_eq!(
            forge.verify(&forge.with_claim("aud", Some(audience.clone()))),
            Err(VerifyError::WrongAudience),
            "{audience}"
        );
    }
    for audience in [
        json!({AUDIENCE: 1}),
        json!([[AUDIENCE]]),
        json!([AUDIENCE, 1]),
        json!(vec![AUDIENCE; 17]),
    ] {
        forge.refuses(&forge.with_claim("aud", Some(audience)));
    }
    for audience in [json!(AUDIENCE), json!(["other", AUDIENCE])] {
        forge
            .verify(&forge.with_claim("aud", Some(audience)))
            .expect("ours");
    }
}

#[test]
fn sec_c10_skew_is_30_seconds_on_both_ends() {
    let forge = Forge::new(Algorithm::EdDsa);
    let token = forge.valid();
    let exp = claims().exp;
    let at = |now| verifier().verify(&token, &forge.keys, now).map(|_| ());
    assert_eq!(at(exp + 29), Ok(()));
    assert_eq!(at(exp + 30), Err(VerifyError::Expired));
    assert_eq!(at(exp + 31), Err(VerifyError::Expired));
    assert_eq!(at(NOW - 30), Ok(()));
    assert_eq!(at(NOW - 31), Err(VerifyError::NotYetValid));
    assert_eq!(at(i64::MAX), Err(VerifyError::Expired));
    assert_eq!(at(i64::MIN), Err(VerifyError::NotYetValid));
}

#[test]
fn sec_c10_nbf_and_iat_in_the_future_are_refused_each() {
    let forge = Forge::new(Algorithm::EdDsa);
    for name in ["nbf", "iat"] {
        forge
            .verify(&forge.with_claim(name, Some(json!(NOW + 30))))
            .expect("within the skew");
        assert_eq!(
            forge.verify(&forge.with_claim(name, Some(json!(NOW + 31)))),
            Err(VerifyError::NotYetValid)
        );
    }
    forge.refuses(&forge.with_claim("iat", Some(json!(NOW + 86_400))));
}

#[test]
fn sec_c10_skew_has_a_ceiling_of_120_seconds() {
    assert_eq!(Skew::DEFAULT.seconds(), 30);
    assert_eq!(Skew::new(120).map(Skew::seconds), Some(120));
    assert_eq!(Skew::new(0).map(Skew::seconds), Some(0));
    assert_eq!(Skew::new(121), None);
}

#[test]
fn sec_c11_a_signed_token_carries_every_claim() {
    let forge = Forge::new(Algorithm::EdDsa);
    let token = sign(&forge.key, TokenType::AccessToken, &claims()).expect("signed");
    let payload = token
        .split('.')
        .nth(1)
        .and_then(crate::base64url::decode)
        .expect("canonical");
    let payload: Value = serde_json::from_slice(&payload).expect("JSON");
    for name in REQUIRED {
        assert!(payload.get(name).is_some(), "{name}");
    }
    assert_eq!(forge.verify(&token).expect("valid").claims, claims());
}

#[test]
fn sec_c11_ids_keep_all_128_bits() {
    let mut rng = crate::testing::rng();
    for _ in 0..1000 {
        let random = rng.u128(..).to_be_bytes();
        let id = crate::id(random);
        assert_eq!(id.len(), 22);
        assert_eq!(
            crate::base64url::decode(&id).as_deref(),
            Some(random.as_slice())
        );
    }
}

#[test]
fn claims_that_no_verifier_would_accept_are_not_signed() {
    let key = crate::testing::key(Algorithm::EdDsa);
    type Change = fn(&mut crate::Claims);
    let breaks: [(&str, Change); 10] = [
        ("iss", |claims| claims.iss.clear()),
        ("sub", |claims| claims.sub = "a\nb".into()),
        ("aud", |claims| claims.aud.clear()),
        ("exp", |claims| claims.exp = claims.iat),
        ("iat", |claims| claims.iat = -1),
        ("nbf", |claims| claims.nbf = Some(claims.exp)),
        ("jti", |claims| claims.jti.clear()),
        ("roles", |claims| claims.roles.push("a,b".into())),
        ("scope", |claims| claims.scope = Some("x".repeat(2049))),
        ("tier", |claims| claims.tier = Some("\0".into())),
    ];
    for (name, change) in breaks {
        let mut claims = claims();
        change(&mut claims);
        let refusal = sign(&key, TokenType::AccessToken, &claims);
        assert!(
            matches!(refusal, Err(SignError::Claims(ClaimsError(at))) if at == name),
            "{name}: {refusal:?}"
        );
    }
}

#[test]
fn tokens_that_no_verifier_would_read_are_not_signed() {
    let key = crate::testing::key(Algorithm::EdDsa);
    let mut claims = claims();
    claims.roles = (0..64)
        .map(|number| format!("{}{number:02}", "r".repeat(200)))
        .collect();
    let refusal = sign(&key, TokenType::AccessToken, &claims);
    assert!(
        matches!(refusal, Err(SignError::TooLong { .. })),
        "{refusal:?}"
    );
}

#[test]
fn session_and_logout_tokens_are_only_accepted_as_such() {
    let forge = Forge::new(Algorithm::EdDsa);
    let types = [
        TokenType::AccessToken,
        TokenType::Session,
        TokenType::Logout,
    ];
    for issued in types {
        let token = sign(&forge.key, issued, &claims()).expect("signed");
        for expected in types {
            let mut verifier = verifier();
            verifier.token_type = expected;
            let verdict = verifier.verify(&token, &forge.keys, NOW).map(|_| ());
            let wanted = if issued == expected {
                Ok(())
            } else {
                Err(VerifyError::WrongType)
            };
            assert_eq!(verdict, wanted, "{issued:?} as {expected:?}");
        }
    }
}
