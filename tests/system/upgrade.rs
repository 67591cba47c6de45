//! Another binary in the place of one that runs: who takes over, what with, and what becomes of the one
//! before. Never looks at how requests fare meanwhile: `load` does, on both engines.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use portcullis_testkit::process::{is_running, signal_process};
use portcullis_testkit::{Behavior, Connection, Endpoint, client, wait_until};
use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Edge, PORTCULLIS};
use crate::native::Setup;

/// A place for a program of this test's own, with the real one in it.
fn program(directory: &Path) -> std::path::PathBuf {
    let place = directory.join("portcullis");
    symlink(PORTCULLIS, &place).unwrap();
    place
}

/// Starts from there.
async fn start(setup: Setup) -> Edge {
    let place = program(&setup.directory());
    let mut edge = setup.with_token().spawn_as(|from| {
        let mut command = Command::new(place);
        command.args(from.get_args());
        command.current_dir(from.get_current_dir().unwrap());
        command
    });
    edge.wait_for_admin("/readyz", 200).await;
    edge
}

/// Puts a script into the place of the program, as a deployment does it.
fn replace(edge: &Edge, script: &str) {
    let (new, place) = (
        edge.directory().join("new"),
        edge.directory().join("portcullis"),
    );
    std::fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::rename(new, place).unwrap();
}

/// The same, for one that says so and then is what it is.
fn replace_by_another(edge: &Edge, word: &str) {
    replace(edge, &format!("echo {word} >&2; exec {PORTCULLIS} \"$@\""));
}

/// Has another process take over; which.
pub(crate) async fn upgrade(edge: &Edge) -> u32 {
    let upgraded = edge.change("upgrade", &json!({})).await;
    assert_eq!(upgraded.status, 200, "{}", upgraded.text());
    u32::try_from(upgraded.json()["pid"].as_u64().unwrap()).unwrap()
}

/// Which process answers operators.
async fn answering(edge: &Edge) -> u64 {
    edge.ask("status").await.json()["pid"].as_u64().unwrap()
}

async fn served_by(edge: &Edge) -> String {
    edge.get("/").await.endpoint()
}

async fn wait_for_output(edge: &Edge, text: &str) {
    wait_until(&format!("{text:?} in the output"), async || {
        edge.process.output().contains(text).then_some(())
    })
    .await;
}

/// A WebSocket that keeps a process.
async fn tunnel(edge: &Edge) -> Connection {
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let mut client = edge.connect().await;
    let response = client.request("GET", "/ws", &fields, b"").await.unwrap();
    assert_eq!(response.status, 101);
    client
}

#[tokio::test]
async fn what_is_at_the_path_by_now_takes_over_again_and_again() {
    let a = Endpoint::start("a").await;
    let mut edge = start(Setup::new(&[&a])).await;
    let mut processes = vec![edge.process.id()];
    replace_by_another(&edge, "another-binary");
    for _ in 0..3 {
        let process = upgrade(&edge).await;
        assert!(edge.process.output().contains("another-binary"));
        assert!(!processes.contains(&process));
        processes.push(process);
        assert_eq!(served_by(&edge).await, "a");
        assert_eq!(answering(&edge).await, u64::from(process));
    }
    assert_eq!(edge.process.exit_code().await, 0);
    let alive = processes.iter().filter(|one| is_running(**one)).count();
    assert_eq!(alive, 1, "the last one");
}

