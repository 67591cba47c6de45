//! HTTP/2 towards endpoints: many requests on one connection, and what becomes of them when an endpoint
//! refuses, leaves, stalls or talks nonsense.

#[path = "upstream_http2/raw.rs"]
mod raw;

use std::time::Duration;

use portcullis_testkit::client::Http2Connection;
use portcullis_testkit::h2_endpoint::{H2Behavior, H2Endpoint};
use portcullis_testkit::tls_front::Manner;
use portcullis_testkit::{Authority, Endpoint, TlsFront, wait_until};
use serde_json::json;

use super::Setup;
use crate::harness::Edge;

async fn edge_to(endpoint: &H2Endpoint) -> Edge {
    Setup::for_addresses(&[endpoint.address()])
        .set("clusters.main.protocol", json!("h2c"))
        .start()
        .await
}

#[tokio::test]
async fn requests_and_bodies_arrive_whole_over_http2() {
    let a = H2Endpoint::start(H2Behavior::Echo).await;
    let edge = edge_to(&a).await;
    let mut client = edge.connect().await;
    let body = "0123456789abcdef".repeat(20_000);
    for path in ["/x?y=1", "/again"] {
        let sent = client.request("PUT", path, &[("X-Own", "1")], body.as_bytes());
        let answer = sent.await.unwrap();
        let echo = answer.json();
        assert_eq!((answer.status, &echo["path"]), (200, &json!(path)));
        assert_eq!(
            (&echo["scheme"], &echo["body"]),
            (&json!("http"), &json!(body))
        );
        assert_eq!(echo["authority"], edge.http().to_string());
        assert_eq!(answer.echoed("x-own"), ["1"]);
        assert_eq!(answer.echoed("te"), ["trailers"]);
        assert_eq!(answer.echoed("x-forwarded-for"), ["127.0.0.1"]);
        assert!(answer.echoed("connection").is_empty());
    }
    assert_eq!(client.get("/plain").await.unwrap().json()["method"], "GET");
    let head = client.request("HEAD", "/head", &[], b"").await.unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(a.connections(), 1);
    assert_eq!(edge.log_of("/again").await["outcome"], "served");
}

#[tokio::test]
async fn many_requests_share_one_connection_and_no_more_than_the_endpoint_takes() {
    for (streams, connections) in [(100, 1), (10, 3)] {
        let a = H2Endpoint::with(H2Behavior::Wait, streams, 65_535).await;
        let edge = edge_to(&a).await;
        let http = edge.http();
        let get = || tokio::spawn(async move { portcullis_testkit::client::get(http, "/").await });
        let asked: Vec<_> = (0..30).map(|_| get()).collect();
        wait_until("all are there", async || {
            (a.in_flight() == 30).then_some(())
        })
        .await;
        assert_eq!(a.connections(), connections, "{streams}");
        a.release();
        for answer in asked {
            assert_eq!(answer.await.unwrap().unwrap().status, 200);
        }
    }
}

#[tokio::test]
async fn http2_is_agreed_on_under_tls_or_not_spoken() {
    let (a, authority) = (H2Endpoint::start(H2Behavior::Echo).await, Authority::new());
    let identity = authority.issue("app", &["app.internal"]);
    for (protocols, status, outcome) in [
        (&["h2", "http/1.1"][..], 200, "served"),
        (&["http/1.1"], 502, "failed_tls"),
        (&[], 502, "failed_no_http2"),
    ] {
        let manner = Manner {
            protocols,
            ..Manner::showing(&identity)
        };
        let front = TlsFront::start(&manner, a.address()).await;
        let edge = Setup::for_addresses(&[front.address()])
            .set("clusters.main.protocol", json!("h2"))
            .set("clusters.main.tls", json!({ "verify": false }))
            .start()
            .await;
        assert_eq!(edge.get("/x").await.status, status, "{protocols:?}");
        assert_eq!(edge.log_of("/x").await["outcome"], outcome);
    }
    let plain = Endpoint::start("a").await;
    let edge = Setup::for_addresses(&[plain.address()])
        .set("clusters.main.protocol", json!("h2c"))
        .set("clusters.main.timeouts", json!({ "connect": "500ms" }))
        .start()
        .await;
    assert!(edge.get("/x").await.status >= 502);
}

#[tokio::test]
async fn refused_requests_go_to_another_endpoint_whatever_their_method() {
    let (a, b) = (
        H2Endpoint::start(H2Behavior::Refuse).await,
        H2Endpoint::start(H2Behavior::Echo).await,
    );
    let edge = Setup::for_addresses(&[a.address(), b.address()])
        .set("clusters.main.protocol", json!("h2c"))
        .start()
        .await;
    for _ in 0..4 {
        let mut client = edge.connect().await;
        let answer = client.request("POST", "/x", &[], b"once").await.unwrap();
        assert_eq!(
            (answer.status, &answer.json()["body"]),
            (200, &json!("once"))
        );
    }
    assert_eq!(b.requests(), 4);
    let alone = edge_to(&a).await;
    assert_eq!(alone.get("/x").await.status, 502);
    let line = alone.log_of("/x").await;
    assert_eq!(line["outcome"], "failed_endpoint_refused");
}

#[tokio::test]
async fn an_endpoint_that_leaves_politely_loses_nothing() {
    let a = H2Endpoint::start(H2Behavior::Leave).await;
    let edge = edge_to(&a).await;
    let mut client = edge.connect().await;
    for _ in 0..5 {
        let answer = client.request("POST", "/x", &[], b"once").await.unwrap();
        assert_eq!(answer.status, 200);
    }
    assert_eq!(a.requests(), 5);
    assert!(a.connections() > 1);
}

