//! What routes do beside forwarding, over HTTP/2: the same as over HTTP/1.1.

use portcullis_testkit::{Authority, Behavior, Endpoint};
use serde_json::{Value, json};

use super::open;
use crate::harness::Edge;
use crate::native::Setup;

fn setup(endpoint: &Endpoint, authority: &Authority) -> Setup {
    let identity = authority.issue("app", &["app.example"]);
    let certificates = json!([{ "cert": identity.cert, "key": identity.key }]);
    Setup::new(&[endpoint]).listener("tls", &json!({ "tls": { "certificates": certificates } }))
}

async fn edge(endpoint: &Endpoint, authority: &Authority, routes: Value) -> Edge {
    setup(endpoint, authority)
        .set("routes", routes)
        .start()
        .await
}

#[tokio::test]
async fn path_host_and_fields_are_rewritten() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let routes = json!([
        { "name": "endpoint", "cluster": "main", "path": "/by-address", "rewrite": { "host": "endpoint" } },
        {
            "name": "api", "cluster": "main", "path": "/api",
            "rewrite": { "prefix": "/v2", "host": "internal.example:81" },
            "request_headers": {
                "set": { "X-Tenant": "blue", "X-Seen": "{scheme} {host} {route} {cluster}" },
                "add": { "X-More": "2" },
                "remove": ["X-Secret"],
            },
            "response_headers": {
                "set": { "Strict-Transport-Security": "max-age=63072000", "X-Id": "{request_id}" },
                "add": { "Vary": "X-Tenant" },
                "remove": ["Content-Type"],
            },
        },
    ]);
    let edge = edge(&a, &authority, routes).await;
    let client = open(&edge, &authority).await;
    let fields = [
        ("x-tenant", "forged"),
        ("x-more", "1"),
        ("x-secret", "s"),
        ("x_tenant", "forged"),
    ];
    let response = client
        .request("PUT", "/api/x%20y?q=1&r", &fields, b"body")
        .await
        .unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(a.received()[0].target, "/v2/x%20y?q=1&r");
    for (name, expected) in [
        ("host", &["internal.example:81"][..]),
        ("x-forwarded-host", &["app.example"]),
        ("x-forwarded-proto", &["https"]),
        ("x-tenant", &["blue"]),
        ("x_tenant", &[]),
        ("x-more", &["1", "2"]),
        ("x-secret", &[]),
        ("x-seen", &["https app.example api main"]),
    ] {
        assert_eq!(response.echoed(name), expected, "{name}");
    }
    assert_eq!(
        response.field("strict-transport-security"),
        Some("max-age=63072000")
    );
    assert_eq!(response.field("vary"), Some("X-Tenant"));
    assert_eq!(response.field("content-type"), None);
    assert!(response.field("x-id").is_some());
    assert_eq!(response.field("x-id"), response.field("x-request-id"));
    let by_address = client.get("/by-address").await.unwrap();
    assert_eq!(by_address.echoed("host"), [a.address().to_string()]);
    assert_eq!(client.get("/api//evil").await.unwrap().status, 200);
    assert_eq!(a.received()[2].target, "/v2//evil");
}

#[tokio::test]
async fn redirects_and_fixed_answers_need_no_endpoint() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let routes = json!([
        { "name": "moved", "path": "/moved", "redirect": { "host": "new.example", "status": "308" } },
        { "name": "away", "path": "/away", "redirect": { "to": "https://other.example/x", "status": "301" } },
        {
            "name": "gone", "path": "/gone",
            "respond": { "status": 410, "body": "gone fishing", "content_type": "text/html" },
            "response_headers": { "set": { "X-By": "{route}" } },
        },
        { "name": "empty", "path": "/empty", "respond": { "status": 204 } },
        { "name": "closed", "path": "/closed", "cluster": "main", "maintenance": { "body": "at noon" } },
        { "name": "all", "path": "/", "cluster": "main" },
    ]);
    let edge = edge(&a, &authority, routes).await;
    let client = open(&edge, &authority).await;
    let location = async |path: &str| {
        let response = client.get(path).await.unwrap();
        (
            response.status,
            response.field("location").unwrap_or_default().to_owned(),
        )
    };
    assert_eq!(
        location("/moved/x?b=1").await,
        (308, "https://new.example/moved/x?b=1".to_owned())
    );
    assert_eq!(
        location("/away?b=1").await,
        (301, "https://other.example/x?b=1".to_owned())
    );
    let gone = client.request("POST", "/gone", &[], b"body").await.unwrap();
    assert_eq!((gone.status, gone.text().as_str()), (410, "gone fishing"));
    assert_eq!(
        (gone.field("content-type"), gone.field("x-by")),
        (Some("text/html"), Some("gone"))
    );
    let head = client.request("HEAD", "/gone", &[], b"").await.unwrap();
    assert_eq!(
        (
            head.status,
            head.field("content-length"),
            head.text().as_str()
        ),
        (410, Some("12"), "")
    );
    let empty = client.get("/empty").await.unwrap();
    assert_eq!((empty.status, empty.text().as_str()), (204, ""));
    let closed = client.get("/closed").await.unwrap();
    assert_eq!((closed.status, closed.text().as_str()), (503, "at noon"));
    assert_eq!(closed.field("retry-after"), Some("300"));
    edge.wait_for_outcome("redirected", 2).await;
    edge.wait_for_outcome("responded", 3).await;
    assert_eq!(a.requests(), 0);
    assert_eq!(
        client.get("/").await.unwrap().status,
        200,
        "on the same connection"
    );
}

#[tokio::test]
async fn the_operators_words_stand_for_errors_of_the_edge_and_of_endpoints() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let pages = json!([{ "status": "400-599", "body": "sorry", "also_from_endpoints": true }]);
    let setup = setup(&a, &authority)
        .set("errors", pages)
        .set("routes.0.path", json!("/app"))
        .set("clusters.main.ejection", json!("off"));
    let edge = setup.start().await;
    let client = open(&edge, &authority).await;
    a.behave(Behavior::raw(
        "HTTP/1.1 503 Busy\r\nretry-after: 9\r\nx-inside: 1\r\ncontent-length: 6\r\n\r\nsecret",
    ));
    for (method, path, status, words) in [
        ("GET", "/app", 503, "sorry"),
        ("HEAD", "/app", 503, ""),
        ("POST", "/app", 503, "sorry"),
        ("GET", "/missing", 404, "sorry"),
    ] {
        let response = client.request(method, path, &[], b"").await.unwrap();
        assert_eq!(
            (response.status, response.text().as_str()),
            (status, words),
            "{method} {path}"
        );
        assert_eq!(response.field("x-inside"), None);
        assert_eq!(response.field("retry-after").is_some(), status == 503);
    }
    edge.wait_for_outcome("endpoint_error", 3).await;
    assert!(!client.is_closed());
}
