//! Limits of requests in flight, and the queue of those who wait for a place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_testkit::client::Response;
use portcullis_testkit::{Behavior, Connection, Endpoint, Step, wait_until};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::Setup;
use crate::harness::Edge;

/// An endpoint that answers one request for each permit.
async fn gated() -> (Endpoint, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let steps = vec![
        Step::Receive,
        Step::Await(Arc::clone(&gate)),
        Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()),
    ];
    let endpoint = Endpoint::with("gated", Behavior::Script(steps)).await;
    (endpoint, gate)
}

fn narrow(endpoint: &Endpoint, queue: Value) -> Setup {
    Setup::new(&[endpoint])
        .set("clusters.main.max_requests", json!(1))
        .set("clusters.main.queue", queue)
}

fn asking(edge: &Edge, path: &str) -> JoinHandle<Response> {
    let (address, path) = (edge.http(), path.to_owned());
    tokio::spawn(async move {
        let mut client = Connection::open(address).await.unwrap();
        client.get(&path).await.unwrap()
    })
}

async fn wait_for_queue(edge: &Edge, length: u32) {
    edge.wait_for_metric("portcullis_edge_queue_length", &[], length.into())
        .await;
}

async fn wait_for_requests(endpoint: &Endpoint, count: usize) {
    wait_until(&format!("{count} requests at the endpoint"), async || {
        (endpoint.requests() == count).then_some(())
    })
    .await;
}

/// Seconds in `Retry-After` of a refusal, which must be a 503.
fn retry_after(response: &Response) -> u64 {
    assert_eq!(response.status, 503, "{}", response.text());
    response.field("retry-after").unwrap().parse().unwrap()
}

#[tokio::test]
async fn requests_wait_for_a_place_in_the_order_they_came() {
    let (endpoint, gate) = gated().await;
    let edge = narrow(&endpoint, json!({ "timeout": "20s" })).start().await;
    let mut waiting = Vec::new();
    for position in 0..4 {
        waiting.push(asking(&edge, &format!("/{position}")));
        // One is served, the others wait.
        wait_for_queue(&edge, position).await;
        wait_for_requests(&endpoint, 1).await;
    }
    for (position, request) in waiting.into_iter().enumerate() {
        gate.add_permits(1);
        assert_eq!(request.await.unwrap().status, 200);
        if position < 3 {
            wait_for_requests(&endpoint, position + 2).await;
        }
    }
    let targets: Vec<_> = endpoint
        .received()
        .into_iter()
        .map(|one| one.target)
        .collect();
    assert_eq!(targets, ["/0", "/1", "/2", "/3"]);
    assert_eq!(endpoint.in_flight_max(), 1);
    let served = [("result", "served")];
    edge.wait_for_metric("portcullis_edge_queue_total", &served, 3.0)
        .await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_when_to_come_back() {
    let (endpoint, gate) = gated().await;
    let queue = json!({ "length": 2, "timeout": "20s" });
    let edge = narrow(&endpoint, queue).start().await;
    let _served = asking(&edge, "/served");
    wait_for_requests(&endpoint, 1).await;
    let _waiting = [asking(&edge, "/1"), asking(&edge, "/2")];
    wait_for_queue(&edge, 2).await;
    let began = Instant::now();
    let refused = edge.get("/refused").await;
    assert!((1..=20).contains(&retry_after(&refused)));
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "it was told at once"
    );
    assert_eq!(
        edge.log_of("/refused").await["outcome"],
        "refused_queue_full"
    );
    gate.add_permits(3);
    edge.wait_for_outcome("served", 3).await;
}

