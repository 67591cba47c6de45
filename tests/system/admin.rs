//! The operator's listener: what it tells and what it changes while the edge runs.

use portcullis_testkit::{Behavior, Connection, Endpoint, Health, free_port, wait_until};
use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Edge};
use crate::native::Setup;

async fn status(edge: &Edge) -> Value {
    let response = edge.ask("status").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.field("content-type"), Some("application/json"));
    response.json()
}

/// What the status says of an endpoint of the first cluster.
async fn endpoint(edge: &Edge, position: usize) -> Value {
    status(edge).await["clusters"][0]["endpoints"][position].clone()
}

/// Waits until an endpoint is in a state, and returns what is said of it then.
async fn wait_for_state(edge: &Edge, position: usize, state: &str) -> Value {
    wait_until(&format!("endpoint {position} to be {state}"), async || {
        let endpoint = endpoint(edge, position).await;
        (endpoint["state"] == state).then_some(endpoint)
    })
    .await
}

fn path(endpoint: &Endpoint, verb: &str) -> String {
    format!("clusters/main/endpoints/{}/{verb}", endpoint.address())
}

#[tokio::test]
async fn status_says_why_an_endpoint_is_out() {
    let (good, ill) = (Endpoint::start("good").await, Endpoint::start("ill").await);
    let check = json!({ "path": "/health/ready", "interval": "200ms", "timeout": "200ms", "rise": 1, "fall": 1 });
    let edge = Setup::new(&[&good, &ill])
        .set("clusters.main.health", check)
        .start()
        .await;
    wait_for_state(&edge, 1, "in").await;
    ill.set_health(Health::Status(500));
    let told = wait_for_state(&edge, 1, "last_resort").await;
    assert_eq!(told["address"], ill.address().to_string());
    assert_eq!(told["why"][0]["reason"], "unhealthy");
    assert_eq!(told["why"][0]["trouble"], "answered 500");
    assert_eq!(told["checks"][0]["verdict"], "failing");
    assert!(told["available_percent"]["overall"].as_f64().unwrap() < 100.0);
    let events = status(&edge).await["events"].clone();
    let event = events
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["event"] == "unhealthy")
        .unwrap()
        .clone();
    assert_eq!(event["endpoint"], ill.address().to_string());
    assert_eq!(event["reason"], "answered 500");
}

#[tokio::test]
async fn metrics_tell_how_long_each_endpoint_takes() {
    let pause = std::time::Duration::from_millis(60);
    let (quick, slow) = (
        Endpoint::start("quick").await,
        Endpoint::with("slow", Behavior::Slow(pause)).await,
    );
    let edge = Setup::new(&[&quick, &slow]).start().await;
    for _ in 0..10 {
        assert_eq!(edge.get("/").await.status, 200);
    }
    let name = "portcullis_edge_endpoint_duration_seconds";
    let of = async |endpoint: &Endpoint, sample: &str, labels: &[(&str, &str)]| {
        let address = endpoint.address().to_string();
        let labels = [&[("endpoint", address.as_str())], labels].concat();
        edge.metric(&format!("{name}_{sample}"), &labels).await
    };
    assert_eq!(of(&quick, "count", &[]).await, 5.0);
    assert_eq!(of(&slow, "count", &[]).await, 5.0);
    let below_50_ms = [("le", "0.05")];
    assert_eq!(of(&slow, "bucket", &below_50_ms).await, 0.0);
    assert!(of(&slow, "sum", &[]).await >= 0.3);
}

#[tokio::test]
async fn status_says_when_an_ejection_ends() {
    let (good, ill) = (
        Endpoint::start("good").await,
        Endpoint::with("ill", Behavior::ResetBeforeAnswer).await,
    );
    let edge = Setup::new(&[&good, &ill]).start().await;
    wait_until("three failures in a row", async || {
        assert_eq!(edge.get("/").await.status, 200);
        (endpoint(&edge, 1).await["state"] == "last_resort").then_some(())
    })
    .await;
    let told = endpoint(&edge, 1).await;
    assert_eq!(told["why"][0]["reason"], "ejected");
    assert_eq!(told["why"][0]["times"], 1);
    let left = told["why"][0]["ends_in_seconds"].as_u64().unwrap();
    assert!((1..=30).contains(&left), "{left}");
}

