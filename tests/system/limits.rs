//! Every size, count and time a client is held to, and what it is told beyond.

use std::time::{Duration, Instant};

use portcullis_testkit::{Connection, Endpoint, wait_until};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;

/// An edge whose clients have these limits.
async fn limited(endpoint: &Endpoint, limits: Value) -> Edge {
    let setup = Setup::new(&[endpoint]).set("listeners.0.limits", limits);
    setup.start().await
}

/// An edge that waits no longer than this for its clients.
async fn timed(endpoint: &Endpoint, timeouts: Value) -> Edge {
    let setup = Setup::new(&[endpoint]).set("listeners.0.timeouts", timeouts);
    setup.start().await
}

#[tokio::test]
async fn too_many_header_bytes_are_431() {
    let a = Endpoint::start("a").await;
    let edge = limited(&a, json!({ "header_bytes": "4KiB" })).await;
    let fits = "x".repeat(3_000);
    let response = edge
        .connect()
        .await
        .request("GET", "/", &[("X-A", &fits)], b"")
        .await
        .unwrap();
    assert_eq!(response.status, 200);
    let beyond = "x".repeat(5_000);
    let mut client = edge.connect().await;
    let response = client
        .request("GET", "/big", &[("X-A", &beyond)], b"")
        .await
        .unwrap();
    assert_eq!(response.status, 431);
    client.expect_close().await;
    edge.wait_for_outcome("client_head_too_large", 1).await;
    edge.wait_for_log(1, |l| {
        l["outcome"] == "client_head_too_large" && l["status"] == 431
    })
    .await;
    assert_eq!(a.requests(), 1);
}

#[tokio::test]
async fn a_request_line_without_end_is_cut_off() {
    let a = Endpoint::start("a").await;
    let edge = limited(&a, json!({ "header_bytes": "4KiB" })).await;
    let mut client = edge.connect().await;
    // The edge may close while this is still being sent.
    let _ = client
        .send(format!("GET /{}", "x".repeat(200_000)).as_bytes())
        .await;
    let answer = String::from_utf8(client.read_to_end().await.unwrap()).unwrap();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    edge.wait_for_outcome("client_head_too_large", 1).await;
}

/// Whoever complains of an answer can name it, though nobody read the request.
#[tokio::test]
async fn refusals_of_unread_requests_name_their_line_of_the_log() {
    let a = Endpoint::start("a").await;
    let limits = json!({ "target_bytes": "1KiB", "header_bytes": "4KiB" });
    let edge = limited(&a, limits).await;
    let long = "x".repeat(5_000);
    for (request, status) in [
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &long[..2_000]),
            414,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}\r\n\r\n"),
            431,
        ),
    ] {
        let mut client = edge.connect().await;
        // The edge may close while this is still being sent.
        let _ = client.send(request.as_bytes()).await;
        let response = client.response().await.unwrap();
        assert_eq!(response.status, status);
        let id = response.field("x-request-id").unwrap().to_owned();
        assert_eq!(response.json()["request_id"], id);
        let lines = edge.wait_for_log(1, |line| line["request_id"] == id).await;
        assert_eq!(lines[0]["status"], status);
    }
}

#[tokio::test]
async fn a_target_beyond_its_limit_is_414() {
    let a = Endpoint::start("a").await;
    let edge = limited(&a, json!({ "target_bytes": "1KiB" })).await;
    for (length, status) in [(1_000, 200), (2_000, 414)] {
        let target = format!("/?{}", "x".repeat(length));
        let mut client = edge.connect().await;
        assert_eq!(client.get(&target).await.unwrap().status, status);
    }
    edge.wait_for_outcome("client_target_too_long", 1).await;
    assert_eq!(a.requests(), 1);
}

#[tokio::test]
async fn too_many_header_fields_are_431() {
    let a = Endpoint::start("a").await;
    let edge = limited(&a, json!({ "header_count": 10 })).await;
    for (count, status) in [(8, 200), (30, 431)] {
        let names: Vec<String> = (0..count).map(|n| format!("X-{n}")).collect();
        let fields: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "1")).collect();
        let response = edge
            .connect()
            .await
            .request("GET", "/", &fields, b"")
            .await
            .unwrap();
        assert_eq!(response.status, status, "{count} fields");
    }
    edge.wait_for_outcome("client_head_too_large", 1).await;
    assert_eq!(a.requests(), 1);
}

