//! Active health checks: who gets in, who goes out, and at which moment.

use std::time::{Duration, Instant};

use portcullis_testkit::{Authority, Behavior, Endpoint, Health, TlsEndpoint, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::Setup;
use crate::harness::Edge;

fn check(keys: &Value) -> Value {
    let mut check = json!({ "interval": "200ms", "timeout": "200ms", "rise": 2, "fall": 3 });
    for (key, value) in keys.as_object().unwrap() {
        check[key] = value.clone();
    }
    check
}

async fn wait_for_health(edge: &Edge, endpoint: &Endpoint, healthy: bool) {
    let address = endpoint.address().to_string();
    let labels = [("endpoint", address.as_str())];
    let value = f64::from(u8::from(healthy));
    edge.wait_for_metric("portcullis_edge_endpoint_healthy", &labels, value)
        .await;
}

#[tokio::test]
async fn an_unproven_endpoint_gets_nothing() {
    let (good, bad) = (Endpoint::start("good").await, Endpoint::start("bad").await);
    bad.set_health(Health::Failing);
    let edge = Setup::new(&[&good, &bad])
        .set("clusters.main.health", check(&json!({})))
        .start()
        .await;
    let mut client = edge.connect().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.unwrap().endpoint(), "good");
    }
    assert_eq!(bad.requests(), 0);
}

#[tokio::test]
async fn readiness_waits_for_the_first_healthy_endpoint() {
    let a = Endpoint::start("a").await;
    a.set_health(Health::Hang);
    let setup = Setup::new(&[&a]).set("clusters.main.health", check(&json!({})));
    let mut edge = setup.start_unready().await;
    assert_eq!(edge.get("/").await.status, 503);
    edge.wait_for_admin("/readyz", 503).await;
    a.set_health(Health::Ok);
    edge.wait_for_admin("/readyz", 200).await;
    assert_eq!(edge.get("/").await.status, 200);
}

#[tokio::test]
async fn an_endpoint_goes_out_after_fall_failures_and_returns_after_rise_successes() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.health", check(&json!({})))
        .start()
        .await;
    wait_for_health(&edge, &a, true).await;
    wait_for_health(&edge, &b, true).await;
    a.set_health(Health::Failing);
    wait_for_health(&edge, &a, false).await;
    let mut client = edge.connect().await;
    let before = a.requests();
    for _ in 0..10 {
        assert_eq!(client.get("/").await.unwrap().endpoint(), "b");
    }
    assert_eq!(a.requests(), before);
    a.set_health(Health::Ok);
    wait_for_health(&edge, &a, true).await;
    wait_until("traffic at a", async || {
        (edge.get("/").await.endpoint() == "a").then_some(())
    })
    .await;
}

#[tokio::test]
async fn fall_and_rise_count_checks_in_a_row() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let health = check(&json!({ "interval": "50ms", "timeout": "50ms", "fall": 8, "rise": 6 }));
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.health", health)
        .start()
        .await;
    wait_for_health(&edge, &a, true).await;
    let before = a.health_checks();
    a.set_health(Health::Failing);
    wait_for_health(&edge, &a, false).await;
    // One check may have been under way at the switch.
    assert!(
        a.health_checks() - before >= 7,
        "eight failures take it out"
    );
    let before = a.health_checks();
    a.set_health(Health::Ok);
    wait_for_health(&edge, &a, true).await;
    assert!(
        a.health_checks() - before >= 5,
        "six successes bring it back"
    );
}

#[tokio::test]
async fn draining_takes_effect_at_the_first_check() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    // With `fall` this high only the cause can take the endpoint out in time.
    let health = check(&json!({ "fall": 100 }));
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.health", health)
        .start()
        .await;
    wait_for_health(&edge, &a, true).await;
    a.set_health(Health::Draining);
    let before = a.health_checks();
    let mut client = edge.connect().await;
    wait_until("a to be left alone", async || {
        let before = a.requests();
        for _ in 0..4 {
            assert_eq!(client.get("/").await.unwrap().status, 200);
        }
        (a.requests() == before).then_some(())
    })
    .await;
    assert!(
        a.health_checks() - before < 100,
        "the cause acted, not the count"
    );
}

