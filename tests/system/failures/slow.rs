//! Endpoints that answer slowly, or not at all any more.

use std::time::Duration;

use portcullis_testkit::measure::percentile;
use portcullis_testkit::{Behavior, Endpoint};
use serde_json::json;

use super::{PACE, before, three};
use crate::harness::load::{Ask, Load, Shot, failures};
use crate::native::Setup;

/// Long beside whatever a busy machine adds to an answer.
const PAUSE: Duration = Duration::from_millis(50);
/// Interval times fall and the time-out of [`super::quick_check`], with its jitter of 15 %.
const DETECTED_WITHIN: Duration = Duration::from_millis(500 * 2 * 115 / 100 + 250);

/// How often a request that waits asks whether its endpoint is still there.
const LOOKED_FOR_EVERY: Duration = Duration::from_millis(200);

fn latencies_ms<'a>(shots: impl IntoIterator<Item = &'a Shot>) -> Vec<f64> {
    let ms = |shot: &Shot| shot.latency.as_secs_f64() * 1_000.0;
    shots.into_iter().map(ms).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alone_nobody_waits_for_a_stopped_endpoint_once_it_is_detected() {
    let endpoints = three(PAUSE).await;
    let edge = before(&endpoints).start().await;
    let load = Load::start(edge.http(), PACE, vec![Ask::get("/")]);
    load.wait_for(200).await;
    let stopped = load.elapsed();
    // Its kernel still accepts connections.
    endpoints[1].stop();
    load.wait_for(600).await;
    let shots = load.finish().await;

    assert!(failures(&shots).is_empty(), "{:?}", failures(&shots));
    let detected = stopped + DETECTED_WITHIN;
    let is_inside = |shot: &&Shot| {
        let end = shot.due + shot.latency;
        end >= stopped && shot.due <= detected
    };
    let (inside, outside): (Vec<&Shot>, Vec<&Shot>) = shots.iter().partition(is_inside);
    let latest = inside.iter().map(|shot| shot.due + shot.latency).max();
    assert!(
        latest.unwrap() < detected + LOOKED_FOR_EVERY + 4 * PAUSE,
        "those that waited were answered elsewhere once it was detected: {latest:?}"
    );
    let mut outside = latencies_ms(outside);
    let median = percentile(&mut outside, 50.0).unwrap();
    let slow = outside.iter().filter(|ms| **ms > 2.0 * median).count();
    assert!(outside.len() > 400);
    assert!(
        slow * 100 <= outside.len(),
        "{slow} of {} are slower than twice the median of {median} ms",
        outside.len()
    );
}

/// The 99th percentile of a load on three endpoints of which one is ten times slower.
async fn p99_ms(balance: &str) -> f64 {
    let mut endpoints = Vec::new();
    for (name, pause) in [("a", 20), ("b", 20), ("slow", 200)] {
        let pause = Duration::from_millis(pause);
        endpoints.push(Endpoint::with(name, Behavior::Slow(pause)).await);
    }
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let edge = Setup::new(&all)
        .set("clusters.main.balance", json!(balance))
        .start()
        .await;
    let load = Load::start(edge.http(), PACE, vec![Ask::get("/")]);
    load.wait_for(1_000).await;
    let shots = load.finish().await;
    assert!(failures(&shots).is_empty(), "{:?}", failures(&shots));
    percentile(&mut latencies_ms(&shots), 99.0).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alone_peak_ewma_halves_the_99th_percentile_beside_a_slow_endpoint() {
    let (in_turn, by_latency) = (p99_ms("round_robin").await, p99_ms("peak_ewma").await);
    assert!(
        2.0 * by_latency <= in_turn,
        "p99 is {by_latency} ms, {in_turn} ms with round robin"
    );
}
