//! Who gets which request: algorithms, hashing, slow start, tiers and zones, counted at the endpoints.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_testkit::{Behavior, Connection, Endpoint, wait_until};
use serde_json::{Value, json};

use crate::harness::Edge;
use crate::native::Setup;

async fn three() -> [Endpoint; 3] {
    [
        Endpoint::start("a").await,
        Endpoint::start("b").await,
        Endpoint::start("c").await,
    ]
}

fn counts(endpoints: &[Endpoint]) -> Vec<usize> {
    endpoints.iter().map(Endpoint::requests).collect()
}

/// Endpoints of a cluster, each with further keys.
fn with_keys(endpoints: &[Endpoint], keys: &[Value]) -> Value {
    let with_keys = |(endpoint, keys): (&Endpoint, &Value)| {
        let mut written = json!({ "address": endpoint.address().to_string() });
        for (key, value) in keys.as_object().unwrap() {
            written[key] = value.clone();
        }
        written
    };
    endpoints.iter().zip(keys).map(with_keys).collect()
}

/// Sends `total` requests over `concurrency` connections and expects 200 for each.
async fn load(edge: &Edge, total: usize, concurrency: usize) {
    let sent = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..concurrency)
        .map(|_| {
            let (address, sent) = (edge.http(), Arc::clone(&sent));
            tokio::spawn(async move {
                let mut client = Connection::open(address).await.unwrap();
                while sent.fetch_add(1, Ordering::SeqCst) < total {
                    assert_eq!(client.get("/").await.unwrap().status, 200);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn weights_divide_the_traffic_and_zero_takes_none() {
    let endpoints = three().await;
    let keys = [
        json!({ "weight": 3 }),
        json!({ "weight": 1 }),
        json!({ "weight": 0 }),
    ];
    for (balance, concurrency) in [("round_robin", 1), ("least_conn", 1), ("p2c", 1)] {
        let before = counts(&endpoints);
        let edge = Setup::new(&[])
            .set("clusters.main.endpoints", with_keys(&endpoints, &keys))
            .set("clusters.main.balance", json!(balance))
            .start()
            .await;
        load(&edge, 400, concurrency).await;
        let after = counts(&endpoints);
        let heavy = after[0] - before[0];
        assert!((260..=340).contains(&heavy), "{balance}: {heavy} of 400");
        assert_eq!(after[2], 0, "{balance}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2c_spares_an_endpoint_that_is_ten_times_slower() {
    let endpoints = three().await;
    let pace = Duration::from_millis(10);
    for (endpoint, pause) in endpoints.iter().zip([pace, pace, 10 * pace]) {
        endpoint.behave(Behavior::Slow(pause));
    }
    let edge = Setup::new(&endpoints.each_ref())
        .set("clusters.main.balance", json!("p2c"))
        .start()
        .await;
    load(&edge, 1_500, 24).await;
    let counts = counts(&endpoints);
    assert!(counts[2] * 5 < 1_500, "{counts:?}");
}

#[tokio::test]
async fn peak_ewma_learns_who_is_slow_from_one_request_at_a_time() {
    let endpoints = three().await;
    endpoints[2].behave(Behavior::Slow(Duration::from_millis(100)));
    let edge = Setup::new(&endpoints.each_ref())
        .set("clusters.main.balance", json!("peak_ewma"))
        .start()
        .await;
    load(&edge, 300, 1).await;
    let counts = counts(&endpoints);
    assert!(
        counts[2] * 10 < 300,
        "nothing else tells them apart: {counts:?}"
    );
}

/// The endpoint that each of many keys goes to. `client` sends one request with a key.
async fn places<F>(mut client: F) -> BTreeMap<usize, String>
where
    F: AsyncFnMut(usize) -> String,
{
    let mut places = BTreeMap::new();
    for key in 0..40 {
        places.insert(key, client(key).await);
    }
    for (key, place) in &places {
        assert_eq!(&client(*key).await, place, "key {key} stays");
    }
    places
}

fn hashing(endpoints: &[Endpoint; 3], key: &str) -> Setup {
    Setup::new(&endpoints.each_ref())
        .set("clusters.main.balance", json!("hash"))
        .set("clusters.main.hash", json!({ "key": key }))
}

/// One request with this key at the place that `kind` names.
async fn ask(client: &mut Connection, kind: &str, key: usize) -> String {
    let (mut path, mut fields) = ("/".to_owned(), Vec::new());
    let (header, cookie) = (format!("user-{key}"), format!("theme=dark; session=s{key}"));
    match kind {
        "path" => path = format!("/users/{key}"),
        "query:id" => path = format!("/?other=1&id={key}"),
        "header:x-user" => fields.push(("x-user", header.as_str())),
        "cookie:session" => fields.push(("cookie", cookie.as_str())),
        "host" => fields.push(("x-unused", "1")),
        other => panic!("{other}"),
    }
    let response = client.request("GET", &path, &fields, b"").await.unwrap();
    assert_eq!(response.status, 200);
    response.endpoint()
}

#[tokio::test]
async fn a_hash_key_keeps_its_endpoint() {
    let endpoints = three().await;
    for kind in ["path", "query:id", "header:x-user", "cookie:session"] {
        let edge = hashing(&endpoints, kind).start().await;
        let mut client = edge.connect().await;
        let places = places(async |key| ask(&mut client, kind, key).await).await;
        let used: std::collections::BTreeSet<_> = places.values().collect();
        assert_eq!(used.len(), 3, "{kind}: {places:?}");
    }
    let edge = hashing(&endpoints, "host").start().await;
    let by_host = places(async |key| {
        let host = format!("h{key}.example.com");
        let mut client = edge.connect().await.with_host(&host);
        ask(&mut client, "host", key).await
    });
    let by_host = by_host.await;
    let used: std::collections::BTreeSet<_> = by_host.values().collect();
    assert_eq!(used.len(), 3, "{by_host:?}");
}

#[tokio::test]
async fn only_the_keys_of_an_endpoint_that_dies_move() {
    let [a, b, c] = three().await;
    let endpoints = [a, b, c];
    let edge = hashing(&endpoints, "header:x-user").start().await;
    let mut client = edge.connect().await;
    let before = places(async |key| ask(&mut client, "header:x-user", key).await).await;
    let [a, b, c] = endpoints;
    drop(c);
    let after = places(async |key| ask(&mut client, "header:x-user", key).await).await;
    for (key, place) in &before {
        if place == "c" {
            assert_ne!(after[key], "c");
        } else {
            assert_eq!(&after[key], place, "key {key} had no reason to move");
        }
    }
    drop((a, b));
}

#[tokio::test]
async fn requests_without_the_key_are_served_all_the_same() {
    let endpoints = three().await;
    let edge = hashing(&endpoints, "cookie:session").start().await;
    load(&edge, 90, 1).await;
    let counts = counts(&endpoints);
    assert!(counts.iter().all(|count| *count >= 20), "{counts:?}");
}

#[tokio::test]
async fn a_client_address_keeps_its_endpoint_behind_trusted_proxies_too() {
    let endpoints = three().await;
    let edge = hashing(&endpoints, "source")
        .set("trusted_proxies", json!(["127.0.0.1/32"]))
        .start()
        .await;
    let mut client = edge.connect().await;
    let forwarded = places(async |key| {
        let address = format!("198.51.100.{key}");
        let fields = [("x-forwarded-for", address.as_str())];
        let response = client.request("GET", "/", &fields, b"").await.unwrap();
        response.endpoint()
    });
    let forwarded = forwarded.await;
    let used: std::collections::BTreeSet<_> = forwarded.values().collect();
    assert_eq!(used.len(), 3, "{forwarded:?}");
    drop(edge);

    let edge = Setup::new(&endpoints.each_ref())
        .set("clusters.main.balance", json!("ip_hash"))
        .start()
        .await;
    let from = async |key: usize| {
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 1, u8::try_from(key).unwrap() + 1));
        let mut client = Connection::open_from(source, edge.http()).await.unwrap();
        client.get("/").await.unwrap().endpoint()
    };
    let places = places(from).await;
    let used: std::collections::BTreeSet<_> = places.values().collect();
    assert_eq!(used.len(), 3, "{places:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounded_load_sends_the_surplus_of_a_hot_key_elsewhere() {
    let bounded = |percent: u16| json!({ "key": "path", "bounded_load": percent });
    let hashes = [
        (bounded(100), true),
        (bounded(10_000), false),
        (json!({ "key": "path" }), false),
    ];
    for (hash, is_spread) in hashes {
        let endpoints = three().await;
        for endpoint in &endpoints {
            endpoint.behave(Behavior::Slow(Duration::from_millis(20)));
        }
        let edge = Setup::new(&endpoints.each_ref())
            .set("clusters.main.balance", json!("hash"))
            .set("clusters.main.hash", hash.clone())
            .start()
            .await;
        load(&edge, 120, 12).await;
        let used = counts(&endpoints).into_iter().filter(|count| *count > 0);
        assert_eq!(used.count() == 3, is_spread, "{hash}");
    }
}

/// The share of `endpoint` in the next 100 requests, in percent.
async fn share(edge: &Edge, endpoint: &Endpoint) -> usize {
    let before = endpoint.requests();
    load(edge, 100, 1).await;
    endpoint.requests() - before
}

#[tokio::test]
async fn an_endpoint_that_comes_back_grows_into_its_share() {
    for (slow_start, at_first) in [("0s", 40..=60), ("3s", 1..=30)] {
        let (steady, returning) = (
            Endpoint::start("steady").await,
            Endpoint::start("returning").await,
        );
        let address = returning.address().to_string();
        let labels = [("endpoint", address.as_str()), ("state", "in")];
        let ejection = json!({ "failures": 1, "duration": "300ms" });
        let edge = Setup::new(&[&steady, &returning])
            .set("clusters.main.ejection", ejection)
            .set("clusters.main.slow_start", json!(slow_start))
            .start()
            .await;
        assert!(
            (45..=55).contains(&share(&edge, &returning).await),
            "not at start"
        );
        returning.behave(Behavior::ResetBeforeAnswer);
        wait_until("it to be ejected", async || {
            edge.get("/").await;
            (edge.metric("portcullis_edge_endpoint_state", &labels).await == 0.0).then_some(())
        })
        .await;
        returning.behave(Behavior::Echo);
        edge.wait_for_metric("portcullis_edge_endpoint_state", &labels, 1.0)
            .await;
        let first = share(&edge, &returning).await;
        assert!(at_first.contains(&first), "{slow_start}: {first} %");
        wait_until("its full share", async || {
            (share(&edge, &returning).await >= 45).then_some(())
        })
        .await;
    }
}

/// Tells whether all of the next requests go to `endpoint`.
async fn all_go_to(edge: &Edge, endpoint: &Endpoint) -> bool {
    share(edge, endpoint).await == 100
}

#[tokio::test]
async fn a_tier_takes_over_when_the_one_before_falls_short_and_gives_back() {
    let (first, second) = (
        Endpoint::start("first").await,
        Endpoint::start("second").await,
    );
    let keys = [json!({}), json!({ "priority": 7 })];
    takes_over(first, second, Setup::new(&[]), keys).await;
}

#[tokio::test]
async fn the_own_zone_comes_first_and_others_help_out() {
    let (own, other) = (Endpoint::start("own").await, Endpoint::start("other").await);
    let keys = [json!({ "zone": "eu-1a" }), json!({ "zone": "eu-1b" })];
    let setup = Setup::new(&[]).set("zone", json!("eu-1a"));
    takes_over(own, other, setup, keys).await;
}

/// `preferred` gets everything but while it is gone; no request fails.
async fn takes_over(preferred: Endpoint, other: Endpoint, setup: Setup, keys: [Value; 2]) {
    let endpoints = [preferred, other];
    let edge = setup
        .set("clusters.main.endpoints", with_keys(&endpoints, &keys))
        .set("clusters.main.slow_start", json!("0s"))
        .set(
            "clusters.main.ejection",
            json!({ "failures": 1, "duration": "200ms" }),
        )
        .start()
        .await;
    let [preferred, other] = endpoints;
    assert!(all_go_to(&edge, &preferred).await);
    let (name, address) = (preferred.name().to_owned(), preferred.address());
    drop(preferred);
    assert!(all_go_to(&edge, &other).await);
    let spilled = edge
        .metric(
            "portcullis_edge_fallback_picks_total",
            &[("why", "spilled")],
        )
        .await;
    assert!(spilled >= 99.0, "{spilled}");
    let preferred = Endpoint::start_at(&name, address).await;
    wait_until("the preferred one to be used again", async || {
        all_go_to(&edge, &preferred).await.then_some(())
    })
    .await;
}
