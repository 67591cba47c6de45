//! Effects of configuration keys that no other module observes on its way.

use std::time::{Duration, Instant};

use portcullis_testkit::fault::FullBacklog;
use portcullis_testkit::{Authority, Behavior, Connection, Endpoint, wait_until};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;

#[tokio::test]
async fn retries_are_off_when_set_to_0() {
    let bad = Endpoint::with("bad", Behavior::ResetBeforeAnswer).await;
    let good = Endpoint::start("good").await;
    let edge = Setup::new(&[&bad, &good])
        .set("clusters.main.retries", json!(0))
        .set("clusters.main.ejection", json!("off"))
        .start()
        .await;
    let mut statuses = [edge.get("/").await.status, edge.get("/").await.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
}

#[tokio::test]
async fn connecting_is_given_up_at_its_timeout() {
    let full = FullBacklog::start().await;
    let edge = Setup::for_addresses(&[full.address()])
        .set("clusters.main.timeouts", json!({ "connect": "300ms" }))
        .start()
        .await;
    let started = Instant::now();
    let response = edge.get("/x").await;
    assert_eq!(response.status, 504);
    assert!(
        started.elapsed() < Duration::from_millis(4_500),
        "by default it would be 5 s"
    );
    assert_eq!(edge.log_of("/x").await["outcome"], "failed_connect_timeout");
}

#[tokio::test]
async fn a_request_the_endpoint_does_not_read_is_given_up() {
    let deaf = Endpoint::with("deaf", Behavior::StopReading).await;
    let edge = Setup::new(&[&deaf])
        .set(
            "clusters.main.timeouts",
            json!({ "write": "300ms", "read": "1s" }),
        )
        .set("listeners.0.limits", json!({ "body_bytes": "64MiB" }))
        .start()
        .await;
    let mut client = edge.connect().await;
    let body = vec![b'x'; 32 << 20];
    let head = format!(
        "POST /deaf HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send(head.as_bytes()).await.unwrap();
    // The edge stops reading too, and closes when it gives up; with the default of 60 s it
    // would outlast this test.
    let _ = client.send(&body).await;
    assert_eq!(
        edge.log_of("/deaf").await["outcome"],
        "failed_endpoint_timeout"
    );
}

#[tokio::test]
async fn an_idle_connection_to_an_endpoint_is_closed() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("clusters.main.timeouts", json!({ "idle": "300ms" }))
        .start()
        .await;
    assert_eq!(edge.get("/").await.status, 200);
    wait_until("the pool to let go", async || {
        (a.open_connections() == 0).then_some(())
    })
    .await;
    let patient = Setup::new(&[&a]).start().await;
    assert_eq!(patient.get("/").await.status, 200);
    assert_eq!(a.open_connections(), 1, "by default it is kept");
}

/// Sends failing requests until `bad` is ejected or `count` are sent; returns how many it took.
async fn failures_until_ejection(
    edge: &Edge,
    bad: &Endpoint,
    count: usize,
    pause: Duration,
) -> usize {
    let address = bad.address().to_string();
    let labels = [("endpoint", address.as_str())];
    let mut client = edge.connect().await;
    for sent in 1..=count {
        while bad.requests() < sent {
            client.get("/").await.unwrap();
        }
        let since = Instant::now();
        wait_until("the pause", async || {
            (since.elapsed() >= pause).then_some(())
        })
        .await;
        if edge
            .metric("portcullis_edge_endpoint_ejected", &labels)
            .await
            == 1.0
        {
            return sent;
        }
    }
    count + 1
}

#[tokio::test]
async fn ejection_takes_as_many_failures_as_configured() {
    for failures in [1, 4] {
        let bad = Endpoint::with("bad", Behavior::ResetBeforeAnswer).await;
        let good = Endpoint::start("good").await;
        let edge = Setup::new(&[&bad, &good])
            .set("clusters.main.ejection", json!({ "failures": failures }))
            .start()
            .await;
        assert_eq!(
            failures_until_ejection(&edge, &bad, 6, Duration::ZERO).await,
            failures
        );
    }
}

#[tokio::test]
async fn failures_further_apart_than_the_window_do_not_eject() {
    let bad = Endpoint::with("bad", Behavior::ResetBeforeAnswer).await;
    let good = Endpoint::start("good").await;
    let edge = Setup::new(&[&bad, &good])
        .set(
            "clusters.main.ejection",
            json!({ "failures": 2, "window": "100ms" }),
        )
        .start()
        .await;
    assert_eq!(
        failures_until_ejection(&edge, &bad, 4, Duration::from_millis(200)).await,
        5
    );
}

#[tokio::test]
async fn no_more_than_the_largest_share_is_ejected() {
    for (max_percent, out) in [(25, 1.0), (75, 3.0)] {
        let mut bad = Vec::new();
        for name in ["a", "b", "c", "d"] {
            bad.push(Endpoint::with(name, Behavior::ResetBeforeAnswer).await);
        }
        let all: Vec<&Endpoint> = bad.iter().collect();
        let edge = Setup::new(&all)
            .set(
                "clusters.main.ejection",
                json!({ "failures": 1, "max_percent": max_percent }),
            )
            .start()
            .await;
        for _ in 0..12 {
            let mut client = edge.connect().await;
            assert_eq!(
                client.request("POST", "/", &[], b"x").await.unwrap().status,
                502
            );
        }
        let ejected = edge.metric("portcullis_edge_endpoint_ejected", &[]).await;
        assert_eq!(ejected, out, "max_percent: {max_percent}");
    }
}

#[tokio::test]
async fn ejection_can_be_switched_off() {
    let bad = Endpoint::with("bad", Behavior::Status(503)).await;
    let good = Endpoint::start("good").await;
    let edge = Setup::new(&[&bad, &good])
        .set("clusters.main.ejection", json!("off"))
        .start()
        .await;
    assert_eq!(
        failures_until_ejection(&edge, &bad, 6, Duration::ZERO).await,
        7
    );
}

#[tokio::test]
async fn the_affinity_cookie_has_the_name_and_life_that_are_configured() {
    let a = Endpoint::start("a").await;
    let affinity = json!({ "cookie": "sticky", "ttl": "2m" });
    let edge = Setup::new(&[&a])
        .set("clusters.main.affinity", affinity)
        .start()
        .await;
    let response = edge.get("/").await;
    let cookie = response.field("set-cookie").unwrap();
    assert!(
        cookie.starts_with("sticky=") && cookie.contains("Max-Age=120"),
        "{cookie}"
    );
}

#[tokio::test]
async fn an_affinity_cookie_ends_with_its_life() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.affinity", json!({ "ttl": "1s" }))
        .start()
        .await;
    let first = edge.get("/").await;
    let cookie = first
        .field("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    wait_until("a new cookie", async || {
        let mut client = edge.connect().await;
        let response = client
            .request("GET", "/", &[("Cookie", &cookie)], b"")
            .await
            .unwrap();
        response.field("set-cookie").is_some().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_route_may_stay_out_of_the_access_log() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set(
            "routes",
            json!([
                { "path": "/", "cluster": "main" },
                { "path": "/quiet", "cluster": "main", "access_log": false },
            ]),
        )
        .start()
        .await;
    assert_eq!(edge.get("/quiet/1").await.status, 200);
    assert_eq!(edge.get("/loud").await.status, 200);
    edge.log_of("/loud").await;
    assert_eq!(edge.log().len(), 1);
    edge.wait_for_outcome("served", 2).await;
}

#[tokio::test]
async fn the_access_log_goes_where_it_is_told() {
    let a = Endpoint::start("a").await;
    let mut edge = Setup::new(&[&a])
        .set("access_log", json!("stdout"))
        .start()
        .await;
    assert_eq!(edge.get("/seen").await.status, 200);
    let line = edge.process.wait_for_line("/seen").await;
    assert!(edge.process.stdout().contains(&line), "on standard output");
    let json: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["outcome"], "served");

    let mut edge = Setup::new(&[&a])
        .set("access_log", json!("off"))
        .start()
        .await;
    assert_eq!(edge.get("/unseen").await.status, 200);
    edge.process.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(edge.process.exit_code().await, 0);
    assert!(
        !edge.process.output().contains("/unseen"),
        "{}",
        edge.process.output()
    );
}

