//! What an issuer believes as its keys come, change and grow old.

use portcullis_token::{Algorithm, Claims, SigningKey, TokenType, sign};

use super::*;
use crate::config::parse;

const NOW: i64 = 1_800_000_000;

fn config() -> crate::Config {
    let text = "listeners: [{ address: 127.0.0.1:8080 }]\n\
        clusters: { a: { endpoints: [127.0.0.1:1] } }\n\
        issuers: { main: { issuer: \"http://127.0.0.1:1\", audience: api, max_stale: 60s } }\n\
        routes: [{ cluster: a, auth: main }]\n";
    parse("edge.yaml", text).unwrap().config
}

fn issuer(previous: Option<&Issuer>) -> Issuer {
    Issuer::build(
        &config().issuers[0],
        &Metrics::new(),
        previous,
        previous.is_none(),
    )
}

fn document(keys: &[&SigningKey]) -> Vec<u8> {
    let keys = keys.iter().map(|key| key.public_jwk().clone()).collect();
    Jwks::new(keys).unwrap().to_json()
}

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::EdDsa).unwrap().0
}

fn token(key: &SigningKey) -> String {
    let claims = Claims {
        iss: "http://127.0.0.1:1".into(),
        sub: "ann".into(),
        aud: vec!["api".into()],
        iat: NOW,
        exp: NOW + 600,
        nbf: None,
        jti: "j".into(),
        client_id: "web".into(),
        sid: "s".into(),
        roles: Vec::new(),
        scope: None,
        tier: None,
        authentication: portcullis_token::Authentication::default(),
    };
    sign(key, TokenType::AccessToken, &claims).unwrap()
}

#[test]
fn a_token_is_read_once_and_found_again() {
    let (issuer, key) = (issuer(None), key());
    let (token, at) = (token(&key), Instant::now());
    assert_eq!(issuer.read(&token, NOW, at).unwrap_err(), Unread::NoKeys);
    issuer.learn(&document(&[&key]), None).unwrap();
    let first = issuer.read(&token, NOW, at).unwrap();
    let again = issuer.read(&token, NOW + 1, at).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(issuer.metrics.cache_hits.get(), 1);
    // Known as it is, its time is looked at each time.
    let late = issuer.read(&token, NOW + 630, at).unwrap_err();
    assert_eq!(late, Unread::Refused(VerifyError::Expired));
}

#[test]
fn tokens_that_fail_are_never_remembered() {
    let (issuer, key) = (issuer(None), key());
    issuer.learn(&document(&[&key]), None).unwrap();
    let mut forged = token(&key);
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'Q' } else { 'A' });
    for _ in 0..2 {
        assert!(issuer.read(&forged, NOW, Instant::now()).is_err());
    }
    let long = "a".repeat(TOKEN_BYTES_MAX + 1);
    assert!(issuer.read(&long, NOW, Instant::now()).is_err());
    let metrics = (
        issuer.metrics.cache_hits.get(),
        issuer.metrics.cache_misses.get(),
    );
    assert_eq!(metrics, (0, 0));
}

#[test]
fn the_same_keys_keep_what_was_read_and_others_void_it() {
    let (issuer, old, new) = (issuer(None), key(), key());
    let (token, at) = (token(&old), Instant::now());
    issuer.learn(&document(&[&old]), None).unwrap();
    let first = issuer.read(&token, NOW, at).unwrap();
    issuer
        .learn(&document(&[&old]), Some("\"2\"".into()))
        .unwrap();
    assert!(Arc::ptr_eq(&first, &issuer.read(&token, NOW, at).unwrap()));
    issuer.learn(&document(&[&old, &new]), None).unwrap();
    assert!(!Arc::ptr_eq(&first, &issuer.read(&token, NOW, at).unwrap()));
    issuer.learn(&document(&[&new]), None).unwrap();
    assert!(matches!(
        issuer.read(&token, NOW, at),
        Err(Unread::Refused(VerifyError::UnknownKey { .. }))
    ));
}

#[test]
fn another_key_under_a_known_id_voids_what_was_read() {
    let (issuer, old) = (issuer(None), key().with_kid("k").unwrap());
    let new = key().with_kid("k").unwrap();
    let (token, at) = (token(&old), Instant::now());
    issuer.learn(&document(&[&old]), None).unwrap();
    issuer.read(&token, NOW, at).unwrap();
    issuer.learn(&document(&[&new]), None).unwrap();
    let refused = issuer.read(&token, NOW, at).unwrap_err();
    assert_eq!(refused, Unread::Refused(VerifyError::BadSignature));
}

#[test]
fn a_bad_document_changes_nothing() {
    let (issuer, key) = (issuer(None), key());
    issuer.learn(&document(&[&key]), None).unwrap();
    for bad in [
        &b""[..],
        b"{}",
        b"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
    ] {
        assert!(issuer.learn(bad, None).is_err());
    }
    assert!(issuer.read(&token(&key), NOW, Instant::now()).is_ok());
    assert_eq!(issuer.kids(), [key.kid()]);
}

#[test]
fn keys_grow_old_and_are_confirmed() {
    let (issuer, key) = (issuer(None), key());
    issuer.learn(&document(&[&key]), None).unwrap();
    let (token, now) = (token(&key), Instant::now());
    let later = now + Duration::from_secs(61);
    assert!(issuer.read(&token, NOW, now).is_ok());
    assert_eq!(issuer.read(&token, NOW, later).unwrap_err(), Unread::NoKeys);
    issuer.confirm(later);
    assert!(issuer.read(&token, NOW, later).is_ok());
}

#[test]
fn a_new_configuration_keeps_the_keys_of_the_same_place() {
    let (old, key) = (issuer(None), key());
    let now = Instant::now();
    assert!(old.is_awaited(now));
    assert!(
        !old.is_awaited(now + AWAITED + Duration::from_secs(1)),
        "not for ever"
    );
    old.learn(&document(&[&key]), None).unwrap();
    assert!(!old.is_awaited(now));
    let new = issuer(Some(&old));
    assert!(new.read(&token(&key), NOW, Instant::now()).is_ok());
    let mut elsewhere = config().issuers.remove(0);
    elsewhere.jwks.port = 2;
    let moved = Issuer::build(&elsewhere, &Metrics::new(), Some(&old), false);
    let unread = moved.read(&token(&key), NOW, Instant::now()).unwrap_err();
    assert_eq!(unread, Unread::NoKeys);
    assert!(!moved.is_awaited(now), "an edge that serves stays ready");
}
