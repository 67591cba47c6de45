//! Endpoints whose answers break the protocol. Whatever they send, a client never takes it for a
//! complete answer, and what one client's request left behind never reaches another.

use std::sync::Arc;

use portcullis_testkit::{Behavior, Connection, Endpoint, Step, wait_until};
use serde_json::json;
use tokio::sync::Semaphore;

use super::Setup;
use crate::harness::Edge;

/// Answers that are wrong before their head ends, and why: 502.
const BAD_HEADS: [(&str, &[u8]); 36] = [
    ("no HTTP at all", b"\x00\x01 this is not HTTP\r\n\r\n"),
    ("HTTP/0.9", b"<html>hello</html>\r\n"),
    ("TLS alert", b"\x15\x03\x01\x00\x02\x02\x46"),
    ("another protocol", b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
    ("lower case name", b"http/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
    ("version 2", b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
    ("version 1.2", b"HTTP/1.2 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
    ("version without minor", b"HTTP/1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
    ("no status", b"HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi"),
    ("status of two digits", b"HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\nhi"),
    ("status of four digits", b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nhi"),
    ("status 099", b"HTTP/1.1 099 OK\r\ncontent-length: 2\r\n\r\nhi"),
    ("status 600", b"HTTP/1.1 600 OK\r\ncontent-length: 2\r\n\r\nhi"),
    ("status with sign", b"HTTP/1.1 +20 OK\r\ncontent-length: 2\r\n\r\nhi"),
    ("two spaces", b"HTTP/1.1  200 OK\r\ncontent-length: 2\r\n\r\nhi"),
    ("space in front", b" HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
    ("NUL in the reason", b"HTTP/1.1 200 O\x00K\r\ncontent-length: 2\r\n\r\nhi"),
    ("NUL in a value", b"HTTP/1.1 200 OK\r\nx: a\x00b\r\ncontent-length: 2\r\n\r\nhi"),
    ("control in a value", b"HTTP/1.1 200 OK\r\nx: a\x1bb\r\ncontent-length: 2\r\n\r\nhi"),
    ("bare LF", b"HTTP/1.1 200 OK\ncontent-length: 2\n\nhi"),
    ("one bare LF", b"HTTP/1.1 200 OK\r\nx: y\ncontent-length: 2\r\n\r\nhi"),
    ("bare CR", b"HTTP/1.1 200 OK\r\nx: y\rz: a\r\ncontent-length: 2\r\n\r\nhi"),
    ("folded field", b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nhi"),
    ("no colon", b"HTTP/1.1 200 OK\r\nnonsense\r\ncontent-length: 2\r\n\r\nhi"),
    ("space before colon", b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nhi"),
    ("empty name", b"HTTP/1.1 200 OK\r\n: x\r\ncontent-length: 2\r\n\r\nhi"),
    ("two lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi!"),
    ("list of lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nhi!"),
    ("signed length", b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nhi"),
    ("hexadecimal length", b"HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nhi"),
    ("empty length", b"HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\nhi"),
    ("huge length", b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nhi"),
    (
        "two framings",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    ("another coding", b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nhi"),
    (
        "two codings",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    (
        "chunks in 1.0",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
];

/// Chunked bodies that are wrong, and why: 502, or an answer that is visibly cut.
const BAD_CHUNKS: [(&str, &str); 12] = [
    ("no size", "\r\nhi\r\n0\r\n\r\n"),
    ("no hexadecimal size", "zz\r\nhi\r\n0\r\n\r\n"),
    ("negative size", "-2\r\nhi\r\n0\r\n\r\n"),
    ("prefixed size", "0x2\r\nhi\r\n0\r\n\r\n"),
    (
        "size beyond 64 bits",
        "10000000000000002\r\nhi\r\n0\r\n\r\n",
    ),
    ("space before the size", " 2\r\nhi\r\n0\r\n\r\n"),
    ("overrun", "2\r\nhi!\r\n0\r\n\r\n"),
    ("bare LF behind the size", "2\nhi\r\n0\r\n\r\n"),
    ("bare LF behind the data", "2\r\nhi\n0\r\n\r\n"),
    ("NUL in an extension", "2;x=\0\r\nhi\r\n0\r\n\r\n"),
    ("trailer without colon", "2\r\nhi\r\n0\r\nnonsense\r\n\r\n"),
    ("folded trailer", "2\r\nhi\r\n0\r\nx: a\r\n b\r\n\r\n"),
];

async fn strict_edge(endpoint: &Endpoint) -> Edge {
    Setup::new(&[endpoint])
        .set("clusters.main.ejection", json!("off"))
        .set("clusters.main.retries", json!(0))
        .set("clusters.main.timeouts", json!({ "read": "1s" }))
        .start()
        .await
}

async fn expect_failures(edge: &Edge, count: usize) {
    let count = u32::try_from(count).unwrap();
    let name = "portcullis_edge_endpoint_failures_total";
    edge.wait_for_metric(name, &[], count.into()).await;
    edge.expect_nothing_left().await;
}

/// What makes this answer look complete to a client; `None` when nothing does.
async fn looks_complete(edge: &Edge) -> Option<String> {
    match edge.connect().await.get("/garbage").await {
        Err(_) => None,
        Ok(response) if response.status == 502 => None,
        Ok(response) => Some(format!("{}: {:?}", response.status, response.text())),
    }
}

#[tokio::test]
async fn a_malformed_head_is_502_and_counted_against_the_endpoint() {
    let a = Endpoint::start("a").await;
    let edge = strict_edge(&a).await;
    let mut wrong = Vec::new();
    for (why, bytes) in BAD_HEADS {
        a.behave(Behavior::raw(bytes));
        let answer = edge.connect().await.get("/garbage").await;
        match answer {
            Ok(response) if response.status == 502 => {}
            other => wrong.push(format!("{why}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let count = u32::try_from(BAD_HEADS.len()).unwrap();
    edge.wait_for_outcome("failed_endpoint_malformed", count)
        .await;
    expect_failures(&edge, BAD_HEADS.len()).await;
    assert_eq!(a.connections(), BAD_HEADS.len(), "none is used again");
}

#[tokio::test]
async fn a_malformed_chunk_never_makes_a_complete_answer() {
    let a = Endpoint::start("a").await;
    let edge = strict_edge(&a).await;
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut wrong = Vec::new();
    for (why, chunks) in BAD_CHUNKS {
        a.behave(Behavior::raw(format!("{head}{chunks}")));
        if let Some(seen) = looks_complete(&edge).await {
            wrong.push(format!("{why}: {seen}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    expect_failures(&edge, BAD_CHUNKS.len()).await;
    assert_eq!(a.connections(), BAD_CHUNKS.len(), "none is used again");
}

#[tokio::test]
async fn what_is_too_large_in_an_answer_never_makes_it_complete() {
    let a = Endpoint::start("a").await;
    let edge = strict_edge(&a).await;
    let long = "x".repeat(2 << 20);
    let many = "x: y\r\n".repeat(20_000);
    let chunked = "transfer-encoding: chunked\r\n\r\n2";
    for (why, answer) in [
        ("endless reason", format!("HTTP/1.1 200 {long}")),
        ("endless name", format!("HTTP/1.1 200 OK\r\n{long}")),
        (
            "large head",
            format!("HTTP/1.1 200 OK\r\nx: {long}\r\ncontent-length: 0\r\n\r\n"),
        ),
        (
            "many fields",
            format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n"),
        ),
        (
            "long extension",
            format!("HTTP/1.1 200 OK\r\n{chunked};{long}\r\nhi\r\n0\r\n\r\n"),
        ),
        (
            "large trailer",
            format!("HTTP/1.1 200 OK\r\n{chunked}\r\nhi\r\n0\r\nx: {long}\r\n\r\n"),
        ),
        (
            "many trailers",
            format!("HTTP/1.1 200 OK\r\n{chunked}\r\nhi\r\n0\r\n{many}\r\n"),
        ),
    ] {
        a.behave(Behavior::raw(answer));
        let seen = looks_complete(&edge).await;
        assert_eq!(seen, None, "{why}");
    }
    expect_failures(&edge, 7).await;
}

#[tokio::test]
async fn interim_answers_without_end_are_cut_off() {
    let a = Endpoint::start("a").await;
    let edge = strict_edge(&a).await;
    for interim in [
        "HTTP/1.1 103 E\r\n\r\n",
        "HTTP/1.1 100 C\r\n\r\n",
        "HTTP/1.1 199 X\r\nx: y\r\n\r\n",
    ] {
        a.behave(Behavior::raw(interim.repeat(100_000)));
        let mut client = edge.connect().await;
        client
            .send(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let mut interim_answers = 0;
        let last = loop {
            match client.head().await {
                Ok(head) if head.status < 200 => interim_answers += 1,
                last => break last.map(|head| head.status),
            }
        };
        assert!(interim_answers < 10_000, "bounded: {interim_answers}");
        assert!(!matches!(last, Ok(200)), "{interim:?}: {last:?}");
    }
    expect_failures(&edge, 3).await;
}

#[tokio::test]
async fn an_upgrade_nobody_asked_for_is_502() {
    let a = Endpoint::start("a").await;
    let edge = strict_edge(&a).await;
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    for head in [upgrade, "", "content-length: 2\r\n"] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{head}\r\nhi");
        a.behave(Behavior::raw(answer));
        assert_eq!(edge.get("/upgrade").await.status, 502, "{head:?}");
    }
    expect_failures(&edge, 3).await;
}

#[tokio::test]
async fn bytes_behind_an_answer_are_never_given_to_anybody() {
    let a = Endpoint::start("a").await;
    let edge = strict_edge(&a).await;
    let forged = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 6\r\n\r\n",
    ] {
        for behind in [forged, "x", "forged", "\r\n"] {
            a.behave(Behavior::raw(format!("{head}{behind}")));
            let mut client = edge.connect().await;
            let response = client.get("/first").await.unwrap();
            assert!(!response.text().contains("forged"), "{head:?} {behind:?}");
            a.behave(Behavior::Echo);
            for _ in 0..3 {
                let mut client = edge.connect().await;
                let response = client.get("/next").await.unwrap();
                assert_eq!(response.status, 200, "{head:?} {behind:?}");
                assert_eq!(response.json()["path"], "/next", "{head:?} {behind:?}");
            }
            let response = client.get("/same").await.unwrap();
            assert_eq!(response.json()["path"], "/same", "{head:?} {behind:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_request_is_never_given_to_anybody() {
    let a = Endpoint::start("a").await;
    let edge = strict_edge(&a).await;
    for _ in 0..20 {
        let said = Arc::new(Semaphore::new(0));
        let steps = vec![
            Step::Receive,
            Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi".to_vec()),
            Step::Await(Arc::clone(&said)),
            Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged".to_vec()),
        ];
        a.behave(Behavior::Script(steps));
        let mut client = edge.connect().await;
        assert_eq!(client.get("/first").await.unwrap().text(), "hi");
        a.behave(Behavior::Echo);
        said.add_permits(1);
        wait_until("the endpoint to have said it", async || {
            (a.in_flight() == 0).then_some(())
        })
        .await;
        let response = client.get("/next").await.unwrap();
        assert_eq!(response.json()["path"], "/next");
        let response = edge.get("/other").await;
        assert_eq!(response.json()["path"], "/other");
    }
}

#[tokio::test]
async fn an_answer_to_head_with_a_body_poisons_nobody() {
    let a = Endpoint::start("a").await;
    let edge = strict_edge(&a).await;
    let forged = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{forged}",
        forged.len()
    );
    a.behave(Behavior::raw(answer));
    let mut client: Connection = edge.connect().await;
    let response = client.request("HEAD", "/head", &[], b"").await.unwrap();
    assert_eq!(response.status, 200);
    a.behave(Behavior::Echo);
    for _ in 0..3 {
        let response = client.get("/next").await.unwrap();
        assert_eq!(response.json()["path"], "/next");
    }
}
