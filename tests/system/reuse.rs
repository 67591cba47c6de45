//! Connections that serve more than one request: how long they are kept on both sides, and that
//! one which ended unnoticed costs nobody an answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use portcullis_testkit::{Behavior, Endpoint, Step, wait_until};
use serde_json::json;
use tokio::sync::Semaphore;

use super::Setup;
use crate::harness::doors::DOORS;

const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\npay";

#[tokio::test]
async fn an_endpoint_that_closes_after_each_answer_fails_nobody() {
    for behavior in [Behavior::CloseUnannounced, Behavior::CloseAfterAnswer] {
        let a = Endpoint::with("a", behavior.clone()).await;
        let edge = Setup::new(&[&a])
            .set("clusters.main.ejection", json!("off"))
            .start()
            .await;
        let mut client = edge.connect().await;
        for number in 0..200 {
            let response = client.get(&format!("/{number}")).await.unwrap();
            assert_eq!(response.status, 200, "{behavior:?} {number}");
        }
        edge.wait_for_outcome("served", 200).await;
    }
}

#[tokio::test]
async fn a_post_is_not_sent_on_a_connection_that_was_closed() {
    let a = Endpoint::with("a", Behavior::CloseUnannounced).await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    for number in 0..100 {
        wait_until("the endpoint to close", async || {
            (a.open_connections() == 0).then_some(())
        })
        .await;
        let path = format!("/{number}");
        let response = client.request("POST", &path, &[], b"pay").await.unwrap();
        assert_eq!(response.status, 200, "{number}: {}", response.text());
    }
    assert_eq!(a.requests(), 100);
    edge.wait_for_outcome("served", 100).await;
    let new = [("kind", "new")];
    edge.wait_for_metric("portcullis_edge_endpoint_connections_total", &new, 100.0)
        .await;
}

#[tokio::test]
async fn posts_around_the_end_of_an_endpoints_patience_all_arrive() {
    const CLIENTS: usize = 40;
    let patience = Duration::from_millis(1200);
    let a = Endpoint::with("a", Behavior::CloseIdle(patience)).await;
    let edge = Setup::new(&[&a]).start().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = edge.connect().await;
        client.send(POST).await.unwrap();
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.response().await.unwrap().status, 200);
    }
    // The connections to the endpoint fall due one after another about now.
    let begin = Instant::now() + patience - Duration::from_millis(50);
    let mut turn = tokio::time::interval_at(begin.into(), Duration::from_millis(2));
    for client in &mut clients {
        turn.tick().await;
        client.send(POST).await.unwrap();
        let response = client.response().await.unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
    }
    edge.wait_for_outcome("served", 2 * CLIENTS as u32).await;
}

#[tokio::test]
async fn a_pooled_connection_that_ends_under_a_request_is_not_held_against_its_endpoint() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("clusters.main.ejection.failures", json!(1))
        .start()
        .await;
    let mut client = edge.connect().await;
    let response = client.request("POST", "/", &[], b"pay").await.unwrap();
    assert_eq!(response.status, 200);
    // It reads the request and closes: the edge cannot tell this from a close in passing.
    a.behave(Behavior::ResetBeforeAnswer);
    let response = client.request("POST", "/", &[], b"pay").await.unwrap();
    assert_eq!(response.status, 502);
    edge.wait_for_outcome("failed_endpoint_reset", 1).await;
    edge.wait_for_metric("portcullis_edge_stale_connections_total", &[], 1.0)
        .await;
    let failures = edge.metric("portcullis_edge_endpoint_failures_total", &[]);
    assert_eq!(failures.await, 0.0);
}

#[tokio::test]
async fn an_endpoint_that_restarts_fails_nobody() {
    let mut a = Endpoint::start("a").await;
    let address = a.address();
    let edge = Setup::new(&[&a])
        .set("clusters.main.ejection", json!("off"))
        .start()
        .await;
    let mut client = edge.connect().await;
    for round in 0..10 {
        for _ in 0..5 {
            let response = client.get("/").await.unwrap();
            assert_eq!(response.status, 200, "round {round}");
        }
        drop(a);
        // Its port is free again as soon as its task has ended.
        wait_until("the port to be left", async || {
            let listener = std::net::TcpListener::bind(address);
            listener.ok().map(drop)
        })
        .await;
        a = Endpoint::start_at("a", address).await;
    }
    edge.wait_for_outcome("served", 50).await;
}

#[tokio::test]
async fn an_endpoint_that_says_close_is_not_asked_again_on_that_connection() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    // It keeps the connection open, whatever it says.
    let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
    a.behave(Behavior::raw(answer));
    for count in 1..=3 {
        assert_eq!(client.get("/").await.unwrap().text(), "hi");
        assert_eq!(a.connections(), count);
    }
    wait_until("the edge to close them", async || {
        (a.open_connections() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_drain_lets_busy_connections_finish_and_closes_idle_ones() {
    let a = Endpoint::start("a").await;
    let mut house = Setup::new(&[&a]).start_with_both_doors().await;
    let finish = Arc::new(Semaphore::new(0));
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
    let (mut idle, mut silent, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for door in DOORS {
        let mut client = house.enter(door).await;
        assert_eq!(client.get("/").await.unwrap().status, 200);
        idle.push(client);
        silent.push(house.enter(door).await);
    }
    a.behave(Behavior::Script(vec![
        Step::Receive,
        Step::Await(Arc::clone(&finish)),
        Step::Send(answer.into()),
    ]));
    for door in DOORS {
        let mut client = house.enter(door).await;
        client
            .send(b"GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        busy.push(client);
    }
    wait_until("the requests to arrive", async || {
        (a.in_flight() == 2).then_some(())
    })
    .await;
    house.edge.process.signal(Signal::SIGTERM);
    for mut client in idle.into_iter().chain(silent) {
        client.expect_close().await;
    }
    finish.add_permits(2);
    for mut client in busy {
        let response = client.response().await.unwrap();
        assert_eq!(response.text(), "hi");
        assert_eq!(response.field("connection"), Some("close"));
        client.expect_close().await;
    }
    assert_eq!(house.edge.process.exit_code().await, 0);
}
