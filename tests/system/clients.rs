//! Who a client is when a proxy in front says so, and what one client may take.

use portcullis_testkit::{Authority, Connection, Endpoint, wait_until};
use serde_json::{Value, json};

use crate::harness::Edge;
use crate::native::Setup;

const LINE: &str = "PROXY TCP4 198.51.100.7 10.0.0.1 12345 443\r\n";

/// The same client in version 2.
fn bytes() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([198, 51, 100, 7, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb]);
    header
}

/// An edge whose only listener has such a `proxy_protocol`.
async fn behind_a_proxy(endpoint: &Endpoint, proxy_protocol: Value) -> Edge {
    let setup = Setup::new(&[endpoint]).set("listeners.0.proxy_protocol", proxy_protocol);
    setup.start().await
}

/// Bytes and then a request, in one write; what the endpoint was told of the client.
async fn told(edge: &Edge, header: &[u8]) -> String {
    let mut client = edge.connect().await;
    let request = b"GET /told HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.send(&[header, request].concat()).await.unwrap();
    let response = client.response().await.unwrap();
    let told = response.echoed("x-forwarded-for");
    assert_eq!(response.echoed("x-real-ip"), told);
    told.join(" and ")
}

#[tokio::test]
async fn the_port_told_to_endpoints_is_the_one_that_the_proxy_header_names() {
    let a = Endpoint::start("a").await;
    let from = json!({ "from": ["127.0.0.1/32"], "required": false });
    for engine in ["native", "pingora"] {
        let setup = Setup::new(&[&a]).set("listeners.0.proxy_protocol", from.clone());
        let edge = setup.set("listeners.0.engine", json!(engine)).start().await;
        let own = edge.listener(0).port().to_string();
        let open = "PROXY TCP4 198.51.100.7 10.0.0.1 12345 0\r\n";
        for (header, port) in [
            (LINE.as_bytes(), "443"),
            (&bytes(), "443"),
            (open.as_bytes(), &own),
            (b"PROXY UNKNOWN\r\n", &own),
            (b"", &own),
        ] {
            let mut client = edge.connect().await;
            let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            client.send(&[header, request].concat()).await.unwrap();
            let response = client.response().await.unwrap();
            assert_eq!(response.echoed("x-forwarded-port"), [port], "{engine}");
        }
    }
}

/// Bytes to which there is no answer.
async fn closed_upon(edge: &Edge, bytes: &[u8]) {
    let mut client = edge.connect().await;
    // The edge may close while this is still being sent.
    let _ = client.send(bytes).await;
    assert_eq!(client.read_to_end().await.unwrap_or_default(), b"");
}

async fn wait_for_refused(edge: &Edge, reason: &str, count: u32) {
    let name = "portcullis_edge_connections_refused_total";
    edge.wait_for_metric(name, &[("reason", reason)], count.into())
        .await;
}

#[tokio::test]
async fn a_proxy_header_gives_the_clients_address() {
    let a = Endpoint::start("a").await;
    let edge = behind_a_proxy(&a, json!({ "from": ["127.0.0.0/8"] })).await;
    assert_eq!(told(&edge, LINE.as_bytes()).await, "198.51.100.7");
    assert_eq!(told(&edge, &bytes()).await, "198.51.100.7");
    let v6 = "PROXY TCP6 2001:db8::7 ::1 1 2\r\n";
    assert_eq!(told(&edge, v6.as_bytes()).await, "2001:db8::7");
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    assert_eq!(told(&edge, local).await, "127.0.0.1");
    let lines = edge.wait_for_log(4, |line| line["path"] == "/told").await;
    let logged: Vec<_> = lines.iter().map(|line| &line["client"]).collect();
    let expected = ["198.51.100.7", "198.51.100.7", "2001:db8::7", "127.0.0.1"];
    assert_eq!(logged, expected);
}

#[tokio::test]
async fn a_connection_without_its_proxy_header_is_closed() {
    let a = Endpoint::start("a").await;
    let proxy_protocol = json!({ "from": ["127.0.0.0/8"], "timeout": "200ms" });
    let edge = behind_a_proxy(&a, proxy_protocol).await;
    for bytes in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PROXY TCP4 198.51.100.7 10.0.0.1 1\r\n",
        "PROXY TCP4 198.51.100.7",
        "",
    ] {
        closed_upon(&edge, bytes.as_bytes()).await;
    }
    wait_for_refused(&edge, "proxy_header", 4).await;
    edge.wait_for_outcome("refused_proxy_header", 4).await;
    assert_eq!(a.requests(), 0);
}

