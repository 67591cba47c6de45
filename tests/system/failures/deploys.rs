//! What an operator does on purpose: restarts, drains, switches, other weights.

use std::time::Duration;

use nix::sys::signal::Signal;
use portcullis_testkit::process::signal_process;
use portcullis_testkit::{Endpoint, Health, client, wait_until};
use serde_json::{Value, json};

use super::{PACE, quick_check};
use crate::harness::Edge;
use crate::harness::load::{Ask, Load, failures};
use crate::harness::up::{INSTANCES, Place, Up};
use crate::native::Setup;

async fn endpoints(names: [&str; 3]) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for name in names {
        endpoints.push(Endpoint::start(name).await);
    }
    endpoints
}

/// GETs, and POSTs that may not be repeated.
fn both_kinds() -> Vec<Ask> {
    let post = Ask {
        method: "POST",
        body: b"once",
        ..Ask::get("/")
    };
    vec![Ask::get("/"), Ask::get("/"), post]
}

/// What an operator asks of the edge.
async fn ask(edge: &Edge, path: &str, body: Value) {
    let response = edge.change(path, &body).await;
    assert_eq!(response.status, 200, "{path}: {}", response.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_changed_100_times_in_10_seconds_fail_nobody() {
    let endpoints = endpoints(["a", "b", "c"]).await;
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let edge = Setup::new(&all).with_token().start().await;
    let load = Load::start(edge.http(), PACE, both_kinds());
    let mut turn = tokio::time::interval(Duration::from_millis(100));
    for step in 0..100_usize {
        turn.tick().await;
        let endpoint = &endpoints[step % endpoints.len()];
        // Every so often one takes nothing at all.
        let path = format!("clusters/main/endpoints/{}/weight", endpoint.address());
        ask(&edge, &path, json!({ "weight": step * 7 % 5 * 10 })).await;
    }
    for (endpoint, weight) in endpoints.iter().zip([0, 1, 3]) {
        let path = format!("clusters/main/endpoints/{}/weight", endpoint.address());
        ask(&edge, &path, json!({ "weight": weight })).await;
    }
    load.wait_for(20).await;
    let before: Vec<usize> = endpoints.iter().map(Endpoint::requests).collect();
    load.wait_for(200).await;
    let shots = load.finish().await;
    assert!(failures(&shots).is_empty(), "{:?}", failures(&shots));
    assert!(shots.len() > 1_000);
    let counts: Vec<usize> = endpoints
        .iter()
        .zip(before)
        .map(|(endpoint, before)| endpoint.requests() - before)
        .collect();
    assert_eq!(counts[0], 0, "a weight of 0 takes nothing: {counts:?}");
    let share = counts[2] * 100 / (counts[1] + counts[2]);
    assert!((72..=78).contains(&share), "1 to 3: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_an_endpoint_with_sticky_clients_fails_nobody_and_moves_nobody() {
    let endpoints = endpoints(["a", "b", "c"]).await;
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let edge = Setup::new(&all)
        .with_token()
        .set("clusters.main.affinity", json!({ "ttl": "1h" }))
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..30 {
        let response = edge.get("/").await;
        let cookie = response.field("set-cookie").unwrap();
        let pair = cookie.split(';').next().unwrap().to_owned();
        clients.push((pair, response.field("x-served-by").unwrap().to_owned()));
    }
    let asks = clients.iter().map(|(cookie, _)| Ask {
        fields: vec![("Cookie", cookie.clone())],
        ..Ask::get("/")
    });
    let load = Load::start(edge.http(), PACE, asks.collect());
    load.wait_for(100).await;
    let drained = endpoints[1].address().to_string();
    ask(
        &edge,
        &format!("clusters/main/endpoints/{drained}/drain"),
        json!({}),
    )
    .await;
    let drained_at = load.elapsed();
    for _ in 0..30 {
        let newcomer = edge.get("/").await;
        assert_ne!(newcomer.field("x-served-by").unwrap(), drained);
    }
    load.wait_for(300).await;
    let shots = load.finish().await;
    assert!(failures(&shots).is_empty(), "{:?}", failures(&shots));
    let late = shots.iter().filter(|shot| shot.due > drained_at);
    let still = late.filter(|shot| shot.answer == Ok((200, drained.clone())));
    let bound = clients.iter().filter(|(_, at)| *at == drained).count();
    assert!(bound > 0 && still.count() >= bound, "bound clients stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blue_green_switch_and_switch_back_fail_nobody_and_are_one_step() {
    let (blue, green) = (
        Endpoint::start("blue").await,
        Endpoint::start("green").await,
    );
    let split = json!([
        { "cluster": "main", "weight": 1 },
        { "cluster": "green", "weight": 0 },
    ]);
    let edge = Setup::new(&[&blue])
        .cluster("green", &[&green])
        .with_token()
        .set(
            "routes.0",
            json!({ "name": "all", "path": "/", "split": split }),
        )
        .start()
        .await;
    let load = Load::start(edge.http(), Duration::from_millis(3), both_kinds());
    load.wait_for(100).await;
    assert_eq!(green.requests(), 0);
    for _ in 0..10 {
        ask(&edge, "routes/all/switch", json!({ "cluster": "green" })).await;
        expect_all_at(&edge, &green).await;
        ask(&edge, "routes/all/switch-back", json!({})).await;
        expect_all_at(&edge, &blue).await;
        load.wait_for(30).await;
    }
    let shots = load.finish().await;
    assert!(failures(&shots).is_empty(), "{:?}", failures(&shots));
}

/// Every request from now on goes to one endpoint.
async fn expect_all_at(edge: &Edge, endpoint: &Endpoint) {
    for _ in 0..5 {
        let response = edge.get("/").await;
        assert_eq!(response.endpoint(), endpoint.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart_of_endpoints_that_announce_it_fails_not_even_a_post() {
    let mut endpoints = endpoints(["a", "b", "c"]).await;
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let edge = Setup::new(&all)
        .set("clusters.main.health", quick_check())
        .start()
        .await;
    let load = Load::start(edge.http(), PACE, both_kinds());
    load.wait_for(50).await;
    for position in 0..endpoints.len() {
        let address = endpoints[position].address();
        let label = address.to_string();
        let state = async |state| {
            let labels = [("endpoint", label.as_str()), ("state", state)];
            edge.wait_for_metric("portcullis_edge_endpoint_state", &labels, 1.0)
                .await;
        };
        endpoints[position].set_health(Health::Draining);
        state("draining").await;
        wait_until("it to finish what it has", async || {
            (endpoints[position].in_flight() == 0).then_some(())
        })
        .await;
        let name = endpoints[position].name().to_owned();
        drop(endpoints.remove(position));
        load.wait_for(50).await;
        endpoints.insert(position, Endpoint::start_at(&name, address).await);
        state("in").await;
        load.wait_for(50).await;
        assert!(
            endpoints[position].requests() > 0,
            "it takes its share again"
        );
    }
    let shots = load.finish().await;
    assert!(failures(&shots).is_empty(), "{:?}", failures(&shots));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart_of_every_auth_instance_fails_nobody() {
    let place = Place::new();
    let up = place.start().await;
    let asks = vec![Ask::get("/.well-known/jwks.json"), Ask::get("/health")];
    let load = Load::start(up.http, Duration::from_millis(10), asks);
    load.wait_for(100).await;
    for id in up.auth_processes() {
        restart(&up, id).await;
        load.wait_for(50).await;
    }
    let shots = load.finish().await;
    assert!(failures(&shots).is_empty(), "{:?}", failures(&shots));
    assert!(shots.len() > 200);
}

/// Ends an auth process politely and waits for another one in its place.
async fn restart(up: &Up, id: u32) {
    signal_process(id, Signal::SIGTERM);
    wait_until("a successor", async || {
        let running = up.auth_processes();
        (running.len() == usize::from(INSTANCES) && !running.contains(&id)).then_some(())
    })
    .await;
    for &address in &up.instances {
        wait_until(&format!("{address} to be ready"), async || {
            let answer = client::get(address, "/health/ready").await;
            answer.ok().filter(|response| response.status == 200)
        })
        .await;
    }
}