/// The same sample at every edge on the way, and all that went wrong or took long.
#[tokio::test]
async fn the_access_log_may_be_a_sample_of_what_goes_well() {
    let a = Endpoint::start("a").await;
    let sampled = |slow: &str| {
        let setup = Setup::new(&[&a]).set("trusted_proxies", json!(["127.0.0.0/8"]));
        let file = setup.directory().join("access.log");
        let sample = json!({ "to": file, "sample": 20, "slow": slow });
        let failing = json!({ "path": "/failed", "respond": { "status": 503 } });
        setup
            .set("access_log", sample)
            .set("routes.1", failing)
            .start()
    };
    let [one, other] = [sampled("1h").await, sampled("1h").await];
    for edge in [&one, &other] {
        let mut client = edge.connect().await;
        for number in 0..300 {
            let id = format!("request-{number}");
            let fields = [("X-Request-Id", id.as_str())];
            let response = client.request("GET", "/well", &fields, b"").await;
            assert_eq!(response.unwrap().status, 200);
        }
        assert_eq!(edge.get("/failed").await.status, 503);
        edge.log_of("/failed").await;
    }
    let ids = |edge: &Edge| -> Vec<Value> {
        let lines = edge.log().into_iter();
        let well = lines.filter(|line| line["path"] == "/well");
        well.map(|line| line["request_id"].clone()).collect()
    };
    assert!((30..100).contains(&ids(&one).len()), "{:?}", ids(&one));
    assert_eq!(ids(&one), ids(&other));
    one.wait_for_outcome("served", 300).await;

    let slow = Endpoint::with("slow", Behavior::Slow(Duration::from_millis(5))).await;
    let setup = Setup::new(&[&slow]);
    let file = setup.directory().join("access.log");
    let sample = json!({ "to": file, "sample": 1, "slow": "1ms" });
    let edge = setup.set("access_log", sample).start().await;
    for _ in 0..20 {
        assert_eq!(edge.get("/slow").await.status, 200);
    }
    edge.wait_for_log(20, |line| line["path"] == "/slow").await;
}

