//! How requests spread over endpoints, counted at the endpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_testkit::{Behavior, Connection, Endpoint};
use serde_json::json;

use super::Setup;
use crate::harness::Edge;

/// Sends `total` requests over `concurrency` connections and expects 200 for each.
async fn load(edge: &Edge, total: usize, concurrency: usize) {
    let sent = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..concurrency)
        .map(|_| {
            let (address, sent) = (edge.http(), Arc::clone(&sent));
            tokio::spawn(async move {
                let mut client = None;
                while sent.fetch_add(1, Ordering::SeqCst) < total {
                    let mut open = match client.take() {
                        Some(open) => open,
                        None => Connection::open(address).await.unwrap(),
                    };
                    let response = open.get("/").await.unwrap();
                    assert_eq!(response.status, 200);
                    if response.field("connection") != Some("close") {
                        client = Some(open);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn round_robin_spreads_10_000_requests_within_one() {
    let mut endpoints = Vec::new();
    for name in ["a", "b", "c"] {
        endpoints.push(Endpoint::with(name, Behavior::Bytes(2)).await);
    }
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let edge = Setup::new(&all).start().await;
    load(&edge, 10_000, 16).await;
    let counts: Vec<usize> = endpoints.iter().map(Endpoint::requests).collect();
    assert_eq!(
        counts.iter().sum::<usize>(),
        10_000,
        "no request was repeated: {counts:?}"
    );
    let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
    assert!(spread <= 1, "{counts:?}");
}

#[tokio::test]
async fn round_robin_follows_weights() {
    let (heavy, light) = (
        Endpoint::start("heavy").await,
        Endpoint::start("light").await,
    );
    let endpoints = json!([
        { "address": heavy.address().to_string(), "weight": 3 },
        light.address().to_string(),
    ]);
    let edge = Setup::new(&[&heavy])
        .set("clusters.main.endpoints", endpoints)
        .start()
        .await;
    load(&edge, 400, 1).await;
    assert_eq!((heavy.requests(), light.requests()), (300, 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn least_conn_spares_an_endpoint_that_is_ten_times_slower() {
    let pace = Duration::from_millis(20);
    let mut endpoints = Vec::new();
    for (name, pause) in [("a", pace), ("b", pace), ("slow", 10 * pace)] {
        endpoints.push(Endpoint::with(name, Behavior::Slow(pause)).await);
    }
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let edge = Setup::new(&all)
        .set("clusters.main.balance", json!("least_conn"))
        .start()
        .await;
    load(&edge, 3_000, 30).await;
    let counts: Vec<usize> = endpoints.iter().map(Endpoint::requests).collect();
    assert!(
        counts[2] * 100 < counts.iter().sum::<usize>() * 15,
        "{counts:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn least_conn_spreads_evenly_over_equals() {
    let mut endpoints = Vec::new();
    for name in ["a", "b", "c"] {
        endpoints.push(Endpoint::start(name).await);
    }
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let edge = Setup::new(&all)
        .set("clusters.main.balance", json!("least_conn"))
        .start()
        .await;
    load(&edge, 300, 1).await;
    let counts: Vec<usize> = endpoints.iter().map(Endpoint::requests).collect();
    assert!(
        counts.iter().all(|&count| (90..=110).contains(&count)),
        "{counts:?}"
    );
}