#[tokio::test]
async fn a_signal_and_the_command_line_do_the_same() {
    let a = Endpoint::start("a").await;
    let mut edge = start(Setup::new(&[&a])).await;
    edge.process.signal(Signal::SIGUSR2);
    let first = u64::from(edge.process.id());
    let second = wait_until("the second process to answer", async || {
        let answering = answering(&edge).await;
        (answering != first).then_some(answering)
    })
    .await;
    let audit = edge.process.output();
    assert!(audit.contains("who=\"sigusr2\""), "{audit}");
    let asked = tokio::process::Command::new(PORTCULLIS)
        .args(["upgrade", "--wait", "--json", "--admin"])
        .arg(edge.admin().to_string())
        .env("PORTCULLIS_ADMIN_TOKEN", ADMIN_TOKEN)
        .output()
        .await
        .unwrap();
    let told: Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!(asked.status.code(), Some(0));
    assert_eq!(told["predecessor"], second);
    assert_eq!(answering(&edge).await, told["pid"].as_u64().unwrap());
    assert!(
        !is_running(u32::try_from(second).unwrap()),
        "it was waited for"
    );
    assert_eq!(edge.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_process_that_does_not_get_ready_changes_nothing_and_its_last_words_are_told() {
    let a = Endpoint::start("a").await;
    let setup = Setup::new(&[&a]).set("shutdown.upgrade_timeout", json!("4s"));
    let edge = start(setup).await;
    let first = u64::from(edge.process.id());
    let refused = async |words: &[&str]| {
        let began = Instant::now();
        let answer = edge.change("upgrade", &json!({})).await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        for word in words {
            assert!(answer.text().contains(word), "{word} in {}", answer.text());
        }
        assert_eq!(answering(&edge).await, first);
        assert_eq!(served_by(&edge).await, "a");
        began.elapsed()
    };
    let good = edge.config();
    edge.write_text("listeners: [");
    refused(&["exit status: 1", "edge.yaml:1"]).await;
    edge.write(&good);
    replace(&edge, "echo wrong library >&2; exit 127");
    refused(&["exit status: 127", "wrong library"]).await;
    replace(&edge, "kill -9 $$");
    refused(&["signal: 9"]).await;
    replace(&edge, "echo waiting >&2; exec sleep 1000");
    let took = refused(&["not ready within 4s", "waiting"]).await;
    assert!(took >= Duration::from_secs(4));
    std::fs::remove_file(edge.directory().join("portcullis")).unwrap();
    refused(&["cannot be started"]).await;
    let failed = "portcullis_edge_upgrades_failed_total";
    edge.wait_for_metric(failed, &[], 5.0).await;
    replace_by_another(&edge, "mended");
    // A busy machine may take its time.
    let mut patient = good.clone();
    patient["shutdown"]["upgrade_timeout"] = json!("60s");
    edge.reload(&patient).await;
    upgrade(&edge).await;
    assert_eq!(served_by(&edge).await, "a");
}

#[tokio::test]
async fn while_one_gets_ready_there_is_no_second_and_no_reload() {
    let a = Endpoint::start("a").await;
    let mut edge = start(Setup::new(&[&a])).await;
    replace(&edge, "echo waiting >&2; exec sleep 1000");
    edge.process.signal(Signal::SIGUSR2);
    wait_for_output(&edge, "waiting").await;
    for (path, word) in [
        ("upgrade", "running already"),
        ("reload", "upgrade is running"),
    ] {
        let answer = edge.change(path, &json!({})).await;
        assert_eq!(answer.status, 409);
        assert!(answer.text().contains(word), "{}", answer.text());
    }
    edge.process.signal(Signal::SIGUSR2);
    wait_for_output(&edge, "an upgrade is running already").await;
    assert_eq!(served_by(&edge).await, "a");
    // Who leaves takes along whoever was to come after.
    edge.process.signal(Signal::SIGTERM);
    assert_eq!(edge.process.exit_code().await, 0);
    assert!(client::get(edge.http(), "/").await.is_err());
}

#[tokio::test]
async fn operators_may_ask_for_it_who_know_what_runs() {
    let a = Endpoint::start("a").await;
    let edge = start(Setup::new(&[&a])).await;
    let ask = async |fields: &[(&str, &str)]| {
        let mut connection = Connection::open(edge.admin()).await.unwrap();
        let asked = connection.request("POST", "/v1/upgrade", fields, b"");
        asked.await.unwrap().status
    };
    let token = format!("Bearer {ADMIN_TOKEN}");
    let authorized = ("Authorization", token.as_str());
    assert_eq!(ask(&[]).await, 401);
    assert_eq!(ask(&[authorized, ("If-Match", "\"r9\"")]).await, 412);
    let process = answering(&edge).await;
    assert_eq!(process, u64::from(edge.process.id()));
    assert_eq!(ask(&[authorized, ("If-Match", "\"r1\"")]).await, 200);
    let status = edge.ask("status").await;
    assert_eq!(status.field("etag"), Some("\"r2\""), "revisions go on");
    assert_ne!(status.json()["pid"], process);
}

#[tokio::test]
async fn what_operators_did_and_what_checks_found_goes_over() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let c = Endpoint::start("c").await;
    // Whoever has to ask again is not served for a while.
    let health = json!({ "path": "/health", "interval": "1h", "timeout": "1s", "rise": 3 });
    let setup = Setup::new(&[&a, &b])
        .cluster("other", &[&c])
        .set(
            "routes.1",
            json!({ "name": "moved", "path": "/moved", "cluster": "main" }),
        )
        .set("flags.beta", json!({ "percent": 5 }))
        .set("clusters.main.health", health);
    let edge = start(setup).await;
    let changes = [
        (
            format!("clusters/main/endpoints/{}/drain", b.address()),
            json!({}),
        ),
        (
            "bans/add".to_owned(),
            json!({ "network": "203.0.113.0/24" }),
        ),
        (
            "routes/moved/switch".to_owned(),
            json!({ "cluster": "other" }),
        ),
        ("flags/beta/set".to_owned(), json!({ "to": "on" })),
    ];
    for (path, body) in &changes {
        assert_eq!(edge.change(path, body).await.status, 200, "{path}");
    }
    let check = edge.change("clusters/main/check", &json!({})).await;
    assert_eq!(check.status, 200);
    upgrade(&edge).await;
    for _ in 0..4 {
        assert_eq!(served_by(&edge).await, "a", "the other one is drained");
    }
    assert_eq!(edge.get("/moved").await.endpoint(), "c");
    let status = edge.ask("status").await.json();
    assert_eq!(status["bans"], 1);
    assert_eq!(status["revision"], 6);
    let flags = edge.ask("flags").await.json();
    assert_eq!(flags["flags"][0]["said_by"], "operator");
    let audit = edge.ask("audit").await.json();
    let what: Vec<_> = audit["entries"].as_array().unwrap().iter().collect();
    assert_eq!(what[0]["what"], "upgrade", "{audit}");
    assert_eq!(what[2]["what"], "flags/beta/set", "who did what is known");
}

#[tokio::test]
async fn clients_stay_where_their_cookies_lead_though_nobody_wrote_down_a_secret() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = start(Setup::new(&[&a, &b]).set("clusters.main.affinity", json!({}))).await;
    let first = edge.get("/").await;
    let cookie = first.field("set-cookie").unwrap();
    let cookie = cookie.split(';').next().unwrap();
    upgrade(&edge).await;
    for _ in 0..6 {
        let mut client = edge.connect().await;
        let fields = [("Cookie", cookie)];
        let answer = client.request("GET", "/", &fields, b"").await.unwrap();
        assert_eq!(answer.endpoint(), first.endpoint());
    }
}

