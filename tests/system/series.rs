//! Metrics of what the configuration does not have any more: gone when nothing counts there, while others
//! count on.

use portcullis_testkit::{Connection, Endpoint, client, wait_until};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;

const REQUESTS: &str = "portcullis_edge_requests_total";
const ATTEMPTS: &str = "portcullis_edge_endpoint_requests_total";
const UPGRADE: [(&str, &str); 2] = [("Connection", "Upgrade"), ("Upgrade", "websocket")];

/// Whether there is a series with this label.
async fn has(edge: &Edge, label: &str) -> bool {
    let metrics = client::get(edge.admin(), "/metrics").await.unwrap();
    metrics.text().contains(label)
}

async fn wait_until_gone(edge: &Edge, labels: &[&str]) {
    for label in labels {
        wait_until(&format!("no series of {label}"), async || {
            (!has(edge, label).await).then_some(())
        })
        .await;
    }
}

/// An edge with a cluster, a route, a listener, a limit and an endpoint too many, and the
/// configuration without them.
async fn edge(a: &Endpoint, b: &Endpoint, c: &Endpoint) -> (Edge, Value) {
    let setup = Setup::new(&[a]);
    let mut without = setup.config().clone();
    let edge = setup
        .cluster("spare", &[c])
        .set("clusters.main.endpoints.1", json!(b.address().to_string()))
        .set("rate_limits.rare", json!({ "rate": "1000/s" }))
        .set(
            "routes.1",
            json!({ "name": "spare", "path": "/spare", "cluster": "spare", "rate_limits": ["rare"] }),
        )
        .listener("second", &json!({}))
        .start()
        .await;
    // The port was chosen before.
    without["listeners"][0] = edge.config()["listeners"][0].clone();
    (edge, without)
}

async fn total(edge: &Edge) -> f64 {
    let path = "/api/v1/load-balancer/metrics";
    let figures = client::get(edge.admin(), path).await.unwrap().json();
    figures["requests"]["total"].as_f64().unwrap()
}

#[tokio::test]
async fn series_of_what_is_gone_go_and_all_others_count_on() {
    let (a, b, c) = (
        Endpoint::start("a").await,
        Endpoint::start("b").await,
        Endpoint::start("c").await,
    );
    let (edge, without) = edge(&a, &b, &c).await;
    for path in ["/", "/", "/spare"] {
        assert_eq!(edge.get(path).await.status, 200);
    }
    let there = client::get(edge.listener(1), "/").await.unwrap();
    assert_eq!(there.status, 200);
    let (of_a, of_b) = (a.address().to_string(), b.address().to_string());
    let gone = [
        "cluster=\"spare\"".to_owned(),
        "route=\"spare\"".to_owned(),
        "listener=\"second\"".to_owned(),
        "limit=\"rare\"".to_owned(),
        format!("endpoint=\"{of_b}\""),
    ];
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    for label in &gone {
        assert!(has(&edge, label).await, "{label}");
    }
    let stays = [("listener", "http"), ("route", "all")];
    let (requests, attempts) = (
        edge.metric(REQUESTS, &stays).await,
        edge.metric(ATTEMPTS, &[("endpoint", &of_a)]).await,
    );
    let all = total(&edge).await;
    edge.reload(&without).await;
    wait_until_gone(&edge, &gone).await;
    assert_eq!(edge.metric(REQUESTS, &stays).await, requests);
    assert_eq!(
        edge.metric(ATTEMPTS, &[("endpoint", &of_a)]).await,
        attempts
    );
    assert_eq!(total(&edge).await, all, "what was counted was counted");
    // What comes back counts from its beginning, and is seen.
    edge.reload(&edge.config()).await;
    let mut more = 0.0;
    let mut by_b = 0.0;
    // Who comes back begins with a part of its share.
    while by_b < 2.0 && more < 200.0 {
        more += 1.0;
        by_b += f64::from(u8::from(edge.get("/").await.endpoint() == "b"));
    }
    assert!(by_b > 0.0, "it takes its share");
    assert_eq!(edge.get("/spare").await.status, 200);
    edge.wait_for_metric(ATTEMPTS, &[("endpoint", &of_b)], by_b)
        .await;
    edge.wait_for_metric(REQUESTS, &[("route", "spare")], 1.0)
        .await;
    edge.wait_for_metric(REQUESTS, &stays, requests + more)
        .await;
}

#[tokio::test]
async fn who_is_still_connected_is_still_counted() {
    let (a, b, c) = (
        Endpoint::start("a").await,
        Endpoint::start("b").await,
        Endpoint::start("c").await,
    );
    let (edge, without) = edge(&a, &b, &c).await;
    let mut tunnel = Connection::open(edge.listener(1)).await.unwrap();
    let opened = tunnel.request("GET", "/spare", &UPGRADE, b"").await;
    assert_eq!(opened.unwrap().status, 101);
    let mut first = without.clone();
    first["clusters"]["passing"] = edge.config()["clusters"]["main"].clone();
    edge.reload(&first).await;
    assert!(has(&edge, "cluster=\"passing\"").await);
    edge.reload(&without).await;
    // A look that takes out what may go leaves what is in use.
    wait_until_gone(&edge, &["cluster=\"passing\""]).await;
    let open = [("listener", "second")];
    let connections = "portcullis_edge_connections_open";
    assert_eq!(edge.metric(connections, &open).await, 1.0);
    drop(tunnel);
    let gone = [
        "listener=\"second\"",
        "route=\"spare\"",
        "cluster=\"spare\"",
    ];
    wait_until_gone(&edge, &gone).await;
}
