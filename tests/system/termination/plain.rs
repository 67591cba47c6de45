//! Bytes on a TLS port that are no TLS, or too much of it.

use portcullis_testkit::{Authority, Connection, Endpoint, TlsOrigin};
use serde_json::json;

use super::{FAILURES, answer_to, edge_with, listener_with};

#[tokio::test]
async fn a_request_in_clear_text_is_told_to_use_https() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let edge = edge_with(&a, &authority, &json!({})).await;
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /a HTTP/1.0\r\nContent-Length: 100000\r\n\r\nabc",
    ] {
        let mut client = Connection::open(edge.listener(1)).await.unwrap();
        client.send(request.as_bytes()).await.unwrap();
        let answer = client.response().await.unwrap();
        assert_eq!(answer.status, 400);
        assert_eq!(answer.field("connection"), Some("close"));
        let body = answer.json();
        assert_eq!(body["type"], "urn:portcullis:problem:client_plain_http");
        assert!(body["detail"].as_str().unwrap().contains("https://"));
    }
    // A byte at a time, as some people type.
    let mut slow = Connection::open(edge.listener(1)).await.unwrap();
    let pause = std::time::Duration::from_millis(1);
    slow.send_bytewise(b"HEAD /", pause).await.unwrap();
    assert_eq!(slow.head().await.unwrap().status, 400);
    edge.wait_for_outcome("client_plain_http", 3).await;
    edge.wait_for_metric(FAILURES, &[("reason", "plain_http")], 3.0)
        .await;
    let lines = edge
        .wait_for_log(3, |line| line["outcome"] == "client_plain_http")
        .await;
    assert_eq!(lines[0]["status"], 400);
    assert_eq!(a.requests(), 0);
}

#[tokio::test]
async fn what_is_neither_tls_nor_a_request_is_closed() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let edge = edge_with(&a, &authority, &json!({})).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let noise: Vec<u8> = (0..3000u32).map(|n| ((n * 7919) >> 3) as u8).collect();
    for bytes in [&preface[..], &noise, b"SSH-2.0-OpenSSH_9.6\r\n", b"\0"] {
        assert_eq!(answer_to(&edge, bytes).await, b"", "{bytes:?}");
    }
    edge.wait_for_metric(FAILURES, &[("reason", "not_tls")], 4.0)
        .await;
    edge.wait_for_outcome("client_handshake", 4).await;
    // A look at the port is nobody's mistake, and leaves no line.
    assert_eq!(answer_to(&edge, b"").await, b"");
    edge.wait_for_metric(FAILURES, &[("reason", "silent")], 1.0)
        .await;
    edge.wait_for_log(4, |_| true).await;
    let mut client = crate::harness::open_tls(edge.listener(1), "app.example", &authority).await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn broken_tls_gets_an_alert_and_a_huge_hello_is_refused() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let legacy = TlsOrigin::start(&authority, "legacy.example").await;
    let keys = json!({ "passthrough": [{ "sni": "legacy.example", "cluster": "main" }] });
    drop(legacy);
    let edge = listener_with(&a, &authority, &keys).await;
    // A ServerHello, from a client.
    let broken = answer_to(&edge, b"\x16\x03\x01\0\x04\x02\0\0\0").await;
    assert_eq!(broken[0], 0x15, "{broken:?}");
    // A ClientHello that claims 16 MiB, in full records.
    let mut record = vec![0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    record.resize(5 + 0x4000, 0);
    let huge = answer_to(&edge, &record.repeat(2)).await;
    assert_eq!(huge, [0x15, 3, 3, 0, 2, 2, 50]);
    edge.wait_for_metric(FAILURES, &[("reason", "hello_too_large")], 1.0)
        .await;
    edge.wait_for_metric(FAILURES, &[("reason", "protocol")], 1.0)
        .await;
    edge.wait_for_outcome("client_handshake", 2).await;
}

#[tokio::test]
async fn a_handshake_that_stops_half_way_is_cut_off_and_told_of() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let keys = json!({ "timeouts": { "handshake": "300ms" } });
    let edge = listener_with(&a, &authority, &keys).await;
    for bytes in [&b"\x16\x03\x01"[..], b"", b"GET"] {
        let mut client = Connection::open(edge.listener(1)).await.unwrap();
        client.send(bytes).await.unwrap();
        assert_eq!(client.read_to_end().await.unwrap(), b"");
    }
    edge.wait_for_outcome("client_handshake_timeout", 3).await;
    edge.wait_for_metric(FAILURES, &[("reason", "timeout")], 3.0)
        .await;
}
