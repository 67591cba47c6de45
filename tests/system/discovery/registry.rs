//! Instances that register themselves in Redis.

use portcullis_testkit::Authority;
use portcullis_testkit::redis::Redis;

use super::*;
use crate::harness::auth::Auth;

/// Registers an endpoint by hand, as other services may.
fn register(redis: &Redis, registry: &str, id: &str, entry: &Value) {
    redis.command(&["SET", &format!("{registry}:{id}"), &entry.to_string()]);
    redis.command(&["ZADD", registry, "1", id]);
}

fn at(endpoint: &Endpoint) -> Value {
    json!({ "address": endpoint.address().to_string() })
}

async fn wait_for_problem(edge: &Edge, problem: &str) {
    wait_until(problem, async || {
        let told = source(edge).await["problem"].as_str()?.contains(problem);
        told.then_some(())
    })
    .await;
}

/// Waits until the first cluster has endpoints at these addresses and no others.
async fn wait_for_addresses(edge: &Edge, addresses: &[SocketAddr]) {
    let mut wanted: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    wanted.sort();
    wait_until(&format!("the endpoints {wanted:?}"), async || {
        let mut shown = shown(edge).await?;
        shown.sort();
        (shown == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn auth_instances_that_come_die_and_leave_are_followed_under_load() {
    let redis = Redis::start().await;
    let mut auth = Auth::start_with(
        3,
        &[
            ("REDIS_URL", redis.url()),
            ("HEARTBEAT_INTERVAL", "300".to_owned()),
            ("DRAIN_DELAY", "5000".to_owned()),
        ],
    )
    .await;
    let edge = with_sources(json!([{ "redis": { "url": redis.url(), "interval": "100ms" } }]))
        .set("clusters.main.retries", json!(2))
        .start()
        .await;
    let addresses: Vec<_> = auth.instances.iter().map(|one| one.address()).collect();
    wait_for_addresses(&edge, &addresses).await;
    let asks = vec![Ask::get("/health/live")];
    let load = Load::start(edge.http(), Duration::from_millis(10), asks);
    load.wait_for_endpoints(3).await;
    // One dies without a word: gone after three heartbeats.
    auth.instances[0].kill();
    wait_for_addresses(&edge, &addresses[1..]).await;
    load.wait_for(20).await;
    // One leaves in good order: gone while it still serves.
    auth.instances[1].terminate();
    wait_for_addresses(&edge, &addresses[2..]).await;
    assert!(auth.instances[1].is_running(), "its drain has just begun");
    load.wait_for(20).await;
    auth.restart(0).await;
    wait_for_addresses(&edge, &[addresses[0], addresses[2]]).await;
    load.wait_for_endpoints(2).await;
    let shots = load.finish().await;
    assert!(failures(&shots).is_empty(), "{:?}", failures(&shots));
}

#[tokio::test]
async fn a_registry_over_tls_says_where_an_instance_wants_to_be_reached() {
    let (authority, front) = (Authority::new(), Endpoint::start("front").await);
    let redis = Redis::start_with_tls(&authority).await;
    let ca = authority.root_file();
    let _auth = Auth::start_with(
        1,
        &[
            ("REDIS_URL", redis.url()),
            ("REDIS_CA_FILE", ca.display().to_string()),
            ("ADVERTISED_ADDRESS", front.address().to_string()),
        ],
    )
    .await;
    let sources = json!([{ "redis": { "url": redis.url(), "ca": ca } }]);
    let edge = with_sources(sources).start().await;
    wait_for_endpoints(&edge, &[&front]).await;
    assert_eq!(edge.get("/").await.status, 200);
    let stranger = Authority::new();
    let sources = json!([{ "redis": { "url": redis.url(), "ca": stranger.root_file() } }]);
    let edge = with_sources(sources).start_unready().await;
    wait_for_problem(&edge, "certificate").await;
}

#[tokio::test]
async fn a_registry_that_hangs_is_away_or_emptied_changes_nothing() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let mut redis = Redis::start_with_password("hunter2").await;
    // Least privilege: the registry, and nothing but reading it.
    let account = "ACL SETUSER edge on >sesame resetkeys ~orders ~orders:* -@all +@connection +zrevrange +mget";
    let account: Vec<&str> = account.split(' ').collect();
    assert_eq!(redis.command(&account), "OK");
    register(&redis, "orders", "a", &at(&a));
    register(&redis, "orders", "b", &at(&b));
    let url = format!("redis://edge:sesame@{}/0", redis.address());
    let place = json!({ "url": url, "registry": "orders", "interval": "100ms" });
    let edge = with_sources(json!([{ "redis": place }])).start().await;
    let both = by_address([&a, &b]);
    wait_for_endpoints(&edge, &both).await;
    let load = gently(&edge);
    redis.pause();
    wait_for_problem(&edge, "no answer").await;
    redis.resume();
    wait_until("an answer", async || {
        source(&edge).await["problem"].is_null().then_some(())
    })
    .await;
    redis.command(&["FLUSHALL"]);
    wait_until("the registry to be looked at", async || {
        let calls = redis.command(&["INFO", "commandstats"]);
        calls.contains("cmdstat_zrevrange").then_some(())
    })
    .await;
    // Whoever is back first does not take the place of those who are not.
    register(&redis, "orders", "a", &at(&a));
    load.wait_for(50).await;
    wait_for_endpoints(&edge, &both).await;
    // What is wrong with an entry is told, and takes nobody away.
    register(&redis, "orders", "b", &json!({ "address": "0.0.0.0:8000" }));
    wait_for_problem(&edge, "the entry of b").await;
    wait_for_endpoints(&edge, &both).await;
    register(&redis, "orders", "b", &json!({ "state": "draining" }));
    wait_for_endpoints(&edge, &[&a]).await;
    redis.kill().await;
    wait_for_problem(&edge, "redis://127.0.0.1").await;
    load.wait_for(20).await;
    wait_for_endpoints(&edge, &[&a]).await;
    let shots = load.finish().await;
    assert!(failures(&shots).is_empty(), "{:?}", failures(&shots));
    let told = client::get(edge.admin(), "/v1/status")
        .await
        .unwrap()
        .text();
    let said = edge.process.output();
    assert!(
        !told.contains("sesame") && !said.contains("sesame"),
        "a password shows"
    );
}

#[tokio::test]
async fn each_registry_is_looked_at_in_its_own_time() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let redis = Redis::start().await;
    for registry in ["slow", "quick"] {
        register(&redis, registry, "a", &at(&a));
    }
    let slow = json!({ "url": redis.url(), "registry": "slow", "interval": "1h" });
    let quick = json!({ "url": redis.url(), "registry": "quick", "interval": "100ms" });
    let edge = with_sources(json!([{ "redis": slow }, { "redis": quick }]))
        .start()
        .await;
    wait_until("the slow one's first answer", async || {
        (source(&edge).await["endpoints"] == 1).then_some(())
    })
    .await;
    for registry in ["slow", "quick"] {
        register(&redis, registry, "b", &at(&b));
    }
    wait_for_addresses(&edge, &[a.address(), b.address()]).await;
    assert_eq!(source(&edge).await["endpoints"], 1);
}
