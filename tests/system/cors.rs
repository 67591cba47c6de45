//! Web pages of other origins: who may ask, and who may read.

use portcullis_testkit::{Behavior, Endpoint, Response};
use portcullis_token::Algorithm;
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;
use crate::harness::issuer::{Publisher, Signer};

const APP: &str = "https://app.example.com";

async fn edge(endpoint: &Endpoint, cors: Value) -> Edge {
    Setup::new(&[endpoint])
        .set("routes.0.cors", cors)
        .start()
        .await
}

async fn ask(edge: &Edge, method: &str, fields: &[(&str, &str)]) -> Response {
    let mut client = edge.connect().await;
    client.request(method, "/x", fields, b"").await.unwrap()
}

async fn preflight(edge: &Edge, origin: &str, fields: &[(&str, &str)]) -> Response {
    let mut all = vec![("Origin", origin), ("Access-Control-Request-Method", "PUT")];
    all.extend(fields);
    ask(edge, "OPTIONS", &all).await
}

fn allowed(response: &Response) -> Option<&str> {
    response.field("access-control-allow-origin")
}

#[tokio::test]
async fn the_edge_answers_preflights_of_listed_origins() {
    let a = Endpoint::start("a").await;
    let cors = json!({
        "origins": [APP, "https://*.example.org"], "methods": ["GET", "PUT"],
        "headers": ["X-Tenant"], "expose": ["X-Total"], "credentials": true, "max_age": "1h",
    });
    let edge = edge(&a, cors).await;
    for origin in [APP, "https://a.example.org", "https://a.b.example.org"] {
        let answer = preflight(&edge, origin, &[]).await;
        assert_eq!(answer.status, 204, "{origin}");
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-methods", "GET, PUT"),
            ("access-control-allow-headers", "x-tenant"),
            ("access-control-allow-credentials", "true"),
            ("access-control-max-age", "3600"),
        ] {
            assert_eq!(answer.field(name), Some(value), "{origin}: {name}");
        }
        let varies = answer
            .fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("vary"));
        assert!(varies.map(|(_, value)| value).any(|v| v == "origin"));
    }
    assert_eq!(a.requests(), 0, "no endpoint is asked");
    for origin in [
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "https://xapp.example.com",
        "https://example.org",
        "https://evil.example/.example.org",
        "https://evilexample.org",
        "null",
        "",
    ] {
        let answer = preflight(&edge, origin, &[]).await;
        assert_eq!((answer.status, allowed(&answer)), (403, None), "{origin}");
    }
    edge.wait_for_outcome("responded", 3).await;
    edge.wait_for_outcome("refused_origin", 10).await;
}

#[tokio::test]
async fn answers_say_who_may_read_and_endpoints_do_not() {
    let a = Endpoint::start("a").await;
    let fields = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "X-Inside"),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    a.behave(Behavior::Fields(fields.to_vec()));
    let edge = edge(&a, json!({ "origins": [APP], "expose": ["X-Total"] })).await;
    let read = ask(&edge, "GET", &[("Origin", APP)]).await;
    assert_eq!((read.status, allowed(&read)), (200, Some(APP)));
    assert_eq!(read.field("access-control-allow-credentials"), None);
    assert_eq!(read.field("access-control-expose-headers"), Some("x-total"));
    for fields in [&[("Origin", "https://evil.example")][..], &[]] {
        let other = ask(&edge, "GET", fields).await;
        assert_eq!((other.status, allowed(&other)), (200, None), "{fields:?}");
        assert_eq!(
            other.field("vary"),
            Some("origin"),
            "caches tell them apart"
        );
    }
    // An OPTIONS request that is no preflight is the endpoint's.
    let before = a.requests();
    assert_eq!(ask(&edge, "OPTIONS", &[("Origin", APP)]).await.status, 200);
    assert_eq!(a.requests(), before + 1);
    // What the edge itself answers can be read, too.
    a.behave(Behavior::ResetBeforeAnswer);
    let failed = ask(&edge, "POST", &[("Origin", APP)]).await;
    assert_eq!((failed.status, allowed(&failed)), (502, Some(APP)));
}