#[tokio::test]
async fn names_appear_in_logs_and_metrics() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("listeners.0.name", json!("front"))
        .set(
            "clusters.shop",
            json!({ "endpoints": [a.address().to_string()] }),
        )
        .set("routes.0.name", json!("catalogue"))
        .set("routes.0.cluster", json!("shop"))
        .start()
        .await;
    assert_eq!(edge.get("/x").await.status, 200);
    let line = edge.log_of("/x").await;
    for (field, name) in [
        ("listener", "front"),
        ("route", "catalogue"),
        ("cluster", "shop"),
    ] {
        assert_eq!(line[field], name);
    }
    let labels = [
        ("listener", "front"),
        ("route", "catalogue"),
        ("cluster", "shop"),
    ];
    edge.wait_for_metric("portcullis_edge_requests_total", &labels, 1.0)
        .await;
}

/// Identifiers of HTTP/2 settings (RFC 9113, 6.5.2).
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;

#[tokio::test]
async fn http2_limits_are_announced() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("app", &["app.example"]);
    let keys = json!({
        "tls": { "certificates": [{ "cert": identity.cert, "key": identity.key }] },
        "http2": { "max_streams": 7, "stream_window": "128KiB", "connection_window": "2MiB" },
    });
    let edge = Setup::new(&[&a]).listener("tls", &keys).start().await;
    let mut config = authority.client();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut client = Connection::open_tls(edge.listener(1), "app.example", config)
        .await
        .unwrap();
    client
        .send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        .await
        .unwrap();
    let (mut settings, mut window, mut bytes) = (Vec::new(), 65_535, Vec::new());
    wait_until("settings and window", async || {
        bytes.extend(client.read_some().await.unwrap());
        while let Some((kind, stream, payload)) = take_frame(&mut bytes) {
            match kind {
                SETTINGS => settings.extend(payload.chunks_exact(6).map(|pair| {
                    let value = [pair[2], pair[3], pair[4], pair[5]];
                    (
                        u16::from_be_bytes([pair[0], pair[1]]),
                        u32::from_be_bytes(value),
                    )
                })),
                WINDOW_UPDATE if stream == 0 => {
                    window += u32::from_be_bytes(payload.try_into().unwrap());
                }
                _ => {}
            }
        }
        (!settings.is_empty() && window > 65_535).then_some(())
    })
    .await;
    assert!(
        settings.contains(&(MAX_CONCURRENT_STREAMS, 7)),
        "{settings:?}"
    );
    assert!(
        settings.contains(&(INITIAL_WINDOW_SIZE, 128 << 10)),
        "{settings:?}"
    );
    assert_eq!(window, 2 << 20);
}

/// Type, stream and payload of the first whole frame.
fn take_frame(bytes: &mut Vec<u8>) -> Option<(u8, u32, Vec<u8>)> {
    let head = bytes.first_chunk::<9>()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let (kind, stream) = (
        head[3],
        u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
    );
    if bytes.len() < 9 + length {
        return None;
    }
    let payload = bytes[9..9 + length].to_vec();
    bytes.drain(..9 + length);
    Some((kind, stream, payload))
}

#[tokio::test]
async fn workers_are_as_many_threads() {
    for workers in [1, 5] {
        let a = Endpoint::start("a").await;
        let edge = Setup::new(&[&a])
            .set("workers", json!(workers))
            .start()
            .await;
        assert_eq!(edge.get("/").await.status, 200);
        // A thread that a worker starts bears the worker's name until it has taken its own.
        wait_until("as many threads", async || {
            (threads(&edge, "edge-worker") == workers).then_some(())
        })
        .await;
    }
}

/// Threads of this name in the edge's process.
fn threads(edge: &Edge, name: &str) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", edge.process.id())).unwrap();
    // A thread that ends meanwhile has no name any more.
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|found| found.trim_end() == name).count()
}

#[tokio::test]
async fn the_engine_is_chosen_for_each_listener() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("listeners.0.engine", json!("native"))
        .listener("other", &json!({ "engine": "pingora" }))
        .start()
        .await;
    // Only the native engine serves requests sent without waiting for answers.
    let requests = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2);
    for (listener, is_native) in [(0, true), (1, false)] {
        let mut client = Connection::open(edge.listener(listener)).await.unwrap();
        client.send(requests.as_bytes()).await.unwrap();
        assert_eq!(client.response().await.unwrap().status, 200);
        assert_eq!(client.response().await.is_ok(), is_native, "{listener}");
    }
}
