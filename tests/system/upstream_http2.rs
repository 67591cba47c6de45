//! HTTP/2 towards endpoints: many requests on one connection, and what becomes of them when an endpoint
//! refuses, leaves, stalls or talks nonsense.

#[path = "upstream_http2/grpc.rs"]
mod grpc;
#[path = "upstream_http2/hostile.rs"]
mod hostile;
#[path = "upstream_http2/raw.rs"]
mod raw;

use std::time::Duration;

use portcullis_testkit::grpc::{GrpcEndpoint, Reply};
use portcullis_testkit::h2_endpoint::{H2Behavior, H2Endpoint};
use portcullis_testkit::tls_front::Manner;
use portcullis_testkit::{Authority, Endpoint, ProxyFront, TlsFront, wait_until};
use serde_json::json;

use super::Setup;
use crate::harness::Edge;

async fn edge_to(endpoint: &H2Endpoint) -> Edge {
    Setup::for_h2c(endpoint.address()).start().await
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
        (&["http/1.1"], 502, "failed_no_http2"),
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
    let edge = Setup::for_h2c(plain.address())
        .set("clusters.main.timeouts", json!({ "connect": "500ms" }))
        .start()
        .await;
    assert_eq!(edge.get("/x").await.status, 502);
    assert_eq!(edge.log_of("/x").await["outcome"], "failed_no_http2");
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
    let edge = Setup::for_h2c(a.address())
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
    let edge = Setup::for_h2c(a.address())
        .set("clusters.main.health", check)
        .start()
        .await;
    edge.wait_for_metric("portcullis_edge_endpoint_healthy", &[], 1.0)
        .await;
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
    // Answers the first of each connection; to the next says goodbye, and that it has not begun with it.
    let raw = raw::RawH2::start(&[], |stream, _| {
        Some(match stream {
            1 | 3 => raw::frame(
                raw::HEADERS,
                raw::HEAD | raw::END,
                stream,
                &[raw::STATUS_200],
            ),
            _ => raw::frame(raw::GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]),
        })
    })
    .await;
    let edge = Setup::for_h2c(raw.address()).start().await;
    let mut client = edge.connect().await;
    for _ in 0..8 {
        let answer = client.request("POST", "/x", &[], b"once").await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let endless = raw::RawH2::start(&[], |_, _| Some(raw::frame(raw::GOAWAY, 0, 0, &[0; 8]))).await;
    let edge = Setup::for_h2c(endless.address())
        .set("clusters.main.retries", json!(1))
        .start()
        .await;
    assert_eq!(edge.get("/x").await.status, 502, "and it ends");
    assert_eq!(
        edge.log_of("/x").await["outcome"],
        "failed_endpoint_refused"
    );
}

#[tokio::test]
async fn nobody_gets_another_protocol_at_endpoints_that_speak_http2() {
    let a = H2Endpoint::start(H2Behavior::Echo).await;
    let edge = edge_to(&a).await;
    let mut client = edge.connect().await;
    let fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = client.request("GET", "/ws", &fields, b"").await.unwrap();
    assert_eq!(answer.status, 501);
    assert_eq!(edge.log_of("/ws").await["outcome"], "refused_upgrade");
    let fields = [("Connection", "Upgrade"), ("Upgrade", "h2c")];
    let answer = client.request("GET", "/h2c", &fields, b"").await.unwrap();
    assert_eq!(answer.status, 200, "an offer that is declined");
    assert!(answer.echoed("upgrade").is_empty());
}