#[tokio::test]
async fn who_waits_too_long_gets_503() {
    let (endpoint, gate) = gated().await;
    let edge = narrow(&endpoint, json!({ "timeout": "300ms" }))
        .start()
        .await;
    let served = asking(&edge, "/served");
    wait_for_requests(&endpoint, 1).await;
    let began = Instant::now();
    let refused = edge.get("/late").await;
    assert_eq!(retry_after(&refused), 1);
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "by default it would be 5 s"
    );
    let line = edge.log_of("/late").await;
    assert_eq!(line["outcome"], "refused_queue_timeout");
    wait_for_queue(&edge, 0).await;
    gate.add_permits(1);
    assert_eq!(served.await.unwrap().status, 200);
    assert_eq!(endpoint.requests(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_makes_room() {
    let (endpoint, gate) = gated().await;
    let queue = json!({ "length": 1, "timeout": "20s" });
    let edge = narrow(&endpoint, queue).start().await;
    let served = asking(&edge, "/served");
    wait_for_requests(&endpoint, 1).await;
    let mut leaving = edge.connect().await;
    leaving
        .send(b"GET /leaving HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    wait_for_queue(&edge, 1).await;
    drop(leaving);
    wait_for_queue(&edge, 0).await;
    let waiting = asking(&edge, "/waiting");
    wait_for_queue(&edge, 1).await;
    gate.add_permits(2);
    for request in [served, waiting] {
        assert_eq!(request.await.unwrap().status, 200);
    }
    edge.wait_for_outcome("client_gone", 1).await;
    assert_eq!(endpoint.requests(), 2);
    edge.expect_nothing_left().await;
}

#[tokio::test]
async fn a_client_that_sent_ahead_and_left_makes_room_too() {
    let (endpoint, gate) = gated().await;
    let edge = narrow(&endpoint, json!({ "timeout": "20s" })).start().await;
    let served = asking(&edge, "/served");
    wait_for_requests(&endpoint, 1).await;
    let mut leaving = edge.connect().await;
    leaving
        .send(b"POST /leaving HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nsome")
        .await
        .unwrap();
    wait_for_queue(&edge, 1).await;
    let began = Instant::now();
    drop(leaving);
    wait_for_queue(&edge, 0).await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "before its deadline"
    );
    gate.add_permits(1);
    assert_eq!(served.await.unwrap().status, 200);
    edge.wait_for_outcome("client_gone", 1).await;
    assert_eq!(endpoint.requests(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_while_its_repetition_is_put_off_is_forgotten_at_once() {
    let busy = "HTTP/1.1 503 Busy\r\nretry-after: 20\r\ncontent-length: 0\r\n\r\n";
    let endpoint = Endpoint::with("a", Behavior::raw(busy)).await;
    let edge = Setup::new(&[&endpoint])
        .set("clusters.main.retries", json!({ "max_backoff": "30s" }))
        .set("clusters.main.ejection", json!("off"))
        .start()
        .await;
    let mut leaving = edge.connect().await;
    leaving
        .send(b"GET /leaving HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    wait_for_requests(&endpoint, 1).await;
    edge.wait_for_metric("portcullis_edge_endpoint_failures_total", &[], 1.0)
        .await;
    let began = Instant::now();
    drop(leaving);
    edge.wait_for_outcome("client_gone", 1).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(endpoint.requests(), 1);
}

/// One endpoint that fails everything and one with a single place, taken by a request that waits
/// there for a permit.
async fn half_broken(timeout: &str) -> ([Endpoint; 2], Edge, Arc<Semaphore>, JoinHandle<Response>) {
    let bad = Endpoint::with("bad", Behavior::ResetBeforeAnswer).await;
    let (endpoint, gate) = gated().await;
    let endpoints = json!([
        { "address": bad.address().to_string() },
        { "address": endpoint.address().to_string(), "max_requests": 1 },
    ]);
    let edge = Setup::new(&[])
        .set("clusters.main.endpoints", endpoints)
        .set("clusters.main.balance", json!("round_robin"))
        .set("clusters.main.ejection", json!("off"))
        .set("clusters.main.queue", json!({ "timeout": timeout }))
        .start()
        .await;
    let served = asking(&edge, "/served");
    wait_for_requests(&endpoint, 1).await;
    ([bad, endpoint], edge, gate, served)
}

#[tokio::test]
async fn a_repetition_waits_for_the_endpoint_that_it_has_not_tried() {
    let (_endpoints, edge, gate, served) = half_broken("20s").await;
    let repeated = asking(&edge, "/repeated");
    wait_for_queue(&edge, 1).await;
    gate.add_permits(2);
    for request in [served, repeated] {
        assert_eq!(request.await.unwrap().status, 200);
    }
    assert_eq!(edge.log_of("/repeated").await["attempts"], 2);
}

#[tokio::test]
async fn a_repetition_that_waits_too_long_gets_503() {
    let (_endpoints, edge, gate, served) = half_broken("300ms").await;
    assert_eq!(retry_after(&edge.get("/repeated").await), 1);
    let line = edge.log_of("/repeated").await;
    assert_eq!(line["outcome"], "refused_queue_timeout");
    assert_eq!(line["attempts"], 1);
    gate.add_permits(1);
    assert_eq!(served.await.unwrap().status, 200);
}

#[tokio::test]
async fn without_a_queue_nobody_waits() {
    let (endpoint, gate) = gated().await;
    let edge = narrow(&endpoint, json!("off")).start().await;
    let served = asking(&edge, "/served");
    wait_for_requests(&endpoint, 1).await;
    assert_eq!(retry_after(&edge.get("/refused").await), 1);
    gate.add_permits(1);
    assert_eq!(served.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_full_endpoint_is_passed_over_and_may_have_a_limit_of_its_own() {
    let ((narrow, narrow_gate), (wide, wide_gate)) = (gated().await, gated().await);
    let endpoints = json!([
        { "address": narrow.address().to_string(), "max_requests": 1 },
        { "address": wide.address().to_string() },
    ]);
    let edge = Setup::new(&[])
        .set("clusters.main.endpoints", endpoints)
        .set("clusters.main.max_requests", json!(3))
        .start()
        .await;
    let requests: Vec<_> = (0..4).map(|_| asking(&edge, "/")).collect();
    wait_for_requests(&wide, 3).await;
    wait_for_requests(&narrow, 1).await;
    narrow_gate.add_permits(1);
    wide_gate.add_permits(3);
    for request in requests {
        assert_eq!(request.await.unwrap().status, 200);
    }
    assert_eq!((narrow.in_flight_max(), wide.in_flight_max()), (1, 3));
}

#[tokio::test]
async fn who_waits_is_served_across_a_reload_and_the_limit_holds() {
    let (endpoint, gate) = gated().await;
    let edge = narrow(&endpoint, json!({ "timeout": "20s" })).start().await;
    let mut waiting = vec![asking(&edge, "/served")];
    wait_for_requests(&endpoint, 1).await;
    waiting.push(asking(&edge, "/before"));
    wait_for_queue(&edge, 1).await;
    let mut next = edge.config();
    next["routes"][0]["response_headers"] = json!({ "set": { "x-reload": "1" } });
    edge.reload(&next).await;
    waiting.push(asking(&edge, "/after"));
    wait_for_queue(&edge, 2).await;
    gate.add_permits(3);
    for request in waiting {
        assert_eq!(request.await.unwrap().status, 200);
    }
    assert_eq!(endpoint.requests(), 3);
    assert_eq!(endpoint.in_flight_max(), 1, "both generations count as one");
}
