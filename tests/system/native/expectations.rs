//! Clients that wait for `100 Continue` of an endpoint that says nothing.

use portcullis_testkit::{Behavior, Endpoint};
use serde_json::json;

use super::Setup;

#[tokio::test]
async fn an_endpoint_that_never_says_continue_is_504_and_a_client_that_stalls_is_408() {
    let a = Endpoint::start("a").await;
    a.behave(Behavior::StopReading);
    let edge = Setup::new(&[&a])
        .set("clusters.main.retries", json!(0))
        .set("clusters.main.ejection", json!("off"))
        .set("clusters.main.timeouts", json!({ "read": "300ms" }))
        .set("listeners.0.timeouts", json!({ "body": "1s" }))
        .start()
        .await;
    for (expect, begun, status) in [
        ("Expect: 100-continue\r\n", "", 504),
        ("Expect: 100-continue\r\n", "o", 408),
        ("", "", 408),
    ] {
        let mut client = edge.connect().await;
        let head =
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n{expect}\r\n{begun}");
        client.send(head.as_bytes()).await.unwrap();
        assert_eq!(client.response().await.unwrap().status, status, "{head}");
    }
    edge.wait_for_outcome("failed_endpoint_timeout", 1).await;
    edge.wait_for_outcome("client_body_timeout", 2).await;
}
