//! What HTTP/1.1 allows in a message, passed on whole: interim answers, answers without a body,
//! chunks with trailers, answers before the request is complete, old clients and old endpoints.

use std::time::Duration;

use portcullis_testkit::{Behavior, Endpoint, Step};
use serde_json::json;

use super::Setup;
use crate::harness::doors::DOORS;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

#[tokio::test]
async fn answers_without_a_body_may_announce_one() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    for (method, status) in [("HEAD", 200), ("HEAD", 404), ("GET", 304)] {
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 1000\r\n\r\n");
        a.behave(Behavior::raw(answer));
        let response = client.request(method, "/", &[], b"").await.unwrap();
        assert_eq!(response.status, status);
        assert_eq!(response.field("content-length"), Some("1000"), "{method}");
    }
    for answer in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ] {
        a.behave(Behavior::raw(answer));
        let response = client.request("GET", "/", &[], b"").await.unwrap();
        assert_eq!(response.body, b"", "{answer:?}");
    }
    a.behave(Behavior::Echo);
    assert_eq!(client.get("/after").await.unwrap().status, 200);
    assert_eq!(a.connections(), 1, "each left the connection in order");
}

#[tokio::test]
async fn chunks_pass_however_they_are_cut() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        let head = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let body = "1\r\na\r\n0003\r\nbcd\r\nA;name=value\r\nefghijklmn\r\n0\r\n\r\n";
        client
            .send(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
        let response = client.response().await.unwrap();
        assert_eq!(response.json()["body"], "abcdefghijklmn");
        let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n{body}");
        a.behave(Behavior::raw(answer));
        let response = client.get("/").await.unwrap();
        assert_eq!(response.text(), "abcdefghijklmn");
        a.behave(Behavior::Echo);
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_is_complete() {
    let a = Endpoint::start("a").await;
    a.behave(Behavior::Script(vec![
        Step::Send(OK.into()),
        Step::AwaitClose,
    ]));
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
            let mut client = house.enter(door).await;
            let head = format!("POST /early HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n3\r\nabc\r\n");
            client.send(head.as_bytes()).await.unwrap();
            let response = client.response().await.unwrap();
            assert_eq!((response.status, response.text().as_str()), (200, "hi"));
            // Where the next request would begin is not known: nothing more may be answered.
            let _ = client
                .send(b"0\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n")
                .await;
        }
    }
    house.edge.expect_nothing_left().await;
    assert!(
        a.received()
            .iter()
            .all(|request| request.target == "/early")
    );
}

#[tokio::test]
async fn both_directions_flow_at_once() {
    let a = Endpoint::with("a", Behavior::EchoStream).await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        client
            .send(b"POST /duplex HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        for turn in 0..20 {
            let message = format!("turn {turn:02}");
            let chunk = format!("7\r\n{message}\r\n");
            client.send(chunk.as_bytes()).await.unwrap();
            let mut echo = String::new();
            while !echo.ends_with(&format!("{message}\r\n")) {
                let bytes = client.read_some().await.unwrap();
                assert!(!bytes.is_empty(), "{door:?}: closed after {echo:?}");
                echo.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        client.send(b"0\r\n\r\n").await.unwrap();
        assert_eq!(client.read_some().await.unwrap(), b"0\r\n\r\n");
    }
    house.edge.wait_for_outcome("served", 2).await;
}

#[tokio::test]
async fn old_clients_are_served_with_and_without_keep_alive() {
    let a = Endpoint::with("a", Behavior::Bytes(2)).await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        for _ in 0..3 {
            client
                .send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
                .await
                .unwrap();
            let response = client.response().await.unwrap();
            assert_eq!(response.text(), "xx");
            let connection = response.field("connection").unwrap_or_default();
            assert!(connection.eq_ignore_ascii_case("keep-alive"), "{door:?}");
        }
        client.send(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let response = client.response().await.unwrap();
        assert_eq!(response.text(), "xx", "{door:?}: without Host too");
        client.expect_close().await;
    }
}

#[tokio::test]
async fn an_event_stream_is_passed_on_as_it_comes() {
    let event = "7\r\nevent\n\n\r\n";
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let pause = Duration::from_millis(20);
    let steps = vec![
        Step::Receive,
        Step::Send(head.into()),
        Step::SendBytewise(event.repeat(3).into(), pause),
        Step::AwaitClose,
    ];
    let a = Endpoint::with("a", Behavior::Script(steps)).await;
    let house = Setup::new(&[&a])
        .set("clusters.main.timeouts", json!({ "read": "20s" }))
        .start_with_both_doors()
        .await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        client
            .send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        let mut seen = String::new();
        while seen.matches("event").count() < 3 {
            let bytes = client.read_some().await.unwrap();
            assert!(!bytes.is_empty(), "{door:?}: closed after {seen:?}");
            // Chunk borders may fall anywhere; the payload's bytes are what counts.
            let text = String::from_utf8_lossy(&bytes).into_owned();
            seen.extend(
                text.split("\r\n")
                    .filter(|line| line.parse::<u8>().is_err()),
            );
        }
    }
}
