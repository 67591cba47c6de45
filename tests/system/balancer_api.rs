//! What the operator's listener tells under the paths of the load balancer.

use portcullis_testkit::{Connection, Endpoint, Health, Response, free_port, wait_until};
use serde_json::json;

use crate::harness::{ADMIN_TOKEN, Edge};
use crate::native::Setup;

async fn ask(edge: &Edge, verb: &str, what: &str, body: &str) -> Response {
    let mut operator = Connection::open(edge.admin()).await.unwrap();
    let token = format!("Bearer {ADMIN_TOKEN}");
    let fields = [("Authorization", token.as_str())];
    let path = format!("/api/v1/load-balancer/{what}");
    let asked = operator.request(verb, &path, &fields, body.as_bytes());
    asked.await.unwrap()
}

#[tokio::test]
async fn health_of_the_balancer_follows_its_clusters() {
    let (good, ill) = (Endpoint::start("good").await, Endpoint::start("ill").await);
    let check = json!({ "path": "/health/ready", "interval": "100ms", "timeout": "100ms", "rise": 1, "fall": 1 });
    let edge = Setup::new(&[&good, &ill])
        .with_token()
        .set("clusters.main.health", check)
        .start()
        .await;
    let expect = async |status: &str, code: u16| {
        wait_until(&format!("the balancer to be {status}"), async || {
            let health = ask(&edge, "GET", "health", "").await;
            let told = health.json();
            (told["status"] == status && health.status == code).then_some(told)
        })
        .await
    };
    expect("healthy", 200).await;
    ill.set_health(Health::Status(500));
    let told = expect("degraded", 200).await;
    assert_eq!(told["clusters"][0]["in"], 1);
    assert_eq!(told["clusters"][0]["out"], 1);
}

#[tokio::test]
async fn a_balancer_that_can_serve_nothing_is_unhealthy() {
    let nobody = free_port();
    let check = json!({ "path": "/health/ready", "interval": "100ms", "timeout": "100ms" });
    let edge = Setup::for_addresses(&[nobody.address()])
        .with_token()
        .set("clusters.main.health", check)
        .start_unready()
        .await;
    let health = ask(&edge, "GET", "health", "").await;
    assert_eq!(health.status, 503);
    assert_eq!(health.json()["clusters"][0]["status"], "unhealthy");
}

#[tokio::test]
async fn figures_and_instances_of_the_balancer_are_told_as_json() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a, &b]).with_token().start().await;
    for _ in 0..6 {
        assert_eq!(edge.get("/").await.status, 200);
    }
    edge.wait_for_outcome("served", 6).await;
    let figures = ask(&edge, "GET", "metrics", "").await.json();
    assert_eq!(figures["requests"]["total"], 6.0);
    assert_eq!(figures["requests"]["by_outcome"]["served"], 6.0);
    let endpoints = figures["clusters"][0]["endpoints"].as_array().unwrap();
    assert!(endpoints.iter().all(|one| one["requests"] == 3));
    assert!(endpoints[0]["mean_ms"].as_f64().unwrap() > 0.0);
    let instances = ask(&edge, "GET", "instances", "").await.json();
    assert_eq!(instances["total"], 2);
    assert_eq!(
        instances["instances"][1]["address"],
        b.address().to_string()
    );
    assert_eq!(instances["instances"][1]["cluster"], "main");
    assert_eq!(instances["instances"][1]["state"], "in");
}

#[tokio::test]
async fn a_forced_health_check_waits_for_what_it_finds() {
    let endpoint = Endpoint::start("a").await;
    let check =
        json!({ "path": "/health/ready", "interval": "1h", "timeout": "1s", "rise": 1, "fall": 1 });
    let edge = Setup::new(&[&endpoint])
        .with_token()
        .set("clusters.main.health", check)
        .start()
        .await;
    for (health, verdict) in [(Health::Status(500), "failing"), (Health::Ok, "passing")] {
        endpoint.set_health(health);
        let found = ask(&edge, "POST", "health-check", r#"{"cluster": "main"}"#).await;
        assert_eq!(found.status, 200, "{}", found.text());
        let one = &found.json()["clusters"][0]["endpoints"][0];
        assert_eq!(one["answered"], true);
        assert_eq!(one["checks"][0]["verdict"], verdict, "{one}");
    }
    let unknown = ask(&edge, "POST", "health-check", r#"{"cluster": "mian"}"#).await;
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.text().contains("Did you mean `main`?"),
        "{}",
        unknown.text()
    );
}