#[tokio::test]
async fn a_proxy_header_is_believed_from_its_sources_alone() {
    let a = Endpoint::start("a").await;
    let edge = behind_a_proxy(&a, json!({ "from": ["192.0.2.0/24"] })).await;
    closed_upon(&edge, LINE.as_bytes()).await;
    edge.wait_for_outcome("refused_proxy_header", 1).await;

    let optional = json!({ "from": ["192.0.2.0/24"], "required": false });
    let edge = behind_a_proxy(&a, optional).await;
    assert_eq!(told(&edge, b"").await, "127.0.0.1");
    let mut client = edge.connect().await;
    client.send(LINE.as_bytes()).await.unwrap();
    assert_eq!(client.response().await.unwrap().status, 400);
}

#[tokio::test]
async fn a_proxy_header_that_is_not_required_may_be_left_out() {
    let a = Endpoint::start("a").await;
    let optional = json!({ "from": ["127.0.0.0/8"], "required": false });
    let edge = behind_a_proxy(&a, optional).await;
    assert_eq!(told(&edge, b"").await, "127.0.0.1");
    assert_eq!(told(&edge, LINE.as_bytes()).await, "198.51.100.7");
}

#[tokio::test]
async fn a_proxy_header_stands_before_tls_and_passthrough() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let tls = |name: &str| {
        let identity = authority.issue(name, &[name]);
        json!({ "certificates": [{ "cert": identity.cert, "key": identity.key }] })
    };
    let behind = Setup::new(&[&a]).listener("tls", &json!({ "tls": tls("raw.example") }));
    let behind = behind.start().await;
    let raw = json!({ "balance": "round_robin", "endpoints": [behind.listener(1).to_string()] });
    let keys = json!({
        "proxy_protocol": { "from": ["127.0.0.0/8"] },
        "tls": tls("app.example"),
        "passthrough": [{ "sni": "raw.example", "cluster": "raw" }],
    });
    let edge = Setup::new(&[&a]).set("clusters.raw", raw);
    let edge = edge.listener("tls", &keys).start().await;
    for (name, header, expected) in [
        ("app.example", LINE.as_bytes().to_vec(), "198.51.100.7"),
        ("app.example", bytes(), "198.51.100.7"),
        // Bytes that pass through untouched say nothing of anybody.
        ("raw.example", bytes(), "127.0.0.1"),
    ] {
        let (address, client) = (edge.listener(1), authority.client());
        let opened = Connection::open_tls_behind(address, &header, name, client).await;
        let response = opened.unwrap().get("/").await.unwrap();
        assert_eq!(response.echoed("x-forwarded-for"), [expected], "{name}");
    }
    let opened = Connection::open_tls(edge.listener(1), "app.example", authority.client()).await;
    assert!(opened.is_err(), "no handshake begins without its header");
    wait_for_refused(&edge, "proxy_header", 1).await;
}

/// So many connections that have been served a request, as far as they are.
async fn served(edge: &Edge, count: usize) -> Vec<Connection> {
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut client = edge.connect().await;
        assert_eq!(client.get("/").await.unwrap().status, 200);
        connections.push(client);
    }
    connections
}

#[tokio::test]
async fn one_address_has_no_more_connections_than_it_may() {
    let a = Endpoint::start("a").await;
    let setup = Setup::new(&[&a]).set("listeners.0.connections_per_address", json!({ "most": 2 }));
    let edge = setup.start().await;
    let mut held = served(&edge, 2).await;
    for _ in 0..3 {
        let mut client = edge.connect().await;
        let _ = client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.response().await.unwrap().status, 429);
        client.expect_close().await;
    }
    wait_for_refused(&edge, "address", 3).await;
    edge.wait_for_outcome("refused_address_connections", 3)
        .await;
    held.pop();
    wait_until("room for another", async || {
        let mut client = edge.connect().await;
        client.get("/").await.ok().filter(|one| one.status == 200)
    })
    .await;
}

#[tokio::test]
async fn who_is_exempt_or_trusted_has_as_many_connections_as_there_are() {
    let a = Endpoint::start("a").await;
    let exempt = json!({ "most": 1, "exempt": ["127.0.0.0/8"] });
    let setup = Setup::new(&[&a]).set("listeners.0.connections_per_address", exempt);
    served(&setup.start().await, 3).await;
    let setup = Setup::new(&[&a])
        .set("listeners.0.connections_per_address", json!({ "most": 1 }))
        .set("trusted_proxies", json!(["127.0.0.1/32"]));
    served(&setup.start().await, 3).await;
}

#[tokio::test]
async fn connections_are_counted_by_the_address_in_the_proxy_header() {
    let a = Endpoint::start("a").await;
    let setup = Setup::new(&[&a])
        .set(
            "listeners.0.proxy_protocol",
            json!({ "from": ["127.0.0.0/8"] }),
        )
        .set(
            "listeners.0.connections_per_address",
            json!({ "most": 1, "ipv6_prefix": 48 }),
        );
    let edge = setup.start().await;
    let statuses = async |address: &str| {
        let mut client = edge.connect().await;
        let header = format!("PROXY TCP6 {address} ::1 1 2\r\n");
        client.send(header.as_bytes()).await.unwrap();
        let status = client.get("/").await.unwrap().status;
        (status, client)
    };
    let (first, _held) = statuses("2001:db8:1::1").await;
    let (same_network, _) = statuses("2001:db8:1:2::1").await;
    let (other_network, _) = statuses("2001:db8:2::1").await;
    assert_eq!([first, same_network, other_network], [200, 429, 200]);
}

