//! TLS at the edge: certificates by server name, versions, and bytes that pass untouched.

use std::time::{Duration, Instant};

use portcullis_testkit::{Authority, Connection, Endpoint, TlsOrigin, wait_until};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::{Edge, open_tls};

fn tls(identities: &[&portcullis_testkit::certificates::Identity]) -> Value {
    let list: Vec<Value> = identities
        .iter()
        .map(|i| json!({ "cert": i.cert, "key": i.key }))
        .collect();
    json!({ "certificates": list })
}

async fn tls_edge(endpoint: &Endpoint, authority: &Authority, extra: &Value) -> Edge {
    let identity = authority.issue("app", &["app.example"]);
    let mut keys = json!({ "tls": tls(&[&identity]) });
    for (key, value) in extra.as_object().unwrap() {
        keys[key] = value.clone();
    }
    Setup::new(&[endpoint]).listener("tls", &keys).start().await
}

#[tokio::test]
async fn the_certificate_follows_the_server_name() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let first = authority.issue("first", &["first.example", "also.first.example"]);
    let second = authority.issue("second", &["second.example"]);
    let wild = authority.issue("wild", &["*.wild.example"]);
    let keys = json!({ "tls": tls(&[&first, &second, &wild]) });
    let edge = Setup::new(&[&a]).listener("tls", &keys).start().await;
    for (name, expected) in [
        ("first.example", &first),
        ("also.first.example", &first),
        ("second.example", &second),
        ("SECOND.example", &second),
        ("x.wild.example", &wild),
    ] {
        let mut client = open_tls(edge.listener(1), name, &authority).await;
        assert_eq!(client.tls().unwrap().leaf, expected.leaf, "{name}");
        assert_eq!(client.get("/").await.unwrap().status, 200, "{name}");
    }
    // A name nobody has a certificate for gets the first one, and does not trust it.
    let stranger =
        Connection::open_tls(edge.listener(1), "other.example", authority.client()).await;
    let error = stranger
        .err()
        .expect("the certificate does not fit")
        .to_string();
    assert!(error.to_lowercase().contains("certificate"), "{error}");
}

#[tokio::test]
async fn an_old_tls_version_is_refused() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("app", &["app.example"]);
    let mut strict = tls(&[&identity]);
    strict["min_version"] = json!("1.3");
    let edge = Setup::new(&[&a])
        .listener("default", &json!({ "tls": tls(&[&identity]) }))
        .listener("strict", &json!({ "tls": strict }))
        .start()
        .await;
    let tls12 = || authority.client_with_version(&rustls::version::TLS12);
    let old = Connection::open_tls(edge.listener(1), "app.example", tls12())
        .await
        .unwrap();
    assert_eq!(old.tls().unwrap().version, "TLSv1_2");
    assert!(
        Connection::open_tls(edge.listener(2), "app.example", tls12())
            .await
            .is_err()
    );
    let new = open_tls(edge.listener(2), "app.example", &authority).await;
    assert_eq!(new.tls().unwrap().version, "TLSv1_3");
}

#[tokio::test]
async fn passthrough_leads_untouched_bytes_by_server_name() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("app", &["app.example"]);
    let legacy = TlsOrigin::start(&authority, "legacy.example").await;
    let wild = TlsOrigin::start(&authority, "wild.example").await;
    let keys = json!({
        "tls": tls(&[&identity]),
        "passthrough": [
            { "sni": "legacy.example", "cluster": "legacy" },
            { "sni": "*.wild.example", "cluster": "wild" },
        ],
    });
    let edge = Setup::new(&[&a])
        .set(
            "clusters.legacy",
            json!({ "endpoints": [legacy.address().to_string()] }),
        )
        .set(
            "clusters.wild",
            json!({ "endpoints": [wild.address().to_string()] }),
        )
        .listener("tls", &keys)
        .start()
        .await;
    for (name, expected) in [
        ("legacy.example", "legacy.example"),
        ("x.wild.example", "wild.example"),
    ] {
        let mut client = open_tls(edge.listener(1), name, &authority).await;
        client.send(b"hello").await.unwrap();
        let mut answer = Vec::new();
        wait_until("the origin's words", async || {
            answer.extend(client.read_some().await.unwrap());
            (answer == format!("{expected}:hello").as_bytes()).then_some(())
        })
        .await;
    }
    let mut client = open_tls(edge.listener(1), "app.example", &authority).await;
    assert_eq!(client.get("/").await.unwrap().endpoint(), "a");
}

#[tokio::test]
async fn a_client_hello_in_small_pieces_still_finds_its_way() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("app", &["app.example"]);
    let legacy = TlsOrigin::start(&authority, "legacy.example").await;
    let keys = json!({
        "tls": tls(&[&identity]),
        "passthrough": [{ "sni": "legacy.example", "cluster": "legacy" }],
    });
    let edge = Setup::new(&[&a])
        .set(
            "clusters.legacy",
            json!({ "endpoints": [legacy.address().to_string()] }),
        )
        .listener("tls", &keys)
        .start()
        .await;
    for (name, expected) in [
        ("legacy.example", "legacy.example:GET"),
        ("app.example", "HTTP/1.1 200"),
    ] {
        let config = authority.client();
        let mut client = Connection::open_tls_in_pieces(edge.listener(1), name, config, 7)
            .await
            .unwrap();
        client
            .send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        wait_until(expected, async || {
            answer.push_str(&String::from_utf8_lossy(&client.read_some().await.unwrap()));
            answer.starts_with(expected).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn plain_bytes_on_a_tls_listener_are_refused() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let edge = tls_edge(&a, &authority, &json!({})).await;
    let mut client = Connection::open(edge.listener(1)).await.unwrap();
    client
        .send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let answer = client.read_to_end().await.unwrap();
    assert!(
        !answer.starts_with(b"HTTP/1.1 200"),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(a.requests(), 0);
    let labels = [("result", "failed")];
    edge.wait_for_metric("portcullis_edge_tls_handshakes_total", &labels, 1.0)
        .await;
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_cut_off() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let edge = tls_edge(
        &a,
        &authority,
        &json!({ "timeouts": { "handshake": "300ms" } }),
    )
    .await;
    let mut client = Connection::open(edge.listener(1)).await.unwrap();
    let started = Instant::now();
    client.send(b"\x16\x03\x01").await.unwrap();
    let _ = client.read_to_end().await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "by default it would be 10 s"
    );
}
