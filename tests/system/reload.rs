//! Another configuration for an edge that runs: whole or not at all, and nobody notices but by what it
//! says.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use portcullis_testkit::certificates::Identity;
use portcullis_testkit::{Authority, Behavior, Connection, Endpoint, free_port, wait_until};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::load::{Ask, Load, failures};
use crate::harness::{Edge, open_tls};

const FAILED: &str = "portcullis_edge_config_reload_failed";
const UPGRADE: [(&str, &str); 2] = [("Connection", "Upgrade"), ("Upgrade", "websocket")];

/// A WebSocket that a test may speak into.
async fn tunnel(address: SocketAddr) -> Connection {
    let mut client = Connection::open(address).await.unwrap();
    let response = client.request("GET", "/ws", &UPGRADE, b"").await.unwrap();
    assert_eq!(response.status, 101);
    client
}

async fn expect_echo(tunnel: &mut Connection) {
    tunnel.send(b"still there?").await.unwrap();
    assert_eq!(tunnel.read_some().await.unwrap(), b"still there?");
}

fn addresses(endpoints: &[&Endpoint]) -> Value {
    let addresses = endpoints.iter().map(|one| json!(one.address().to_string()));
    Value::Array(addresses.collect())
}

fn with(mut config: Value, pointer: &str, value: Value) -> Value {
    *config.pointer_mut(pointer).unwrap() = value;
    config
}

fn with_listener(mut config: Value, name: &str, address: SocketAddr) -> Value {
    let listener = json!({ "name": name, "address": address.to_string() });
    config["listeners"].as_array_mut().unwrap().push(listener);
    config
}

async fn served_by(edge: &Edge) -> String {
    edge.get("/").await.endpoint()
}

async fn is_open(address: SocketAddr) -> bool {
    Connection::open(address).await.is_ok()
}

#[tokio::test]
async fn sighup_puts_another_configuration_into_force() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a]).start().await;
    assert_eq!(served_by(&edge).await, "a");
    let next = with(edge.config(), "/clusters/main/endpoints", addresses(&[&b]));
    edge.reload(&next).await;
    assert_eq!(served_by(&edge).await, "b");
    let generation = edge
        .metric("portcullis_edge_snapshot_generation", &[])
        .await;
    assert!((generation - 2.0).abs() < f64::EPSILON, "{generation}");
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_its_mistakes_are_told_with_their_places() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let new = free_port();
    let mut bad = with_listener(edge.config(), "new", new.address());
    bad["routes"][0]["clutser"] = json!("main");
    bad["routes"][0]["path"] = json!("/elsewhere");
    edge.write(&bad);
    edge.hang_up("failed").await;
    assert_eq!(served_by(&edge).await, "a");
    assert!(!is_open(new.address()).await, "nothing of it is in force");
    edge.wait_for_metric(FAILED, &[], 1.0).await;
    let text = std::fs::read_to_string(edge.directory().join("edge.yaml")).unwrap();
    let line = text
        .lines()
        .position(|line| line.contains("clutser"))
        .unwrap()
        + 1;
    wait_until("the mistake and its place in the log", async || {
        let output = edge.process.output();
        let place = format!("line={line}");
        (output.contains("clutser") && output.contains(&place)).then_some(())
    })
    .await;
    edge.reload(&edge.config()).await;
    edge.wait_for_metric(FAILED, &[], 0.0).await;
}

#[tokio::test]
async fn a_taken_address_refuses_all_the_rest() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a]).start().await;
    let (free, other) = (free_port(), TcpListener::bind("127.0.0.1:0").unwrap());
    let next = with_listener(edge.config(), "free", free.address());
    let next = with_listener(next, "taken", other.local_addr().unwrap());
    let next = with(next, "/clusters/main/endpoints", addresses(&[&b]));
    edge.write(&next);
    edge.hang_up("failed").await;
    assert_eq!(served_by(&edge).await, "a");
    assert!(!is_open(free.address()).await);
    assert!(edge.process.output().contains("listener taken"));
    drop(other);
    edge.hang_up("ok").await;
    assert!(is_open(free.address()).await);
    assert_eq!(served_by(&edge).await, "b");
}

