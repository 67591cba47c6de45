//! What a route changes on the way to the endpoint and back. Never chooses a route.

use portcullis_testkit::{Endpoint, Response};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;

async fn edge(endpoint: &Endpoint, route: Value) -> Edge {
    let mut route = route;
    route["name"] = json!("tested");
    route["cluster"] = json!("main");
    Setup::new(&[endpoint]).set("routes.0", route).start().await
}

fn one(response: &Response, name: &str) -> String {
    response.echoed(name).join("|")
}

#[tokio::test]
async fn the_endpoint_is_asked_for_the_rewritten_path() {
    for (route, asked, expected) in [
        (
            json!({ "path": "/api", "rewrite": { "prefix": "/v2" } }),
            "/api/x%20y?q=1&r",
            "/v2/x%20y?q=1&r",
        ),
        (
            json!({ "path": "/api", "rewrite": { "prefix": "/" } }),
            "/api",
            "/",
        ),
        (
            json!({ "exact": "/api", "rewrite": { "prefix": "/v2" } }),
            "/api?a",
            "/v2?a",
        ),
        (
            json!({ "rewrite": { "regex": "/users/([0-9]+)/(?<rest>.*)", "to": "/{rest}/of/{1}" } }),
            "/users/7/orders?q",
            "/orders/of/7?q",
        ),
        (
            json!({ "rewrite": { "regex": "/users/([0-9]+)", "to": "/{1}" } }),
            "/other?q",
            "/other?q",
        ),
    ] {
        let a = Endpoint::start("a").await;
        let edge = edge(&a, route).await;
        let response = edge.get(asked).await;
        assert_eq!(response.status, 200, "{asked}");
        assert_eq!(a.received()[0].target, expected);
        // The log tells what the client asked for.
        edge.log_of(asked.split('?').next().unwrap()).await;
    }
}

#[tokio::test]
async fn a_rewritten_path_that_names_a_host_is_refused() {
    let a = Endpoint::start("a").await;
    let edge = edge(&a, json!({ "path": "/api", "rewrite": { "prefix": "/" } })).await;
    assert_eq!(edge.get("/api//evil").await.status, 400);
    assert_eq!(a.requests(), 0);
}

#[tokio::test]
async fn the_endpoint_is_told_the_host_that_is_configured() {
    let a = Endpoint::start("a").await;
    let address = a.address().to_string();
    for (host, expected) in [
        ("internal.example:81", "internal.example:81"),
        ("endpoint", &address),
    ] {
        let edge = edge(&a, json!({ "rewrite": { "host": host } })).await;
        let mut client = edge.connect().await.with_host("public.example");
        let response = client.get("/").await.unwrap();
        assert_eq!(one(&response, "host"), expected);
        assert_eq!(one(&response, "x-forwarded-host"), "public.example");
    }
}

#[tokio::test]
async fn request_headers_are_set_added_and_removed() {
    let a = Endpoint::start("a").await;
    let changes = json!({
        "set": { "X-Tenant": "blue", "X-Seen": "{client_address} {scheme} {host} {route} {cluster} {{x}}" },
        "add": { "X-More": "2" },
        "remove": ["X-Secret"],
    });
    let edge = edge(&a, json!({ "request_headers": changes })).await;
    let fields = [
        ("X-Tenant", "forged"),
        ("x-tenant", "again"),
        ("X-More", "1"),
        ("X-Secret", "s"),
        ("x-secret", "t"),
        ("Connection", "X-Tenant"),
    ];
    let mut client = edge.connect().await.with_host("app.example");
    let response = client.request("GET", "/", &fields, b"").await.unwrap();
    assert_eq!(one(&response, "x-tenant"), "blue");
    assert_eq!(one(&response, "x-more"), "1|2");
    assert_eq!(one(&response, "x-secret"), "");
    assert_eq!(
        one(&response, "x-seen"),
        "127.0.0.1 http app.example tested main {x}"
    );
}

#[tokio::test]
async fn response_headers_are_set_added_and_removed() {
    let a = Endpoint::start("a").await;
    let changes = json!({
        "set": { "Strict-Transport-Security": "max-age=63072000", "X-Id": "{request_id}" },
        "add": { "Vary": "X-Tenant" },
        "remove": ["Content-Type"],
    });
    let edge = edge(&a, json!({ "response_headers": changes })).await;
    let response = edge.get("/").await;
    assert_eq!(
        response.field("strict-transport-security"),
        Some("max-age=63072000")
    );
    assert_eq!(response.field("vary"), Some("X-Tenant"));
    assert_eq!(response.field("content-type"), None);
    assert_eq!(response.field("x-id"), response.field("x-request-id"));
}
