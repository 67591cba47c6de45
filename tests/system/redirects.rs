//! Answers that a route gives by itself. Never asks an endpoint.

use portcullis_testkit::{Connection, Endpoint, Response};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;

/// An edge with one route for everything beside what `route` says.
async fn edge(route: Value) -> (Edge, Endpoint) {
    let a = Endpoint::start("a").await;
    let mut route = route;
    route["name"] = json!("tested");
    let setup = Setup::new(&[&a])
        .set("routes.0.path", json!("/else"))
        .set("routes.1", route);
    (setup.start().await, a)
}

async fn get(edge: &Edge, host: &str, path: &str) -> Response {
    let mut client = Connection::open(edge.http()).await.unwrap().with_host(host);
    client.get(path).await.unwrap()
}

async fn location(edge: &Edge, host: &str, path: &str) -> String {
    let response = get(edge, host, path).await;
    let location = response.field("location");
    location.map_or_else(|| response.status.to_string(), str::to_owned)
}

#[tokio::test]
async fn a_redirect_changes_what_it_names_and_keeps_the_rest() {
    for (redirect, path, status, expected) in [
        (
            json!({ "to": "https://new.example/x" }),
            "/a?b=1",
            307,
            "https://new.example/x?b=1",
        ),
        (
            json!({ "to": "/x?y=2", "status": "301" }),
            "/a?b=1",
            301,
            "/x?y=2&b=1",
        ),
        (
            json!({ "scheme": "https" }),
            "/a?b=1",
            307,
            "https://a.example/a?b=1",
        ),
        (
            json!({ "host": "b.example", "status": "308" }),
            "/a",
            308,
            "http://b.example/a",
        ),
        (
            json!({ "port": 8443 }),
            "/a",
            307,
            "http://a.example:8443/a",
        ),
        (
            json!({ "path": "/new", "status": "302" }),
            "/a?b=1",
            302,
            "/new?b=1",
        ),
        (
            json!({ "prefix": "/v2", "keep_query": false }),
            "/old/a?b=1",
            307,
            "/v2/a",
        ),
    ] {
        let mut route = json!({ "host": "a.example", "redirect": redirect });
        if route["redirect"]["prefix"].is_string() {
            route["path"] = json!("/old");
        }
        let (edge, endpoint) = edge(route).await;
        let response = get(&edge, "a.example:81", path).await;
        assert_eq!(response.status, status, "{redirect}");
        assert_eq!(response.field("location"), Some(expected), "{redirect}");
        let line = edge
            .wait_for_log(1, |line| line["outcome"] == "redirected")
            .await;
        assert_eq!(
            (
                &line[0]["route"],
                line[0].get("cluster").and_then(Value::as_str)
            ),
            (&json!("tested"), None)
        );
        edge.wait_for_outcome("redirected", 1).await;
        assert_eq!(endpoint.requests(), 0);
    }
}

#[tokio::test]
async fn a_redirect_repeats_no_host_that_nobody_named() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set(
            "routes",
            json!([
                { "name": "secure", "redirect": { "scheme": "https" } },
                { "host": "app.example", "path": "/app", "cluster": "main" },
                { "host": "*.shop.example", "path": "/app", "cluster": "main" },
            ]),
        )
        .start()
        .await;
    for (host, expected) in [
        ("app.example", "https://app.example/x"),
        ("app.example:8080", "https://app.example/x"),
        ("a.shop.example", "https://a.shop.example/x"),
        ("evil.example", "404"),
        ("app.example.evil.example", "404"),
        ("shop.example", "404"),
    ] {
        assert_eq!(location(&edge, host, "/x").await, expected, "{host}");
    }
}

#[tokio::test]
async fn no_path_leads_a_redirect_to_another_host() {
    let (edge, _a) = edge(json!({ "path": "/old", "redirect": { "prefix": "/" } })).await;
    for (path, expected) in [
        ("/old/x", "/x"),
        ("/old//evil.example", "400"),
        ("/old/", "/"),
        ("/old", "/"),
    ] {
        assert_eq!(location(&edge, "h", path).await, expected, "{path}");
    }
}

#[tokio::test]
async fn a_fixed_answer_needs_no_endpoint() {
    let respond = json!({ "status": 410, "body": "gone fishing", "content_type": "text/html" });
    let (edge, endpoint) = edge(json!({
        "respond": respond,
        "response_headers": { "set": { "X-By": "{route}" }, "add": { "Vary": "Accept" } },
    }))
    .await;
    let mut client = edge.connect().await;
    for _ in 0..2 {
        let response = client.request("POST", "/x", &[], b"body").await.unwrap();
        assert_eq!(
            (response.status, response.text().as_str()),
            (410, "gone fishing")
        );
        assert_eq!(response.field("content-type"), Some("text/html"));
        assert_eq!(
            (response.field("x-by"), response.field("vary")),
            (Some("tested"), Some("Accept"))
        );
        assert!(response.field("x-request-id").is_some());
        client = edge.connect().await;
    }
    let head = client.request("HEAD", "/x", &[], b"").await.unwrap();
    assert_eq!(
        (head.status, head.field("content-length")),
        (410, Some("12"))
    );
    edge.wait_for_outcome("responded", 3).await;
    assert_eq!(endpoint.requests(), 0);
}

#[tokio::test]
async fn an_empty_answer_leaves_the_connection_open() {
    let (edge, _a) = edge(json!({ "respond": { "status": 204 } })).await;
    let mut client = edge.connect().await;
    for _ in 0..3 {
        let response = client.get("/x").await.unwrap();
        assert_eq!((response.status, response.text().as_str()), (204, ""));
        assert_eq!(response.field("content-length"), None);
    }
}
