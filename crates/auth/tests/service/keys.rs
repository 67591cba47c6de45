//! Signing keys through running instances: chosen, given, rotated and revoked.

use std::time::{Duration, Instant};

use portcullis_auth::operator::keys;
use portcullis_testkit::wait_until;
use portcullis_token::{Jwks, KeySet, SigningKey, Skew, TokenType, Verifier, sign};

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, Tokens, assert_problem};

/// A key of RFC 8410, as an environment file carries it.
const GIVEN: [(&str, &str); 3] = [
    ("JWT_ALGORITHM", "EdDSA"),
    (
        "JWT_PRIVATE_KEY",
        "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\\n-----END PRIVATE KEY-----",
    ),
    ("JWT_KEY_ID", "auth-server-key-1"),
];

async fn published(instance: &Instance) -> Vec<(String, String)> {
    let jwks = instance.get("/.well-known/jwks.json").await;
    let keys = Jwks::parse(&jwks.body).unwrap();
    let describe =
        |key: &portcullis_token::Jwk| (key.kid().to_owned(), key.algorithm().name().to_owned());
    keys.keys().iter().map(describe).collect()
}

/// The key that signed a token of ours, by the key set of an instance.
async fn signer(instance: &Instance, tokens: &Tokens) -> String {
    let jwks = instance.get("/.well-known/jwks.json").await;
    let keys = KeySet::from_jwks(&Jwks::parse(&jwks.body).unwrap());
    let verifier = Verifier {
        issuer: "http://auth.example.com".into(),
        audience: "http://auth.example.com".into(),
        token_type: TokenType::AccessToken,
        skew: Skew::DEFAULT,
    };
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    verifier.verify(&tokens.access, &keys, now).unwrap().kid
}

#[tokio::test]
async fn tokens_are_signed_as_the_settings_say() {
    for (algorithm, bits, length) in [
        ("RS256", "3072", 512),
        ("ES256", "2048", 86),
        ("EdDSA", "2048", 86),
    ] {
        let installation =
            Installation::with(&[("JWT_ALGORITHM", algorithm), ("JWT_RSA_BITS", bits)]).await;
        let instance = installation.start("a").await;
        let tokens = instance.register_and_login().await;
        let kid = signer(&instance, &tokens).await;
        let names = published(&instance).await;
        assert!(names.contains(&(kid, algorithm.to_owned())), "{names:?}");
        let signature = tokens.access.rsplit('.').next().unwrap();
        assert_eq!(signature.len(), length, "{algorithm}");
        assert_eq!(instance.verify(&tokens.access).await.status, 200);
    }
}

#[tokio::test]
async fn a_given_key_signs_on_every_instance_under_its_name() {
    let installation = Installation::with(&GIVEN).await;
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let tokens = a.register_and_login().await;
    assert_eq!(signer(&b, &tokens).await, "auth-server-key-1");
    assert_eq!(b.verify(&tokens.access).await.status, 200);
    let x = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE";
    let jwks = b.get("/.well-known/jwks.json").await.json();
    assert_eq!(jwks["keys"][0]["x"], x);
}

#[tokio::test]
async fn a_key_from_a_file_is_the_same_key() {
    let installation = Installation::new().await;
    let path = installation.path().join("jwt.pem");
    std::fs::write(&path, GIVEN[1].1.replace("\\n", "\n")).unwrap();
    let file = [
        GIVEN[0],
        ("JWT_PRIVATE_KEY_FILE", path.to_str().unwrap()),
        GIVEN[2],
    ];
    let instance = installation.start_with("a", &file).await;
    let names = published(&instance).await;
    assert!(names.contains(&("auth-server-key-1".to_owned(), "EdDSA".to_owned())));
}

#[tokio::test]
async fn sec_c13_an_instance_does_not_start_with_a_key_file_it_cannot_use() {
    let installation = Installation::new().await;
    let weak = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../token/testdata/rsa-1024.pem"
    );
    for (path, says) in [
        (weak, "JWT_PRIVATE_KEY"),
        ("/nowhere.pem", "JWT_PRIVATE_KEY_FILE"),
    ] {
        let config = installation.config("a", &[("JWT_PRIVATE_KEY_FILE", path)]);
        let refusal = portcullis_auth::prepare(&config).await.unwrap_err();
        let mut text = refusal.to_string();
        let mut source = std::error::Error::source(&refusal);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        assert!(text.contains(says), "{text}");
    }
}

#[tokio::test]
async fn sec_c18_a_revoked_key_is_refused_everywhere_within_a_second() {
    let installation = Installation::new().await;
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let tokens = a.register_and_login().await;
    let kid = signer(&a, &tokens).await;
    assert_eq!(b.verify(&tokens.access).await.status, 200);
    keys::revoke(&installation.config("cli", &[]), &kid)
        .await
        .unwrap();
    let revoked = Instant::now();
    for instance in [&a, &b] {
        assert_problem(&instance.verify(&tokens.access).await, 401, "invalid_token");
    }
    assert!(revoked.elapsed() < Duration::from_secs(1));
    // And nothing new is signed with it: whoever refreshes goes on.
    let fresh = wait_until("another key to sign", async || {
        let fresh = Tokens::of(&a.try_login(EMAIL, PASSWORD).await);
        (a.verify(&fresh.access).await.status == 200).then_some(fresh)
    })
    .await;
    assert_ne!(signer(&a, &fresh).await, kid);
    assert_eq!(b.verify(&fresh.access).await.status, 200);
    let names = wait_until("the key to leave the set", async || {
        let names = published(&b).await;
        names.iter().all(|(name, _)| *name != kid).then_some(names)
    })
    .await;
    assert_eq!(
        names.len(),
        2,
        "one signs, one is published for the next time"
    );
}

#[tokio::test]
async fn sec_c05_a_token_of_a_key_nobody_published_is_refused() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    let (key, _) = SigningKey::generate(portcullis_token::Algorithm::EdDsa).unwrap();
    let key = key.with_kid(&signer(&instance, &tokens).await).unwrap();
    let claims = portcullis_token::Claims {
        iss: "http://auth.example.com".into(),
        sub: "u".into(),
        aud: vec!["http://auth.example.com".into()],
        exp: now + 60,
        iat: now,
        nbf: None,
        jti: "j".into(),
        client_id: "portcullis".into(),
        sid: "s".into(),
        roles: vec!["admin".into()],
        scope: None,
        tier: None,
        authentication: portcullis_token::Authentication::default(),
    };
    let forged = sign(&key, TokenType::AccessToken, &claims).unwrap();
    assert_problem(&instance.verify(&forged).await, 401, "invalid_token");
}
