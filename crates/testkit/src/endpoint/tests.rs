//! Each bad habit, seen by a client.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::*;
use crate::{Connection, wait_until};

async fn ask(endpoint: &Endpoint) -> io::Result<crate::Response> {
    Connection::open(endpoint.address())
        .await?
        .get("/x?y=1")
        .await
}

#[tokio::test]
async fn echo_tells_what_was_received() {
    let endpoint = Endpoint::start("a").await;
    let mut client = Connection::open(endpoint.address()).await.unwrap();
    let response = client
        .request("PUT", "/x?y=1", &[("X-Y", "z")], b"body")
        .await
        .unwrap();
    assert_eq!(response.endpoint(), "a");
    assert_eq!(response.echoed("x-y"), ["z"]);
    assert_eq!(response.json()["path"], "/x?y=1");
    assert_eq!(response.json()["body"], "body");
    let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    client.send(chunked).await.unwrap();
    assert_eq!(client.response().await.unwrap().json()["body"], "abc");
    assert_eq!((endpoint.requests(), endpoint.connections()), (2, 1));
}

#[tokio::test]
async fn resets_and_truncations_are_errors_for_the_client() {
    let endpoint = Endpoint::start("a").await;
    for (behavior, kinds) in [
        (
            Behavior::ResetBeforeAnswer,
            [ErrorKind::ConnectionReset, ErrorKind::ConnectionReset],
        ),
        (
            Behavior::ResetMidBody,
            [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof],
        ),
        (
            Behavior::TruncatedLength,
            [ErrorKind::UnexpectedEof, ErrorKind::UnexpectedEof],
        ),
        (
            Behavior::Garbage,
            [ErrorKind::InvalidData, ErrorKind::InvalidData],
        ),
        (
            Behavior::CloseAfterAccept,
            [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset],
        ),
    ] {
        endpoint.behave(behavior.clone());
        let error = ask(&endpoint).await.unwrap_err();
        assert!(kinds.contains(&error.kind()), "{behavior:?}: {error:?}");
    }
}

#[tokio::test]
async fn slow_and_hanging_answers_keep_the_request_in_flight() {
    let endpoint = Endpoint::with("a", Behavior::Slow(Duration::from_millis(50))).await;
    let started = Instant::now();
    assert_eq!(ask(&endpoint).await.unwrap().status, 200);
    assert!(started.elapsed() >= Duration::from_millis(50));
    endpoint.behave(Behavior::Hang);
    let client = Connection::open(endpoint.address()).await.unwrap();
    let mut client = client.with_deadline(Duration::from_millis(50));
    assert_eq!(
        client.get("/").await.unwrap_err().kind(),
        ErrorKind::TimedOut
    );
    assert_eq!(endpoint.in_flight(), 1);
}

#[tokio::test]
async fn health_is_switched_apart_from_behavior() {
    let endpoint = Endpoint::with("a", Behavior::Hang).await;
    for (health, status) in [
        (Health::Ok, 200),
        (Health::Failing, 500),
        (Health::Draining, 503),
    ] {
        endpoint.set_health(health);
        let mut client = Connection::open(endpoint.address()).await.unwrap();
        let response = client.get("/health/ready").await.unwrap();
        assert_eq!(response.status, status);
        let cause = response.field("x-health-cause");
        assert_eq!(cause, (health == Health::Draining).then_some("draining"));
    }
    assert_eq!((endpoint.health_checks(), endpoint.requests()), (3, 0));
}

#[tokio::test]
async fn an_upgraded_connection_echoes_bytes() {
    let endpoint = Endpoint::start("a").await;
    let mut client = Connection::open(endpoint.address()).await.unwrap();
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    assert_eq!(
        client
            .request("GET", "/", &fields, b"")
            .await
            .unwrap()
            .status,
        101
    );
    client.send(b"ping").await.unwrap();
    assert_eq!(client.read_some().await.unwrap(), b"ping");
}

#[tokio::test]
async fn dropping_closes_the_port_and_its_connections() {
    let endpoint = Endpoint::start("a").await;
    let address = endpoint.address();
    let mut client = Connection::open(address).await.unwrap();
    client.get("/").await.unwrap();
    drop(endpoint);
    client.expect_close().await;
    wait_until("the port to refuse", async || {
        Connection::open(address).await.err()
    })
    .await;
}

#[tokio::test]
async fn a_script_sends_exactly_its_bytes_and_ends_as_told() {
    let head = b"HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n".to_vec();
    for (ending, rest) in [(Step::Close, Some(&b""[..])), (Step::Reset, None)] {
        let steps = vec![Step::Receive, Step::Send(head.clone()), ending];
        let endpoint = Endpoint::with("a", Behavior::Script(steps)).await;
        let mut client = Connection::open(endpoint.address()).await.unwrap();
        client
            .send(b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
            .await
            .unwrap();
        assert_eq!(client.head().await.unwrap().status, 103);
        assert_eq!(client.head().await.unwrap().status, 200);
        assert_eq!(client.read_some().await.ok().as_deref(), rest);
        assert_eq!(endpoint.received()[0].body, b"abc");
    }
}

#[tokio::test]
async fn a_stream_comes_back_while_it_is_sent() {
    let endpoint = Endpoint::with("a", Behavior::EchoStream).await;
    let mut client = Connection::open(endpoint.address()).await.unwrap();
    client
        .send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(client.head().await.unwrap().status, 200);
    for _ in 0..3 {
        client.send(b"2\r\nhi\r\n").await.unwrap();
        assert_eq!(client.read_some().await.unwrap(), b"2\r\nhi\r\n");
    }
    client.send(b"0\r\n\r\n").await.unwrap();
    assert_eq!(client.read_some().await.unwrap(), b"0\r\n\r\n");
}

#[tokio::test]
async fn a_client_may_reset_read_little_and_see_trailers() {
    let trailers =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n";
    let endpoint = Endpoint::with("a", Behavior::raw(trailers)).await;
    let mut client = Connection::open_narrow(endpoint.address(), 4_096)
        .await
        .unwrap();
    let response = client.get("/").await.unwrap();
    assert_eq!(response.trailers, [("A".to_owned(), "b".to_owned())]);
    client.reset().unwrap();
    wait_until("the reset", async || {
        (endpoint.open_connections() == 0).then_some(())
    })
    .await;
}
