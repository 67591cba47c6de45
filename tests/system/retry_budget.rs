//! How often and how soon a request is repeated: attempts, back-off, budget.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_testkit::{Behavior, Endpoint, Step, client, wait_until};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Setup;

/// Ejection would hide how many retries there are.
fn without_ejection(setup: Setup) -> Setup {
    setup.set("clusters.main.ejection", json!("off"))
}

#[tokio::test]
async fn an_endpoint_that_asks_for_time_gets_it_if_there_is_no_other() {
    let busy = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    for (max_backoff, requests) in [("2s", 2), ("250ms", 1)] {
        let a = Endpoint::with("a", Behavior::raw(busy)).await;
        let edge = without_ejection(Setup::new(&[&a]))
            .set(
                "clusters.main.retries",
                json!({ "max_backoff": max_backoff }),
            )
            .start()
            .await;
        let begun = Instant::now();
        let response = edge.get("/").await;
        assert_eq!(response.status, 503);
        assert_eq!(
            response.field("retry-after"),
            Some("1"),
            "it is the endpoint's"
        );
        assert_eq!(a.requests(), requests, "{max_backoff}");
        assert_eq!(begun.elapsed() >= Duration::from_secs(1), requests == 2);
    }
}

#[tokio::test]
async fn repetitions_are_spread_over_their_back_off() {
    let bad = Endpoint::with("bad", Behavior::ResetBeforeAnswer).await;
    let good = Endpoint::start("good").await;
    let edge = without_ejection(Setup::new(&[&bad, &good]))
        .set(
            "clusters.main.retries",
            json!({ "count": 1, "backoff": "2s", "max_backoff": "2s", "budget_min": 100 }),
        )
        .start()
        .await;
    let address = edge.http();
    let mut requests = JoinSet::new();
    for _ in 0..24 {
        requests.spawn(async move {
            let begun = Instant::now();
            assert_eq!(client::get(address, "/").await.unwrap().status, 200);
            begun.elapsed()
        });
    }
    let took = requests.join_all().await;
    let late = took.iter().filter(|took| took.as_millis() > 200).count();
    // Half of them are repeated, nine in ten of those later than that.
    assert!((3..=12).contains(&late), "{late}");
}

#[tokio::test]
async fn a_budget_that_is_spent_forbids_a_retry() {
    for (percent, min, status) in [(1, 0, 502), (0, 1, 200), (100, 0, 200)] {
        let bad = Endpoint::with("bad", Behavior::ResetBeforeAnswer).await;
        let good = Endpoint::start("good").await;
        let budget = json!({ "budget_percent": percent, "budget_min": min });
        let edge = without_ejection(Setup::new(&[&bad, &good]))
            .set("clusters.main.retries", budget)
            .start()
            .await;
        assert_eq!(edge.get("/").await.status, status, "{percent} {min}");
        let spent = f64::from(u8::from(status == 502));
        edge.wait_for_metric("portcullis_edge_retry_budget_spent_total", &[], spent)
            .await;
        let retried = [("reason", "reset")];
        edge.wait_for_metric("portcullis_edge_retries_total", &retried, 1.0 - spent)
            .await;
    }
}

#[tokio::test]
async fn a_burst_of_503_beyond_the_budget_is_passed_on_as_it_is() {
    let (bad_gate, good_gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let gated = |gate: &Arc<Semaphore>, answer: &str| {
        Behavior::Script(vec![
            Step::Receive,
            Step::Await(Arc::clone(gate)),
            Step::Send(answer.as_bytes().to_vec()),
        ])
    };
    let busy = "HTTP/1.1 503 Busy\r\nretry-after: 9\r\ncontent-length: 4\r\n\r\nbusy";
    let bad = Endpoint::with("bad", gated(&bad_gate, busy)).await;
    let fine = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
    let good = Endpoint::with("good", gated(&good_gate, fine)).await;
    let edge = without_ejection(Setup::new(&[&bad, &good]))
        .set(
            "clusters.main.retries",
            json!({ "budget_percent": 0, "budget_min": 1 }),
        )
        .start()
        .await;
    let address = edge.http();
    let mut requests = JoinSet::new();
    for _ in 0..8 {
        requests.spawn(async move { client::get(address, "/").await.unwrap() });
    }
    wait_until("all at their endpoints", async || {
        ((bad.in_flight(), good.in_flight()) == (4, 4)).then_some(())
    })
    .await;
    bad_gate.add_permits(4);
    for _ in 0..3 {
        let passed_on = requests.join_next().await.unwrap().unwrap();
        assert_eq!((passed_on.status, passed_on.text().as_str()), (503, "busy"));
        assert_eq!(passed_on.field("retry-after"), Some("9"));
    }
    good_gate.add_permits(5);
    for response in requests.join_all().await {
        assert_eq!(response.text(), "fine");
    }
    edge.wait_for_metric("portcullis_edge_retry_budget_spent_total", &[], 3.0)
        .await;
    edge.wait_for_outcome("endpoint_error", 3).await;
    assert_eq!((bad.requests(), good.requests()), (4, 5));
}

#[tokio::test]
async fn a_repetition_that_is_answered_at_length_leaves_the_budget_to_others() {
    let bad = Endpoint::with("bad", Behavior::ResetBeforeAnswer).await;
    let gate = Arc::new(Semaphore::new(0));
    let long = Behavior::Script(vec![
        Step::Receive,
        Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlo".to_vec()),
        Step::Await(Arc::clone(&gate)),
        Step::Send(b"ng".to_vec()),
    ]);
    let good = Endpoint::with("good", long).await;
    let edge = without_ejection(Setup::new(&[&bad, &good]))
        .set(
            "clusters.main.retries",
            json!({ "budget_percent": 0, "budget_min": 1 }),
        )
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = edge.connect().await;
        client
            .send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        clients.push(client);
    }
    assert!(bad.requests() >= 2 && good.in_flight() == 6);
    edge.wait_for_metric(
        "portcullis_edge_retries_total",
        &[("reason", "reset")],
        bad.requests() as f64,
    )
    .await;
    gate.add_permits(6);
}

#[tokio::test]
async fn attempts_end_where_the_configuration_says() {
    let mut bad = Vec::new();
    for name in ["a", "b", "c", "d"] {
        bad.push(Endpoint::with(name, Behavior::ResetBeforeAnswer).await);
    }
    let all: Vec<&Endpoint> = bad.iter().collect();
    for retries in [0, 1, 3] {
        let before: usize = bad.iter().map(Endpoint::requests).sum();
        let edge = without_ejection(Setup::new(&all))
            .set("clusters.main.retries", json!(retries))
            .start()
            .await;
        assert_eq!(edge.get("/x").await.status, 502);
        let after: usize = bad.iter().map(Endpoint::requests).sum();
        assert_eq!(after - before, retries + 1, "retries: {retries}");
        assert_eq!(edge.log_of("/x").await["attempts"], retries + 1);
    }
}
