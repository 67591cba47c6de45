//! What becomes of connections on which nothing was asked yet when the edge leaves.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use portcullis_testkit::{Connection, Endpoint, wait_until};
use serde_json::json;

use super::Setup;

/// A little less than a first request has time for.
const SOON: Duration = Duration::from_millis(800);

/// Whether who connected before the edge left, and asked after, got an answer; `None` when the machine
/// took too long for either.
async fn is_answered() -> Option<bool> {
    let a = Endpoint::start("a").await;
    let shutdown = json!({ "delay": "0s", "drain": "20s" });
    let edge = Setup::new(&[&a]).set("shutdown", shutdown).start().await;
    let mut client = edge.connect().await;
    let connected = Instant::now();
    edge.process.signal(Signal::SIGTERM);
    wait_until("the listener to be gone", async || {
        let another = Connection::open(edge.http()).await;
        another.is_err().then_some(())
    })
    .await;
    let answer = client.get("/").await;
    (connected.elapsed() < SOON).then(|| answer.is_ok_and(|answer| answer.status == 200))
}

#[tokio::test]
async fn whoever_has_just_connected_may_still_ask() {
    for _ in 0..10 {
        if let Some(is_answered) = is_answered().await {
            return assert!(is_answered);
        }
    }
    panic!("never within {SOON:?}");
}

#[tokio::test]
async fn whoever_asks_nothing_holds_nobody_up() {
    let a = Endpoint::start("a").await;
    let shutdown = json!({ "delay": "0s", "drain": "5m" });
    let mut edge = Setup::new(&[&a]).set("shutdown", shutdown).start().await;
    let _silent = edge.connect().await;
    edge.process.signal(Signal::SIGTERM);
    assert_eq!(edge.process.exit_code().await, 0);
}
