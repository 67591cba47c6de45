//! Sessions: versions, key exchange and resumption, at one edge and at another with the same secrets.

use std::fs;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use portcullis_testkit::client::tls_stream;
use portcullis_testkit::{Authority, DEADLINE, Endpoint};
use serde_json::json;
use tokio::io::{AsyncRead, ReadBuf};

use super::{edge_with, listener_with, visit};

const SESSIONS: &str = "portcullis_edge_tls_sessions_total";

#[tokio::test]
async fn keys_are_agreed_on_against_the_computers_of_tomorrow() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let edge = edge_with(&a, &authority, &json!({})).await;
    let client = crate::harness::open_tls(edge.listener(1), "app.example", &authority).await;
    assert_eq!(
        client.tls().unwrap().group.as_deref(),
        Some("X25519MLKEM768")
    );
    let labels = [("version", "TLSv1.3"), ("key_exchange", "X25519MLKEM768")];
    edge.wait_for_metric(SESSIONS, &labels, 1.0).await;
}

#[tokio::test]
async fn sessions_of_both_versions_resume() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let edge = edge_with(&a, &authority, &json!({})).await;
    for (config, version) in [
        (authority.client(), "TLSv1.3"),
        (
            authority.client_with_version(&rustls::version::TLS12),
            "TLSv1.2",
        ),
    ] {
        assert!(!visit(&edge, &config).await, "{version}");
        assert!(visit(&edge, &config).await, "{version}");
        let labels = [("version", version), ("kind", "resumed")];
        edge.wait_for_metric(SESSIONS, &labels, 1.0).await;
    }
}

/// It is in no hurry, but one who connects ahead of need has it, too.
#[tokio::test]
async fn one_ticket_comes_to_a_client_that_asks_for_nothing() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    for engine in ["native", "pingora"] {
        let edge = listener_with(&a, &authority, &json!({ "engine": engine })).await;
        let opened = tls_stream(edge.listener(1), "app.example", authority.client()).await;
        let mut client = opened.unwrap().0;
        let tickets = poll_fn(|cx| {
            let is_over = Pin::new(&mut client).poll_read(cx, &mut ReadBuf::new(&mut [0]));
            match client.get_ref().1.tls13_tickets_received() {
                0 => is_over.map(|_| 0),
                tickets => Poll::Ready(tickets),
            }
        });
        let tickets = tokio::time::timeout(DEADLINE, tickets).await.unwrap();
        assert_eq!(tickets, 1, "{engine}");
    }
}

#[tokio::test]
async fn a_session_of_one_edge_resumes_at_another_with_the_same_secret() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let (same, other) = ("s".repeat(32), "o".repeat(32));
    let file = |name: &str, lines: &str| {
        let path = authority.directory().join(name);
        fs::write(&path, lines).unwrap();
        json!({ "ticket_key_file": path })
    };
    let one = edge_with(&a, &authority, &file("one", &same)).await;
    let both = format!("# newest first\n{other}\n\n{same}\n");
    let two = edge_with(&a, &authority, &file("two", &both)).await;
    let strange = edge_with(&a, &authority, &file("strange", &other)).await;
    let alone = edge_with(&a, &authority, &json!({})).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let session_of_one = async || {
            let config = authority.client_with_version(version);
            assert!(!visit(&one, &config).await);
            config
        };
        assert!(visit(&two, &session_of_one().await).await, "{version:?}");
        assert!(
            !visit(&strange, &session_of_one().await).await,
            "{version:?}"
        );
        assert!(!visit(&alone, &session_of_one().await).await, "{version:?}");
    }
}
