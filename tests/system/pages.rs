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
async fn answers_of_endpoints_are_put_in_the_operators_words_where_that_is_asked_for() {
    let said = "content-type: application/json\r\ncontent-length: 6\r\nx-inside: 1\r\n\r\nsecret";
    let status = |line: &str| Behavior::raw(format!("HTTP/1.1 {line}\r\n{said}"));
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("routes.0.errors", json!([{ "status": 404, "body": "not here", "also_from_endpoints": true }]))
        .set(
            "errors",
            json!([
                { "status": 500, "body": "only when the edge says so" },
                { "status": "401-599", "body": "sorry", "content_type": "text/plain", "also_from_endpoints": true },
            ]),
        )
        .set("clusters.main.ejection", json!("off"))
        .start()
        .await;
    let mut client = edge.connect().await;
    for (line, words) in [
        ("404 Not Found", "not here"),
        ("401 No\r\nwww-authenticate: Bearer", "sorry"),
        ("503 Busy\r\nretry-after: 9", "sorry"),
        ("500 Broken", "sorry"),
        ("400 Bad", "secret"),
        ("200 OK", "secret"),
    ] {
        a.behave(status(line));
        let answer = client.get("/").await.unwrap();
        let is_ours = words != "secret";
        assert_eq!(
            (&line[..3], answer.text().as_str()),
            (answer.status.to_string().as_str(), words)
        );
        assert_eq!(answer.field("x-inside").is_none(), is_ours, "{line}");
        assert_eq!(
            answer.field("www-authenticate").is_some(),
            answer.status == 401
        );
        assert_eq!(answer.field("retry-after").is_some(), answer.status == 503);
        assert!(answer.field("x-request-id").is_some() && answer.field("x-served-by").is_some());
        if answer.field("connection") == Some("close") {
            client = edge.connect().await;
        }
    }
    a.behave(Behavior::raw(
        "HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\n\r\n",
    ));
    let head = client.request("HEAD", "/head", &[], b"").await.unwrap();
    assert_eq!((head.status, head.text()), (404, String::new()));
    assert_eq!(head.field("content-length"), Some("8"));
    assert_eq!(edge.log_of("/head").await["outcome"], "served");
    edge.wait_for_outcome("endpoint_error", 2).await;
    edge.wait_for_outcome("served", 5).await;
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
