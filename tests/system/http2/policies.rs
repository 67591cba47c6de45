//! Policies over HTTP/2: the same as over HTTP/1.1.

use portcullis_testkit::{Authority, Behavior, Endpoint, wait_until};
use serde_json::json;

use super::{open, tls_edge};
use crate::native::Setup;

#[tokio::test]
async fn streams_of_one_connection_share_their_clients_limits() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("app", &["app.example"]);
    let certificates = json!([{ "cert": identity.cert, "key": identity.key }]);
    let edge = Setup::new(&[&a])
        .listener("tls", &json!({ "tls": { "certificates": certificates } }))
        .set("rate_limits.often", json!({ "rate": "3/h" }))
        .set(
            "rate_limits.at_once",
            json!({ "concurrent": 1, "key": ["path"] }),
        )
        .set("routes.0.rate_limits", json!(["often", "at_once"]))
        .start()
        .await;
    let client = open(&edge, &authority).await;
    a.behave(Behavior::Hang);
    let hanging = tokio::spawn({
        let client = client.clone();
        async move { client.get("/hang").await }
    });
    wait_until("it runs", async || (a.requests() == 1).then_some(())).await;
    a.behave(Behavior::Echo);
    let second = client.get("/hang").await.unwrap();
    assert_eq!(second.status, 429);
    let other = client.get("/other").await.unwrap();
    assert_eq!(
        (other.status, other.field("ratelimit-remaining")),
        (200, Some("1"))
    );
    hanging.abort();
    edge.wait_for_outcome("client_gone", 1).await;
    assert_eq!(client.get("/hang").await.unwrap().status, 200);
    let refused = client.get("/hang").await.unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.field("retry-after").is_some());
}

#[tokio::test]
async fn odd_paths_preflights_and_promises_of_tls_are_treated_alike() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let extra = json!({ "security_headers": "api", "paths": { "double_slash": "merge" } });
    let edge = tls_edge(&a, &authority, &extra).await;
    let client = open(&edge, &authority).await;
    let merged = client.get("//a///b").await.unwrap();
    assert_eq!(
        (merged.status, &merged.json()["path"]),
        (200, &json!("/a/b"))
    );
    let hsts = merged.field("strict-transport-security");
    assert_eq!(hsts, Some("max-age=31536000; includeSubDomains"));
    for path in [
        "/public/..;/x",
        "/a/%2e%2e%2fb",
        "/%00",
        "/a%5cb",
        "/%c0%af",
    ] {
        let response = client.get(path).await.unwrap();
        assert_eq!(response.status, 400, "{path}");
    }
}

#[tokio::test]
async fn preflights_are_answered_by_the_edge() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("app", &["app.example"]);
    let certificates = json!([{ "cert": identity.cert, "key": identity.key }]);
    let edge = Setup::new(&[&a])
        .listener("tls", &json!({ "tls": { "certificates": certificates } }))
        .set(
            "routes.0.cors",
            json!({ "origins": ["https://page.example"] }),
        )
        .start()
        .await;
    let client = open(&edge, &authority).await;
    for (origin, status) in [("https://page.example", 204), ("https://evil.example", 403)] {
        let fields = [
            ("origin", origin),
            ("access-control-request-method", "DELETE"),
        ];
        let answer = client.request("OPTIONS", "/x", &fields, b"").await.unwrap();
        assert_eq!(answer.status, status, "{origin}");
        let allowed = answer.field("access-control-allow-origin");
        assert_eq!(allowed, (status == 204).then_some(origin));
    }
    assert_eq!(a.requests(), 0);
}
