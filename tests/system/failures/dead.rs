//! Endpoints, or what they all depend on, that are gone.

use std::time::{Duration, Instant};

use portcullis_testkit::wait_until;

use super::{PACE, before, three};
use crate::harness::load::{Ask, Load, failures};

const PAUSE: Duration = Duration::from_millis(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_dead_leave_all_traffic_to_the_third() {
    let mut endpoints = three(PAUSE).await;
    let edge = before(&endpoints).start().await;
    let load = Load::start(edge.http(), PACE, vec![Ask::get("/")]);
    load.wait_for(100).await;
    endpoints[0].kill();
    endpoints[2].kill();
    for dead in [&endpoints[0], &endpoints[2]] {
        let address = dead.address().to_string();
        edge.wait_for_metric(
            "portcullis_edge_endpoint_healthy",
            &[("endpoint", &address)],
            0.0,
        )
        .await;
    }
    let detected = load.elapsed();
    load.wait_for(200).await;
    let shots = load.finish().await;

    let late: Vec<_> = shots
        .into_iter()
        .filter(|shot| shot.due > detected)
        .collect();
    assert!(failures(&late).is_empty(), "{:?}", failures(&late));
    let third = endpoints[1].address().to_string();
    let strays: Vec<_> = late
        .iter()
        .filter(|shot| shot.answer != Ok((200, third.clone())))
        .collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_dead_and_back_serve_again_within_one_fast_interval() {
    let mut endpoints = three(PAUSE).await;
    let edge = before(&endpoints)
        .set("clusters.main.health.interval", "5s".into())
        .set("clusters.main.health.timeout", "500ms".into())
        .set("clusters.main.health.fast_interval", "1s".into())
        .set("clusters.main.health.rise", 2.into())
        .start()
        .await;
    for endpoint in &mut endpoints {
        endpoint.kill();
    }
    wait_until("the edge to notice", async || {
        (edge.get("/").await.status >= 502).then_some(())
    })
    .await;
    edge.wait_for_metric("portcullis_edge_endpoint_healthy", &[], 0.0)
        .await;
    for endpoint in &mut endpoints {
        endpoint.restart().await;
    }
    let back = Instant::now();
    wait_until("the edge to serve", async || {
        (edge.get("/").await.status == 200).then_some(())
    })
    .await;
    let away = back.elapsed();
    // The fast interval with its jitter of 15 %, and what an answer takes on a busy machine.
    assert!(away < Duration::from_millis(1_150 + 850), "{away:?}");
}