#[tokio::test]
async fn a_dead_endpoint_costs_no_request() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.health", check(&json!({})))
        .set("clusters.main.ejection", json!("off"))
        .start()
        .await;
    wait_for_health(&edge, &a, true).await;
    wait_for_health(&edge, &b, true).await;
    let mut client = edge.connect().await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
    let address = a.address();
    drop(a);
    for _ in 0..20 {
        let response = client.get("/").await.unwrap();
        assert_eq!(
            (response.status, response.endpoint()),
            (200, "b".to_owned())
        );
    }
    let back = Endpoint::start_at("a2", address).await;
    wait_for_health(&edge, &back, true).await;
    wait_until("traffic at the new process", async || {
        (edge.get("/").await.endpoint() == "a2").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_hanging_check_fails_at_its_timeout() {
    let a = Endpoint::start("a").await;
    a.set_health(Health::Hang);
    let health = check(&json!({ "interval": "10s", "timeout": "100ms" }));
    let edge = Setup::new(&[&a])
        .set("clusters.main.health", health)
        .start_unready()
        .await;
    let started = Instant::now();
    let labels = [("result", "fail")];
    edge.wait_for_metric("portcullis_edge_probes_total", &labels, 1.0)
        .await;
    assert!(
        started.elapsed() < Duration::from_millis(4_500),
        "by default it would be 5 s"
    );
}

#[tokio::test]
async fn checks_ask_for_the_path_and_host_that_are_configured() {
    let a = Endpoint::start("a").await;
    let health = check(&json!({ "path": "/health/custom", "host": "check.example" }));
    let _edge = Setup::new(&[&a])
        .set("clusters.main.health", health)
        .start()
        .await;
    let checks = a.received_health_checks();
    let seen = checks.first().expect("ready means checked");
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("GET", "/health/custom")
    );
    assert_eq!(seen.values("host"), ["check.example"]);
}

#[tokio::test]
async fn only_expected_statuses_pass() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    a.set_health(Health::Status(204));
    b.set_health(Health::Status(404));
    let health = check(&json!({ "expect": "400-499", "rise": 1 }));
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.health", health)
        .start()
        .await;
    wait_for_health(&edge, &b, true).await;
    wait_for_health(&edge, &a, false).await;
    a.set_health(Health::Status(400));
    wait_for_health(&edge, &a, true).await;
}

#[tokio::test]
async fn checks_come_at_the_interval() {
    let (quick, slow) = (
        Endpoint::start("quick").await,
        Endpoint::start("slow").await,
    );
    let edge = Setup::new(&[&quick])
        .cluster("slow", &[&slow])
        .set(
            "clusters.main.health",
            check(&json!({ "interval": "100ms", "timeout": "100ms" })),
        )
        .set(
            "clusters.slow.health",
            check(&json!({ "interval": "1h", "timeout": "5s" })),
        )
        .start()
        .await;
    let quick_checked = async || (quick.health_checks() >= 10).then_some(());
    wait_until("ten checks", quick_checked).await;
    // Confirming a first success early is allowed; an hour's pace is not ten checks.
    assert!(slow.health_checks() <= 3, "{}", slow.health_checks());
    drop(edge);
}

