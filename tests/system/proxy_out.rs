//! PROXY headers towards endpoints: they tell whose a connection is, and so it is nobody else's.

use portcullis_testkit::tls_front::Manner;
use portcullis_testkit::{Authority, Connection, Endpoint, ProxyFront, TlsFront, wait_until};
use serde_json::json;

use super::Setup;

#[tokio::test]
async fn each_connection_says_whose_it_is_and_serves_nobody_else() {
    for version in ["v1", "v2"] {
        let a = Endpoint::start("a").await;
        let front = ProxyFront::start(a.address()).await;
        let edge = Setup::for_addresses(&[front.address()])
            .set("clusters.main.proxy_protocol", json!(version))
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
        assert_eq!(headers.len(), 2, "{version}");
        for (header, port) in headers.iter().zip(ports) {
            let edge_port = edge.http().port();
            let expected = match version {
                "v1" => format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {edge_port}\r\n").into(),
                _ => {
                    let mut expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
                    expected.extend_from_slice(&[127, 0, 0, 1, 127, 0, 0, 1]);
                    expected.extend_from_slice(&port.to_be_bytes());
                    expected.extend_from_slice(&edge_port.to_be_bytes());
                    expected
                }
            };
            assert_eq!(header, &expected, "{version}");
        }
    }
}

#[tokio::test]
async fn the_header_comes_before_tls_and_before_an_upgrade() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("app", &["app.internal"]);
    let tls = TlsFront::start(&Manner::showing(&identity), a.address()).await;
    let front = ProxyFront::start(tls.address()).await;
    let edge = Setup::for_addresses(&[front.address()])
        .set("clusters.main.proxy_protocol", json!("v2"))
        .set("clusters.main.tls", json!({ "verify": false }))
        .start()
        .await;
    assert_eq!(edge.get("/").await.status, 200);
    let mut client = edge.connect().await;
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let answer = client.request("GET", "/ws", &fields, b"").await.unwrap();
    assert_eq!(answer.status, 101);
    client.send(b"one").await.unwrap();
    assert_eq!(client.read_some().await.unwrap(), b"one");
    assert_eq!((front.headers().len(), tls.handshakes().len()), (2, 2));
}

#[tokio::test]
async fn checks_speak_for_the_edge_itself() {
    for (version, expected) in [
        ("v1", &b"PROXY UNKNOWN\r\n"[..]),
        ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
    ] {
        let a = Endpoint::start("a").await;
        let front = ProxyFront::start(a.address()).await;
        let check = json!({ "interval": "200ms", "timeout": "200ms", "rise": 1, "fall": 1 });
        let edge = Setup::for_addresses(&[front.address()])
            .set("clusters.main.proxy_protocol", json!(version))
            .set("clusters.main.health", check)
            .start()
            .await;
        edge.wait_for_metric("portcullis_edge_endpoint_healthy", &[], 1.0)
            .await;
        let headers = front.headers();
        assert!(headers.iter().all(|header| header == expected), "{version}");
        assert!(!headers.is_empty());
    }
}

#[tokio::test]
async fn bytes_passed_through_have_their_header_too() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("app", &["app.example"]);
    let tls = TlsFront::start(&Manner::showing(&identity), a.address()).await;
    let front = ProxyFront::start(tls.address()).await;
    let keys = json!({ "passthrough": [{ "sni": "app.example", "cluster": "raw" }] });
    let edge = Setup::new(&[&a])
        .set(
            "clusters.raw.endpoints",
            json!([front.address().to_string()]),
        )
        .set("clusters.raw.proxy_protocol", json!("v1"))
        .listener("raw", &keys)
        .start()
        .await;
    let config = authority.client();
    let opened = Connection::open_tls(edge.listener(1), "app.example", config).await;
    let mut client = opened.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
    let port = client.local_address().port();
    let header = wait_until("a header", async || front.headers().pop()).await;
    let header = String::from_utf8(header).unwrap();
    let begin = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} ");
    assert!(header.starts_with(&begin), "{header}");
}
