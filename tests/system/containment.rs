//! How trouble is contained: ejection that grows, breakers, panic, and causes that all share.

use std::time::{Duration, Instant};

use portcullis_testkit::{Behavior, Endpoint, Health, free_port, wait_until};
use serde_json::{Value, json};

use crate::harness::Edge;
use crate::native::Setup;

const STATE: &str = "portcullis_edge_endpoint_state";
const BREAKER: &str = "portcullis_edge_endpoint_breaker";
const OPENINGS: &str = "portcullis_edge_endpoint_breaker_openings_total";
const EJECTIONS: &str = "portcullis_edge_endpoint_ejections_total";

/// No retry hides what the client would get, no slow start how the traffic is spread.
fn bare(endpoints: &[&Endpoint], ejection: Value) -> Setup {
    Setup::new(endpoints)
        .set("clusters.main.retries", json!(0))
        .set("clusters.main.slow_start", json!("0s"))
        .set("clusters.main.ejection", ejection)
}

async fn pair(behavior: Behavior) -> [Endpoint; 2] {
    [
        Endpoint::with("bad", behavior).await,
        Endpoint::start("good").await,
    ]
}

/// How many requests `endpoint` gets before it is out, at most `most`.
async fn requests_until_out(edge: &Edge, endpoint: &Endpoint, most: usize) -> usize {
    let address = endpoint.address().to_string();
    let labels = [("endpoint", address.as_str()), ("state", "in")];
    let mut client = edge.connect().await;
    let before = endpoint.requests();
    while edge.metric(STATE, &labels).await == 1.0 && endpoint.requests() - before < most {
        client.get("/").await.unwrap();
    }
    endpoint.requests() - before
}

async fn wait_for_state(edge: &Edge, endpoint: &Endpoint, state: &str) {
    let address = endpoint.address().to_string();
    let labels = [("endpoint", address.as_str()), ("state", state)];
    edge.wait_for_metric(STATE, &labels, 1.0).await;
}

/// The log comes through a pipe, so it may be later than the metrics.
async fn wait_for_output(edge: &Edge, told: &str) {
    wait_until(told, async || {
        edge.process.output().contains(told).then_some(())
    })
    .await;
}

#[tokio::test]
async fn gateway_errors_in_a_row_eject_if_configured() {
    for (errors, expected) in [(2, 2), (4, 4), (0, 12)] {
        let [bad, good] = pair(Behavior::Status(503)).await;
        let ejection = json!({ "gateway_errors": errors, "error_percent": 0 });
        let edge = bare(&[&bad, &good], ejection).start().await;
        assert_eq!(requests_until_out(&edge, &bad, 12).await, expected);
        let told = [("reason", "status")];
        let ejections = edge.metric(EJECTIONS, &told).await;
        assert_eq!(ejections, f64::from(u8::from(errors > 0)));
    }
}

#[tokio::test]
async fn a_share_of_failures_ejects_when_there_are_enough_requests() {
    for (percent, requests, expected) in [(50, 4, 4), (50, 8, 8), (0, 4, 12)] {
        let [bad, good] = pair(Behavior::Status(500)).await;
        let ejection = json!({ "error_percent": percent, "error_requests": requests });
        let edge = bare(&[&bad, &good], ejection).start().await;
        let sent = requests_until_out(&edge, &bad, 12).await;
        assert_eq!(sent, expected, "{percent} % of {requests}");
    }
}

/// Lines of the log that tell of an ejection, as seconds and how-manieth.
fn ejections(edge: &Edge) -> Vec<(String, String)> {
    let field = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=")).unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    };
    let output = edge.process.output();
    let lines = output
        .lines()
        .filter(|line| line.contains("endpoint is ejected"));
    lines
        .map(|line| (field(line, "seconds"), field(line, "times")))
        .collect()
}