#[tokio::test]
async fn slow_answers_of_the_application_do_not_fail_checks() {
    let a = Endpoint::with("a", Behavior::Slow(Duration::from_millis(400))).await;
    let health = check(&json!({ "timeout": "200ms", "fall": 2 }));
    let edge = Setup::new(&[&a])
        .set("clusters.main.health", health)
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(edge.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn checks_ask_as_they_are_told() {
    let a = Endpoint::start("a").await;
    let health = check(&json!({ "method": "HEAD", "request_headers": { "X-Purpose": "check" } }));
    let _edge = Setup::new(&[&a])
        .set("clusters.main.health", health)
        .start()
        .await;
    let checks = a.received_health_checks();
    let seen = checks.first().expect("ready means checked");
    assert_eq!(seen.method, "HEAD");
    assert_eq!(seen.values("x-purpose"), ["check"]);
    assert_eq!(seen.values("user-agent"), ["portcullis-health-check"]);
}

#[tokio::test]
async fn tcp_checks_only_connect() {
    let (a, gone) = (Endpoint::start("a").await, Endpoint::start("gone").await);
    a.set_health(Health::Hang);
    let address = gone.address();
    drop(gone);
    let edge = Setup::for_addresses(&[a.address(), address])
        .set("clusters.main.health", check(&json!({ "type": "tcp" })))
        .start()
        .await;
    wait_for_health(&edge, &a, true).await;
    assert_eq!(a.health_checks(), 0);
    for _ in 0..4 {
        assert_eq!(edge.get("/").await.endpoint(), "a");
    }
}

#[tokio::test]
async fn another_port_can_tell_of_an_endpoints_health() {
    let (a, beside) = (Endpoint::start("a").await, Endpoint::start("beside").await);
    let health = check(&json!({ "port": beside.address().port(), "rise": 1, "fall": 1 }));
    let edge = Setup::new(&[&a])
        .set("clusters.main.health", health)
        .start()
        .await;
    beside.set_health(Health::Failing);
    wait_for_health(&edge, &a, false).await;
    beside.set_health(Health::Ok);
    wait_for_health(&edge, &a, true).await;
    assert_eq!(a.health_checks(), 0);
}

#[tokio::test]
async fn only_expected_headers_and_bodies_pass() {
    let answer = |ready: &str, body: &str| {
        Behavior::raw(format!(
            "HTTP/1.1 200 OK\r\nx-ready: {ready}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    let a = Endpoint::with("a", answer("yes", "database: up")).await;
    let health = check(&json!({
        "path": "/check", "headers": { "X-Ready": "yes" }, "body": "database: up",
        "rise": 1, "fall": 1,
    }));
    let edge = Setup::new(&[&a])
        .set("clusters.main.health", health)
        .start()
        .await;
    a.behave(answer("no", "database: up"));
    wait_for_health(&edge, &a, false).await;
    a.behave(answer("yes", "database: up"));
    wait_for_health(&edge, &a, true).await;
    a.behave(answer("yes", "database: down"));
    wait_for_health(&edge, &a, false).await;
    a.behave(answer("yes", "all well, database: up, cache: up"));
    wait_for_health(&edge, &a, true).await;
    let words = [
        "not the expected one: x-ready",
        "the body is not the expected one",
    ];
    wait_for_words(&edge, &words).await;
}

/// Waits until the log of the process holds all of `words`.
async fn wait_for_words(edge: &Edge, words: &[&str]) {
    wait_until(&format!("{words:?} in the log"), async || {
        let log = edge.process.output();
        words.iter().all(|word| log.contains(word)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn checks_over_tls_believe_only_whom_they_are_told_to() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let endpoint = TlsEndpoint::start(&authority.issue("a", &["auth.internal"])).await;
    let tls = |keys: Value| check(&json!({ "tls": keys }));
    let (ours, theirs) = (authority.root_file(), stranger.root_file());
    let clusters = [
        (
            "right",
            tls(json!({ "ca": ours, "server_name": "auth.internal" })),
            1.0,
        ),
        (
            "misnamed",
            tls(json!({ "ca": ours, "server_name": "other.internal" })),
            0.0,
        ),
        (
            "stranger",
            tls(json!({ "ca": theirs, "server_name": "auth.internal" })),
            0.0,
        ),
        ("unnamed", tls(json!({ "ca": ours })), 0.0),
        ("credulous", tls(json!({ "verify": false })), 1.0),
    ];
    let a = Endpoint::start("a").await;
    let mut setup = Setup::new(&[&a]);
    for (name, health, _) in &clusters {
        let address = endpoint.address().to_string();
        let cluster = json!({ "endpoints": [address], "health": health });
        setup = setup.set(&format!("clusters.{name}"), cluster);
    }
    let edge = setup.start().await;
    for (name, _, is_healthy) in clusters {
        let labels = [("cluster", name)];
        let result = [("pass", is_healthy), ("fail", 1.0 - is_healthy)];
        for (result, is_seen) in result {
            let labels = [("cluster", name), ("result", result)];
            wait_until(&format!("{name} to {result}"), async || {
                let probes = edge.metric("portcullis_edge_probes_total", &labels).await;
                (probes >= is_seen).then_some(())
            })
            .await;
        }
        edge.wait_for_metric("portcullis_edge_endpoint_healthy", &labels, is_healthy)
            .await;
    }
    wait_for_words(&edge, &["not valid for name", "no secure connection"]).await;
    let names = endpoint.server_names();
    assert!(
        names.contains(&Some("auth.internal".to_owned())),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_silent_endpoint_delays_no_other_check() {
    let (silent, good) = (
        Endpoint::start("silent").await,
        Endpoint::start("good").await,
    );
    silent.set_health(Health::Hang);
    // Each check of the silent one lasts as long as twenty of the good one.
    let health = check(&json!({ "interval": "1s", "fast_interval": "50ms", "timeout": "1s" }));
    let quick = check(&json!({ "interval": "50ms", "timeout": "50ms" }));
    let _edge = Setup::new(&[&silent])
        .cluster("quick", &[&good])
        .set("clusters.main.health", health)
        .set("clusters.quick.health", quick)
        .start()
        .await;
    wait_until("a hundred checks of the good one", async || {
        (good.health_checks() >= 100).then_some(())
    })
    .await;
    assert!(silent.health_checks() <= 50, "{}", silent.health_checks());
}

#[tokio::test]
async fn the_log_names_the_cause() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.health", check(&json!({})))
        .start()
        .await;
    wait_for_health(&edge, &a, true).await;
    a.set_health(Health::Cause("database"));
    wait_for_health(&edge, &a, false).await;
    wait_for_words(&edge, &["its dependency database is down: answered 503"]).await;
    a.set_health(Health::Status(500));
    wait_for_words(&edge, &["answered 500"]).await;
}

#[tokio::test]
async fn while_nobody_is_eligible_checks_come_at_the_fast_interval() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    a.set_health(Health::Failing);
    b.set_health(Health::Failing);
    let health = json!({ "interval": "1h", "fast_interval": "20ms" });
    let mut edge = Setup::new(&[&a, &b])
        .set("clusters.main.health", health)
        .start_unready()
        .await;
    // More than the quick ones that every new endpoint gets.
    wait_until("a hundred checks of each", async || {
        (a.health_checks() >= 100 && b.health_checks() >= 100).then_some(())
    })
    .await;
    a.set_health(Health::Ok);
    b.set_health(Health::Ok);
    edge.wait_for_admin("/readyz", 200).await;
    assert_eq!(edge.get("/").await.status, 200);
}

/// Times between checks of one endpoint with this pace.
async fn gaps_between_checks(jitter: u32, count: usize) -> Vec<f64> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let health = check(&json!({ "interval": "200ms", "jitter": jitter }));
    let edge = Setup::for_addresses(&[listener.local_addr().unwrap()])
        .set("clusters.main.health", health)
        .spawn();
    let mut seen = Vec::new();
    while seen.len() <= count {
        let (mut stream, _) = listener.accept().await.unwrap();
        seen.push(Instant::now());
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    }
    drop(edge);
    let gaps = seen
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64());
    // The first wait is shorter on purpose.
    gaps.skip(2).map(|gap| gap / 0.2).collect()
}

#[tokio::test]
async fn checks_vary_by_their_jitter() {
    let varied = gaps_between_checks(50, 40).await;
    let is_early = |gap: &&f64| **gap < 0.85;
    assert!(varied.iter().filter(is_early).count() >= 3, "{varied:?}");
    let steady = gaps_between_checks(0, 20).await;
    // A loaded machine moves some of them.
    let early = steady.iter().filter(is_early).count();
    assert!(early < steady.len() / 3, "{steady:?}");
}

#[tokio::test]
async fn health_checks_stay_out_of_the_access_log() {
    let a = Endpoint::start("a").await;
    let health = check(&json!({ "path": "/health/ready?deep=1" }));
    let edge = Setup::new(&[&a])
        .set("clusters.main.health", health.clone())
        .start()
        .await;
    for path in ["/health/ready", "/health/ready?x", "/health/other"] {
        assert_eq!(edge.get(path).await.status, 200);
    }
    a.set_health(Health::Failing);
    assert_eq!(edge.get("/health/ready").await.status, 500);
    edge.wait_for_log(2, |_| true).await;
    let lines = edge.log();
    let told = |index: usize| {
        (
            lines[index]["path"].as_str(),
            lines[index]["status"].as_u64(),
        )
    };
    assert_eq!(told(0), (Some("/health/other"), Some(200)));
    assert_eq!(
        told(1),
        (Some("/health/ready"), Some(500)),
        "trouble is told"
    );
    edge.wait_for_metric("portcullis_edge_requests_total", &[], 4.0)
        .await;

    a.set_health(Health::Ok);
    let setup = Setup::new(&[&a]).set("clusters.main.health", health);
    let file = setup.directory().join("access.log");
    let edge = setup
        .set("access_log", json!({ "to": file, "health_checks": true }))
        .start()
        .await;
    assert_eq!(edge.get("/health/ready").await.status, 200);
    edge.log_of("/health/ready").await;
}

/// What the deep check reads in the answers of the application.
fn deep(state: &str) -> Behavior {
    Behavior::Fields(vec![("X-Deep".to_owned(), state.to_owned())])
}

/// How many of fifty requests an endpoint answers.
async fn share_of(edge: &Edge, name: &str) -> usize {
    let mut client = edge.connect().await;
    let mut count = 0;
    for _ in 0..50 {
        let response = client.get("/").await.unwrap();
        assert_eq!(response.status, 200);
        count += usize::from(response.endpoint() == name);
    }
    count
}

#[tokio::test]
async fn a_failing_deep_check_lowers_the_share_and_never_ejects() {
    for (share, expected) in [(25, 8..=12), (60, 17..=21)] {
        let (a, b) = (
            Endpoint::with("a", deep("up")).await,
            Endpoint::with("b", deep("up")).await,
        );
        let health = json!([
            check(&json!({ "path": "/health/live" })),
            check(&json!({
                "path": "/deep", "headers": { "X-Deep": "up" },
                "role": "degrade", "share": share,
            })),
        ]);
        let edge = Setup::new(&[&a, &b])
            .set("clusters.main.health", health)
            .start()
            .await;
        wait_for_health(&edge, &a, true).await;
        wait_for_health(&edge, &b, true).await;
        assert!((24..=26).contains(&share_of(&edge, "a").await));
        a.behave(deep("down"));
        wait_for_words(&edge, &["degraded"]).await;
        let degraded = share_of(&edge, "a").await;
        assert!(expected.contains(&degraded), "{degraded} of 50");
        a.behave(deep("up"));
        wait_until("its old share", async || {
            (share_of(&edge, "a").await >= 24).then_some(())
        })
        .await;
        a.behave(deep("down"));
        b.behave(deep("down"));
        let checks = (a.requests(), b.requests());
        wait_until("ten checks of each, at least", async || {
            let (a, b) = (a.requests() - checks.0, b.requests() - checks.1);
            (a >= 10 && b >= 10).then_some(())
        })
        .await;
        assert!((20..=30).contains(&share_of(&edge, "a").await));
    }
}

#[tokio::test]
async fn every_check_that_ejects_must_pass() {
    let (a, b) = (
        Endpoint::with("a", deep("up")).await,
        Endpoint::with("b", deep("up")).await,
    );
    let health = json!([
        check(&json!({ "path": "/health/live", "fall": 1, "rise": 1 })),
        check(&json!({ "path": "/x", "headers": { "X-Deep": "up" }, "fall": 1, "rise": 1 })),
    ]);
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.health", health)
        .start()
        .await;
    for break_it in [true, false] {
        wait_for_health(&edge, &a, true).await;
        match break_it {
            true => a.behave(deep("down")),
            false => a.set_health(Health::Failing),
        }
        wait_for_health(&edge, &a, false).await;
        a.behave(deep("up"));
        a.set_health(Health::Ok);
    }
    wait_for_health(&edge, &a, true).await;
}

/// Both endpoints die, and one of them comes back at its address.
#[tokio::test]
async fn all_dead_and_back_means_serving_within_a_fast_interval() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let health = json!({ "interval": "5s", "timeout": "5s", "fast_interval": "100ms" });
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.health", health)
        .start()
        .await;
    wait_for_health(&edge, &a, true).await;
    wait_for_health(&edge, &b, true).await;
    let address = b.address();
    drop((a, b));
    wait_until("nobody to be left", async || {
        (edge.get("/").await.status == 503).then_some(())
    })
    .await;
    let _back = Endpoint::start_at("back", address).await;
    let started = Instant::now();
    wait_until("service", async || {
        (edge.get("/").await.status == 200).then_some(())
    })
    .await;
    let waited = started.elapsed();
    assert!(
        waited < Duration::from_secs(4),
        "not the interval: {waited:?}"
    );
}
