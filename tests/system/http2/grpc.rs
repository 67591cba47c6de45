//! gRPC through the edge: what clients hear when there is no endpoint to tell them.

use portcullis_testkit::client::Http2Connection;
use portcullis_testkit::{Authority, Behavior, Endpoint, Response};
use serde_json::json;

use super::{open, tls_edge};

async fn call(client: &Http2Connection, path: &str, kind: &str, body: &[u8]) -> Response {
    let fields = [("content-type", kind), ("te", "trailers")];
    client.request("POST", path, &fields, body).await.unwrap()
}

#[tokio::test]
async fn errors_of_the_edge_are_a_status_of_grpc_for_grpc_alone() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let extra = json!({ "limits": { "body_bytes": "1KiB" } });
    let edge = tls_edge(&a, &authority, &extra).await;
    let client = open(&edge, &authority).await;
    a.behave(Behavior::ResetBeforeAnswer);
    for kind in [
        "application/grpc",
        "application/grpc+proto",
        "Application/gRPC;v=1",
    ] {
        let answer = call(&client, "/svc/Method", kind, b"\0\0\0\0\0").await;
        assert_eq!(
            (answer.status, answer.field("grpc-status")),
            (200, Some("14")),
            "{kind}"
        );
        assert_eq!(answer.field("content-type"), Some("application/grpc"));
        assert!(
            answer
                .field("grpc-message")
                .is_some_and(|words| !words.is_empty())
        );
        assert!(answer.field("x-request-id").is_some());
        assert!(answer.body.is_empty());
    }
    edge.wait_for_outcome("failed_endpoint_reset", 3).await;
    let large = call(&client, "/svc/Method", "application/grpc", &[0; 4_096]).await;
    assert_eq!(large.field("grpc-status"), Some("8"));
    for kind in [
        "application/grpc-web",
        "application/json",
        "application/grpcx",
    ] {
        let answer = call(&client, "/svc/Method", kind, b"").await;
        assert_eq!(
            (answer.status, answer.field("grpc-status")),
            (502, None),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn silence_of_an_endpoint_and_a_missing_route_have_their_codes() {
    let (a, authority) = (Endpoint::with("a", Behavior::Hang).await, Authority::new());
    let identity = authority.issue("app", &["app.example"]);
    let certificates = json!([{ "cert": identity.cert, "key": identity.key }]);
    let edge = crate::native::Setup::new(&[&a])
        .listener("tls", &json!({ "tls": { "certificates": certificates } }))
        .set("routes.0.path", json!("/svc"))
        .set("clusters.main.timeouts.read", json!("300ms"))
        .start()
        .await;
    let client = open(&edge, &authority).await;
    let late = call(&client, "/svc/Method", "application/grpc", b"").await;
    assert_eq!((late.status, late.field("grpc-status")), (200, Some("4")));
    let missing = call(&client, "/other/Method", "application/grpc", b"").await;
    assert_eq!(
        (missing.status, missing.field("grpc-status")),
        (200, Some("12"))
    );
    edge.wait_for_outcome("failed_endpoint_timeout", 1).await;
    edge.wait_for_outcome("refused_no_route", 1).await;
}
