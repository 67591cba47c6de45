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
