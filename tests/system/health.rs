//! Active health checks: who gets in, who goes out, and at which moment.

use std::time::{Duration, Instant};

use portcullis_testkit::{Endpoint, Health, wait_until};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;

fn check(keys: &Value) -> Value {
    let mut check = json!({ "interval": "200ms", "timeout": "200ms", "rise": 2, "fall": 3 });
    for (key, value) in keys.as_object().unwrap() {
        check[key] = value.clone();
    }
    check
}

async fn wait_for_health(edge: &Edge, endpoint: &Endpoint, healthy: bool) {
    let address = endpoint.address().to_string();
    let labels = [("endpoint", address.as_str())];
    let value = f64::from(u8::from(healthy));
    edge.wait_for_metric("portcullis_edge_endpoint_healthy", &labels, value)
        .await;
}

#[tokio::test]
async fn an_unproven_endpoint_gets_nothing() {
    let (good, bad) = (Endpoint::start("good").await, Endpoint::start("bad").await);
    bad.set_health(Health::Failing);
    let edge = Setup::new(&[&good, &bad])
        .set("clusters.main.health", check(&json!({})))
        .start()
        .await;
    let mut client = edge.connect().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.unwrap().endpoint(), "good");
    }
    assert_eq!(bad.requests(), 0);
}

#[tokio::test]
async fn readiness_waits_for_the_first_healthy_endpoint() {
    let a = Endpoint::start("a").await;
    a.set_health(Health::Hang);
    let setup = Setup::new(&[&a]).set("clusters.main.health", check(&json!({})));
    let mut edge = setup.start_unready().await;
    assert_eq!(edge.get("/").await.status, 503);
    edge.wait_for_admin("/readyz", 503).await;
    a.set_health(Health::Ok);
    edge.wait_for_admin("/readyz", 200).await;
    assert_eq!(edge.get("/").await.status, 200);
}

#[tokio::test]
async fn an_endpoint_goes_out_after_fall_failures_and_returns_after_rise_successes() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.health", check(&json!({})))
        .start()
        .await;
    wait_for_health(&edge, &a, true).await;
    wait_for_health(&edge, &b, true).await;
    a.set_health(Health::Failing);
    wait_for_health(&edge, &a, false).await;
    let mut client = edge.connect().await;
    let before = a.requests();
    for _ in 0..10 {
        assert_eq!(client.get("/").await.unwrap().endpoint(), "b");
    }
    assert_eq!(a.requests(), before);
    a.set_health(Health::Ok);
    wait_for_health(&edge, &a, true).await;
    wait_until("traffic at a", async || {
        (edge.get("/").await.endpoint() == "a").then_some(())
    })
    .await;
}

#[tokio::test]
async fn fall_and_rise_count_checks_in_a_row() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let health = check(&json!({ "interval": "50ms", "timeout": "50ms", "fall": 8, "rise": 6 }));
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.health", health)
        .start()
        .await;
    wait_for_health(&edge, &a, true).await;
    let before = a.health_checks();
    a.set_health(Health::Failing);
    wait_for_health(&edge, &a, false).await;
    // One check may have been under way at the switch.
    assert!(
        a.health_checks() - before >= 7,
        "eight failures take it out"
    );
    let before = a.health_checks();
    a.set_health(Health::Ok);
    wait_for_health(&edge, &a, true).await;
    assert!(
        a.health_checks() - before >= 5,
        "six successes bring it back"
    );
}

#[tokio::test]
async fn draining_takes_effect_at_the_first_check() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    // With `fall` this high only the cause can take the endpoint out in time.
    let health = check(&json!({ "fall": 100 }));
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.health", health)
        .start()
        .await;
    wait_for_health(&edge, &a, true).await;
    a.set_health(Health::Draining);
    let before = a.health_checks();
    let mut client = edge.connect().await;
    wait_until("a to be left alone", async || {
        let before = a.requests();
        for _ in 0..4 {
            assert_eq!(client.get("/").await.unwrap().status, 200);
        }
        (a.requests() == before).then_some(())
    })
    .await;
    assert!(
        a.health_checks() - before < 100,
        "the cause acted, not the count"
    );
}

