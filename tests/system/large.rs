//! Bodies far larger than any buffer: they pass whole and the process does not grow with them.

use portcullis_testkit::process::peak_resident_kilobytes;
use portcullis_testkit::{Behavior, Endpoint};
use serde_json::json;

use super::Setup;
use crate::harness::Edge;
use crate::harness::doors::Door;

/// Over TLS less, for the sake of ciphers that are not optimized in tests.
const SIZES: [(Door, usize); 2] = [(Door::Plain, 64 << 20), (Door::Tls, 16 << 20)];

/// More than buffers in the allocator's pages of 2 MB, less than a body.
const GROWTH_KILOBYTES_MAX: u64 = 12 << 10;

fn peak(edge: &Edge) -> u64 {
    peak_resident_kilobytes(edge.process.id()).expect("the edge runs")
}

#[tokio::test]
async fn large_bodies_pass_whole_in_little_memory() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a])
        .set("listeners.0.limits", json!({ "body_bytes": "128MiB" }))
        .start_with_both_doors()
        .await;
    for (door, size) in SIZES {
        let mut client = house.enter(door).await;
        a.behave(Behavior::Bytes(2));
        client.get("/first").await.unwrap();
        let before = peak(&house.edge);
        a.behave(Behavior::Bytes(size));
        let response = client.get("/down").await.unwrap();
        assert_eq!(response.body.len(), size, "{door:?}");
        a.behave(Behavior::Bytes(2));
        let body = (0..=250).collect::<Vec<u8>>().repeat(size / 251);
        let response = client.request("POST", "/up", &[], &body).await.unwrap();
        assert_eq!(response.status, 200, "{door:?}");
        let received = a.received().pop().expect("the request").body;
        assert!(received == body, "{door:?}: {} bytes", received.len());
        let grown = peak(&house.edge).saturating_sub(before);
        assert!(grown < GROWTH_KILOBYTES_MAX, "{door:?}: by {grown} KiB");
    }
}
