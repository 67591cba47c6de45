//! Server names: unknown ones, and certificates of two kinds for one name.

use portcullis_testkit::{Authority, Connection, Endpoint};
use serde_json::json;

use super::edge_with;

#[tokio::test]
async fn an_unknown_server_name_gets_an_alert_where_that_is_wanted() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let edge = edge_with(&a, &authority, &json!({ "unknown_name": "refuse" })).await;
    let refused = Connection::open_tls(edge.listener(1), "other.example", authority.client());
    let error = refused.await.err().unwrap().to_string();
    assert!(error.contains("UnrecognisedName"), "{error}");
    let reason = [("reason", "unknown_name")];
    edge.wait_for_metric(super::FAILURES, &reason, 1.0).await;
    let line = edge
        .wait_for_log(1, |line| line["outcome"] == "refused_server_name")
        .await;
    assert_eq!(line[0]["server_name"], "other.example");

    let mut nameless = authority.client();
    nameless.enable_sni = false;
    let refused = Connection::open_tls(edge.listener(1), "app.example", nameless);
    assert!(refused.await.is_err(), "nobody was asked for");

    let known = crate::harness::open_tls(edge.listener(1), "app.example", &authority);
    assert_eq!(known.await.get("/").await.unwrap().status, 200);
}
