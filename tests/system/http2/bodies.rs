//! Request bodies over HTTP/2 that come late, slowly or not at all.

use std::time::Duration;

use portcullis_testkit::client::Calls;
use portcullis_testkit::{Authority, Endpoint};
use serde_json::json;

use super::frames::*;
use crate::native::Setup;

#[tokio::test]
async fn a_body_that_falls_silent_is_408_and_one_that_goes_on_is_not() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let edge = Setup::new(&[&a])
        .set("listeners.0.http2.cleartext", json!(true))
        .set("listeners.0.timeouts.body", json!("1s"))
        .set("listeners.0.limits.body_rate", json!(0))
        .start()
        .await;
    let mut raw = Raw::open(&edge, &authority, Way::Clear).await;
    raw.send(
        &[
            post(1, "/never"),
            post(3, "/begun"),
            frame(DATA, 0, 3, b"x"),
        ]
        .concat(),
    )
    .await;
    raw.send(&post(5, "/slow")).await;
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    for _ in 0..8 {
        pace.tick().await;
        raw.send(&frame(DATA, 0, 5, b"x")).await;
    }
    raw.send(&frame(DATA, END_STREAM, 5, b"x")).await;
    assert_eq!(raw.status(5).await, Ok(200));
    assert_eq!(raw.status(1).await, Ok(408));
    assert_eq!(raw.status(3).await, Ok(408));
    assert_eq!(
        edge.log_of("/never").await["outcome"],
        "client_body_timeout"
    );
    assert_eq!(
        edge.log_of("/begun").await["outcome"],
        "client_body_timeout"
    );
    raw.send(&get(7, "/after")).await;
    assert_eq!(raw.status(7).await, Ok(200), "on the same connection");
    drop(raw);
    edge.expect_nothing_left().await;
}

#[tokio::test]
async fn an_end_in_a_frame_of_its_own_ends_a_body_once() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("listeners.0.http2.cleartext", json!(true))
        .set("clusters.main.ejection", json!("off"))
        .start()
        .await;
    let calls = Calls::open(edge.http()).await.unwrap();
    for _ in 0..5 {
        let mut call = calls.start("/x", &[]).await.unwrap();
        call.send(b"piece").await.unwrap();
        call.end().unwrap();
        assert_eq!(call.head().await.unwrap().0, 200);
        while call.next().await.unwrap().is_some() {}
    }
    assert_eq!(a.received().len(), 5);
    assert_eq!(a.connections(), 1, "nothing was left over on it");
}