#[tokio::test]
async fn what_http1_allows_in_a_request_is_said_in_http2() {
    let a = H2Endpoint::start(H2Behavior::Echo).await;
    let edge = edge_to(&a).await;
    for (head, path, authority) in [
        (
            "GET http://b:81/x HTTP/1.1\r\nHost: b:81",
            "/x",
            json!("b:81"),
        ),
        (
            "GET /old HTTP/1.0\r\nConnection: keep-alive",
            "/old",
            json!(null),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-own, close\r\nX-Own: 1\r\nKeep-Alive: 5\r\nTE: gzip",
            "/",
            json!("a"),
        ),
    ] {
        let mut client = edge.connect().await;
        client
            .send(format!("{head}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let answer = client.response().await.unwrap();
        assert_eq!(answer.status, 200, "{head}");
        let echo = answer.json();
        assert_eq!(
            (&echo["path"], &echo["authority"]),
            (&json!(path), &authority),
            "{head}"
        );
        for name in [
            "host",
            "connection",
            "keep-alive",
            "x-own",
            "transfer-encoding",
        ] {
            assert!(answer.echoed(name).is_empty(), "{name} of {head}");
        }
        assert_eq!(answer.echoed("te"), ["trailers"]);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_its_endpoint_and_nobody_else() {
    let a = H2Endpoint::start(H2Behavior::Flood).await;
    let edge = edge_to(&a).await;
    let mut slow = portcullis_testkit::Connection::open_narrow(edge.http(), 64 * 1024)
        .await
        .unwrap();
    slow.send(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut before = 1;
    let pace = tokio::sync::Mutex::new(tokio::time::interval(Duration::from_millis(300)));
    wait_until("it stands still", async || {
        pace.lock().await.tick().await;
        let now = a.flooded();
        let is_still = now == std::mem::replace(&mut before, now);
        (now > 0 && is_still).then_some(())
    })
    .await;
    // Windows, pipes and what the kernel holds on the way.
    assert!(a.flooded() < 8 << 20, "{} bytes", a.flooded());
    a.behave(H2Behavior::Echo);
    assert_eq!(edge.get("/other").await.status, 200);
    assert_eq!(a.connections(), 1);
    drop(slow);
    edge.wait_for_outcome("client_gone", 1).await;
}

#[tokio::test]
async fn checks_by_grpc_ask_the_endpoints_themselves() {
    let a = GrpcEndpoint::start(Reply::Serving, None).await;
    let check = json!({ "type": "grpc", "interval": "200ms", "timeout": "200ms",
        "rise": 1, "fall": 1 });
    let edge = Setup::for_h2c(a.address())
        .set("clusters.main.health", check)
        .start()
        .await;
    let healthy = "portcullis_edge_endpoint_healthy";
    edge.wait_for_metric(healthy, &[], 1.0).await;
    a.set(Reply::NotServing);
    edge.wait_for_metric(healthy, &[], 0.0).await;
}

#[tokio::test]
async fn connections_that_say_whose_they_are_carry_one_client() {
    let a = H2Endpoint::start(H2Behavior::Echo).await;
    let front = ProxyFront::start(a.address()).await;
    let edge = Setup::for_h2c(front.address())
        .set("clusters.main.proxy_protocol", json!("v1"))
        .start()
        .await;
    let mut ports = Vec::new();
    for _ in 0..2 {
        let mut client = edge.connect().await;
        for _ in 0..3 {
            assert_eq!(client.get("/").await.unwrap().status, 200);
        }
        ports.push(client.local_address().port());
    }
    let headers = front.headers();
    assert_eq!((headers.len(), a.connections()), (2, 2));
    for (header, port) in headers.iter().zip(ports) {
        let edge_port = edge.http().port();
        let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {edge_port}\r\n");
        assert_eq!(String::from_utf8_lossy(header), expected);
    }
}

#[tokio::test]
async fn a_connection_that_nobody_uses_ends() {
    let a = H2Endpoint::start(H2Behavior::Echo).await;
    let edge = Setup::for_h2c(a.address())
        .set("clusters.main.timeouts.idle", json!("1s"))
        .start()
        .await;
    assert_eq!(edge.get("/").await.status, 200);
    wait_until("it is closed", async || {
        (a.open_connections() == 0).then_some(())
    })
    .await;
    assert_eq!(edge.get("/").await.status, 200);
    assert_eq!(a.connections(), 2);
}

#[tokio::test]
async fn a_connection_on_which_a_request_waits_in_vain_is_left() {
    let raw = raw::RawH2::start(&[], |stream, _| {
        let flags = raw::HEAD | raw::END;
        Some(raw::frame(raw::HEADERS, flags, stream, &[raw::STATUS_200]))
    })
    .await;
    let edge = Setup::for_h2c(raw.address())
        .set("clusters.main.ejection", json!("off"))
        .set("clusters.main.timeouts", json!({ "read": "300ms" }))
        .start()
        .await;
    let mut client = edge.connect().await;
    let deaf = client.request("POST", "/deaf", &[], b"deaf").await.unwrap();
    assert_eq!(deaf.status, 504);
    wait_until("another connection serves", async || {
        (edge.get("/").await.status == 200).then_some(())
    })
    .await;
}
