//! Bodies over HTTP/2: that come late, slowly or not at all, that just fit, and what stands before and
//! behind them.

use std::time::Duration;

use portcullis_testkit::client::Calls;
use portcullis_testkit::{Authority, Behavior, Endpoint};
use serde_json::json;

use super::frames::*;
use crate::native::Setup;

/// SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113, 6.5.2).
const INITIAL_WINDOW_SIZE: u16 = 0x4;

#[tokio::test]
async fn a_body_that_falls_silent_is_408_and_one_that_goes_on_is_not() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let edge = Setup::new(&[&a])
        .set("listeners.0.http2.cleartext", json!(true))
        .set("listeners.0.timeouts.body", json!("1s"))
        .set("listeners.0.limits.body_rate", json!(0))
        .start()
        .await;
    let mut raw = Raw::open(&edge, &authority, Way::Clear).await;
    raw.send(
        &[
            post(1, "/never"),
            post(3, "/begun"),
            frame(DATA, 0, 3, b"x"),
        ]
        .concat(),
    )
    .await;
    raw.send(&post(5, "/slow")).await;
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    for _ in 0..8 {
        pace.tick().await;
        raw.send(&frame(DATA, 0, 5, b"x")).await;
    }
    raw.send(&frame(DATA, END_STREAM, 5, b"x")).await;
    assert_eq!(raw.status(5).await, Ok(200));
    assert_eq!(raw.status(1).await, Ok(408));
    assert_eq!(raw.status(3).await, Ok(408));
    assert_eq!(
        edge.log_of("/never").await["outcome"],
        "client_body_timeout"
    );
    assert_eq!(
        edge.log_of("/begun").await["outcome"],
        "client_body_timeout"
    );
    raw.send(&get(7, "/after")).await;
    assert_eq!(raw.status(7).await, Ok(200), "on the same connection");
    drop(raw);
    edge.expect_nothing_left().await;
}

#[tokio::test]
async fn an_end_in_a_frame_of_its_own_ends_a_body_once() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("listeners.0.http2.cleartext", json!(true))
        .set("clusters.main.ejection", json!("off"))
        .start()
        .await;
    let calls = Calls::open(edge.http()).await.unwrap();
    for _ in 0..5 {
        let mut call = calls.start("/x", &[]).await.unwrap();
        call.send(b"piece").await.unwrap();
        call.end().unwrap();
        assert_eq!(call.head().await.unwrap().0, 200);
        while call.next().await.unwrap().is_some() {}
    }
    assert_eq!(a.received().len(), 5);
    assert_eq!(a.connections(), 1, "nothing was left over on it");
}

#[tokio::test]
async fn trailers_of_a_request_reach_its_endpoint() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let edge = Setup::new(&[&a])
        .set("listeners.0.http2.cleartext", json!(true))
        .start()
        .await;
    let mut raw = Raw::open(&edge, &authority, Way::Clear).await;
    let trailers = block(&[("x-digest", "abc"), ("content-length", "5")]);
    let behind = frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers);
    raw.send(&[post(1, "/x"), frame(DATA, 0, 1, b"piece"), behind].concat())
        .await;
    assert_eq!(raw.status(1).await, Ok(200));
    let received = a.received();
    assert_eq!(received[0].body, b"piece");
    let named = |(name, value): &(String, String)| (name.to_lowercase(), value.clone());
    let arrived: Vec<_> = received[0].trailers.iter().map(named).collect();
    assert_eq!(
        arrived,
        [("x-digest".to_owned(), "abc".to_owned())],
        "and none that frames a message"
    );
}

#[tokio::test]
async fn early_hints_reach_clients_of_http2() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
    let a = Endpoint::with("a", Behavior::raw(format!("{hints}{ok}"))).await;
    let authority = Authority::new();
    let edge = Setup::new(&[&a])
        .set("listeners.0.http2.cleartext", json!(true))
        .start()
        .await;
    let mut raw = Raw::open(&edge, &authority, Way::Clear).await;
    raw.send(&get(1, "/x")).await;
    assert_eq!(raw.status(1).await, Ok(103));
    assert_eq!(raw.body(1).await, b"hi");
    let heads = raw.seen.iter().filter(|frame| frame.kind == HEADERS);
    assert_eq!(heads.count(), 2, "the hints and the answer");
    assert_eq!(edge.log_of("/x").await["status"], 200);
}

/// Where the window is used up by the last byte of a body, the end needs no more of it.
#[tokio::test]
async fn an_answer_that_just_fills_the_window_ends() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let edge = Setup::new(&[&a])
        .set("listeners.0.http2.cleartext", json!(true))
        .start()
        .await;
    for size in [1, 600, 20_000] {
        let body = "x".repeat(size);
        let framings = [
            format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n{body}"),
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n"
            ),
        ];
        for answer in framings {
            a.behave(Behavior::raw(answer));
            let mut raw = Raw::silent(&edge, &authority, Way::Clear).await;
            let window = u32::try_from(size).unwrap();
            raw.greet(&[(INITIAL_WINDOW_SIZE, window)]).await;
            raw.send(&get(1, "/x")).await;
            let end = raw.until(|frame| frame.stream == 1 && frame.ends_stream());
            assert_eq!(end.await.map(|frame| frame.kind), Some(DATA), "{size}");
            assert_eq!(raw.body(1).await.len(), size);
        }
    }
    edge.wait_for_outcome("served", 6).await;
}

#[tokio::test]
async fn an_answer_goes_on_as_the_window_opens_byte_by_byte() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let body: String = ('a'..='z').collect();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 26\r\n\r\n{body}");
    a.behave(Behavior::raw(answer));
    let edge = Setup::new(&[&a])
        .set("listeners.0.http2.cleartext", json!(true))
        .start()
        .await;
    let mut raw = Raw::silent(&edge, &authority, Way::Clear).await;
    raw.greet(&[(INITIAL_WINDOW_SIZE, 0)]).await;
    raw.send(&get(1, "/x")).await;
    assert_eq!(raw.status(1).await, Ok(200), "a head needs no window");
    for opened in 1..=26 {
        raw.send(&window(1, 1)).await;
        let come = |raw: &Raw| {
            let data = raw.seen.iter().filter(|frame| frame.kind == DATA);
            data.map(|frame| frame.payload.len()).sum::<usize>()
        };
        while come(&raw) < opened {
            raw.next().await.expect("another byte");
        }
    }
    assert_eq!(raw.body(1).await, body.as_bytes());
}
