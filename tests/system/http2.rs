//! HTTP/2 at the edge: requests side by side under the same rules, and polite endings.

mod bodies;
mod cleartext;
mod conformance;
mod floods;
mod frames;
mod grpc;
mod policies;
mod routes;
mod secured;
mod smuggling;
mod waiting;

use std::time::Duration;

use nix::sys::signal::Signal;
use portcullis_testkit::client::Http2Connection;
use portcullis_testkit::{Authority, Behavior, Endpoint, wait_until};
use serde_json::{Value, json};

use crate::harness::Edge;
use crate::native::Setup;

async fn tls_edge(endpoint: &Endpoint, authority: &Authority, extra: &Value) -> Edge {
    let identity = authority.issue("app", &["app.example"]);
    let certificates = json!([{ "cert": identity.cert, "key": identity.key }]);
    let mut keys = json!({ "tls": { "certificates": certificates } });
    for (key, value) in extra.as_object().unwrap() {
        keys[key] = value.clone();
    }
    Setup::new(&[endpoint]).listener("tls", &keys).start().await
}

async fn open(edge: &Edge, authority: &Authority) -> Http2Connection {
    Http2Connection::open(edge.listener(1), "app.example", authority.client())
        .await
        .unwrap()
}

#[tokio::test]
async fn http2_is_agreed_on_and_carries_requests_side_by_side() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    a.behave(Behavior::Slow(Duration::from_millis(100)));
    let edge = tls_edge(&a, &authority, &json!({})).await;
    let client = open(&edge, &authority).await;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let path = format!("/{number}");
                let body = format!("body {number}");
                let response = client
                    .request("PUT", &path, &[], body.as_bytes())
                    .await
                    .unwrap();
                assert_eq!(
                    (response.status, &response.json()["path"]),
                    (200, &json!(path))
                );
                assert_eq!(response.json()["body"], body);
                assert_eq!(response.echoed("host"), ["app.example"]);
                assert_eq!(response.echoed("x-forwarded-proto"), ["https"]);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let lines = edge.wait_for_log(20, |_| true).await;
    for line in lines {
        assert_eq!(
            (&line["protocol"], &line["outcome"]),
            (&json!("HTTP/2"), &json!("served"))
        );
        assert_eq!(line["server_name"], "app.example");
        assert!(
            line["tls_version"].as_str().unwrap().contains("1.3"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn http2_requests_meet_the_same_rules() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let extra =
        json!({ "limits": { "body_bytes": "1KiB", "header_count": 40, "header_bytes": "4KiB" } });
    let edge = tls_edge(&a, &authority, &extra).await;
    let client = open(&edge, &authority).await;
    let forged = [("x-forwarded-for", "6.6.6.6"), ("x-auth-subject", "root")];
    let response = client
        .request("GET", "/forged", &forged, b"")
        .await
        .unwrap();
    assert_eq!(response.echoed("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(response.echoed("x-auth-subject"), [] as [&str; 0]);
    let response = client
        .request("POST", "/big", &[], &[b'x'; 4_096])
        .await
        .unwrap();
    assert_eq!(response.status, 413);
    assert_eq!(
        edge.log_of("/big").await["outcome"],
        "client_body_too_large"
    );
    let names: Vec<String> = (0..60).map(|n| format!("x-{n}")).collect();
    let fields: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "1")).collect();
    // 431 or a stream error: what matters is that the endpoint never sees it.
    if let Ok(response) = open(&edge, &authority)
        .await
        .request("GET", "/many", &fields, b"")
        .await
    {
        assert_eq!(response.status, 431);
    }
    assert!(a.received().iter().all(|request| request.target != "/many"));
}

#[tokio::test]
async fn http2_header_lists_beyond_the_limit_get_431_by_their_own_name() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let limits = json!({ "limits": { "header_bytes": "4KiB" } });
    let edge = tls_edge(&a, &authority, &limits).await;
    let client = open(&edge, &authority).await;
    let long = "x".repeat(5_000);
    for number in 1..=3 {
        let fields = [("x-long", long.as_str())];
        let response = client.request("GET", "/big", &fields, b"").await.unwrap();
        assert_eq!(response.status, 431);
        edge.wait_for_outcome("client_head_too_large", number).await;
        assert_eq!(client.get("/small").await.unwrap().status, 200);
    }
    drop(client);
    let lines = edge.wait_for_log(6, |_| true).await;
    let refused = lines.iter().filter(|line| line["status"] == 431).count();
    assert_eq!((refused, a.requests()), (3, 3));
    let gone = "portcullis_edge_connections_open";
    edge.wait_for_metric(gone, &[("listener", "tls")], 0.0)
        .await;
    assert_eq!(edge.log().len(), 6, "no line is of the same request");
}

#[tokio::test]
async fn an_http2_connection_that_served_enough_is_closed_politely() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    for limits in [
        json!({ "requests_per_connection": 5 }),
        json!({ "connection_age": "1s" }),
    ] {
        let edge = tls_edge(&a, &authority, &json!({ "limits": limits })).await;
        let client = open(&edge, &authority).await;
        wait_until("the farewell", async || {
            if client.is_closed() {
                return Some(());
            }
            // A request that crosses the farewell fails before it is processed.
            if let Ok(response) = client.get("/").await {
                assert_eq!(response.status, 200);
            }
            None
        })
        .await;
        assert_eq!(
            open(&edge, &authority).await.get("/").await.unwrap().status,
            200
        );
        let lines = edge.log();
        assert!(
            lines.iter().all(|line| line["outcome"] == "served"),
            "{lines:#?}"
        );
    }
}

#[tokio::test]
async fn http2_requests_in_flight_finish_while_the_edge_drains() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    a.behave(Behavior::Slow(Duration::from_secs(1)));
    let mut edge = tls_edge(&a, &authority, &json!({})).await;
    let client = open(&edge, &authority).await;
    let requests: Vec<_> = (0..3)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.get("/slow").await.unwrap().status })
        })
        .collect();
    wait_until("the requests to arrive", async || {
        (a.in_flight() == 3).then_some(())
    })
    .await;
    edge.process.signal(Signal::SIGTERM);
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert_eq!(
        edge.process.exit_code().await,
        0,
        "{}",
        edge.process.output()
    );
    wait_until("the connection to end", async || {
        client.is_closed().then_some(())
    })
    .await;
}