#[tokio::test]
async fn a_dead_endpoint_costs_no_request() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.health", check(&json!({})))
        .set("clusters.main.ejection", json!("off"))
        .start()
        .await;
    wait_for_health(&edge, &a, true).await;
    wait_for_health(&edge, &b, true).await;
    let mut client = edge.connect().await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
    let address = a.address();
    drop(a);
    for _ in 0..20 {
        let response = client.get("/").await.unwrap();
        assert_eq!(
            (response.status, response.endpoint()),
            (200, "b".to_owned())
        );
    }
    let back = Endpoint::start_at("a2", address).await;
    wait_for_health(&edge, &back, true).await;
    wait_until("traffic at the new process", async || {
        (edge.get("/").await.endpoint() == "a2").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_hanging_check_fails_at_its_timeout() {
    let a = Endpoint::start("a").await;
    a.set_health(Health::Hang);
    let health = check(&json!({ "interval": "10s", "timeout": "100ms" }));
    let edge = Setup::new(&[&a])
        .set("clusters.main.health", health)
        .start_unready()
        .await;
    let started = Instant::now();
    let labels = [("result", "fail")];
    edge.wait_for_metric("portcullis_edge_probes_total", &labels, 1.0)
        .await;
    assert!(
        started.elapsed() < Duration::from_millis(4_500),
        "by default it would be 5 s"
    );
}

#[tokio::test]
async fn checks_ask_for_the_path_and_host_that_are_configured() {
    let a = Endpoint::start("a").await;
    let health = check(&json!({ "path": "/health/custom", "host": "check.example" }));
    let _edge = Setup::new(&[&a])
        .set("clusters.main.health", health)
        .start()
        .await;
    let checks = a.received_health_checks();
    let seen = checks.first().expect("ready means checked");
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("GET", "/health/custom")
    );
    assert_eq!(seen.values("host"), ["check.example"]);
}

#[tokio::test]
async fn only_expected_statuses_pass() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    a.set_health(Health::Status(204));
    b.set_health(Health::Status(404));
    let health = check(&json!({ "expect": "400-499", "rise": 1 }));
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.health", health)
        .start()
        .await;
    wait_for_health(&edge, &b, true).await;
    wait_for_health(&edge, &a, false).await;
    a.set_health(Health::Status(400));
    wait_for_health(&edge, &a, true).await;
}

#[tokio::test]
async fn checks_come_at_the_interval() {
    let (quick, slow) = (
        Endpoint::start("quick").await,
        Endpoint::start("slow").await,
    );
    let edge = Setup::new(&[&quick])
        .cluster("slow", &[&slow])
        .set(
            "clusters.main.health",
            check(&json!({ "interval": "100ms", "timeout": "100ms" })),
        )
        .set(
            "clusters.slow.health",
            check(&json!({ "interval": "1h", "timeout": "5s" })),
        )
        .start()
        .await;
    let quick_checked = async || (quick.health_checks() >= 10).then_some(());
    wait_until("ten checks", quick_checked).await;
    // Confirming a first success early is allowed; an hour's pace is not ten checks.
    assert!(slow.health_checks() <= 3, "{}", slow.health_checks());
    drop(edge);
}

#[tokio::test]
async fn slow_answers_of_the_application_do_not_fail_checks() {
    let a = Endpoint::with(
        "a",
        portcullis_testkit::Behavior::Slow(Duration::from_millis(400)),
    )
    .await;
    let health = check(&json!({ "timeout": "200ms", "fall": 2 }));
    let edge = Setup::new(&[&a])
        .set("clusters.main.health", health)
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(edge.get("/").await.status, 200);
    }
}
