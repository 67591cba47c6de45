//! What endpoints learn of the client, and that strangers cannot forge it.

use portcullis_testkit::{Authority, Connection, Endpoint, Response};
use serde_json::json;

use super::Setup;
use crate::harness::open_tls;

/// Headers by which a client could claim to be somebody else, with a claim each.
const CLAIMS: [(&str, &str); 6] = [
    ("X-Forwarded-For", "6.6.6.6"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Port", "6666"),
    ("X-Real-IP", "6.6.6.6"),
    ("Forwarded", "for=6.6.6.6;proto=https;host=evil.example"),
];

/// Headers only the edge may set towards an application.
const IDENTITY: [&str; 4] = [
    "X-Auth-Subject",
    "X-Auth-Roles",
    "X-Auth-Session",
    "X-Auth-Client",
];

fn one(response: &Response, name: &str) -> String {
    let values = response.echoed(name);
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values[0].clone()
}

#[tokio::test]
async fn the_endpoint_learns_who_asked_and_how() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let response = edge
        .connect()
        .await
        .with_host("app.example:81")
        .get("/")
        .await
        .unwrap();
    assert_eq!(one(&response, "x-forwarded-for"), "127.0.0.1");
    assert_eq!(one(&response, "x-real-ip"), "127.0.0.1");
    assert_eq!(one(&response, "x-forwarded-proto"), "http");
    assert!(one(&response, "x-forwarded-host").starts_with("app.example"));
    assert_eq!(
        one(&response, "x-forwarded-port"),
        edge.http().port().to_string()
    );
}

#[tokio::test]
async fn over_tls_the_scheme_is_https() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("leaf", &["app.example"]);
    let tls = json!({ "certificates": [{ "cert": identity.cert, "key": identity.key }] });
    let edge = Setup::new(&[&a])
        .listener("tls", &json!({ "tls": tls }))
        .start()
        .await;
    let mut client = open_tls(edge.listener(1), "app.example", &authority).await;
    let response = client.get("/").await.unwrap();
    assert_eq!(one(&response, "x-forwarded-proto"), "https");
    assert_eq!(
        one(&response, "x-forwarded-port"),
        edge.listener(1).port().to_string()
    );
}

#[tokio::test]
async fn claims_of_a_stranger_are_dropped() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await.with_host("app.example");
    for (name, claim) in CLAIMS {
        for (name, claim) in [
            (name.to_owned(), claim.to_owned()),
            (name.to_lowercase(), format!("{claim}, {claim}")),
            (name.to_uppercase(), claim.to_owned()),
        ] {
            let fields = [
                (name.as_str(), claim.as_str()),
                (name.as_str(), claim.as_str()),
            ];
            let response = client.request("GET", "/", &fields, b"").await.unwrap();
            let text = response.text();
            for forged in ["6.6.6.6", "evil.example", "https"] {
                assert!(
                    !text.contains(forged),
                    "{name}: {claim} reached the endpoint: {text}"
                );
            }
            assert_eq!(one(&response, "x-forwarded-for"), "127.0.0.1");
            // Compared as a whole, since four digits may stand in a random id too.
            assert_ne!(one(&response, "x-forwarded-port"), "6666");
        }
    }
}

#[tokio::test]
async fn identity_fields_of_a_client_are_dropped() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("trusted_proxies", json!(["127.0.0.0/8"]))
        .start()
        .await;
    let mut client = edge.connect().await;
    for name in IDENTITY {
        for name in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
            let fields = [(name.as_str(), "forged"), (name.as_str(), "forged")];
            let response = client.request("GET", "/", &fields, b"").await.unwrap();
            assert!(
                !response.text().contains("forged"),
                "{name}: {}",
                response.text()
            );
        }
    }
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_a_stranger_beside_it_is_not() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("trusted_proxies", json!(["127.0.0.2/32"]))
        .start()
        .await;
    let claim = [
        ("X-Forwarded-For", "6.6.6.6, 203.0.113.9"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "app.example"),
        ("X-Forwarded-Port", "443"),
    ];
    let trusted = "127.0.0.2".parse().unwrap();
    let mut client = Connection::open_from(trusted, edge.http()).await.unwrap();
    let response = client
        .request("GET", "/trusted", &claim, b"")
        .await
        .unwrap();
    // The right-most address that is not a trusted proxy's is the client; what stands left of it
    // may be forged, and is passed on only as part of the list.
    assert_eq!(one(&response, "x-real-ip"), "203.0.113.9");
    assert!(one(&response, "x-forwarded-for").ends_with("203.0.113.9, 127.0.0.2"));
    assert_eq!(one(&response, "x-forwarded-proto"), "https");
    assert_eq!(one(&response, "x-forwarded-host"), "app.example");
    assert_eq!(one(&response, "x-forwarded-port"), "443");
    assert!(
        edge.log_of("/trusted").await["client"]
            .as_str()
            .unwrap()
            .starts_with("203.0.113.9")
    );

    let response = edge
        .connect()
        .await
        .request("GET", "/", &claim, b"")
        .await
        .unwrap();
    assert_eq!(one(&response, "x-real-ip"), "127.0.0.1");
    assert_eq!(one(&response, "x-forwarded-proto"), "http");
}