#[tokio::test]
async fn an_operator_drains_an_endpoint_and_takes_it_back() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a, &b]).with_token().start().await;
    let drained = edge.change(&path(&a, "drain"), &json!({})).await;
    assert_eq!(drained.status, 200, "{}", drained.text());
    assert_eq!(drained.json()["endpoint"]["state"], "draining");
    for _ in 0..10 {
        assert_eq!(edge.get("/").await.endpoint(), "b");
    }
    let back = edge.change(&path(&a, "undrain"), &json!({})).await;
    assert_eq!(back.json()["endpoint"]["state"], "in");
    wait_until("the other to serve", async || {
        (edge.get("/").await.endpoint() == "a").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_operator_has_endpoints_checked_before_their_time() {
    let endpoint = Endpoint::start("a").await;
    let check = json!({ "path": "/health/ready", "interval": "1h", "timeout": "1s" });
    let edge = Setup::new(&[&endpoint])
        .with_token()
        .set("clusters.main.health", check)
        .start()
        .await;
    let before = endpoint.health_checks();
    let rung = edge.change("clusters/main/check", &json!({})).await;
    assert_eq!(rung.status, 200, "{}", rung.text());
    wait_until("another check", async || {
        (endpoint.health_checks() > before).then_some(())
    })
    .await;
    assert_eq!(
        edge.change("clusters/x/check", &json!({})).await.status,
        404
    );
}

#[tokio::test]
async fn a_change_needs_the_token() {
    let endpoint = Endpoint::start("a").await;
    let edge = Setup::new(&[&endpoint]).with_token().start().await;
    let path = format!("/v1/{}", path(&endpoint, "drain"));
    for fields in [&[][..], &[("Authorization", "Bearer wrong")]] {
        let mut operator = Connection::open(edge.admin()).await.unwrap();
        let refused = operator.request("POST", &path, fields, b"").await.unwrap();
        assert_eq!(refused.status, 401);
        assert_eq!(refused.field("www-authenticate"), Some("Bearer"));
        assert!(!refused.text().contains(ADMIN_TOKEN));
    }
    assert_eq!(edge.get("/").await.status, 200, "nothing was drained");
    assert!(!edge.process.output().contains(ADMIN_TOKEN));
}

#[tokio::test]
async fn without_a_token_nothing_can_be_changed() {
    let endpoint = Endpoint::start("a").await;
    let edge = Setup::new(&[&endpoint]).start().await;
    let refused = edge.change(&path(&endpoint, "drain"), &json!({})).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("`token`"), "{}", refused.text());
}

#[tokio::test]
async fn a_change_that_cannot_be_made_says_why_and_changes_nothing() {
    let endpoint = Endpoint::start("a").await;
    let edge = Setup::new(&[&endpoint]).with_token().start().await;
    let stranger = free_port();
    let of_stranger = format!("clusters/main/endpoints/{}/drain", stranger.address());
    for (path, body, status, word) in [
        (path(&endpoint, "fly"), json!({}), 404, "drain"),
        (
            path(&endpoint, "weight"),
            json!({ "weight": 1001 }),
            400,
            "1000",
        ),
        (path(&endpoint, "weight"), json!([]), 400, "object"),
        (
            path(&endpoint, "drain"),
            json!({ "x": 1 }),
            400,
            "no values",
        ),
        (of_stranger, json!({}), 404, "It has: 127.0.0.1"),
        (
            "clusters/other/endpoints/127.0.0.1:1/drain".to_owned(),
            json!({}),
            404,
            "There are: main",
        ),
        (
            "routes/other/switch".to_owned(),
            json!({ "cluster": "main" }),
            404,
            "no route `other`. Routes that send to clusters: all.",
        ),
        (
            "routes/all/switch".to_owned(),
            json!({ "cluster": "other" }),
            404,
            "no cluster `other`. There are: main.",
        ),
        (
            "routes/all/switch-back".to_owned(),
            json!({}),
            409,
            "not been switched. It has what the configuration says: main 1.",
        ),
        (
            "routes/all/split".to_owned(),
            json!({ "weights": { "main": 1 } }),
            409,
            "no `split` in its configuration. Routes that have one: none.",
        ),
    ] {
        let refused = edge.change(&path, &body).await;
        assert_eq!(refused.status, status, "{path} {body}: {}", refused.text());
        assert_eq!(
            refused.field("content-type"),
            Some("application/problem+json")
        );
        assert!(
            refused.text().contains(word),
            "{path} {body}: {}",
            refused.text()
        );
    }
    let huge = json!({ "weight": "x".repeat(70_000) });
    assert_eq!(
        edge.change(&path(&endpoint, "weight"), &huge).await.status,
        413
    );
    assert_eq!(edge.get("/").await.status, 200);
}

#[tokio::test]
async fn what_is_shown_and_what_is_changed_have_methods_of_their_own() {
    let endpoint = Endpoint::start("a").await;
    let edge = Setup::new(&[&endpoint]).with_token().start().await;
    let shown = edge.change("status", &json!({})).await;
    let allowed = shown.field("allow");
    assert_eq!((shown.status, allowed), (405, Some("GET, HEAD")));
    let path = path(&endpoint, "drain");
    let asked = edge.ask(&path).await;
    assert_eq!((asked.status, asked.field("allow")), (405, Some("POST")));
    let mut operator = Connection::open(edge.admin()).await.unwrap();
    let deleted = operator
        .request("DELETE", "/metrics", &[], b"")
        .await
        .unwrap();
    assert_eq!(deleted.field("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn an_operator_changes_the_shares_of_a_split() {
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
    assert_eq!(edge.get("/").await.endpoint(), "blue");
    let weights = json!({ "weights": { "main": 0, "green": 5 } });
    let changed = edge.change("routes/all/split", &weights).await;
    assert_eq!(changed.json()["now"], json!({ "main": 0, "green": 5 }));
    assert_eq!(changed.json()["before"], json!({ "main": 1, "green": 0 }));
    assert_eq!(edge.get("/").await.endpoint(), "green");
    let shown = status(&edge).await["routes"][0].clone();
    assert_eq!(shown["clusters"], json!({ "main": 0, "green": 5 }));
    let none = json!({ "weights": { "green": 0 } });
    assert_eq!(edge.change("routes/all/split", &none).await.status, 400);
}
