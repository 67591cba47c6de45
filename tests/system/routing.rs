//! Which cluster a request reaches by host and path, and what it gets when there is none.

use portcullis_testkit::{Connection, Endpoint, free_port};
use serde_json::json;

use super::Setup;
use crate::harness::Edge;

async fn answered_by(edge: &Edge, host: &str, path: &str) -> String {
    let mut client = Connection::open(edge.http()).await.unwrap().with_host(host);
    let response = client.get(path).await.unwrap();
    match response.status {
        200 => response.endpoint(),
        status => status.to_string(),
    }
}

#[tokio::test]
async fn the_most_specific_route_wins() {
    let endpoints = ["any", "exact", "wildcard", "api", "login"];
    let mut running = Vec::new();
    for name in endpoints {
        running.push(Endpoint::start(name).await);
    }
    let mut setup = Setup::new(&[&running[0]]);
    for (name, endpoint) in endpoints.iter().zip(&running).skip(1) {
        setup = setup.cluster(name, &[endpoint]);
    }
    let edge = setup
        .set(
            "routes",
            json!([
                { "path": "/", "cluster": "main" },
                { "host": "app.example", "path": "/", "cluster": "exact" },
                { "host": "*.example", "path": "/", "cluster": "wildcard" },
                { "host": "app.example", "path": "/api", "cluster": "api" },
                { "host": "app.example", "exact": "/api/login", "cluster": "login" },
            ]),
        )
        .start()
        .await;
    for (host, path, expected) in [
        ("app.example", "/", "exact"),
        ("APP.Example:8080", "/", "exact"),
        ("app.example.", "/", "exact"),
        ("b.example", "/api", "wildcard"),
        ("elsewhere.test", "/api", "any"),
        ("app.example", "/api", "api"),
        ("app.example", "/api/", "api"),
        ("app.example", "/api/x?y=/", "api"),
        ("app.example", "/apix", "exact"),
        ("app.example", "/api-x", "exact"),
        ("app.example", "/api/login", "login"),
        ("app.example", "/api/login?next=1", "login"),
        ("app.example", "/api/login/", "api"),
        ("app.example", "/API", "exact"),
    ] {
        assert_eq!(
            answered_by(&edge, host, path).await,
            expected,
            "{host}{path}"
        );
    }
}

#[tokio::test]
async fn without_a_route_the_answer_is_404_as_problem_json() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("routes.0.path", json!("/api"))
        .start()
        .await;
    let response = edge.get("/other").await;
    assert_eq!(response.status, 404);
    assert_eq!(
        response.field("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(response.json()["status"], 404);
    let line = edge.log_of("/other").await;
    assert_eq!(
        (&line["outcome"], &line["status"]),
        (&json!("refused_no_route"), &json!(404))
    );
    edge.wait_for_outcome("refused_no_route", 1).await;
    assert_eq!(a.requests(), 0);
}

#[tokio::test]
async fn without_an_endpoint_the_answer_is_503_with_retry_after() {
    let refusing = free_port();
    let edge = Setup::for_addresses(&[refusing.address()])
        .set(
            "clusters.main.health",
            json!({ "path": "/health/ready", "interval": "200ms", "timeout": "200ms" }),
        )
        .start_unready()
        .await;
    let response = edge.get("/x").await;
    assert_eq!(response.status, 503);
    assert_eq!(
        response.field("content-type"),
        Some("application/problem+json")
    );
    let retry_after = response.field("retry-after").expect("Retry-After");
    assert!(retry_after.parse::<u32>().unwrap() > 0);
    assert_eq!(edge.log_of("/x").await["outcome"], "failed_no_endpoint");
    edge.wait_for_outcome("failed_no_endpoint", 1).await;
}

#[tokio::test]
async fn dot_segments_do_not_reach_past_a_prefix() {
    let (open, closed) = (
        Endpoint::start("open").await,
        Endpoint::start("closed").await,
    );
    let edge = Setup::new(&[&open])
        .cluster("closed", &[&closed])
        .set(
            "routes",
            json!([
                { "path": "/public", "cluster": "main" },
                { "path": "/admin", "cluster": "closed" },
            ]),
        )
        .start()
        .await;
    for path in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..;/admin",
    ] {
        let by = answered_by(&edge, "a.example", path).await;
        assert_ne!(by, "closed", "{path}");
        // Whoever answers must see what was matched: an endpoint that resolves the dots itself
        // is told the same raw path.
        assert!(by == "open" || by == "400" || by == "404", "{path}: {by}");
    }
}

#[tokio::test]
async fn an_encoded_letter_does_not_reach_past_a_route() {
    let (open, closed) = (
        Endpoint::start("open").await,
        Endpoint::start("closed").await,
    );
    let edge = Setup::new(&[&open])
        .cluster("closed", &[&closed])
        .set(
            "routes",
            json!([
                { "path": "/", "cluster": "main" },
                { "path": "/internal", "respond": { "status": 403 } },
                { "exact": "/admin", "cluster": "closed" },
                { "path": "/a-b", "cluster": "closed", "rewrite": { "prefix": "/new" } },
            ]),
        )
        .start()
        .await;
    for (path, expected) in [
        ("/%69nternal/x", "403"),
        ("/intern%61%6C", "403"),
        ("/%61dmin", "closed"),
        ("/a%2Db/c%20d", "closed"),
        ("/%2561dmin", "open"),
        // Some endpoints would take it for a path below /internal.
        ("/internal%2fx", "400"),
        ("/open%2fx", "open"),
    ] {
        let by = answered_by(&edge, "a.example", path).await;
        assert_eq!(by, expected, "{path}");
    }
    let received = closed.received();
    assert_eq!(received.last().unwrap().target, "/new/c%20d");
}
