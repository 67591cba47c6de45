//! TLS that is passed through unopened: what the log and the metrics say of it.

use portcullis_testkit::{Authority, Connection, Endpoint, TlsOrigin, free_port, wait_until};
use serde_json::json;

use super::certificates;
use crate::harness::open_tls;
use crate::native::Setup;

const CONNECTIONS: &str = "portcullis_edge_passthrough_connections_total";

#[tokio::test]
async fn a_connection_passed_through_leaves_a_line_and_is_counted() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let legacy = TlsOrigin::start(&authority, "legacy.example").await;
    let keys = json!({ "passthrough": [{ "sni": "legacy.example", "cluster": "legacy" }] });
    let endpoint = legacy.address().to_string();
    let edge = Setup::new(&[&a])
        .set("clusters.legacy", json!({ "endpoints": [endpoint] }))
        .listener("tls", &keys)
        .start()
        .await;
    let mut client = open_tls(edge.listener(1), "legacy.example", &authority).await;
    client.send(b"hello").await.unwrap();
    let _ = client.read_some().await.unwrap();
    let open = "portcullis_edge_passthrough_connections_open";
    edge.wait_for_metric(open, &[("cluster", "legacy")], 1.0)
        .await;
    drop(client);
    let labels = [("cluster", "legacy"), ("outcome", "passed_through")];
    edge.wait_for_metric(CONNECTIONS, &labels, 1.0).await;
    edge.wait_for_metric(open, &[("cluster", "legacy")], 0.0)
        .await;
    let line = edge.wait_for_log(1, |_| true).await.remove(0);
    for (key, expected) in [
        ("outcome", json!("passed_through")),
        ("scheme", json!("tls")),
        ("server_name", json!("legacy.example")),
        ("cluster", json!("legacy")),
        ("endpoint", json!(endpoint)),
        ("attempts", json!(1)),
        ("status", json!(null)),
    ] {
        assert_eq!(line[key], expected, "{key}");
    }
    for (key, direction) in [
        ("request_bytes", "to_endpoint"),
        ("response_bytes", "to_client"),
    ] {
        let bytes = line[key].as_f64().unwrap();
        assert!(bytes > 500.0, "a handshake went by: {line}");
        let labels = [("direction", direction)];
        let counted = edge.metric("portcullis_edge_passthrough_bytes_total", &labels);
        assert_eq!(counted.await, bytes, "{key}");
    }
}

#[tokio::test]
async fn without_an_endpoint_the_line_says_why() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let (gone, app) = (free_port(), authority.issue("app", &["app.example"]));
    let keys = json!({
        "tls": { "certificates": certificates(&[&app]) },
        "passthrough": [{ "sni": "legacy.example", "cluster": "legacy" }],
    });
    let edge = Setup::new(&[&a])
        .set(
            "clusters.legacy",
            json!({ "endpoints": [gone.address().to_string()] }),
        )
        .listener("tls", &keys)
        .start()
        .await;
    let client = Connection::open_tls(edge.listener(1), "legacy.example", authority.client());
    assert!(client.await.is_err());
    let line = wait_until("the line", async || edge.log().into_iter().next()).await;
    assert_eq!(line["outcome"], "failed_connect_refused", "{line}");
    assert_eq!(line["server_name"], "legacy.example");
    let labels = [("outcome", "failed_connect_refused")];
    edge.wait_for_metric(CONNECTIONS, &labels, 1.0).await;
}

#[tokio::test]
async fn a_connection_passed_through_outlives_its_listener() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let legacy = TlsOrigin::start(&authority, "legacy.example").await;
    let keys = json!({ "passthrough": [{ "sni": "legacy.example", "cluster": "legacy" }] });
    let endpoint = legacy.address().to_string();
    let edge = Setup::new(&[&a])
        .set("clusters.legacy", json!({ "endpoints": [endpoint] }))
        .listener("tls", &keys)
        .start()
        .await;
    let mut client = open_tls(edge.listener(1), "legacy.example", &authority).await;
    client.send(b"before").await.unwrap();
    assert!(!client.read_some().await.unwrap().is_empty());
    let mut next = edge.config();
    next["listeners"].as_array_mut().unwrap().truncate(1);
    edge.reload(&next).await;
    wait_until("the listener to close", async || {
        Connection::open(edge.listener(1)).await.err()
    })
    .await;
    client.send(b"after").await.unwrap();
    assert!(!client.read_some().await.unwrap().is_empty());
    drop(client);
    let labels = [("cluster", "legacy"), ("outcome", "passed_through")];
    edge.wait_for_metric(CONNECTIONS, &labels, 1.0).await;
}