#[tokio::test]
async fn ejections_grow_up_to_the_longest() {
    let [bad, good] = pair(Behavior::ResetBeforeAnswer).await;
    let ejection = json!({ "failures": 1, "duration": "200ms", "max_duration": "500ms" });
    let edge = bare(&[&bad, &good], ejection).start().await;
    let told = wait_until("four ejections", async || {
        edge.get("/").await;
        Some(ejections(&edge)).filter(|told| told.len() >= 4)
    })
    .await;
    let expected = [("0.2", "1"), ("0.4", "2"), ("0.5", "3"), ("0.5", "4")];
    let expected: Vec<_> = expected
        .map(|(seconds, times)| (seconds.to_owned(), times.to_owned()))
        .into();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn an_ejection_ends_although_nobody_asks() {
    let [bad, good] = pair(Behavior::ResetBeforeAnswer).await;
    let ejection = json!({ "failures": 1, "duration": "300ms" });
    let edge = bare(&[&bad, &good], ejection).start().await;
    requests_until_out(&edge, &bad, 2).await;
    wait_for_state(&edge, &bad, "in").await;
    wait_for_output(&edge, "endpoint is back: its ejection is over").await;
    assert_eq!(bad.requests(), 1);
}

fn breaker(endpoints: &[&Endpoint], keys: Value) -> Setup {
    bare(endpoints, json!("off")).set("clusters.main.breaker", keys)
}

#[tokio::test]
async fn a_breaker_opens_tries_and_closes() {
    let [bad, good] = pair(Behavior::Status(500)).await;
    let keys = json!({ "failures": 2, "duration": "300ms", "successes": 3 });
    let edge = breaker(&[&bad, &good], keys).start().await;
    assert_eq!(requests_until_out(&edge, &bad, 6).await, 2);
    let mut client = edge.connect().await;
    edge.wait_for_metric(BREAKER, &[], 1.0).await;
    // Half open it is tried, fails, and opens again.
    wait_until("it to open again", async || {
        client.get("/").await.unwrap();
        (edge.metric(OPENINGS, &[("how", "open")]).await == 2.0).then_some(())
    })
    .await;
    assert_eq!(bad.requests(), 3);
    bad.behave(Behavior::Echo);
    wait_until("it to close", async || {
        client.get("/").await.unwrap();
        (edge.metric(BREAKER, &[]).await == 0.0).then_some(())
    })
    .await;
    assert!(bad.requests() >= 6, "three successes closed it");
    wait_for_state(&edge, &bad, "in").await;
    for told in [
        "breaker is open",
        "breaker is half open",
        "breaker is closed",
    ] {
        wait_for_output(&edge, told).await;
    }
}

#[tokio::test]
async fn a_breaker_opens_for_a_share_of_failures_within_its_window() {
    for (keys, is_open) in [
        (json!({ "error_requests": 6, "window": "60s" }), true),
        (json!({ "error_requests": 40, "window": "60s" }), false),
        (json!({ "error_requests": 6, "error_percent": 0 }), false),
        (json!({ "error_requests": 6, "error_percent": 80 }), false),
        (json!({ "error_requests": 6, "window": "100ms" }), false),
    ] {
        let [flaky, good] = pair(Behavior::Echo).await;
        let mut all = json!({ "failures": 100 });
        for (key, value) in keys.as_object().unwrap() {
            all[key] = value.clone();
        }
        let edge = breaker(&[&flaky, &good], all).start().await;
        let mut client = edge.connect().await;
        for round in 0..10 {
            let is_bad = round % 3 != 0;
            flaky.behave(if is_bad {
                Behavior::Status(500)
            } else {
                Behavior::Echo
            });
            for _ in 0..2 {
                client.get("/").await.unwrap();
            }
            if keys["window"] == "100ms" {
                let since = Instant::now();
                wait_until("the window to be over", async || {
                    (since.elapsed() > Duration::from_millis(100)).then_some(())
                })
                .await;
            }
        }
        let openings = edge.metric(OPENINGS, &[("how", "open")]).await;
        assert_eq!(openings > 0.0, is_open, "{keys}");
    }
}

#[tokio::test]
async fn a_breaker_that_only_watches_keeps_nobody_out() {
    let [bad, good] = pair(Behavior::Status(500)).await;
    let keys = json!({ "failures": 2, "mode": "monitor" });
    let edge = breaker(&[&bad, &good], keys).start().await;
    assert_eq!(requests_until_out(&edge, &bad, 10).await, 10);
    let would_open = edge.metric(OPENINGS, &[("how", "would_open")]).await;
    assert_eq!(would_open, 1.0);
    assert_eq!(edge.metric(OPENINGS, &[("how", "open")]).await, 0.0);
    wait_for_output(&edge, "breaker would open").await;
}

fn check() -> Value {
    json!({ "interval": "100ms", "timeout": "100ms", "rise": 1, "fall": 1 })
}

#[tokio::test]
async fn when_nobody_is_healthy_those_that_accept_connections_serve() {
    let [one, two] = [Endpoint::start("one").await, Endpoint::start("two").await];
    let refusing = free_port();
    let endpoints = [one.address(), two.address(), refusing.address()];
    let edge = Setup::for_addresses(&endpoints)
        .set("clusters.main.health", check())
        .start()
        .await;
    // Causes that differ: nothing that both share.
    one.set_health(Health::Status(500));
    two.set_health(Health::Hang);
    edge.wait_for_metric("portcullis_edge_cluster_panic", &[], 1.0)
        .await;
    let mut client = edge.connect().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
    let panicked = [("why", "panic")];
    let picks = edge
        .metric("portcullis_edge_fallback_picks_total", &panicked)
        .await;
    assert_eq!(picks, 20.0);
    let address = refusing.address().to_string();
    let refused = [("endpoint", address.as_str())];
    let attempts = edge
        .metric("portcullis_edge_endpoint_requests_total", &refused)
        .await;
    assert_eq!(attempts, 0.0, "who refuses connections is never chosen");
    two.set_health(Health::Ok);
    edge.wait_for_metric("portcullis_edge_cluster_panic", &[], 0.0)
        .await;
    assert_eq!(client.get("/").await.unwrap().endpoint(), "two");
}

#[tokio::test]
async fn a_dependency_that_all_share_puts_nobody_aside() {
    let endpoints = [
        Endpoint::start("a").await,
        Endpoint::start("b").await,
        Endpoint::start("c").await,
    ];
    let edge = Setup::new(&endpoints.each_ref())
        .set("clusters.main.health", check())
        .start()
        .await;
    for endpoint in &endpoints {
        wait_for_state(&edge, endpoint, "in").await;
    }
    for endpoint in &endpoints {
        endpoint.set_health(Health::Status(503));
        endpoint.behave(Behavior::Status(503));
    }
    edge.wait_for_metric("portcullis_edge_cluster_shared_cause", &[], 1.0)
        .await;
    for _ in 0..20 {
        edge.get("/").await;
    }
    let ready = [("state", "in")];
    edge.wait_for_metric(STATE, &ready, 3.0).await;
    assert_eq!(edge.metric(EJECTIONS, &[]).await, 0.0);
    for endpoint in &endpoints {
        endpoint.set_health(Health::Ok);
        endpoint.behave(Behavior::Echo);
    }
    assert_eq!(
        edge.get("/").await.status,
        200,
        "nobody has to be let in again"
    );
    edge.wait_for_metric("portcullis_edge_cluster_shared_cause", &[], 0.0)
        .await;
}

#[tokio::test]
async fn all_endpoints_dead_and_back_serve_again_within_a_fast_interval() {
    let endpoints = [Endpoint::start("a").await, Endpoint::start("b").await];
    let health = json!({ "interval": "500ms", "timeout": "500ms", "rise": 4, "fall": 1 });
    let edge = Setup::new(&endpoints.each_ref())
        .set("clusters.main.health", health)
        .start()
        .await;
    for endpoint in &endpoints {
        wait_for_state(&edge, endpoint, "in").await;
    }
    let addresses = endpoints.each_ref().map(Endpoint::address);
    drop(endpoints);
    wait_until("nobody to be left", async || {
        edge.get("/").await;
        (edge.metric(STATE, &[("state", "out")]).await == 2.0).then_some(())
    })
    .await;
    let _back = [
        Endpoint::start_at("a", addresses[0]).await,
        Endpoint::start_at("b", addresses[1]).await,
    ];
    let began = Instant::now();
    wait_until("requests to be served", async || {
        (edge.get("/").await.status == 200).then_some(())
    })
    .await;
    assert!(
        began.elapsed() < Duration::from_millis(1_500),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_last_endpoint_that_refused_serves_the_first_request_once_it_is_back() {
    for count in [1, 2] {
        let ports = [free_port(), free_port()];
        let addresses: Vec<_> = ports.iter().map(|port| port.address()).collect();
        let ejection = json!({ "duration": "300s", "max_duration": "300s" });
        let edge = Setup::for_addresses(&addresses[..count])
            .set("clusters.main.retries", json!(0))
            .set("clusters.main.ejection", ejection)
            .start()
            .await;
        let mut client = edge.connect().await;
        for _ in 0..20 {
            assert_eq!(client.get("/").await.unwrap().status, 502);
        }
        let stays = [("state", "in")];
        assert_eq!(edge.metric(STATE, &stays).await, 1.0, "one always stays");
        let mut last = None;
        for address in &addresses[..count] {
            let name = address.to_string();
            let labels = [("endpoint", name.as_str()), ("state", "in")];
            if edge.metric(STATE, &labels).await == 1.0 {
                last = Some(*address);
            }
        }
        let _back = Endpoint::start_at("back", last.unwrap()).await;
        let answer = client.get("/").await.unwrap();
        assert_eq!((answer.status, &*answer.endpoint()), (200, "back"));
    }
}
