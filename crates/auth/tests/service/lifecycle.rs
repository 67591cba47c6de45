//! Start, drain and stop.

use portcullis_auth::{Config, OpenError, ServeError, serve};
use portcullis_testkit::{Connection, wait_until};
use tokio::net::TcpListener;

use crate::harness::{EMAIL, Installation, PASSWORD, config};

#[tokio::test]
async fn a_leaving_instance_fails_readiness_at_once_and_serves_on() {
    let installation = Installation::new().await;
    let mut leaving = installation
        .start_with("a", &[("DRAIN_DELAY", "600000")])
        .await;
    let tokens = leaving.register_and_login().await;
    leaving.leave();
    let unready = wait_until("readiness to fail", async || {
        Some(leaving.get("/health/ready").await).filter(|response| response.status == 503)
    })
    .await;
    assert_eq!(unready.field("x-health-cause"), Some("draining"));
    let json = unready.json();
    assert_eq!(
        (json["ready"].as_bool(), json["cause"].as_str()),
        (Some(false), Some("draining"))
    );

    let served = leaving.verify(&tokens.access).await;
    assert_eq!(served.status, 200);
    assert_eq!(served.field("x-health-cause"), Some("draining"));
    assert_eq!(served.field("x-load-balancer-ready"), Some("false"));
    assert_eq!(
        served.field("connection"),
        None,
        "connections are kept during the delay"
    );
    assert_eq!(leaving.get("/health").await.status, 200);
    assert_eq!(leaving.get("/health/live").await.status, 200);
    let detailed = leaving.get("/api/v1/load-balancer/health").await;
    assert_eq!(
        (detailed.status, detailed.json()["status"].as_str()),
        (503, Some("draining"))
    );
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_its_connection_closed() {
    let installation = Installation::new().await;
    let mut instance = installation.start("a").await;
    let body = format!("{{\"email\":\"{EMAIL}\",\"password\":\"{PASSWORD}\"}}");
    let mut connection = instance.connect().await;
    let head = format!(
        "POST /api/v1/auth/register HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    connection.send(head.as_bytes()).await.unwrap();
    // The handler waits for the body from here on.
    assert!(
        connection
            .read_some()
            .await
            .unwrap()
            .starts_with(b"HTTP/1.1 100")
    );
    instance.leave();
    wait_until("the listener to close", async || {
        Connection::open(instance.addr).await.is_err().then_some(())
    })
    .await;
    connection.send(body.as_bytes()).await.unwrap();
    let response = connection.response().await.unwrap();
    assert_eq!(response.status, 202);
    assert_eq!(response.field("connection"), Some("close"));
    instance.stop().await;
}

#[tokio::test]
async fn a_request_that_never_finishes_is_cut_off_at_the_timeout() {
    let installation = Installation::new().await;
    let instance = installation
        .start_with("a", &[("SHUTDOWN_TIMEOUT", "100")])
        .await;
    let mut connection = instance.connect().await;
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                Content-Type: application/json\r\nContent-Length: 9\r\n\r\n";
    connection.send(head.as_bytes()).await.unwrap();
    assert!(
        connection
            .read_some()
            .await
            .unwrap()
            .starts_with(b"HTTP/1.1 100")
    );
    // The body would be waited for much longer than this.
    instance.stop().await;
    connection.expect_close().await;
}

#[tokio::test]
async fn a_stopped_instance_leaves_the_registry_and_its_files_whole() {
    let installation = Installation::new().await;
    let first = installation.start("a").await;
    first.register(EMAIL, PASSWORD).await;
    first.stop().await;
    let second = installation.start("b").await;
    assert_eq!(second.try_login(EMAIL, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn an_instance_starts_on_files_that_nobody_prepared() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), "a", &[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, config, async { drop(stopped.await) }));
    let response = portcullis_testkit::client::get(addr, "/health/ready")
        .await
        .unwrap();
    assert_eq!(response.status, 200);
    drop(stop);
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn three_cold_starts_at_once_share_one_key_ring() {
    let installation = Installation::new().await;
    let (a, b, c) = tokio::join!(
        installation.start("a"),
        installation.start("b"),
        installation.start("c")
    );
    let tokens = a.register_and_login().await;
    for instance in [&b, &c] {
        assert_eq!(instance.verify(&tokens.access).await.status, 200);
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_is_named() {
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("missing/directory");
    let config: Config = config(&missing, "a", &[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = serve(listener, config, std::future::pending())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ServeError::Open(OpenError::Store { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("missing/directory/auth.db"));
    assert!(!missing.exists(), "nothing is made where it could not be");
}
