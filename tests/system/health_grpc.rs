//! Health checks by the gRPC health protocol, on the real binary. Never repeats what the checks' own
//! tests show of answers.

use portcullis_testkit::grpc::{GrpcEndpoint, Reply};
use portcullis_testkit::{Authority, Endpoint};
use serde_json::json;

use crate::native::Setup;

#[tokio::test]
async fn a_service_that_serves_by_grpc_gets_traffic() {
    let authority = Authority::new();
    let identity = authority.issue("grpc", &["health.internal"]);
    for (identity, tls) in [
        (None, json!("off")),
        (
            Some(&identity),
            json!({ "ca": authority.root_file(), "server_name": "health.internal" }),
        ),
    ] {
        let a = Endpoint::start("a").await;
        let health = GrpcEndpoint::start(Reply::Serving, identity).await;
        let check = json!({
            "type": "grpc", "service": "shop.Orders", "port": health.address().port(),
            "interval": "200ms", "timeout": "200ms", "rise": 1, "fall": 1, "tls": tls,
        });
        let edge = Setup::new(&[&a])
            .set("clusters.main.health", check)
            .start()
            .await;
        let healthy = "portcullis_edge_endpoint_healthy";
        assert_eq!(edge.get("/").await.status, 200);
        health.set(Reply::NotServing);
        edge.wait_for_metric(healthy, &[], 0.0).await;
        health.set(Reply::Serving);
        edge.wait_for_metric(healthy, &[], 1.0).await;
        health.set(Reply::Status(5));
        edge.wait_for_metric(healthy, &[], 0.0).await;
        let mut asked = health.services();
        asked.dedup();
        assert_eq!(asked, ["shop.Orders"]);
    }
}