#[tokio::test]
async fn a_configuration_that_changed_is_in_force_then() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = start(Setup::new(&[&a])).await;
    let new = portcullis_testkit::free_port();
    let mut next = edge.config();
    next["clusters"]["main"]["endpoints"] = json!([b.address().to_string()]);
    let listener = json!({ "name": "new", "address": new.address().to_string() });
    next["listeners"].as_array_mut().unwrap().push(listener);
    edge.write(&next);
    assert_eq!(served_by(&edge).await, "a");
    upgrade(&edge).await;
    assert_eq!(served_by(&edge).await, "b");
    assert_eq!(
        client::get(new.address(), "/").await.unwrap().endpoint(),
        "b"
    );
    // And the other way round.
    edge.write(&edge.config());
    upgrade(&edge).await;
    assert_eq!(served_by(&edge).await, "a");
    assert!(Connection::open(new.address()).await.is_err());
}

#[tokio::test]
async fn connections_of_the_process_before_last_until_upgrade_drain_and_no_longer() {
    let a = Endpoint::start("a").await;
    let shutdown = json!({ "delay": "0s", "drain": "1s", "upgrade_drain": "6s" });
    let mut edge = start(Setup::new(&[&a]).set("shutdown", shutdown)).await;
    let mut tunnel = tunnel(&edge).await;
    let began = Instant::now();
    upgrade(&edge).await;
    let gauge = "portcullis_edge_predecessor_draining";
    edge.wait_for_metric(gauge, &[], 1.0).await;
    tunnel.send(b"still there?").await.unwrap();
    assert_eq!(tunnel.read_some().await.unwrap(), b"still there?");
    assert_eq!(edge.process.exit_code().await, 0);
    assert!(
        began.elapsed() >= Duration::from_secs(6),
        "the deadline was waited for"
    );
    tunnel.expect_close().await;
    edge.wait_for_metric(gauge, &[], 0.0).await;
    assert_eq!(served_by(&edge).await, "a");
}

