//! HTTP/2 without TLS: for clients that know it beforehand, where the configuration says so.

use std::time::Duration;

use nix::sys::signal::Signal;
use portcullis_testkit::{Authority, Behavior, Connection, Endpoint, free_port, wait_until};
use serde_json::{Value, json};

use super::frames::*;
use crate::harness::Edge;
use crate::native::Setup;

async fn edge(endpoint: &Endpoint, listener: Value) -> Edge {
    let mut setup = Setup::new(&[endpoint]).set("listeners.0.http2.cleartext", json!(true));
    for (key, value) in listener.as_object().unwrap() {
        setup = setup.set(&format!("listeners.0.{key}"), value.clone());
    }
    setup.start().await
}

#[tokio::test]
async fn a_listener_that_takes_it_speaks_either_version() {
    let a = Endpoint::start("a").await;
    let authority = Authority::new();
    for engine in ["native", "pingora"] {
        let edge = edge(&a, json!({ "engine": engine })).await;
        let mut raw = Raw::open(&edge, &authority, Way::Clear).await;
        raw.send(&get(1, "/two")).await;
        assert_eq!(raw.status(1).await, Ok(200));
        assert_eq!(edge.get("/one").await.status, 200);
        let mut client = edge.connect().await;
        // As short as the preface, and begun like it.
        client.send(b"P").await.unwrap();
        client
            .send(b"UT /put HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            .await
            .unwrap();
        assert_eq!(client.response().await.unwrap().status, 200);
        let line = edge.log_of("/two").await;
        assert_eq!(
            (&line["protocol"], &line["outcome"]),
            (&json!("HTTP/2"), &json!("served"))
        );
        assert_eq!(edge.log_of("/one").await["protocol"], "HTTP/1.1");
        let forwarded = a
            .received()
            .into_iter()
            .find(|r| r.target == "/two")
            .unwrap();
        assert_eq!(forwarded.values("x-forwarded-proto"), ["http"]);
        assert_eq!(forwarded.values("host"), [HOST]);
    }
}

#[tokio::test]
async fn the_preface_is_refused_where_it_is_not_expected() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    client
        .send(&[PREFACE, &settings(&[])].concat())
        .await
        .unwrap();
    let response = client.response().await.unwrap();
    assert!(matches!(response.status, 400 | 505), "{response:?}");
    client.expect_close().await;
    let fields = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
    ];
    let response = edge
        .connect()
        .await
        .request("GET", "/", &fields, b"")
        .await
        .unwrap();
    assert_eq!(response.status, 200, "as if it had not asked");
    assert_eq!(a.requests(), 1);
}

#[tokio::test]
async fn who_begins_slowly_or_never_is_cut() {
    let a = Endpoint::start("a").await;
    let edge = edge(&a, json!({ "timeouts": { "header": "300ms" } })).await;
    let mut silent = edge.connect().await;
    let mut slow = edge.connect().await;
    slow.send(&PREFACE[..10]).await.unwrap();
    silent.expect_close().await;
    assert_eq!(slow.response().await.unwrap().status, 408);
    slow.expect_close().await;
    edge.wait_for_outcome("client_head_timeout", 1).await;
    let authority = Authority::new();
    let mut ungreeted = Raw::silent(&edge, &authority, Way::Clear).await;
    ungreeted.send(PREFACE).await;
    assert_eq!(ungreeted.farewell().await, Some(NO_ERROR));
    let mut unfinished = Raw::open(&edge, &authority, Way::Clear).await;
    let half = frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/")));
    unfinished.send(&half).await;
    assert_eq!(unfinished.farewell().await, Some(NO_ERROR));
    edge.wait_for_outcome("client_head_timeout", 3).await;
    edge.expect_nothing_left().await;
}

#[tokio::test]
async fn an_idle_connection_is_told_goodbye_and_one_with_a_request_is_not() {
    let a = Endpoint::start("a").await;
    let authority = Authority::new();
    let edge = edge(&a, json!({ "timeouts": { "keep_alive": "400ms" } })).await;
    a.behave(Behavior::Slow(Duration::from_secs(2)));
    let mut busy = Raw::open(&edge, &authority, Way::Clear).await;
    busy.send(&get(1, "/busy")).await;
    let mut idle = Raw::open(&edge, &authority, Way::Clear).await;
    // Who pings is no less idle.
    idle.send(&frame(PING, 0, 0, b"12345678")).await;
    let goodbye = idle.until(|frame| frame.kind == GOAWAY).await.unwrap();
    assert_eq!(goodbye.code(), NO_ERROR);
    assert_eq!(busy.status(1).await, Ok(200));
    edge.expect_nothing_left().await;
}

