//! What clients get of an endpoint that fails and is not asked again, and what becomes of it.

use std::time::Duration;

use portcullis_testkit::{Behavior, Connection, Endpoint, free_port, wait_until};
use serde_json::json;

use super::Setup;

/// Ejection would hide what the endpoint does.
fn without_ejection(setup: Setup) -> Setup {
    setup.set("clusters.main.ejection", json!("off"))
}

#[tokio::test]
async fn a_500_is_passed_on_and_not_repeated() {
    let bad = Endpoint::with("bad", Behavior::Status(500)).await;
    let edge = without_ejection(Setup::new(&[&bad])).start().await;
    assert_eq!(edge.get("/x").await.status, 500);
    assert_eq!(bad.requests(), 1);
    assert_eq!(edge.log_of("/x").await["outcome"], "endpoint_error");
}

#[tokio::test]
async fn an_answer_cut_short_is_cut_short_for_the_client_too() {
    for behavior in [Behavior::ResetMidBody, Behavior::TruncatedLength] {
        let bad = Endpoint::with("bad", behavior.clone()).await;
        let edge = without_ejection(Setup::new(&[&bad])).start().await;
        let answer = edge.connect().await.get("/cut").await;
        assert!(answer.is_err(), "{behavior:?}: {answer:?}");
        assert_eq!(
            bad.requests(),
            1,
            "{behavior:?}: bytes reached the client, no second attempt"
        );
        assert_eq!(
            edge.log_of("/cut").await["outcome"],
            "failed_endpoint_truncated"
        );
    }
}

#[tokio::test]
async fn a_silent_endpoint_becomes_504() {
    let silent = Endpoint::with("silent", Behavior::Hang).await;
    let edge = without_ejection(Setup::new(&[&silent]))
        .set("clusters.main.timeouts", json!({ "read": "300ms" }))
        .start()
        .await;
    let response = edge
        .connect()
        .await
        .request("POST", "/x", &[], b"x")
        .await
        .unwrap();
    assert_eq!(response.status, 504);
    assert_eq!(
        edge.log_of("/x").await["outcome"],
        "failed_endpoint_timeout"
    );
}

#[tokio::test]
async fn nobody_listening_becomes_502() {
    let (one, two) = (free_port(), free_port());
    let setup = Setup::for_addresses(&[one.address(), two.address()]);
    let edge = without_ejection(setup).start().await;
    let response = edge.get("/x").await;
    assert_eq!(response.status, 502);
    assert_eq!(
        response.field("content-type"),
        Some("application/problem+json")
    );
    let line = edge.log_of("/x").await;
    assert_eq!(
        (&line["outcome"], &line["attempts"]),
        (&json!("failed_connect_refused"), &json!(2))
    );
}

#[tokio::test]
async fn an_endpoint_that_keeps_failing_is_ejected_and_comes_back() {
    let (bad, good) = (Endpoint::start("bad").await, Endpoint::start("good").await);
    let edge = Setup::new(&[&bad, &good])
        .set(
            "clusters.main.ejection",
            json!({ "failures": 3, "duration": "1s" }),
        )
        .start()
        .await;
    bad.behave(Behavior::ResetBeforeAnswer);
    let address = bad.address().to_string();
    let labels = [("endpoint", address.as_str())];
    let mut client = edge.connect().await;
    wait_until("the ejection", async || {
        assert_eq!(client.get("/").await.unwrap().status, 200);
        (edge
            .metric("portcullis_edge_endpoint_ejected", &labels)
            .await
            == 1.0)
            .then_some(())
    })
    .await;
    assert_eq!(bad.requests(), 3, "three failures in a row eject");
    bad.behave(Behavior::Echo);
    wait_until("the way back", async || {
        let response = edge.get("/").await;
        (response.endpoint() == "bad").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_last_endpoint_is_never_ejected() {
    let bad = Endpoint::with("bad", Behavior::Status(503)).await;
    let edge = Setup::new(&[&bad])
        .set(
            "clusters.main.ejection",
            json!({ "failures": 1, "max_percent": 100 }),
        )
        .start()
        .await;
    let mut client = edge.connect().await;
    for _ in 0..10 {
        assert_eq!(
            client.request("POST", "/", &[], b"x").await.unwrap().status,
            503
        );
    }
    assert_eq!(bad.requests(), 10);
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_endpoint() {
    let slow = Endpoint::with("slow", Behavior::Slow(Duration::from_mins(5))).await;
    let edge = Setup::new(&[&slow]).start().await;
    let mut client = Connection::open(edge.http()).await.unwrap();
    client
        .send(b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    wait_until("the request to arrive", async || {
        (slow.in_flight() == 1).then_some(())
    })
    .await;
    drop(client);
    assert_eq!(edge.log_of("/gone").await["outcome"], "client_gone");
    let labels = [("cluster", "main")];
    edge.wait_for_metric("portcullis_edge_endpoint_in_flight", &labels, 0.0)
        .await;
}

#[tokio::test]
async fn a_slow_response_head_is_waited_for() {
    let a = Endpoint::with("a", Behavior::SlowHead(Duration::from_millis(5))).await;
    let edge = without_ejection(Setup::new(&[&a])).start().await;
    assert_eq!(edge.get("/").await.text(), "{}");
}

#[tokio::test]
async fn silence_inside_an_answer_ends_it() {
    let a = Endpoint::with("a", Behavior::HangMidBody).await;
    let edge = without_ejection(Setup::new(&[&a]))
        .set("clusters.main.timeouts", json!({ "read": "300ms" }))
        .start()
        .await;
    assert!(edge.connect().await.get("/half").await.is_err());
    assert_eq!(
        edge.log_of("/half").await["outcome"],
        "failed_endpoint_timeout"
    );
}