#[tokio::test]
async fn the_process_before_can_be_asked_to_hurry() {
    let a = Endpoint::start("a").await;
    let shutdown = json!({ "delay": "1h", "drain": "500ms" });
    let mut edge = start(Setup::new(&[&a]).set("shutdown", shutdown)).await;
    let mut tunnel = tunnel(&edge).await;
    let mut idle = edge.connect().await;
    idle.get("/").await.unwrap();
    let process = upgrade(&edge).await;
    edge.process.signal(Signal::SIGTERM);
    assert_eq!(edge.process.exit_code().await, 0);
    tunnel.expect_close().await;
    idle.expect_close().await;
    assert_eq!(served_by(&edge).await, "a", "it concerns nobody else");
    assert!(is_running(process));
}

#[tokio::test]
async fn an_idle_connection_gets_its_next_answer_and_is_told_to_end() {
    let a = Endpoint::start("a").await;
    let mut edge = start(Setup::new(&[&a])).await;
    let mut idle = edge.connect().await;
    idle.get("/first").await.unwrap();
    upgrade(&edge).await;
    let answer = idle.get("/second").await.unwrap();
    assert_eq!(
        (answer.status, answer.field("connection")),
        (200, Some("close"))
    );
    idle.expect_close().await;
    assert_eq!(edge.process.exit_code().await, 0, "nothing keeps it");
}

#[tokio::test]
async fn a_request_that_runs_is_answered_by_the_process_that_has_it() {
    let a = Endpoint::with("a", Behavior::Slow(Duration::from_secs(1))).await;
    let mut edge = start(Setup::new(&[&a])).await;
    let address = edge.http();
    let running = tokio::spawn(async move { client::get(address, "/slow").await });
    wait_until("the request to arrive", async || {
        (a.in_flight() == 1).then_some(())
    })
    .await;
    upgrade(&edge).await;
    assert_eq!(running.await.unwrap().unwrap().status, 200);
    assert_eq!(edge.process.exit_code().await, 0);
    edge.log_of("/slow").await;
}

#[tokio::test]
async fn one_that_took_over_ends_like_any_other() {
    let a = Endpoint::start("a").await;
    let edge = start(Setup::new(&[&a])).await;
    let process = upgrade(&edge).await;
    assert_eq!(served_by(&edge).await, "a");
    wait_for_output(&edge, "the process before is gone").await;
    signal_process(process, Signal::SIGTERM);
    wait_until("its end", async || (!is_running(process)).then_some(())).await;
    assert!(Connection::open(edge.http()).await.is_err());
}

#[tokio::test]
async fn nobody_takes_over_who_was_not_started_for_it() {
    let a = Endpoint::start("a").await;
    let mut edge = Setup::new(&[&a]).spawn_as(|mut command| {
        command.env("PORTCULLIS_HANDOVER", "1");
        command
    });
    assert_eq!(edge.process.exit_code().await, 1);
    let output = edge.process.output();
    assert!(output.contains("unset it"), "{output}");
}
