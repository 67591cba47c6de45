//! How an edge process begins and ends: ports, readiness, drain, deadlines.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use portcullis_testkit::{Behavior, Connection, Endpoint, wait_until};
use serde_json::json;

use super::Setup;

#[tokio::test]
async fn admin_paths_answer() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    for path in ["/livez", "/readyz"] {
        let response = portcullis_testkit::client::get(edge.admin(), path)
            .await
            .unwrap();
        assert_eq!(response.status, 200, "{path}");
    }
    assert_eq!(edge.log().len(), 0, "admin requests are not traffic");
    edge.get("/").await;
    edge.wait_for_outcome("served", 1).await;
    let metrics = portcullis_testkit::client::get(edge.admin(), "/metrics")
        .await
        .unwrap();
    assert!(
        metrics
            .field("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
    assert!(
        metrics
            .text()
            .contains("# TYPE portcullis_edge_requests_total counter")
    );
    let missing = portcullis_testkit::client::get(edge.admin(), "/nothing")
        .await
        .unwrap();
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn without_an_admin_address_nothing_listens_there() {
    let a = Endpoint::start("a").await;
    let setup = Setup::new(&[&a]);
    let admin = setup.config()["admin"]["address"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let edge = setup.set("admin", json!("off")).spawn();
    wait_until("the listener", async || {
        portcullis_testkit::client::get(edge.http(), "/").await.ok()
    })
    .await;
    assert!(Connection::open(admin).await.is_err());
}

#[tokio::test]
async fn sigterm_on_an_idle_edge_ends_it_with_0() {
    let a = Endpoint::start("a").await;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut edge = Setup::new(&[&a]).start().await;
        let mut idle = edge.connect().await;
        idle.get("/").await.unwrap();
        let started = Instant::now();
        edge.process.signal(signal);
        assert_eq!(
            edge.process.exit_code().await,
            0,
            "{}",
            edge.process.output()
        );
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "an idle connection delays nothing"
        );
        idle.expect_close().await;
    }
}

#[tokio::test]
async fn readiness_fails_first_while_everything_is_still_served() {
    let a = Endpoint::start("a").await;
    let shutdown = json!({ "delay": "2s", "drain": "20s" });
    let mut edge = Setup::new(&[&a]).set("shutdown", shutdown).start().await;
    let started = Instant::now();
    edge.process.signal(Signal::SIGTERM);
    edge.wait_for_admin("/readyz", 503).await;
    if started.elapsed() < Duration::from_secs(1) {
        assert_eq!(edge.get("/").await.status, 200);
        let admin = edge.admin();
        assert_eq!(
            portcullis_testkit::client::get(admin, "/livez")
                .await
                .unwrap()
                .status,
            200
        );
    }
    assert_eq!(edge.process.exit_code().await, 0);
    assert!(
        started.elapsed() >= Duration::from_secs(2),
        "the delay was kept"
    );
}

#[tokio::test]
async fn requests_in_flight_finish_before_the_end() {
    let a = Endpoint::with("a", Behavior::Slow(Duration::from_secs(1))).await;
    let mut edge = Setup::new(&[&a]).start().await;
    let address = edge.http();
    let request = tokio::spawn(async move {
        Connection::open(address)
            .await
            .unwrap()
            .get("/slow")
            .await
            .unwrap()
    });
    wait_until("the request to arrive", async || {
        (a.in_flight() == 1).then_some(())
    })
    .await;
    edge.process.signal(Signal::SIGTERM);
    wait_until("the listener to close", async || {
        Connection::open(address).await.err()
    })
    .await;
    let response = request.await.unwrap();
    assert_eq!(
        (response.status, response.endpoint()),
        (200, "a".to_owned())
    );
    assert_eq!(edge.process.exit_code().await, 0);
    let lines = edge.log();
    assert_eq!(lines.len(), 1, "the last line is written before the end");
    assert_eq!(lines[0]["outcome"], "served");
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline() {
    let a = Endpoint::with("a", Behavior::Hang).await;
    let shutdown = json!({ "delay": "0s", "drain": "700ms" });
    let mut edge = Setup::new(&[&a]).set("shutdown", shutdown).start().await;
    let mut client = edge.connect().await;
    client
        .send(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    wait_until("the request to arrive", async || {
        (a.in_flight() == 1).then_some(())
    })
    .await;
    let started = Instant::now();
    edge.process.signal(Signal::SIGTERM);
    assert_eq!(
        edge.process.exit_code().await,
        0,
        "{}",
        edge.process.output()
    );
    assert!(
        started.elapsed() >= Duration::from_millis(600),
        "the deadline was waited for"
    );
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "and not much longer"
    );
    assert_eq!(edge.log().len(), 1, "cut requests are logged too");
}

#[tokio::test]
async fn a_second_signal_ends_the_drain_at_once() {
    let a = Endpoint::with("a", Behavior::Hang).await;
    let shutdown = json!({ "delay": "0s", "drain": "5m" });
    let mut edge = Setup::new(&[&a]).set("shutdown", shutdown).start().await;
    let mut client = edge.connect().await;
    client
        .send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    wait_until("the request to arrive", async || {
        (a.in_flight() == 1).then_some(())
    })
    .await;
    edge.process.signal(Signal::SIGTERM);
    edge.wait_for_admin("/readyz", 503).await;
    edge.process.signal(Signal::SIGTERM);
    assert_ne!(edge.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_taken_port_is_one_line_and_exit_1_at_once() {
    let a = Endpoint::start("a").await;
    for listener in ["listeners.0.address", "admin.address"] {
        let taken = Endpoint::start("taken").await;
        let started = Instant::now();
        let mut edge = Setup::new(&[&a])
            .set(listener, json!(taken.address().to_string()))
            .spawn();
        assert_eq!(
            edge.process.exit_code().await,
            1,
            "{}",
            edge.process.output()
        );
        assert!(
            started.elapsed() < Duration::from_secs(8),
            "no waiting for the port"
        );
        let lines = edge.process.stderr();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(
            lines[0].contains(&taken.address().port().to_string()),
            "{lines:?}"
        );
    }
}

#[tokio::test]
async fn with_one_taken_port_nothing_listens() {
    let (a, taken) = (Endpoint::start("a").await, Endpoint::start("taken").await);
    let setup = Setup::new(&[&a])
        .listener("second", &json!({}))
        .set("listeners.1.address", json!(taken.address().to_string()));
    let first = setup.config()["listeners"][0]["address"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let mut edge = setup.spawn();
    assert_eq!(edge.process.exit_code().await, 1);
    assert!(Connection::open(first).await.is_err());
    assert_eq!(taken.requests(), 0);
}