#[tokio::test]
async fn an_endpoint_without_room_for_a_body_times_out() {
    let a = H2Endpoint::with(H2Behavior::Echo, 100, 0).await;
    let edge = Setup::for_addresses(&[a.address()])
        .set("clusters.main.protocol", json!("h2c"))
        .set(
            "clusters.main.timeouts",
            json!({ "write": "300ms", "read": "300ms" }),
        )
        .start()
        .await;
    for size in [100, 500_000] {
        let mut client = edge.connect().await;
        let answer = client.request("POST", "/x", &[], &vec![b'x'; size]).await;
        assert_eq!(answer.unwrap().status, 504, "{size}");
    }
    assert_eq!(
        edge.get("/y").await.status,
        200,
        "without a body all is well"
    );
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_stream_along_and_no_other() {
    let a = H2Endpoint::start(H2Behavior::Wait).await;
    let edge = edge_to(&a).await;
    let mut gone = edge.connect().await;
    gone.send(b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let http = edge.http();
    let stays = tokio::spawn(async move { portcullis_testkit::client::get(http, "/stays").await });
    wait_until("both are there", async || {
        (a.in_flight() == 2).then_some(())
    })
    .await;
    drop(gone);
    assert_eq!(edge.log_of("/gone").await["outcome"], "client_gone");
    a.release();
    assert_eq!(stays.await.unwrap().unwrap().status, 200);
    assert_eq!(a.connections(), 1);
}

#[tokio::test]
async fn checks_speak_http2_where_requests_do() {
    let a = H2Endpoint::start(H2Behavior::Echo).await;
    let check = json!({ "interval": "200ms", "timeout": "200ms", "rise": 1, "fall": 1,
        "body": "/health/ready" });
    let edge = Setup::for_addresses(&[a.address()])
        .set("clusters.main.protocol", json!("h2c"))
        .set("clusters.main.health", check)
        .start()
        .await;
    edge.wait_for_metric("portcullis_edge_endpoint_healthy", &[], 1.0)
        .await;
}

async fn http2_client(edge: &Edge, authority: &Authority) -> Http2Connection {
    Http2Connection::open(edge.listener(1), "app.example", authority.client())
        .await
        .unwrap()
}

#[tokio::test]
async fn grpc_goes_through_with_its_trailers() {
    let (a, authority) = (H2Endpoint::start(H2Behavior::Grpc).await, Authority::new());
    let identity = authority.issue("app", &["app.example"]);
    let tls =
        json!({ "tls": { "certificates": [{ "cert": identity.cert, "key": identity.key }] } });
    let edge = Setup::for_addresses(&[a.address()])
        .set("clusters.main.protocol", json!("h2c"))
        .listener("tls", &tls)
        .start()
        .await;
    let client = http2_client(&edge, &authority).await;
    let fields = [("te", "trailers"), ("content-type", "application/grpc")];
    let call = || client.request("POST", "/shop.Orders/Get", &fields, b"\0\0\0\0\x02hi");
    let answer = call().await.unwrap();
    assert_eq!(
        (answer.status, &answer.body[..]),
        (200, &b"\0\0\0\0\x02hi"[..])
    );
    a.behave(H2Behavior::GrpcFailure);
    let answer = call().await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.field("grpc-status"), Some("5"));
    let lines = edge.wait_for_log(2, |_| true).await;
    assert!(
        lines.iter().all(|line| line["outcome"] == "served"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn pieces_of_a_stream_come_back_before_it_ends() {
    let a = H2Endpoint::start(H2Behavior::EchoStream).await;
    let edge = edge_to(&a).await;
    let mut client = edge.connect().await;
    let head = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head).await.unwrap();
    let mut seen = String::new();
    for piece in ["one", "two", "three"] {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        client.send(chunk.as_bytes()).await.unwrap();
        while !seen.contains(piece) {
            let more = client.read_some().await.unwrap();
            seen.push_str(&String::from_utf8_lossy(&more));
        }
    }
    client.send(b"0\r\n\r\n").await.unwrap();
    while !seen.ends_with("0\r\n\r\n") {
        let more = client.read_some().await.unwrap();
        seen.push_str(&String::from_utf8_lossy(&more));
    }
}

#[tokio::test]
async fn goodbye_in_the_middle_repeats_what_was_not_begun() {
    let raw = raw::RawH2::start(raw::Trick::LeaveWithout).await;
    let edge = Setup::for_addresses(&[raw.address()])
        .set("clusters.main.protocol", json!("h2c"))
        .start()
        .await;
    let mut client = edge.connect().await;
    for _ in 0..3 {
        let answer = client.request("POST", "/x", &[], b"once").await.unwrap();
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn nonsense_over_http2_is_an_answer_of_502_and_memory_stays_bounded() {
    for trick in [
        raw::Trick::EndlessHeaders,
        raw::Trick::Garbage,
        raw::Trick::Hangup,
    ] {
        let raw = raw::RawH2::start(trick).await;
        let edge = Setup::for_addresses(&[raw.address()])
            .set("clusters.main.protocol", json!("h2c"))
            .set("clusters.main.retries", json!(0))
            .set("clusters.main.timeouts", json!({ "read": "5s" }))
            .start()
            .await;
        let answer = tokio::time::timeout(Duration::from_secs(10), edge.get("/x")).await;
        assert_eq!(answer.unwrap().status, 502, "{trick:?}");
    }
}
