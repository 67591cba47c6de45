//! Endpoints that fall silent while requests wait for them.

use portcullis_testkit::{Behavior, Endpoint, Health, client, wait_until};
use serde_json::json;
use tokio::task::JoinSet;

use super::Setup;

/// As a process behaves that was stopped: it accepts and stays silent, for probes too.
#[tokio::test]
async fn requests_that_wait_for_an_endpoint_that_goes_out_are_answered_by_another() {
    let (silent, good) = (
        Endpoint::start("silent").await,
        Endpoint::start("good").await,
    );
    let health = json!({ "interval": "200ms", "timeout": "200ms", "rise": 1, "fall": 2 });
    let edge = Setup::new(&[&silent, &good])
        .set("clusters.main.health", health)
        .set("clusters.main.timeouts", json!({ "read": "5s" }))
        .start()
        .await;
    wait_until("both endpoints to be eligible", async || {
        let healthy = edge.metric("portcullis_edge_endpoint_healthy", &[]).await;
        (healthy == 2.0).then_some(())
    })
    .await;
    silent.behave(Behavior::Hang);
    let address = edge.http();
    let mut reads = JoinSet::new();
    for _ in 0..6 {
        reads.spawn(async move { client::get(address, "/").await.unwrap() });
    }
    wait_until("some to wait", async || {
        (silent.in_flight() == 3).then_some(())
    })
    .await;
    let mut post = edge.connect().await;
    let mut other = edge.connect().await;
    for writer in [&mut post, &mut other] {
        let sent = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\npay";
        writer.send(sent).await.unwrap();
    }
    wait_until("one of the writers to wait, too", async || {
        (silent.in_flight() == 4).then_some(())
    })
    .await;
    silent.set_health(Health::Hang);
    for response in reads.join_all().await {
        assert_eq!(response.status, 200);
        assert_eq!(response.json()["endpoint"], "good");
    }
    let retried = [("reason", "endpoint_out")];
    edge.wait_for_metric("portcullis_edge_retries_total", &retried, 3.0)
        .await;
    let mut statuses = Vec::new();
    for mut writer in [post, other] {
        statuses.push(writer.response().await.unwrap().status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 504], "what cannot be repeated waits");
    edge.wait_for_outcome("failed_endpoint_timeout", 1).await;
}
