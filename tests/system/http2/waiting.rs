//! Streams that wait: in the queue, between attempts, and for an endpoint that falls silent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_testkit::client::Http2Connection;
use portcullis_testkit::{Authority, Behavior, Endpoint, Health, Step, wait_until};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::open;
use crate::harness::Edge;
use crate::native::Setup;

/// An edge with HTTP/2 on its second listener.
async fn edge(endpoints: &[&Endpoint], authority: &Authority, cluster: Value) -> Edge {
    let identity = authority.issue("app", &["app.example"]);
    let certificates = json!([{ "cert": identity.cert, "key": identity.key }]);
    let tls = json!({ "tls": { "certificates": certificates } });
    let mut setup = Setup::new(endpoints).listener("tls", &tls);
    for (key, value) in cluster.as_object().unwrap() {
        setup = setup.set(&format!("clusters.main.{key}"), value.clone());
    }
    setup.start().await
}

fn asking(client: &Http2Connection, path: &'static str) -> JoinHandle<u16> {
    let client = client.clone();
    tokio::spawn(async move { client.get(path).await.unwrap().status })
}

async fn wait_for_queue(edge: &Edge, length: u32) {
    edge.wait_for_metric("portcullis_edge_queue_length", &[], length.into())
        .await;
}

#[tokio::test]
async fn a_stream_that_is_reset_in_the_queue_makes_room_and_harms_no_other() {
    let (gate, authority) = (Arc::new(Semaphore::new(0)), Authority::new());
    let steps = vec![
        Step::Receive,
        Step::Await(Arc::clone(&gate)),
        Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()),
    ];
    let endpoint = Endpoint::with("gated", Behavior::Script(steps)).await;
    let narrow = json!({ "max_requests": 1, "queue": { "length": 2, "timeout": "20s" } });
    let edge = edge(&[&endpoint], &authority, narrow).await;
    let client = open(&edge, &authority).await;
    let other_client = open(&edge, &authority).await;
    let served = asking(&client, "/served");
    wait_until("the first at the endpoint", async || {
        (endpoint.requests() == 1).then_some(())
    })
    .await;
    let reset = asking(&client, "/reset");
    wait_for_queue(&edge, 1).await;
    let closed = asking(&other_client, "/closed");
    wait_for_queue(&edge, 2).await;
    let began = Instant::now();
    reset.abort();
    wait_for_queue(&edge, 1).await;
    closed.abort();
    drop(other_client);
    wait_for_queue(&edge, 0).await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "before their deadline"
    );
    let waiting = asking(&client, "/waiting");
    wait_for_queue(&edge, 1).await;
    gate.add_permits(2);
    for request in [served, waiting] {
        assert_eq!(request.await.unwrap(), 200);
    }
    for path in ["/reset", "/closed"] {
        assert_eq!(edge.log_of(path).await["outcome"], "client_gone");
    }
    assert_eq!(endpoint.requests(), 2);
}

#[tokio::test]
async fn a_stream_that_is_reset_between_attempts_is_forgotten_at_once() {
    let authority = Authority::new();
    let busy = "HTTP/1.1 503 Busy\r\nretry-after: 20\r\ncontent-length: 0\r\n\r\n";
    let endpoint = Endpoint::with("a", Behavior::raw(busy)).await;
    let patient = json!({ "retries": { "max_backoff": "30s" }, "ejection": "off" });
    let edge = edge(&[&endpoint], &authority, patient).await;
    let client = open(&edge, &authority).await;
    let reset = asking(&client, "/reset");
    edge.wait_for_metric("portcullis_edge_endpoint_failures_total", &[], 1.0)
        .await;
    let began = Instant::now();
    reset.abort();
    edge.wait_for_outcome("client_gone", 1).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(endpoint.requests(), 1);
    assert!(!client.is_closed());
}

#[tokio::test]
async fn streams_that_wait_for_an_endpoint_that_goes_out_are_answered_by_another() {
    let (silent, good) = (
        Endpoint::start("silent").await,
        Endpoint::start("good").await,
    );
    let authority = Authority::new();
    let health = json!({ "interval": "200ms", "timeout": "200ms", "rise": 1, "fall": 2 });
    let cluster = json!({ "health": health, "timeouts": { "read": "30s" } });
    let edge = edge(&[&silent, &good], &authority, cluster).await;
    wait_until("both endpoints to be eligible", async || {
        let healthy = edge.metric("portcullis_edge_endpoint_healthy", &[]).await;
        (healthy == 2.0).then_some(())
    })
    .await;
    silent.behave(Behavior::Hang);
    let client = open(&edge, &authority).await;
    let reads: Vec<_> = (0..6).map(|_| asking(&client, "/")).collect();
    wait_until("some to wait", async || {
        (silent.in_flight() == 3).then_some(())
    })
    .await;
    let began = Instant::now();
    silent.set_health(Health::Hang);
    for read in reads {
        assert_eq!(read.await.unwrap(), 200);
    }
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "before the time-out"
    );
    let retried = [("reason", "endpoint_out")];
    edge.wait_for_metric("portcullis_edge_retries_total", &retried, 3.0)
        .await;
    assert_eq!(good.requests(), 6);
}