#[tokio::test]
async fn a_declared_body_beyond_the_limit_is_413_before_it_is_sent() {
    let a = Endpoint::start("a").await;
    let edge = limited(&a, json!({ "body_bytes": "1KiB" })).await;
    let response = edge
        .connect()
        .await
        .request("POST", "/", &[], &[b'x'; 1024])
        .await
        .unwrap();
    assert_eq!(response.status, 200);
    let mut client = edge.connect().await;
    client
        .send(b"POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n")
        .await
        .unwrap();
    let response = client.response().await.unwrap();
    assert_eq!(response.status, 413);
    assert_eq!(
        response.field("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(
        edge.log_of("/big").await["outcome"],
        "client_body_too_large"
    );
    edge.wait_for_outcome("client_body_too_large", 1).await;
    assert_eq!(a.requests(), 1);
}

#[tokio::test]
async fn a_chunked_body_that_grows_beyond_the_limit_is_413() {
    let a = Endpoint::start("a").await;
    let edge = limited(&a, json!({ "body_bytes": "1KiB" })).await;
    let mut client = edge.connect().await;
    client
        .send(b"POST /grow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..40 {
        let chunk = format!("40\r\n{}\r\n", "x".repeat(0x40));
        if client.send(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    assert_eq!(client.response().await.unwrap().status, 413);
    assert_eq!(
        edge.log_of("/grow").await["outcome"],
        "client_body_too_large"
    );
    assert_eq!(a.requests(), 0, "the endpoint never got a whole request");
}

#[tokio::test]
async fn a_slow_header_is_cut_off_however_it_trickles() {
    let a = Endpoint::start("a").await;
    let edge = timed(&a, json!({ "header": "500ms" })).await;
    let mut client = edge.connect().await;
    let started = Instant::now();
    let trickled = trickle(&mut client, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
    assert!(started.elapsed() >= Duration::from_millis(400), "cut early");
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "by default it would be 10 s"
    );
    assert!(
        trickled.is_empty() || trickled.starts_with("HTTP/1.1 408"),
        "{trickled}"
    );
    edge.wait_for_outcome("client_head_timeout", 1).await;
    edge.wait_for_log(1, |line| line["outcome"] == "client_head_timeout")
        .await;
}

#[tokio::test]
async fn a_slow_second_header_is_cut_off_too() {
    let a = Endpoint::start("a").await;
    let edge = timed(&a, json!({ "header": "500ms" })).await;
    let mut client = edge.connect().await;
    assert_eq!(client.get("/first").await.unwrap().status, 200);
    let answer = trickle(&mut client, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    edge.wait_for_outcome("client_head_timeout", 1).await;
}

/// Sends `start`, then a byte now and then, until the peer closes; returns what it said.
async fn trickle(client: &mut Connection, start: &[u8]) -> String {
    client.send(start).await.unwrap();
    wait_until("the edge to close", async || client.send(b"x").await.err()).await;
    String::from_utf8_lossy(&client.read_to_end().await.unwrap_or_default()).into_owned()
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let a = Endpoint::start("a").await;
    let edge = timed(&a, json!({ "header": "300ms" })).await;
    let mut client = edge.connect().await;
    let started = Instant::now();
    let answer = String::from_utf8(client.read_to_end().await.unwrap()).unwrap();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "by default it would be 10 s"
    );
    let lines = edge.wait_for_log(1, |_| true).await;
    assert_eq!(lines[0]["outcome"], "client_head_timeout");
    assert_eq!(lines[0]["status"], json!(null));
    edge.wait_for_outcome("client_head_timeout", 1).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_keep_alive() {
    let a = Endpoint::start("a").await;
    let edge = timed(&a, json!({ "keep_alive": "1s" })).await;
    let mut client = edge.connect().await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
    let started = Instant::now();
    client.expect_close().await;
    assert!(
        started.elapsed() >= Duration::from_millis(500),
        "closed early"
    );
    assert!(
        started.elapsed() < Duration::from_secs(9),
        "keep-alive, not the header timeout"
    );
}

#[tokio::test]
async fn a_body_that_stalls_is_cut_off() {
    let a = Endpoint::start("a").await;
    let edge = timed(&a, json!({ "body": "300ms" })).await;
    let mut client = edge.connect().await;
    client
        .send(b"POST /stall HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        .await
        .unwrap();
    let answer = String::from_utf8_lossy(&client.read_to_end().await.unwrap()).into_owned();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    assert_eq!(
        edge.log_of("/stall").await["outcome"],
        "client_body_timeout"
    );
}

#[tokio::test]
async fn a_body_below_the_least_rate_is_cut_off() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("listeners.0.timeouts", json!({ "body": "400ms" }))
        .set("listeners.0.limits", json!({ "body_rate": "1MiB" }))
        .start()
        .await;
    let mut client = edge.connect().await;
    let started = Instant::now();
    let head = b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n1";
    let answer = trickle(&mut client, head).await;
    assert!(started.elapsed() >= Duration::from_millis(400), "cut early");
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    assert_eq!(edge.log_of("/slow").await["outcome"], "client_body_timeout");
}

#[tokio::test]
async fn a_slow_body_may_take_its_time_without_a_least_rate() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("listeners.0.timeouts", json!({ "body": "400ms" }))
        .set("listeners.0.limits", json!({ "body_rate": 0 }))
        .start()
        .await;
    let mut client = edge.connect().await;
    let head = b"POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head).await.unwrap();
    let started = Instant::now();
    wait_until("three times the patience with silence", async || {
        client.send(b"1\r\nx\r\n").await.unwrap();
        (started.elapsed() > Duration::from_millis(1_200)).then_some(())
    })
    .await;
    client.send(b"0\r\n\r\n").await.unwrap();
    assert_eq!(client.response().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let a = Endpoint::with("a", portcullis_testkit::Behavior::Bytes(64 << 20)).await;
    let edge = timed(&a, json!({ "write": "300ms" })).await;
    let mut client = edge.connect().await;
    client
        .send(b"GET /stall HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(edge.log_of("/stall").await["outcome"], "client_gone");
}

#[tokio::test]
async fn requests_on_one_connection_are_counted() {
    let a = Endpoint::start("a").await;
    let edge = limited(&a, json!({ "requests_per_connection": 3 })).await;
    let mut client = edge.connect().await;
    for number in 1..=3 {
        let response = client.get("/").await.unwrap();
        assert_eq!(response.status, 200);
        let says_close = response.field("connection") == Some("close");
        assert_eq!(says_close, number == 3, "request {number}");
    }
    client.expect_close().await;
}

#[tokio::test]
async fn an_old_connection_is_closed_politely() {
    let a = Endpoint::start("a").await;
    let edge = limited(&a, json!({ "connection_age": "1s" })).await;
    let mut client = edge.connect().await;
    wait_until("the farewell", async || {
        let response = client.get("/").await.unwrap();
        assert_eq!(response.status, 200);
        (response.field("connection") == Some("close")).then_some(())
    })
    .await;
    client.expect_close().await;
}

#[tokio::test]
async fn connections_beyond_a_listeners_limit_are_turned_away() {
    for path in ["listeners.0.max_connections", "max_connections"] {
        let a = Endpoint::start("a").await;
        let edge = Setup::new(&[&a]).set(path, json!(2)).start().await;
        let (mut one, mut two) = (edge.connect().await, edge.connect().await);
        assert_eq!(one.get("/").await.unwrap().status, 200);
        assert_eq!(two.get("/").await.unwrap().status, 200);
        let mut three = edge.connect().await;
        // The whole answer arrives, though nobody reads what was sent.
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n\r\n{}", "x".repeat(9_000));
        let _ = three.send(request.as_bytes()).await;
        let answer = String::from_utf8(three.read_to_end().await.unwrap()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503"), "{path}: {answer}");
        assert!(answer.trim_end().ends_with('}'), "{path}: {answer}");
        edge.wait_for_outcome("refused_connections", 1).await;
        drop(one);
        wait_until("room for another", async || {
            let mut next = edge.connect().await;
            next.get("/")
                .await
                .ok()
                .filter(|response| response.status == 200)
        })
        .await;
    }
}
