//! Malformed, oversized and slow input. Every refusal is a problem with a stable code.

use serde_json::json;

use crate::harness::{EMAIL, Installation, PASSWORD, assert_problem};

const LOGIN: &str = "/api/v1/auth/login";
const JSON: (&str, &str) = ("Content-Type", "application/json");

#[tokio::test]
async fn bodies_that_are_not_the_expected_object_are_refused() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let deep = format!(
        "{{\"email\":{}1{}}}",
        "[".repeat(30_000),
        "]".repeat(30_000)
    );
    for (body, code) in [
        ("", "malformed_json"),
        ("{", "malformed_json"),
        (
            "{\"email\":\"a@b.c\",\"password\":\"x\"} trailing",
            "malformed_json",
        ),
        ("\u{feff}{}", "malformed_json"),
        ("[]", "invalid_body"),
        (" [\"a@b.c\",\"x\"]", "invalid_body"),
        ("null", "invalid_body"),
        ("{}", "invalid_body"),
        ("{\"email\":\"a@b.c\"}", "invalid_body"),
        ("{\"email\":null,\"password\":\"x\"}", "invalid_body"),
        ("{\"email\":1,\"password\":\"x\"}", "invalid_body"),
        ("{\"email\":{},\"password\":\"x\"}", "invalid_body"),
        (
            "{\"email\":\"a@b.c\",\"password\":\"x\",\"admin\":true}",
            "invalid_body",
        ),
        (
            "{\"email\":\"a@b.c\",\"email\":\"d@e.f\",\"password\":\"x\"}",
            "invalid_body",
        ),
        (deep.as_str(), "invalid_body"),
    ] {
        let mut connection = instance.connect().await;
        let answer = connection
            .request("POST", LOGIN, &[JSON], body.as_bytes())
            .await
            .unwrap();
        assert_problem(&answer, 400, code);
        assert!(
            !answer.text().contains("a@b.c"),
            "nothing of the input comes back"
        );
    }
    assert_eq!(instance.hashes().await, 0.0);
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let body = b"{\"email\":\"\xff\xfe\",\"password\":\"x\"}";
    let answer = instance
        .connect()
        .await
        .request("POST", LOGIN, &[JSON], body)
        .await
        .unwrap();
    assert_problem(&answer, 400, "malformed_json");
}

#[tokio::test]
async fn only_json_is_taken() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    instance.register(EMAIL, PASSWORD).await;
    let body = json!({ "email": EMAIL, "password": PASSWORD }).to_string();
    for (content_type, status) in [
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonx", 415),
        ("", 415),
    ] {
        let fields = [("Content-Type", content_type)];
        let mut connection = instance.connect().await;
        let answer = connection
            .request("POST", LOGIN, &fields, body.as_bytes())
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{content_type}");
    }
}

#[tokio::test]
async fn sec_a07_a_body_of_a_mebibyte_is_refused_before_any_hash() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let body = json!({ "email": EMAIL, "password": "x".repeat(1024 * 1024) }).to_string();
    let announced = instance
        .connect()
        .await
        .request("POST", LOGIN, &[JSON], body.as_bytes())
        .await
        .unwrap();
    assert_problem(&announced, 413, "body_too_large");

    let mut chunked = instance.connect().await;
    let head = format!(
        "POST {LOGIN} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        body.len()
    );
    chunked.send(head.as_bytes()).await.unwrap();
    // The service may answer and close while the body is still on its way.
    let _ = chunked.send(body.as_bytes()).await;
    let _ = chunked.send(b"\r\n0\r\n\r\n").await;
    assert_problem(&chunked.response().await.unwrap(), 413, "body_too_large");
    assert_eq!(instance.hashes().await, 0.0);
}

#[tokio::test]
async fn a_body_at_the_limit_is_read() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let blank = " ".repeat(64 * 1024 - 40);
    let body = format!("{{\"refresh_token\":\"x\"{blank}}}");
    assert!(body.len() <= 64 * 1024);
    let mut connection = instance.connect().await;
    let answer = connection
        .request("POST", "/api/v1/auth/refresh", &[JSON], body.as_bytes())
        .await
        .unwrap();
    assert_problem(&answer, 401, "invalid_refresh_token");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    for path in [
        "/",
        "/api",
        "/api/v1/auth",
        "/api/v1/auth/login/",
        "/HEALTH",
        "/health%00",
    ] {
        assert_problem(&instance.get(path).await, 404, "not_found");
    }
    let wrong = instance.get(LOGIN).await;
    assert_problem(&wrong, 405, "method_not_allowed");
    assert_eq!(wrong.field("allow"), Some("POST"));
    let wrong = instance
        .connect()
        .await
        .request("DELETE", "/health", &[], b"")
        .await
        .unwrap();
    assert_problem(&wrong, 405, "method_not_allowed");
    assert_eq!(wrong.field("allow"), Some("GET,HEAD"));
}

#[tokio::test]
async fn a_malformed_request_line_is_answered_400_and_closed() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let mut connection = instance.connect().await;
    connection
        .send(b"GET /health\r\nnonsense\r\n\r\n")
        .await
        .unwrap();
    let text = String::from_utf8(connection.read_to_end().await.unwrap()).unwrap();
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
    assert_eq!(instance.get("/health").await.status, 200);
}

#[tokio::test]
async fn sec_h05_quotes_and_comments_are_plain_text() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    instance.register(EMAIL, PASSWORD).await;
    for email in [
        "' OR '1'='1",
        "ada@example.com'--",
        "\"; DROP TABLE accounts; --",
    ] {
        let answer = instance.try_login(email, PASSWORD).await;
        assert!(
            answer.status == 400 || answer.status == 401,
            "{}",
            answer.text()
        );
    }
    assert_eq!(
        instance.try_login(EMAIL, "' OR '1'='1' --").await.status,
        401
    );
    assert_eq!(instance.try_login(EMAIL, PASSWORD).await.status, 200);
}