#[tokio::test]
async fn a_drain_says_goodbye_and_lets_streams_finish() {
    let a = Endpoint::start("a").await;
    let authority = Authority::new();
    let mut edge = edge(&a, json!({})).await;
    a.behave(Behavior::Slow(Duration::from_secs(1)));
    let mut raw = Raw::open(&edge, &authority, Way::Clear).await;
    let mut stubborn = Raw::open(&edge, &authority, Way::Clear).await;
    raw.send(&get(1, "/slow")).await;
    wait_until("the request to arrive", async || {
        (a.in_flight() == 1).then_some(())
    })
    .await;
    edge.process.signal(Signal::SIGTERM);
    let goodbye = raw.until(|frame| frame.kind == GOAWAY).await.unwrap();
    assert_eq!(goodbye.code(), NO_ERROR);
    assert_eq!(raw.status(1).await, Ok(200));
    // It answers no PING and keeps its connection: the edge does not wait for it for ever.
    assert!(stubborn.until(|frame| frame.kind == GOAWAY).await.is_some());
    assert_eq!(
        edge.process.exit_code().await,
        0,
        "{}",
        edge.process.output()
    );
}

#[tokio::test]
async fn silence_of_a_tunnel_is_bounded() {
    let a = Endpoint::start("a").await;
    for engine in ["native", "pingora"] {
        let edge = edge(
            &a,
            json!({ "engine": engine, "timeouts": { "tunnel": "700ms" } }),
        )
        .await;
        let mut client: Connection = edge.connect().await;
        let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
        let response = client.request("GET", "/ws", &fields, b"").await.unwrap();
        assert_eq!(response.status, 101);
        let pause = Duration::from_millis(250);
        client.send_bytewise(b"alive", pause).await.unwrap();
        let mut echo = Vec::new();
        while echo.len() < 5 {
            echo.extend(client.read_some().await.unwrap());
        }
        assert_eq!(echo, b"alive");
        client.expect_close().await;
        edge.expect_nothing_left().await;
    }
}

#[tokio::test]
async fn a_listener_that_goes_says_goodbye_and_lets_streams_finish() {
    let a = Endpoint::start("a").await;
    let authority = Authority::new();
    let edge = edge(&a, json!({})).await;
    a.behave(Behavior::Slow(Duration::from_millis(500)));
    let mut busy = Raw::open(&edge, &authority, Way::Clear).await;
    busy.send(&get(1, "/slow")).await;
    wait_until("the request to arrive", async || {
        (a.in_flight() == 1).then_some(())
    })
    .await;
    let another = free_port();
    let mut next = edge.config();
    next["listeners"] = json!([{ "name": "another", "address": another.address().to_string() }]);
    edge.reload(&next).await;
    let goodbye = busy.until(|frame| frame.kind == GOAWAY).await.unwrap();
    assert_eq!(goodbye.code(), NO_ERROR);
    assert_eq!(busy.status(1).await, Ok(200));
    wait_until("the listener to close", async || {
        Connection::open(edge.http()).await.err()
    })
    .await;
}

/// `x-request-id` as HPACK writes it (RFC 7541, 5.2).
const X_REQUEST_ID: &[u8] = b"\x89\xf2\xb5\x85\xed\x69\x50\x95\x8d\x27";
/// A field that goes into no table (RFC 7541, 6.2.3), with its name.
const NEVER_INDEXED: u8 = 0x10;

#[tokio::test]
async fn what_differs_in_every_answer_is_kept_out_of_the_table_of_fields() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let edge = edge(&a, json!({})).await;
    let mut raw = Raw::silent(&edge, &authority, Way::Clear).await;
    const HEADER_TABLE_SIZE: u16 = 0x1;
    raw.greet(&[(HEADER_TABLE_SIZE, 4096)]).await;
    let mut blocks = Vec::new();
    for stream in [1, 3, 5] {
        raw.send(&get(stream, "/x")).await;
        let head = |frame: &Frame| frame.kind == HEADERS && frame.stream == stream;
        blocks.push(raw.until(head).await.unwrap().payload);
    }
    for block in &blocks {
        let name = block
            .windows(X_REQUEST_ID.len())
            .position(|bytes| bytes == X_REQUEST_ID);
        assert_eq!(block[name.unwrap() - 1], NEVER_INDEXED);
    }
    let [first, others @ ..] = &blocks[..] else {
        unreachable!()
    };
    for other in others {
        assert!(other.len() < first.len(), "what comes again is short");
    }
}
