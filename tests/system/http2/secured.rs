//! HTTP/2 clients in front of clusters that want more than plain TCP: their requests leave as those of
//! other clients do.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use portcullis_testkit::client::Http2Connection;
use portcullis_testkit::tls_front::Manner;
use portcullis_testkit::{Authority, Endpoint, ProxyFront, TlsFront};
use serde_json::{Value, json};

use super::open;
use crate::harness::Edge;
use crate::native::Setup;

const ENGINES: [&str; 2] = ["native", "pingora"];

/// An edge that takes HTTP/2 over TLS, with these keys for its cluster.
async fn edge_to(
    endpoint: SocketAddr,
    authority: &Authority,
    engine: &str,
    cluster: Value,
) -> Edge {
    let identity = authority.issue("app", &["app.example"]);
    let certificates = json!([{ "cert": identity.cert, "key": identity.key }]);
    let listener = json!({ "engine": engine, "tls": { "certificates": certificates } });
    let mut setup = Setup::for_addresses(&[endpoint]).listener("tls", &listener);
    for (key, value) in cluster.as_object().unwrap() {
        setup = setup.set(&format!("clusters.main.{key}"), value.clone());
    }
    setup.start().await
}

/// Twenty requests side by side, each with a body that comes back.
async fn put_twenty(client: &Http2Connection) {
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let body = format!("body {number}");
                let sent = client.request("PUT", "/x", &[], body.as_bytes()).await;
                let answer = sent.unwrap();
                assert_eq!((answer.status, &answer.json()["body"]), (200, &json!(body)));
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn http2_clients_reach_endpoints_that_ask_for_a_certificate() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let (app, own) = (
        authority.issue("internal", &["app.internal"]),
        authority.issue("edge", &["edge.internal"]),
    );
    for engine in ENGINES {
        let manner = Manner {
            clients_of: Some(&authority),
            ..Manner::showing(&app)
        };
        let front = TlsFront::start(&manner, a.address()).await;
        let tls = json!({
            "ca": authority.root_file(), "server_name": "app.internal",
            "cert": own.cert, "key": own.key,
        });
        let edge = edge_to(front.address(), &authority, engine, json!({ "tls": tls })).await;
        put_twenty(&open(&edge, &authority).await).await;
        let handshakes = front.handshakes();
        assert!((1..=20).contains(&handshakes.len()), "{engine}");
        for handshake in handshakes {
            assert_eq!(handshake.server_name.as_deref(), Some("app.internal"));
            assert_eq!(handshake.client.as_ref(), Some(&own.leaf), "{engine}");
        }
    }
}

#[tokio::test]
async fn http2_clients_hear_that_an_endpoint_is_not_trusted() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let nobody = Authority::new();
    let stranger = nobody.issue("internal", &["app.internal"]);
    for engine in ENGINES {
        let front = TlsFront::start(&Manner::showing(&stranger), a.address()).await;
        let tls = json!({ "ca": authority.root_file(), "server_name": "app.internal" });
        let edge = edge_to(front.address(), &authority, engine, json!({ "tls": tls })).await;
        let client = open(&edge, &authority).await;
        assert_eq!(client.get("/x").await.unwrap().status, 502, "{engine}");
        let line = edge.log_of("/x").await;
        assert_eq!(line["outcome"], "failed_tls_untrusted", "{engine}");
        assert_eq!(a.received().len(), 0, "{engine}");
    }
}

#[tokio::test]
async fn connections_that_name_an_http2_client_serve_no_other() {
    for engine in ENGINES {
        let (a, authority) = (Endpoint::start("a").await, Authority::new());
        let front = ProxyFront::start(a.address()).await;
        let keys = json!({ "proxy_protocol": "v1" });
        let edge = edge_to(front.address(), &authority, engine, keys).await;
        let mut named = Vec::new();
        for clients in 1..=2 {
            put_twenty(&open(&edge, &authority).await).await;
            let ports: BTreeSet<String> = front.headers().iter().map(|h| port(h)).collect();
            assert_eq!(ports.len(), clients, "{engine}: {ports:?}");
            named = ports.into_iter().collect();
        }
        assert_ne!(named[0], named[1]);
    }
}

/// The client's port of a header of version 1.
fn port(header: &[u8]) -> String {
    let text = String::from_utf8(header.to_vec()).unwrap();
    let words: Vec<&str> = text.trim_end().split(' ').collect();
    assert_eq!(words[..3], ["PROXY", "TCP4", "127.0.0.1"]);
    words[4].to_owned()
}