/// What the endpoint is told of a request that a trusted proxy passes on.
async fn told_of(edge: &Edge, names: &[&str]) -> Vec<Vec<String>> {
    let fields = [
        (
            "Forwarded",
            "for=6.6.6.6, for=198.51.100.7;proto=https;host=a.test",
        ),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Proto", "http"),
    ];
    let mut client = edge.connect().await.with_host("b.test");
    let response = client.request("GET", "/", &fields, b"").await.unwrap();
    names.iter().map(|name| response.echoed(name)).collect()
}

#[tokio::test]
async fn endpoints_are_told_of_clients_in_the_fields_that_are_configured() {
    let a = Endpoint::start("a").await;
    let by_address =
        "for=203.0.113.9;proto=http, for=127.0.0.1;by=127.0.0.1;host=b.test;proto=http";
    let from_forwarded =
        "for=198.51.100.7;host=a.test;proto=https, for=127.0.0.1;by=_edge;host=b.test;proto=http";
    for (forwarded, expected) in [
        (
            json!("x-forwarded"),
            [None, Some("203.0.113.9, 127.0.0.1"), Some("http")],
        ),
        (json!("rfc7239"), [Some(by_address), None, None]),
        (
            json!({ "send": "both", "believe": "rfc7239", "by": "_edge" }),
            [
                Some(from_forwarded),
                Some("198.51.100.7, 127.0.0.1"),
                Some("https"),
            ],
        ),
    ] {
        let setup = Setup::new(&[&a])
            .set("trusted_proxies", json!(["127.0.0.1/32"]))
            .set("forwarded", forwarded.clone());
        let edge = setup.start().await;
        let names = ["forwarded", "x-forwarded-for", "x-forwarded-proto"];
        let told = told_of(&edge, &names).await;
        for (told, expected) in told.iter().zip(expected) {
            assert_eq!(told, &Vec::from_iter(expected), "{forwarded}");
        }
    }
}

/// `Forwarded` as sent by whom a PROXY header names, and what the endpoint is told.
#[tokio::test]
async fn forwarded_of_strangers_is_dropped_and_of_proxies_carried_on() {
    let a = Endpoint::start("a").await;
    let setup = Setup::new(&[&a])
        .set(
            "listeners.0.proxy_protocol",
            json!({ "from": ["127.0.0.1/32"] }),
        )
        .set("trusted_proxies", json!(["10.0.0.0/8"]))
        .set(
            "forwarded",
            json!({ "send": "rfc7239", "believe": "rfc7239", "by": "_edge" }),
        );
    let edge = setup.start().await;
    let (stranger, proxy) = ("TCP4 203.0.113.9 10.0.0.9", "TCP4 10.0.0.1 10.0.0.9");
    let six = "TCP6 2001:db8::7 2001:db8::9";
    let us = "for=10.0.0.1;by=_edge;host=a;proto=http";
    let behind = |client: &str| format!("for={client}, {us}");
    for (from, sent, expected) in [
        (
            stranger,
            "for=6.6.6.6;proto=https",
            "for=203.0.113.9;by=_edge;host=a;proto=http".to_owned(),
        ),
        (
            six,
            "for=6.6.6.6",
            "for=\"[2001:db8::7]\";by=_edge;host=a;proto=http".to_owned(),
        ),
        (proxy, "for=198.51.100.7", behind("198.51.100.7")),
        (
            proxy,
            "for=\"[2001:db8::7]:4711\"",
            behind("\"[2001:db8::7]\""),
        ),
        (
            proxy,
            "for=6.6.6.6, for=198.51.100.7",
            behind("198.51.100.7"),
        ),
        (proxy, "for=_hidden;proto=https", us.to_owned()),
        (proxy, "for=unknown", us.to_owned()),
        (proxy, "for=6.6.6.6, for=_hidden", us.to_owned()),
        (proxy, "x=\"open, for=198.51.100.7", behind("198.51.100.7")),
        (proxy, "for=2001:db8::7", us.to_owned()),
        (proxy, "for=6.6.6.6;;=,for=", us.to_owned()),
    ] {
        let mut client = edge.connect().await;
        let text = format!(
            "PROXY {from} 12345 443\r\nGET / HTTP/1.1\r\nHost: a\r\nForwarded: {sent}\r\nConnection: close\r\n\r\n"
        );
        client.send(text.as_bytes()).await.unwrap();
        let response = client.response().await.unwrap();
        assert_eq!(response.echoed("forwarded"), [expected], "{from}: {sent}");
    }
}