#[tokio::test]
async fn every_origin_but_null_may_read_where_the_star_says_so() {
    let a = Endpoint::start("a").await;
    let cors = json!({ "origins": ["*"], "headers": ["*"] });
    let edge = edge(&a, cors).await;
    let read = ask(&edge, "GET", &[("Origin", "https://any.example")]).await;
    assert_eq!(allowed(&read), Some("*"));
    assert_eq!(read.field("access-control-allow-credentials"), None);
    assert_eq!(read.field("vary"), None);
    let asked = [("Access-Control-Request-Headers", "x-one, x-two")];
    let answer = preflight(&edge, "https://any.example", &asked).await;
    let headers = answer.field("access-control-allow-headers");
    assert_eq!(headers, Some("x-one, x-two"));
    let hostile = [("Access-Control-Request-Headers", "x-one\"; <x>")];
    let answer = preflight(&edge, "https://any.example", &hostile).await;
    assert_eq!(answer.field("access-control-allow-headers"), None);
    let null = ask(&edge, "GET", &[("Origin", "null")]).await;
    assert_eq!(allowed(&null), None);
}

#[tokio::test]
async fn null_may_read_only_where_it_is_listed() {
    let a = Endpoint::start("a").await;
    let edge = edge(&a, json!({ "origins": ["null"] })).await;
    let read = ask(&edge, "GET", &[("Origin", "null")]).await;
    assert_eq!(allowed(&read), Some("null"));
}

#[tokio::test]
async fn a_preflight_needs_no_token_and_finds_the_route_of_its_method() {
    let a = Endpoint::start("a").await;
    let signer = Signer::new(Algorithm::EdDsa);
    let publisher = Publisher::start(&[&signer]).await;
    for (owner, status, requests) in [("edge", 204, 0), ("endpoint", 200, 1)] {
        let cors = match owner {
            "edge" => json!({ "origins": [APP] }),
            _ => json!({ "owner": "endpoint" }),
        };
        let before = a.requests();
        let edge = Setup::new(&[&a])
            .set("issuers.main", publisher.keys())
            .set("routes.0.methods", json!(["PUT", "OPTIONS"]))
            .set("routes.0.auth", json!({ "issuer": "main" }))
            .set("routes.0.cors", cors)
            .set("routes.1", json!({ "respond": { "status": 404 } }))
            .start()
            .await;
        let answer = preflight(&edge, APP, &[]).await;
        assert_eq!(answer.status, status, "{owner}");
        assert_eq!(a.requests() - before, requests, "{owner}");
        let refused = ask(&edge, "PUT", &[("Origin", APP)]).await;
        assert_eq!(refused.status, 401, "{owner}: the request itself needs one");
        let expected = (owner == "edge").then_some(APP);
        assert_eq!(allowed(&refused), expected, "{owner}");
    }
    let edge = Setup::new(&[&a])
        .set("routes.0.methods", json!(["PUT"]))
        .set("routes.0.cors", json!({ "origins": [APP] }))
        .start()
        .await;
    assert_eq!(preflight(&edge, APP, &[]).await.status, 204);
}

#[tokio::test]
async fn an_endpoint_that_owns_it_is_left_alone() {
    let a = Endpoint::start("a").await;
    let field = ("access-control-allow-origin".to_owned(), "*".to_owned());
    a.behave(Behavior::Fields(vec![field]));
    let edge = edge(&a, json!({ "owner": "endpoint" })).await;
    let read = ask(&edge, "GET", &[("Origin", "https://any.example")]).await;
    assert_eq!((allowed(&read), read.field("vary")), (Some("*"), None));
}

#[tokio::test]
async fn pages_can_read_why_they_are_limited() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("rate_limits.tested", json!({ "rate": "1/h" }))
        .set("routes.0.rate_limits", json!(["tested"]))
        .set("routes.0.cors", json!({ "origins": [APP] }))
        .start()
        .await;
    assert_eq!(
        preflight(&edge, APP, &[]).await.status,
        204,
        "costs nothing"
    );
    assert_eq!(ask(&edge, "GET", &[("Origin", APP)]).await.status, 200);
    let refused = ask(&edge, "GET", &[("Origin", APP)]).await;
    assert_eq!((refused.status, allowed(&refused)), (429, Some(APP)));
}
