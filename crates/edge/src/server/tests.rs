//! An edge in this process over real sockets: what the guard and the engine do with bytes. Never
//! repeats what the pipeline's own tests show.

use std::num::NonZeroU32;

use portcullis_testkit::client::Http2Connection;
use portcullis_testkit::{Authority, Behavior, Connection, Endpoint, wait_until};

use super::*;
use crate::config::*;
use crate::pipeline::fake;

fn admin_on_any_port() -> Admin {
    Admin {
        address: ([127, 0, 0, 1], 0).into(),
        tokens: Vec::new(),
        hosts: Vec::new(),
        has_open_metrics: true,
    }
}

fn shutdown() -> Shutdown {
    let seconds = Duration::from_secs;
    Shutdown {
        delay: Duration::ZERO,
        drain: seconds(5),
        upgrade_drain: seconds(5),
        upgrade_timeout: seconds(5),
    }
}

fn edge_config(endpoints: &[&Endpoint]) -> Config {
    let seconds = Duration::from_secs;
    Config {
        flags: Vec::new(),
        listeners: vec![Listener {
            name: "main".to_owned(),
            address: ([127, 0, 0, 1], 0).into(),
            max_connections: 100,
            limits: Limits {
                header_bytes: 4096,
                header_count: 100,
                target_bytes: 2048,
                body_bytes: 64 * 1024,
                body_rate: 240,
                requests_per_connection: NonZeroU32::new(1000).unwrap(),
                connection_age: seconds(3600),
            },
            timeouts: ClientTimeouts {
                handshake: seconds(10),
                header: seconds(10),
                body: seconds(10),
                write: seconds(10),
                keep_alive: seconds(75),
                tunnel: seconds(3600),
            },
            ..fake::listener("main")
        }],
        clusters: vec![origin(endpoints)],
        issuers: Vec::new(),
        routes: vec![Route {
            name: "all".to_owned(),
            pattern: Pattern {
                host: HostPattern::Any,
                path: PathPattern::Prefix("/".to_owned()),
                conditions: Conditions::default(),
            },
            action: Action::Cluster(ClusterId(0)),
            cors: None,
            security_headers: None,
            rate_limits: Vec::new(),
            criticality: Criticality::Normal,
            rewrite: Rewrite::default(),
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
            idempotency_key: false,
            pages: Vec::new(),
            auth: None,
            clients: None,
            maintenance: None,
            access_log: true,
        }],
        rate_limits: Vec::new(),
        zone: None,
        trusted_proxies: Vec::new(),
        forwarded: Forwarded::default(),
        admin: Some(admin_on_any_port()),
        audit_log: AuditLog::Log,
        access_log: AccessLog::Off,
        pages: Vec::new(),
        logs_health_checks: false,
        log_privacy: LogPrivacy::default(),
        log_sample: fake::log_sample(),
        shutdown: shutdown(),
        reload: Reload::default(),
        max_connections: 1000,
        workers: None,
    }
}

/// A cluster that never ejects and gives up after 5 s.
fn origin(endpoints: &[&Endpoint]) -> Cluster {
    let addresses = endpoints.iter().map(|one| one.address().to_string());
    let addresses: Vec<String> = addresses.collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let seconds = Duration::from_secs;
    Cluster {
        name: "origin".to_owned(),
        ejection: None,
        timeouts: UpstreamTimeouts {
            connect: seconds(5),
            read: seconds(5),
            write: seconds(5),
            idle: seconds(60),
        },
        ..fake::cluster(&addresses)
    }
}

fn check_that_never_passes() -> HealthCheck {
    fake::health_check_with("expect: 299, fall: 1")
}

fn tls(authority: &Authority) -> Tls {
    let identity = authority.issue("edge", &["a.test"]);
    let text = format!(
        "listeners: [{{ address: '127.0.0.1:0', tls: {{ certificates: [{{ cert: '{}', key: '{}' }}] }} }}]\n\
         clusters: {{ app: {{ endpoints: ['127.0.0.1:1'] }} }}\n\
         routes: [{{ cluster: app }}]\n",
        identity.cert.display(),
        identity.key.display()
    );
    let parsed = parse("edge.yaml", &text).unwrap();
    let listener = parsed.config.listeners.into_iter().next();
    listener.unwrap().tls.unwrap()
}

