//! JWKS and discovery: what verifiers build on.

use portcullis_token::{Jwks, KeySet, Skew, TokenType, Verifier};
use serde_json::json;

use crate::harness::Installation;

#[tokio::test]
async fn sec_c16_jwks_is_public_cacheable_and_holds_no_private_member() {
    let installation = Installation::new().await;
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let response = a.get("/.well-known/jwks.json").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.field("cache-control"), Some("public, max-age=300"));
    let etag = response.field("etag").unwrap();
    assert!(
        etag.starts_with('"') && etag.ends_with('"'),
        "strong: {etag}"
    );
    for key in response.json()["keys"].as_array().unwrap() {
        for member in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(member).is_none(), "{member}");
        }
        for member in ["kid", "alg", "use", "kty"] {
            assert!(key[member].is_string(), "{member}");
        }
    }
    let other = b.get("/.well-known/jwks.json").await;
    assert_eq!(
        (other.field("etag"), &other.body),
        (Some(etag), &response.body)
    );
}

#[tokio::test]
async fn an_unchanged_key_set_is_not_sent_again() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let etag = instance
        .get("/.well-known/jwks.json")
        .await
        .field("etag")
        .unwrap()
        .to_owned();
    for (known, status) in [
        (etag.clone(), 304),
        (format!("\"other\", W/{etag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
    ] {
        let fields = [("If-None-Match", known.as_str())];
        let mut connection = instance.connect().await;
        let response = connection
            .request("GET", "/.well-known/jwks.json", &fields, b"")
            .await
            .unwrap();
        assert_eq!(response.status, status, "{known}");
        assert_eq!(response.field("etag"), Some(etag.as_str()));
        assert_eq!(response.body.is_empty(), status == 304);
    }
}

#[tokio::test]
async fn whoever_reads_jwks_can_verify_a_login() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    let jwks = instance.get("/.well-known/jwks.json").await;
    let keys = KeySet::from_jwks(&Jwks::parse(&jwks.body).unwrap());
    let verifier = Verifier {
        issuer: "http://auth.example.com".into(),
        audience: "http://auth.example.com".into(),
        token_type: TokenType::AccessToken,
        skew: Skew::DEFAULT,
    };
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    let claims = verifier.verify(&tokens.access, &keys, now).unwrap().claims;
    assert_eq!(
        (claims.client_id.as_str(), claims.exp - claims.iat),
        ("portcullis", 600)
    );
    assert_eq!(claims.jti.len(), 22);
}

#[tokio::test]
async fn discovery_names_only_what_exists() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let json = instance
        .get("/.well-known/openid-configuration")
        .await
        .json();
    assert_eq!(json["issuer"], "http://auth.example.com");
    assert_eq!(
        json["jwks_uri"],
        "http://auth.example.com/.well-known/jwks.json"
    );
    assert_eq!(json["grant_types_supported"], json!([]));
    for absent in [
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
    ] {
        assert!(json.get(absent).is_none(), "{absent}");
    }
}
