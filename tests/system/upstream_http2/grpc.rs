//! gRPC from end to end over HTTP/2: calls of each kind, their trailers both ways, and how they end early.

use portcullis_testkit::client::{Call, Calls};
use portcullis_testkit::h2_endpoint::{H2Behavior, H2Endpoint};
use portcullis_testkit::wait_until;
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;

const FIELDS: [(&str, &str); 3] = [
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    ("grpc-timeout", "5S"),
];

async fn edge_to(endpoint: &H2Endpoint, timeouts: Value) -> Edge {
    Setup::for_h2c(endpoint.address())
        .set("clusters.main.timeouts", timeouts)
        .set("listeners.0.http2.cleartext", json!(true))
        .start()
        .await
}

async fn call(calls: &Calls) -> Call {
    calls.start("/shop.Orders/Get", &FIELDS).await.unwrap()
}

async fn read(call: &mut Call, bytes: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < bytes {
        read.extend(call.next().await.unwrap().expect("more"));
    }
    read
}

#[tokio::test]
async fn unary_calls_come_back_with_the_status_in_their_trailers() {
    let a = H2Endpoint::start(H2Behavior::Grpc).await;
    let edge = edge_to(&a, json!({})).await;
    let calls = Calls::open(edge.http()).await.unwrap();
    for _ in 0..3 {
        let mut call = call(&calls).await;
        call.send(b"\0\0\0\0\x02hi").await.unwrap();
        call.end().unwrap();
        let (status, head) = call.head().await.unwrap();
        assert_eq!(status, 200);
        assert_eq!(head["content-type"], FIELDS[0].1);
        assert_eq!(read(&mut call, 7).await, b"\0\0\0\0\x02hi");
        assert_eq!(call.next().await.unwrap(), None);
        assert_eq!(call.trailers().await.unwrap()["grpc-status"], "0");
    }
    a.behave(H2Behavior::GrpcFailure);
    let mut failed = call(&calls).await;
    failed.end().unwrap();
    let (status, head) = failed.head().await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(head["grpc-status"], "5");
    assert!(failed.is_over(), "a head that is all there is");
    assert_eq!(a.connections(), 1);
}

#[tokio::test]
async fn streams_run_both_ways_at_once() {
    let a = H2Endpoint::start(H2Behavior::EchoStream).await;
    let edge = edge_to(&a, json!({})).await;
    let calls = Calls::open(edge.http()).await.unwrap();
    let (mut one, mut other) = (call(&calls).await, call(&calls).await);
    assert_eq!(one.head().await.unwrap().0, 200, "before anything is sent");
    assert_eq!(other.head().await.unwrap().0, 200);
    for message in ["one", "two", "three"] {
        for call in [&mut one, &mut other] {
            call.send(message.as_bytes()).await.unwrap();
            assert_eq!(read(call, message.len()).await, message.as_bytes());
        }
    }
    for call in [&mut one, &mut other] {
        call.end().unwrap();
        assert_eq!(call.next().await.unwrap(), None);
        assert_eq!(call.trailers().await.unwrap()["grpc-status"], "0");
    }
    assert_eq!((a.requests(), a.connections()), (2, 1));
}

#[tokio::test]
async fn a_silent_endpoint_is_deadline_exceeded_and_is_told() {
    let a = H2Endpoint::start(H2Behavior::Wait).await;
    let edge = edge_to(&a, json!({ "read": "300ms" })).await;
    let calls = Calls::open(edge.http()).await.unwrap();
    let mut call = call(&calls).await;
    call.end().unwrap();
    let (status, head) = call.head().await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(head["grpc-status"], "4");
    // As clients want it: in a head that is all there is.
    assert!(call.is_over());
    edge.wait_for_outcome("failed_endpoint_timeout", 1).await;
    wait_until("the endpoint hears of it", async || {
        (a.cancelled() == 1 && a.in_flight() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_call_that_its_client_cancels_is_cancelled_at_the_endpoint() {
    let a = H2Endpoint::start(H2Behavior::Wait).await;
    let edge = edge_to(&a, json!({})).await;
    let calls = Calls::open(edge.http()).await.unwrap();
    let (mut cancelled, mut stays) = (call(&calls).await, call(&calls).await);
    stays.end().unwrap();
    wait_until("both are there", async || {
        (a.in_flight() == 2).then_some(())
    })
    .await;
    cancelled.cancel();
    wait_until("one is cancelled", async || {
        (a.cancelled() == 1 && a.in_flight() == 1).then_some(())
    })
    .await;
    a.release();
    assert_eq!(stays.head().await.unwrap().0, 200);
    edge.wait_for_outcome("client_gone", 1).await;
}