#[tokio::test]
async fn a_hundred_reloads_fail_no_request_and_cut_no_tunnel() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a, &b]).start().await;
    let mut tunnels = Vec::new();
    for _ in 0..20 {
        tunnels.push(tunnel(edge.http()).await);
    }
    let post = Ask {
        method: "POST",
        body: b"x",
        ..Ask::get("/post")
    };
    let asks = vec![Ask::get("/"), post];
    let load = Load::start(edge.http(), Duration::from_millis(2), asks);
    for number in 0..100 {
        let mut next = edge.config();
        next["listeners"][0]["limits"] = json!({ "header_count": 50 + number });
        next["routes"][0]["response_headers"] =
            json!({ "set": { "x-reload": number.to_string() } });
        next["clusters"]["main"]["endpoints"] = match number % 3 {
            0 => addresses(&[&a]),
            1 => addresses(&[&b]),
            _ => addresses(&[&a, &b]),
        };
        edge.reload(&next).await;
    }
    let last = edge.get("/").await;
    assert_eq!(last.field("x-reload"), Some("99"));
    let shots = load.finish().await;
    let failed = failures(&shots);
    assert!(
        failed.is_empty(),
        "{} of {}: {failed:#?}",
        failed.len(),
        shots.len()
    );
    assert!(shots.len() > 500, "{}", shots.len());
    for tunnel in &mut tunnels {
        expect_echo(tunnel).await;
    }
}

#[tokio::test]
async fn listeners_come_and_go_under_load() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let load = Load::start(edge.http(), Duration::from_millis(2), vec![Ask::get("/")]);
    let new = free_port();
    let both = with_listener(edge.config(), "new", new.address());
    edge.reload(&both).await;
    let mut tunnel = tunnel(new.address()).await;
    let mut idle = Connection::open(new.address()).await.unwrap();
    idle.get("/idle").await.unwrap();
    a.behave(Behavior::Slow(Duration::from_millis(300)));
    let mut busy = Connection::open(new.address()).await.unwrap();
    busy.send(b"GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    wait_until("the request to arrive", async || {
        let received = a.received();
        received
            .iter()
            .any(|one| one.target == "/busy")
            .then_some(())
    })
    .await;
    edge.reload(&edge.config()).await;
    wait_until("the listener to close", async || {
        Connection::open(new.address()).await.err()
    })
    .await;
    idle.expect_close().await;
    let answer = busy.response().await.unwrap();
    assert_eq!(
        (answer.status, answer.field("connection")),
        (200, Some("close"))
    );
    expect_echo(&mut tunnel).await;
    a.behave(Behavior::Echo);
    load.wait_for(50).await;
    let shots = load.finish().await;
    let failed = failures(&shots);
    assert!(failed.is_empty(), "{failed:#?}");
    expect_echo(&mut tunnel).await;
    let labels = [("listener", "new")];
    edge.wait_for_metric("portcullis_edge_connections_open", &labels, 1.0)
        .await;
    drop(tunnel);
    edge.wait_for_metric("portcullis_edge_connections_open", &labels, 0.0)
        .await;
}

