//! Paths that servers read differently: no route may be passed by, and what is matched is what is sent.

use portcullis_testkit::{Endpoint, Response};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;

/// An edge that serves everything but `/internal` and, below `/public`, everything.
async fn edge(endpoint: &Endpoint, paths: Value) -> Edge {
    Setup::new(&[endpoint])
        .set("listeners.0.paths", paths)
        .set(
            "routes.1",
            json!({ "path": "/internal", "respond": { "status": 403 } }),
        )
        .set("routes.2", json!({ "path": "/public", "cluster": "main" }))
        .start()
        .await
}

async fn get(edge: &Edge, path: &str) -> Response {
    let mut client = edge.connect().await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(request.as_bytes()).await.unwrap();
    client.response().await.unwrap()
}

/// The status, and the path that the endpoint was asked for.
async fn seen(edge: &Edge, path: &str) -> (u16, Option<String>) {
    let response = get(edge, path).await;
    let asked =
        (response.status == 200).then(|| response.json()["path"].as_str().unwrap().to_owned());
    (response.status, asked)
}

#[tokio::test]
async fn no_spelling_passes_a_route_by() {
    let a = Endpoint::start("a").await;
    let edge = edge(&a, json!({})).await;
    for path in [
        "//internal",
        "///internal/x",
        "/public/..;/internal",
        "/public/..%2finternal",
        "/public%2f..%2finternal",
        "/%2finternal",
        "/%2Finternal",
        "/internal;x",
        "/internal%3bx/y",
        "/internal%2Fx",
        "/%5cinternal",
        "/public/..%5cinternal",
        "/public/%2e%2e/internal",
        "/public/..%00/internal",
        "/internal%00",
        "/%c0%afinternal",
        "/%c0%ae%c0%ae/internal",
        "/%u002e%u002e/internal",
        "/public/.%2e;a=b/internal",
        "/./internal",
        "/x/../internal",
        "/%zz",
    ] {
        let response = get(&edge, path).await;
        assert!(
            [400, 403].contains(&response.status),
            "{path}: {}",
            response.status
        );
    }
    assert_eq!(a.requests(), 0);
    for path in ["/internal", "/internal/x", "/%69nternal", "/internal?x=//"] {
        assert_eq!(get(&edge, path).await.status, 403, "{path}");
    }
    // What means the same to everybody goes through as it was sent.
    for path in [
        "/public/x;v=1",
        "/public/a%2Fb",
        "/public/https://example.com/a",
        "/a//b",
        "/x;y/z",
        "/caf%C3%A9",
        "/a%20b",
        "/public/%252e%252e/x",
        "/.well-known/x",
        "/a..b",
        "/internals",
        "/%2e%2ehidden",
    ] {
        assert_eq!(seen(&edge, path).await, (200, Some(path.to_owned())));
    }
}

#[tokio::test]
async fn what_is_matched_is_what_is_sent() {
    let a = Endpoint::start("a").await;
    let paths =
        json!({ "encoded_slash": "decode", "dot_segments": "resolve", "double_slash": "merge" });
    let edge = edge(&a, paths).await;
    for (path, sent) in [
        ("/public//x", "/public/x"),
        ("/public%2Fx", "/public/x"),
        ("/internal/../public/./x", "/public/x"),
        ("/a/b/%2e%2e/c?d=/../e", "/a/c?d=/../e"),
        ("/public%2f..%2Fx", "/x"),
    ] {
        let (status, asked) = seen(&edge, path).await;
        let asked = asked.unwrap_or_default();
        assert_eq!(status, 200, "{path}");
        let sent = sent.split('?').next().unwrap();
        assert_eq!(asked.split('?').next(), Some(sent), "{path}");
    }
    for path in [
        "//internal",
        "/public/../internal",
        "/public/%2e%2e%2finternal",
        "/%2Finternal",
    ] {
        assert_eq!(get(&edge, path).await.status, 403, "{path}");
    }
    for path in ["/..", "/public/..;/x", "/public/..%5cx", "/public/../../x"] {
        assert_eq!(get(&edge, path).await.status, 400, "{path}");
    }
}

#[tokio::test]
async fn each_oddity_can_be_refused_or_kept() {
    let a = Endpoint::start("a").await;
    for (key, value, path, status) in [
        ("encoded_slash", "refuse", "/public/a%2Fb", 400),
        ("double_slash", "refuse", "/public//b", 400),
        ("parameters", "refuse", "/public/a;b", 400),
        ("backslash", "keep", "/public/a%5Cb", 200),
        ("backslash", "refuse", "/public/a%5Cb", 400),
        ("bad_encoding", "keep", "/public/100%", 200),
        ("bad_encoding", "refuse", "/public/100%", 400),
        ("ambiguous", "keep", "//internal", 200),
        ("dot_segments", "refuse", "/public/../x", 400),
        ("dot_segments", "resolve", "/public/../x", 200),
        ("encoded_slash", "decode", "/internal%2Fx", 403),
        ("double_slash", "merge", "//internal", 403),
    ] {
        let mut paths = json!({});
        paths[key] = json!(value);
        let edge = edge(&a, paths).await;
        let response = get(&edge, path).await;
        assert_eq!(response.status, status, "{key}: {value} {path}");
        if status == 400 {
            edge.wait_for_outcome("client_malformed", 1).await;
        }
    }
}

#[tokio::test]
async fn a_rewrite_sees_the_path_that_was_matched() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("listeners.0.paths", json!({ "double_slash": "merge" }))
        .set("routes.0.path", json!("/api"))
        .set("routes.0.rewrite", json!({ "prefix": "/v2" }))
        .start()
        .await;
    assert_eq!(
        seen(&edge, "//api///x").await,
        (200, Some("/v2/x".to_owned()))
    );
}
