//! Answers of the edge in the operator's words, and routes that are closed for a while.

use portcullis_testkit::{Behavior, Endpoint};
use serde_json::json;

use super::Setup;

#[tokio::test]
async fn the_operators_words_replace_those_of_the_edge_and_no_others() {
    let a = Endpoint::start("a").await;
    let setup = Setup::new(&[&a]);
    std::fs::write(setup.directory().join("sorry.html"), "<p>sorry</p>").unwrap();
    let edge = setup
        .set("routes.0.path", json!("/app"))
        .set("routes.0.errors", json!([{ "status": 502, "body": "try again", "content_type": "text/plain" }]))
        .set(
            "errors",
            json!([{ "status": "400-599", "file": "sorry.html" }, { "status": 404, "body": "never" }]),
        )
        .start()
        .await;
    let mut client = edge.connect().await;
    let missing = client.get("/x").await.unwrap();
    assert_eq!(
        (missing.status, missing.text()),
        (404, "<p>sorry</p>".to_owned())
    );
    assert_eq!(
        missing.field("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(missing.field("x-request-id").is_some());
    let head = client.request("HEAD", "/x", &[], b"").await.unwrap();
    assert_eq!((head.status, head.text()), (404, String::new()));
    a.behave(Behavior::ResetBeforeAnswer);
    let failed = client.request("POST", "/app", &[], b"x").await.unwrap();
    assert_eq!(
        (failed.status, failed.text()),
        (502, "try again".to_owned())
    );
    assert_eq!(failed.field("content-type"), Some("text/plain"));
    a.behave(Behavior::Echo);
    assert_eq!(edge.get("/app").await.status, 200);
}

#[tokio::test]
async fn an_answer_of_the_endpoint_keeps_its_words() {
    let a = Endpoint::with("a", Behavior::Status(404)).await;
    let edge = Setup::new(&[&a])
        .set("errors", json!([{ "status": "400-599", "body": "ours" }]))
        .start()
        .await;
    assert_eq!(edge.get("/").await.text(), "{}");
}

#[tokio::test]
async fn a_route_under_maintenance_is_closed_to_all_but_those_who_may_look() {
    let a = Endpoint::start("a").await;
    for (maintenance, status, words, retry_after) in [
        (
            json!(true),
            503,
            "urn:portcullis:problem:refused_maintenance",
            Some("300"),
        ),
        (
            json!({ "body": "at noon", "retry_after": "60s" }),
            503,
            "at noon",
            Some("60"),
        ),
        (
            json!({ "file": "sorry.html", "content_type": "text/plain", "allow": ["192.0.2.0/24"] }),
            503,
            "sorry",
            Some("300"),
        ),
        (json!({ "on": false }), 200, "endpoint", None),
        (json!({ "allow": ["127.0.0.0/8"] }), 200, "endpoint", None),
    ] {
        let setup = Setup::new(&[&a]);
        std::fs::write(setup.directory().join("sorry.html"), "sorry").unwrap();
        let edge = setup
            .set("routes.0.maintenance", maintenance.clone())
            .start()
            .await;
        let response = edge.get("/").await;
        assert_eq!(response.status, status, "{maintenance}");
        assert!(response.text().contains(words), "{}", response.text());
        assert_eq!(response.field("retry-after"), retry_after);
        if status == 503 {
            edge.wait_for_outcome("refused_maintenance", 1).await;
        }
    }
}