/// Requests that ended with this outcome.
fn ended_as(edge: &Edge, outcome: &str) -> u64 {
    let wanted = format!("outcome=\"{outcome}\"");
    let metrics = edge.render_metrics(std::time::Instant::now());
    let lines = metrics.lines().filter(|line| line.contains(&wanted));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

async fn open(running: &Running) -> Connection {
    Connection::open(running.addresses[0].1).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_on_one_connection_reach_the_endpoints_in_turn() {
    let (one, two) = (Endpoint::start("one").await, Endpoint::start("two").await);
    let running = start(edge_config(&[&one, &two])).await.unwrap();
    let mut client = open(&running).await;
    for _ in 0..10 {
        let response = client.get("/x?y=1").await.unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
    }
    assert_eq!((one.requests(), two.requests()), (5, 5));
    assert_eq!(running.shutdown().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn posted_body_arrives_whole_and_a_refused_connection_is_retried_elsewhere() {
    let alive = Endpoint::start("alive").await;
    let gone = Endpoint::start("gone").await;
    let config = edge_config(&[&gone, &alive]);
    drop(gone);
    let running = start(config).await.unwrap();
    let mut client = open(&running).await;
    for _ in 0..4 {
        let body = serde_json::json!({ "text": "x".repeat(20_000) });
        let response = client.post_json("/submit", &body).await.unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.json()["body"].as_str().unwrap(), body.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_head_is_answered_400_and_closed_and_counted() {
    let endpoint = Endpoint::start("one").await;
    let running = start(edge_config(&[&endpoint])).await.unwrap();
    let mut client = open(&running).await;
    client
        .send(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
        .await
        .unwrap();
    let response = client.response().await.unwrap();
    assert_eq!(response.status, 400);
    client.expect_close().await;
    let metrics = running.edge.render_metrics(std::time::Instant::now());
    assert!(metrics.contains("client_malformed"), "{metrics}");
    assert_eq!(endpoint.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_head_is_answered_431_even_after_a_good_request() {
    let endpoint = Endpoint::start("one").await;
    let running = start(edge_config(&[&endpoint])).await.unwrap();
    let mut client = open(&running).await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
    let head = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "y".repeat(5000)
    );
    client.send(head.as_bytes()).await.unwrap();
    assert_eq!(client.response().await.unwrap().status, 431);
    client.expect_close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_empty_lines_in_front_are_malformed_and_many_fields_too_large() {
    let endpoint = Endpoint::start("one").await;
    let running = start(edge_config(&[&endpoint])).await.unwrap();
    let large = format!("x: {}\r\n", "y".repeat(5000));
    for (before, fields, status) in [
        ("\r\n", large, 431),
        ("\r\n\r\n", String::new(), 400),
        ("", "x:\r\n".repeat(300), 431),
    ] {
        let mut client = open(&running).await;
        let head = format!("{before}GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
        client.send(head.as_bytes()).await.unwrap();
        assert_eq!(client.response().await.unwrap().status, status);
        client.expect_close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn response_in_pieces_is_handed_on_piece_by_piece() {
    let endpoint = Endpoint::with("stalled", Behavior::HangMidBody).await;
    let running = start(edge_config(&[&endpoint])).await.unwrap();
    let mut client = open(&running).await;
    client
        .send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let head = tokio::time::timeout(Duration::from_secs(2), client.read_some()).await;
    let head = head.expect("the head does not wait for the rest").unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_head_is_answered_408_and_a_silent_client_is_just_closed() {
    let endpoint = Endpoint::start("one").await;
    let mut config = edge_config(&[&endpoint]);
    config.listeners[0].timeouts.header = Duration::from_millis(100);
    let running = start(config).await.unwrap();
    let mut slow = open(&running).await;
    slow.send(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(slow.response().await.unwrap().status, 408);
    slow.expect_close().await;
    let mut silent = open(&running).await;
    assert_eq!(silent.read_to_end().await.unwrap(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connection_closes_after_its_keep_alive_timeout() {
    let endpoint = Endpoint::start("one").await;
    let mut config = edge_config(&[&endpoint]);
    config.listeners[0].timeouts.keep_alive = Duration::from_millis(150);
    let running = start(config).await.unwrap();
    let mut client = open(&running).await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
    client.expect_close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_closes_politely_after_its_last_allowed_request() {
    let endpoint = Endpoint::start("one").await;
    let mut config = edge_config(&[&endpoint]);
    config.listeners[0].limits.requests_per_connection = NonZeroU32::new(2).unwrap();
    let running = start(config).await.unwrap();
    let mut client = open(&running).await;
    let first = client.get("/").await.unwrap();
    assert_ne!(first.field("connection"), Some("close"));
    let second = client.get("/").await.unwrap();
    assert_eq!(second.field("connection"), Some("close"));
    client.expect_close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn body_beyond_the_limit_is_answered_413_declared_or_chunked() {
    let endpoint = Endpoint::start("one").await;
    let mut config = edge_config(&[&endpoint]);
    config.listeners[0].limits.body_bytes = 1000;
    let running = start(config).await.unwrap();
    let mut declared = open(&running).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1001\r\n\r\n";
    declared
        .send([head.as_bytes(), &[b'x'; 1001]].concat().as_slice())
        .await
        .unwrap();
    assert_eq!(declared.response().await.unwrap().status, 413);
    declared.expect_close().await;

    let mut chunked = open(&running).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    chunked.send(head.as_bytes()).await.unwrap();
    let chunk = [b"3e9\r\n".as_slice(), &[b'x'; 1001], b"\r\n0\r\n\r\n"].concat();
    chunked.send(&chunk).await.unwrap();
    assert_eq!(chunked.response().await.unwrap().status, 413);
    chunked.expect_close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_lets_a_running_request_finish_and_closes_idle_connections() {
    let endpoint = Endpoint::with("slow", Behavior::Slow(Duration::from_millis(400))).await;
    let running = start(edge_config(&[&endpoint])).await.unwrap();
    let mut idle = open(&running).await;
    assert_eq!(idle.get("/").await.unwrap().status, 200);
    let mut busy = open(&running).await;
    let request = tokio::spawn(async move {
        let response = busy.get("/").await.unwrap();
        (
            response.status,
            response.field("connection").map(str::to_owned),
        )
    });
    wait_until("the request to be in flight", async || {
        (endpoint.in_flight() == 1).then_some(())
    })
    .await;
    assert_eq!(running.shutdown().await, 0);
    idle.expect_close().await;
    assert_eq!(request.await.unwrap(), (200, Some("close".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_outlives_the_drain_is_cut_off_and_counted() {
    let endpoint = Endpoint::with("stuck", Behavior::Hang).await;
    let mut config = edge_config(&[&endpoint]);
    config.shutdown.drain = Duration::from_millis(100);
    let running = start(config).await.unwrap();
    let mut client = open(&running).await;
    client
        .send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    wait_until("the request to be in flight", async || {
        (endpoint.in_flight() == 1).then_some(())
    })
    .await;
    let edge = Arc::clone(&running.edge);
    assert_eq!(running.shutdown().await, 1);
    assert_eq!(ended_as(&edge, "refused_draining"), 1);
    assert_eq!(ended_as(&edge, "client_gone"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_the_drain_cuts_off_are_all_counted() {
    const STREAMS: usize = 90;
    let endpoint = Endpoint::with("stuck", Behavior::Hang).await;
    let authority = Authority::new();
    let mut config = edge_config(&[&endpoint]);
    config.listeners[0].tls = Some(tls(&authority));
    config.shutdown.drain = Duration::from_millis(50);
    let running = start(config).await.unwrap();
    let address = running.addresses[0].1;
    let client = Http2Connection::open(address, "a.test", authority.client()).await;
    let client = Arc::new(client.unwrap());
    for _ in 0..STREAMS {
        let client = Arc::clone(&client);
        tokio::spawn(async move { client.get("/").await });
    }
    wait_until("all streams to be in flight", async || {
        (endpoint.in_flight() == STREAMS).then_some(())
    })
    .await;
    let edge = Arc::clone(&running.edge);
    assert_eq!(running.shutdown().await, 1);
    assert_eq!(ended_as(&edge, "refused_draining"), STREAMS as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_still_serves_a_request_whose_head_is_arriving() {
    let endpoint = Endpoint::start("one").await;
    let running = start(edge_config(&[&endpoint])).await.unwrap();
    let mut client = open(&running).await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
    client.send(b"GET / HTTP/1.1\r\nho").await.unwrap();
    // The edge reads those bytes before it serves what comes after them.
    assert_eq!(open(&running).await.get("/").await.unwrap().status, 200);
    let address = running.addresses[0].1;
    let shutdown = tokio::spawn(running.shutdown());
    wait_until("the listener to close", async || {
        Connection::open(address).await.is_err().then_some(())
    })
    .await;
    client.send(b"st: a\r\n\r\n").await.unwrap();
    let response = client.response().await.unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(shutdown.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoint_is_not_blamed_for_a_client_that_withholds_its_body() {
    let endpoint = Endpoint::start("one").await;
    let mut config = edge_config(&[&endpoint]);
    config.clusters[0].timeouts.read = Duration::from_millis(150);
    let running = start(config).await.unwrap();
    let mut client = open(&running).await;
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc";
    client.send(head).await.unwrap();
    assert_eq!(client.response().await.unwrap().status, 408);
    client.expect_close().await;
    assert_eq!(ended_as(&running.edge, "client_body_timeout"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn taken_address_is_an_error_that_names_it() {
    let endpoint = Endpoint::start("one").await;
    let mut config = edge_config(&[&endpoint]);
    config.listeners[0].address = endpoint.address();
    let error = start(config).await.unwrap_err().to_string();
    assert!(error.contains(&endpoint.address().to_string()), "{error}");
    assert!(error.contains("main"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_told_so() {
    let endpoint = Endpoint::start("one").await;
    let mut config = edge_config(&[&endpoint]);
    config.listeners[0].max_connections = 1;
    let running = start(config).await.unwrap();
    let mut first = open(&running).await;
    assert_eq!(first.get("/").await.unwrap().status, 200);
    let mut second = open(&running).await;
    assert_eq!(second.response().await.unwrap().status, 503);
    drop(first);
    wait_until("the place to be free again", async || {
        (running.slots.open() == 0).then_some(())
    })
    .await;
    assert_eq!(open(&running).await.get("/").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_and_metrics_answer_on_the_admin_address() {
    let endpoint = Endpoint::start("one").await;
    let running = start(edge_config(&[&endpoint])).await.unwrap();
    let mut admin = Connection::open(running.admin.unwrap()).await.unwrap();
    assert_eq!(admin.get("/livez").await.unwrap().text(), "alive\n");
    let ready = admin.get("/readyz").await.unwrap();
    assert_eq!(
        (ready.status, ready.json()["ready"].as_bool()),
        (200, Some(true))
    );
    assert!(
        admin
            .get("/metrics")
            .await
            .unwrap()
            .text()
            .contains("portcullis_edge_")
    );
    assert_eq!(admin.get("/other").await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_a_cluster_that_is_out_but_fails_only_when_all_are() {
    let endpoint = Endpoint::start("one").await;
    let mut config = edge_config(&[&endpoint]);
    let mut unproven = edge_config(&[&endpoint]).clusters.remove(0);
    unproven.name = "unproven".to_owned();
    unproven.health = vec![check_that_never_passes()];
    config.clusters.push(unproven);
    let running = start(config).await.unwrap();
    let mut admin = Connection::open(running.admin.unwrap()).await.unwrap();
    let ready = admin.get("/readyz").await.unwrap();
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json()["clusters_without_endpoint"][0], "unproven");

    let mut config = edge_config(&[&endpoint]);
    config.clusters[0].health = vec![check_that_never_passes()];
    let running = start(config).await.unwrap();
    let mut admin = Connection::open(running.admin.unwrap()).await.unwrap();
    let ready = admin.get("/readyz").await.unwrap();
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["ready"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_leaves_inside_a_head_is_counted_once_and_an_idle_one_is_not() {
    let endpoint = Endpoint::start("one").await;
    let running = start(edge_config(&[&endpoint])).await.unwrap();
    let mut idle = open(&running).await;
    assert_eq!(idle.get("/").await.unwrap().status, 200);
    drop(idle);
    let mut leaving = open(&running).await;
    leaving.send(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    drop(leaving);
    let metrics = wait_until("both connections to end", async || {
        let metrics = running.edge.render_metrics(std::time::Instant::now());
        // The second may still be waiting to be accepted.
        let are_known = metrics.contains("portcullis_edge_connections_total{listener=\"main\"} 2");
        (are_known && running.slots.open() == 0).then(|| {
            // What ended with the last connection is counted by now.
            running.edge.render_metrics(std::time::Instant::now())
        })
    })
    .await;
    let gone: Vec<_> = metrics
        .lines()
        .filter(|line| line.contains("client_gone"))
        .collect();
    assert!(
        matches!(gone[..], [line] if line.ends_with(" 1")),
        "{gone:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_failed_attempts_are_counted_by_name() {
    let alive = Endpoint::start("alive").await;
    let gone = Endpoint::start("gone").await;
    let mut config = edge_config(&[&gone, &alive]);
    config.listeners[0].max_connections = 1;
    let ejection = fake::cluster(&["127.0.0.1:1"]).ejection;
    config.clusters[0].ejection = ejection.map(|ejection| Ejection {
        failures: NonZeroU32::MIN,
        ..ejection
    });
    let address = gone.address();
    drop(gone);
    let running = start(config).await.unwrap();
    let mut first = open(&running).await;
    for _ in 0..2 {
        assert_eq!(first.get("/").await.unwrap().status, 200);
    }
    assert_eq!(open(&running).await.response().await.unwrap().status, 503);
    let metrics = running.edge.render_metrics(std::time::Instant::now());
    let endpoint = format!("{{cluster=\"origin\",endpoint=\"{address}\"}}");
    for line in [
        "portcullis_edge_connections_total{listener=\"main\"} 1".to_owned(),
        "portcullis_edge_connections_open{listener=\"main\"} 1".to_owned(),
        "portcullis_edge_connections_refused_total{listener=\"main\",reason=\"full\"} 1".to_owned(),
        "portcullis_edge_retries_total{cluster=\"origin\",reason=\"connect\"} 1".to_owned(),
        format!("portcullis_edge_endpoint_failures_total{endpoint} 1"),
        format!("portcullis_edge_endpoint_state_changes_total{endpoint} 1"),
        format!("portcullis_edge_endpoint_ejected{endpoint} 1"),
        "portcullis_edge_access_log_dropped_total 0".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} is missing from\n{metrics}");
    }
}