#[tokio::test]
async fn a_renamed_listener_keeps_its_socket_and_its_connections() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut before = edge.connect().await;
    before.get("/before").await.unwrap();
    let next = with(edge.config(), "/listeners/0/name", json!("renamed"));
    edge.reload(&next).await;
    assert_eq!(before.get("/old").await.unwrap().status, 200);
    assert_eq!(edge.get("/new").await.status, 200);
    assert_eq!(edge.log_of("/old").await["listener"], "http");
    assert_eq!(edge.log_of("/new").await["listener"], "renamed");
    let count = async |name: &str| {
        let labels = [("listener", name)];
        edge.metric("portcullis_edge_requests_total", &labels).await
    };
    assert!((count("http").await - 2.0).abs() < f64::EPSILON);
    assert!((count("renamed").await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn limits_of_a_listener_hold_for_connections_that_come_after() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut before = edge.connect().await;
    before.get("/").await.unwrap();
    let next = with(edge.config(), "/listeners/0", {
        let mut listener = edge.config()["listeners"][0].clone();
        listener["limits"] = json!({ "target_bytes": 64 });
        listener
    });
    edge.reload(&next).await;
    let long = format!("/{}", "x".repeat(100));
    assert_eq!(before.get(&long).await.unwrap().status, 200);
    assert_eq!(edge.get(&long).await.status, 414);
}

#[tokio::test]
async fn endpoints_replaced_one_by_one_fail_nobody() {
    let mut old = Vec::new();
    for name in ["a", "b", "c"] {
        old.push(Endpoint::start(name).await);
    }
    let all: Vec<&Endpoint> = old.iter().collect();
    let edge = Setup::new(&all).start().await;
    let load = Load::start(edge.http(), Duration::from_millis(2), vec![Ask::get("/")]);
    load.wait_for(20).await;
    let mut new = Vec::new();
    for name in ["d", "e", "f"] {
        new.push(Endpoint::start(name).await);
        let left = old.iter().skip(new.len());
        let now: Vec<&Endpoint> = new.iter().chain(left).collect();
        let next = with(edge.config(), "/clusters/main/endpoints", addresses(&now));
        edge.reload(&next).await;
        load.wait_for(20).await;
    }
    let shots = load.finish().await;
    let failed = failures(&shots);
    assert!(failed.is_empty(), "{failed:#?}");
    let before: Vec<usize> = old.iter().map(Endpoint::requests).collect();
    for _ in 0..6 {
        assert!("def".contains(&served_by(&edge).await));
    }
    let after: Vec<usize> = old.iter().map(Endpoint::requests).collect();
    assert_eq!(before, after, "who is gone is asked nothing");
}

#[tokio::test]
async fn what_was_learnt_and_what_the_operator_did_survive() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let limit = json!({ "rate": "2/h" });
    let edge = Setup::new(&[&a, &b])
        .with_token()
        .set(
            "clusters.main.affinity",
            json!({ "secret": "a-secret-of-32-characters-or-more!" }),
        )
        .set(
            "clusters.main.ejection",
            json!({ "duration": "1h", "max_duration": "1h" }),
        )
        .set("rate_limits.few", limit)
        .set(
            "routes.1",
            json!({ "name": "few", "path": "/few", "cluster": "main", "rate_limits": ["few"] }),
        )
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
    for _ in 0..2 {
        assert_eq!(edge.get("/few").await.status, 200);
    }
    let drained = format!("clusters/main/endpoints/{}/drain", b.address());
    assert_eq!(edge.change(&drained, &json!({})).await.status, 200);
    let ban = json!({ "network": "203.0.113.0/24" });
    assert_eq!(edge.change("bans/add", &ban).await.status, 200);
    let before = edge.metric("portcullis_edge_requests_total", &[]).await;
    let mut next = edge.config();
    next["routes"][0]["response_headers"] = json!({ "set": { "x-reload": "1" } });
    edge.reload(&next).await;

    let status = edge.ask("status").await.json();
    let endpoints = status["clusters"][0]["endpoints"].as_array().unwrap();
    let of_b = endpoints
        .iter()
        .find(|one| one["address"] == b.address().to_string());
    assert!(of_b.unwrap().to_string().contains("drain"), "{of_b:?}");
    assert_eq!(status["bans"], 1);
    assert_eq!(
        edge.get("/few").await.status,
        429,
        "what was used up stays used up"
    );
    let mut bound = edge.connect().await;
    let answer = bound
        .request("GET", "/", &[("Cookie", &cookie)], b"")
        .await
        .unwrap();
    assert_eq!(answer.endpoint(), first.endpoint());
    assert_eq!(answer.field("x-reload"), Some("1"));
    let after = edge.metric("portcullis_edge_requests_total", &[]).await;
    assert!(after >= before, "counters go on: {before}, then {after}");
}

#[tokio::test]
async fn who_was_ejected_stays_out() {
    let a = Endpoint::with("a", Behavior::Status(500)).await;
    let b = Endpoint::start("b").await;
    let ejection =
        json!({ "error_percent": 20, "error_requests": 5, "duration": "1h", "max_duration": "1h" });
    let edge = Setup::new(&[&a, &b])
        .set("clusters.main.ejection", ejection)
        .start()
        .await;
    let address = a.address().to_string();
    let labels = [("endpoint", address.as_str())];
    let gauge = "portcullis_edge_endpoint_ejected";
    wait_until("the endpoint to be ejected", async || {
        edge.get("/").await;
        (edge.metric(gauge, &labels).await > 0.0).then_some(())
    })
    .await;
    let mut next = edge.config();
    next["routes"][0]["response_headers"] = json!({ "set": { "x-reload": "1" } });
    edge.reload(&next).await;
    edge.wait_for_metric(gauge, &labels, 1.0).await;
    for _ in 0..4 {
        assert_eq!(served_by(&edge).await, "b");
    }
}

#[tokio::test]
async fn the_access_log_is_opened_anew() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    edge.get("/first").await;
    edge.log_of("/first").await;
    let log = edge.directory().join("access.log");
    let rotated = edge.directory().join("access.log.1");
    std::fs::rename(&log, &rotated).unwrap();
    edge.hang_up("ok").await;
    edge.get("/second").await;
    edge.log_of("/second").await;
    edge.wait_for_log(0, |line| line["path"] == "/first").await;
    // Even where the file has mistakes: rotating logs has nothing to do with them.
    std::fs::rename(&log, &rotated).unwrap();
    edge.write_text("listeners: [");
    edge.hang_up("failed").await;
    edge.get("/third").await;
    edge.log_of("/third").await;
    edge.wait_for_log(1, |_| true).await;
}

#[tokio::test]
async fn a_file_is_read_when_it_changes() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a])
        .set("reload.watch", json!(true))
        .start()
        .await;
    let next = with(edge.config(), "/clusters/main/endpoints", addresses(&[&b]));
    let file = edge.directory().join("edge.yaml");
    let whole = serde_json::to_string_pretty(&next).unwrap();
    // Written in place, and found half-way.
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let watched = |result| [("origin", "file"), ("result", result)];
    let reloads = "portcullis_edge_config_reloads_total";
    edge.wait_for_metric(reloads, &watched("failed"), 1.0).await;
    assert_eq!(served_by(&edge).await, "a", "half a file is none");
    std::fs::write(&file, &whole).unwrap();
    edge.wait_for_metric(reloads, &watched("ok"), 1.0).await;
    assert_eq!(served_by(&edge).await, "b");
    // As Kubernetes does it: the link moves, two directories above the file.
    for (version, endpoint) in [("v1", &a), ("v2", &b)] {
        let next = with(
            edge.config(),
            "/clusters/main/endpoints",
            addresses(&[endpoint]),
        );
        std::fs::create_dir(edge.directory().join(version)).unwrap();
        let text = serde_json::to_string_pretty(&next).unwrap();
        std::fs::write(edge.directory().join(version).join("edge.yaml"), text).unwrap();
    }
    let link = |to: &str, name: &str| {
        let (new, place) = (edge.directory().join("new"), edge.directory().join(name));
        std::os::unix::fs::symlink(to, &new).unwrap();
        std::fs::rename(new, place).unwrap();
    };
    link("v1", "current");
    link("current/edge.yaml", "edge.yaml");
    wait_until("the first version", async || {
        (served_by(&edge).await == "a").then_some(())
    })
    .await;
    link("v2", "current");
    wait_until("the second version", async || {
        (served_by(&edge).await == "b").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_file_is_left_alone_unless_it_shall_be_watched() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let watching = Setup::new(&[&a])
        .set("reload.watch", json!(true))
        .start()
        .await;
    let edge = Setup::new(&[&a]).start().await;
    let next = with(edge.config(), "/clusters/main/endpoints", addresses(&[&b]));
    edge.write(&next);
    let next = with(
        watching.config(),
        "/clusters/main/endpoints",
        addresses(&[&b]),
    );
    watching.write(&next);
    let labels = [("origin", "file")];
    let reloads = "portcullis_edge_config_reloads_total";
    watching.wait_for_metric(reloads, &labels, 1.0).await;
    watching.write(&watching.config());
    watching.wait_for_metric(reloads, &labels, 2.0).await;
    assert_eq!(served_by(&edge).await, "a");
}

#[tokio::test]
async fn the_operator_sees_what_would_change_has_it_changed_and_goes_back() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a]).with_token().start().await;
    let next = with(edge.config(), "/clusters/main/endpoints", addresses(&[&b]));
    edge.write(&with(
        next,
        "/admin/token",
        json!("another-token-of-32-characters-or-more"),
    ));
    let plan = edge.change("reload", &json!({ "plan": true })).await;
    assert_eq!(plan.status, 200, "{}", plan.text());
    let told = plan.json();
    let changes = told["changes"].as_array().unwrap();
    let of_path = |path: String| changes.iter().find(|one| one["path"] == path).unwrap();
    let added = of_path(format!("clusters.main.endpoints[{}]", b.address()));
    assert_eq!(added["kind"], "added");
    let token = of_path("admin.token".to_owned());
    assert_eq!(
        (&token["kind"], &token["after"]),
        (&json!("changed"), &json!("(hidden)"))
    );
    assert_eq!(told["would_apply"], true);
    assert_eq!(served_by(&edge).await, "a", "a plan changes nothing");

    let reloaded = edge.change("reload", &json!({})).await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert_eq!(served_by(&edge).await, "b");
    let refused = edge.change("rollback", &json!({})).await;
    assert_eq!(refused.status, 401, "the token is another one now");
    edge.reload(&edge.config()).await;
    let back = edge.change("rollback", &json!({ "number": 7 })).await;
    assert_eq!(back.status, 404, "{}", back.text());
    let next = with(edge.config(), "/clusters/main/endpoints", addresses(&[&b]));
    edge.reload(&next).await;
    assert_eq!(served_by(&edge).await, "b");
    let back = edge.change("rollback", &json!({})).await;
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(served_by(&edge).await, "a");
    assert_eq!(
        back.field("etag"),
        Some(format!("\"r{}\"", back.json()["revision"]).as_str())
    );
}

#[tokio::test]
async fn the_operator_is_told_the_mistakes_of_a_file() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).with_token().start().await;
    edge.write_text("listeners:\n  - addres: 127.0.0.1:80\n");
    for body in [json!({ "plan": true }), json!({})] {
        let refused = edge.change("reload", &body).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        let told = refused.json();
        let errors = told["errors"].as_array().unwrap();
        assert!(errors.iter().any(|one| one["line"] == 2), "{told}");
    }
    assert_eq!(served_by(&edge).await, "a");
    edge.wait_for_metric(FAILED, &[], 1.0).await;
    let odd = edge.change("reload", &json!({ "plan": "yes" })).await;
    assert_eq!(odd.status, 400);
}

#[tokio::test]
async fn sessions_of_tls_resume_and_connections_go_on_under_another_certificate() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let (first, second) = (
        authority.issue("first", &["app.example"]),
        authority.issue("second", &["app.example"]),
    );
    let certificates =
        |one: &Identity| json!({ "certificates": [{ "cert": one.cert, "key": one.key }] });
    let keys = json!({ "tls": certificates(&first) });
    let edge = Setup::new(&[&a]).listener("tls", &keys).start().await;
    // One configuration remembers the sessions of all its connections.
    let trusting = authority.client();
    let open = async || {
        let address = edge.listener(1);
        let opened = Connection::open_tls(address, "app.example", trusting.clone()).await;
        let mut opened = opened.unwrap();
        assert_eq!(opened.get("/").await.unwrap().status, 200);
        opened
    };
    let mut before = open().await;
    assert_eq!(before.tls().unwrap().leaf, first.leaf);
    let mut next = edge.config();
    next["listeners"][1]["tls"] = certificates(&second);
    edge.reload(&next).await;
    assert_eq!(before.get("/").await.unwrap().status, 200, "it goes on");
    assert!(
        open().await.tls().unwrap().is_resumed,
        "keys of tickets stay"
    );
    let stranger = open_tls(edge.listener(1), "app.example", &authority).await;
    assert_eq!(stranger.tls().unwrap().leaf, second.leaf);
}
