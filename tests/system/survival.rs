//! `portcullis up` and what happens when its processes are killed, one by one or all at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use portcullis_testkit::process::{self, signal_process};
use portcullis_testkit::{Connection, Process, free_port, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::harness::PORTCULLIS;
use crate::harness::up::{INSTANCES, Place, Up, has_file, post, verify, wait_for_end, with_token};

const PASSWORD: &str = "correct horse battery staple";

/// Clients that verify a token again and again, each on a connection it keeps.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: SocketAddr, token: &Value, clients: usize, pace: Duration) -> Load {
        let (is_over, answered) = (Arc::default(), Arc::default());
        let clients = (0..clients)
            .map(|_| {
                let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
                tokio::spawn(verify_until(
                    address,
                    token.clone(),
                    pace,
                    is_over,
                    answered,
                ))
            })
            .collect();
        Load {
            is_over,
            answered,
            clients,
        }
    }

    /// Waits until `count` more requests were answered.
    async fn wait_for(&self, count: usize) {
        let goal = self.answered.load(Ordering::SeqCst) + count;
        wait_until(&format!("{count} answers"), async || {
            (self.answered.load(Ordering::SeqCst) >= goal).then_some(())
        })
        .await;
    }

    /// Ends the load and returns what went wrong.
    async fn finish(self) -> Vec<String> {
        self.is_over.store(true, Ordering::SeqCst);
        let mut failures = Vec::new();
        for client in self.clients {
            failures.extend(client.await.unwrap());
        }
        failures
    }
}

async fn verify_until(
    address: SocketAddr,
    token: Value,
    pace: Duration,
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut kept = None;
    let mut turn = tokio::time::interval(pace);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !is_over.load(Ordering::SeqCst) {
        turn.tick().await;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::open(address).await.unwrap(),
        };
        match with_token(&mut connection, "GET", "/api/v1/auth/verify", &token).await {
            Ok(response) if response.status == 200 => {
                answered.fetch_add(1, Ordering::SeqCst);
                if response.field("connection") != Some("close") {
                    kept = Some(connection);
                }
            }
            Ok(response) => failures.push(format!("{}: {}", response.status, response.text())),
            Err(error) => failures.push(error.to_string()),
        }
    }
    failures
}

/// Logs in again and again until told to stop; returns how often it went well, and what did not.
fn log_in_until(
    address: SocketAddr,
    pace: Duration,
    is_over: Arc<AtomicBool>,
) -> JoinHandle<(usize, Vec<String>)> {
    tokio::spawn(async move {
        let body = json!({ "email": "ada@example.com", "password": PASSWORD });
        let (mut succeeded, mut failures) = (0, Vec::new());
        let mut turn = tokio::time::interval(pace);
        while !is_over.load(Ordering::SeqCst) {
            turn.tick().await;
            let response = post(address, "/api/v1/auth/login", &body).await;
            match response.status {
                200 => succeeded += 1,
                status => failures.push(format!("{status}: {}", response.text())),
            }
        }
        (succeeded, failures)
    })
}

async fn logged_in(up: &Up) -> Value {
    up.register("ada@example.com", PASSWORD).await;
    up.log_in("ada@example.com", PASSWORD).await["access_token"].clone()
}

/// Kills an auth process and waits until another one serves in its place.
async fn kill_and_await_successor(up: &Up, id: u32) {
    signal_process(id, Signal::SIGKILL);
    wait_until("a successor", async || {
        let running = up.auth_processes();
        (running.len() == usize::from(INSTANCES) && !running.contains(&id)).then_some(())
    })
    .await;
    for &address in &up.instances {
        wait_until(&format!("{address} to be ready"), async || {
            let answer = portcullis_testkit::client::get(address, "/health/ready").await;
            answer.ok().filter(|response| response.status == 200)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_one_auth_process_fails_no_idempotent_request() {
    let place = Place::new();
    let up = place.start().await;
    let token = logged_in(&up).await;
    let load = Load::start(up.http, &token, 20, Duration::from_millis(20));
    load.wait_for(100).await;
    kill_and_await_successor(&up, up.auth_processes()[0]).await;
    load.wait_for(100).await;
    assert_eq!(load.finish().await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_each_instance_in_turn_fails_nobody() {
    let place = Place::new();
    let up = place.start().await;
    let token = logged_in(&up).await;
    let load = Load::start(up.http, &token, 200, Duration::from_millis(500));
    let is_over = Arc::new(AtomicBool::new(false));
    let logins = log_in_until(up.http, Duration::from_millis(200), Arc::clone(&is_over));
    load.wait_for(400).await;
    for id in up.auth_processes() {
        kill_and_await_successor(&up, id).await;
        load.wait_for(400).await;
    }
    is_over.store(true, Ordering::SeqCst);
    let (succeeded, failed_logins) = logins.await.unwrap();
    assert_eq!(load.finish().await, [] as [String; 0]);
    // A login is a POST: one that a killed process had already read may not be repeated. Whoever
    // was being served at one of the three moments may fail, nobody else.
    assert!(
        failed_logins.len() <= usize::from(INSTANCES),
        "{failed_logins:?}"
    );
    assert!(succeeded >= 5, "logins went on beside it: {succeeded}");
}

#[tokio::test]
async fn ctrl_c_ends_everything_with_0() {
    let place = Place::new();
    let mut up = place.start().await;
    let processes = process::descendants(up.process.id());
    assert!(processes.len() >= usize::from(INSTANCES));
    up.process.signal(Signal::SIGINT);
    assert_eq!(up.process.exit_code().await, 0, "{}", up.process.output());
    wait_for_end(&processes).await;
    let rows = [&up.instances[..], &up.internal].concat();
    for address in [&[up.http, up.https, up.admin][..], &rows].concat() {
        assert!(
            Connection::open(address).await.is_err(),
            "{address} still listens"
        );
    }
}

#[tokio::test]
async fn killing_up_leaves_no_orphan_and_a_usable_database() {
    let place = Place::new();
    let processes = {
        let up = place.start().await;
        logged_in(&up).await;
        let load = log_in_until(up.http, Duration::from_millis(10), Arc::default());
        let processes = process::descendants(up.process.id());
        up.process.signal(Signal::SIGKILL);
        wait_for_end(&processes).await;
        load.abort();
        processes
    };
    assert!(processes.len() >= usize::from(INSTANCES));
    let up = place.start().await;
    let grant = up.log_in("ada@example.com", PASSWORD).await;
    assert_eq!(verify(up.http, &grant["access_token"]).await.status, 200);
}

#[tokio::test]
async fn three_cold_starts_at_once_agree_on_one_database() {
    let data = TempDir::new().unwrap();
    let pepper = "0123456789abcdef0123456789abcdef";
    let instances: Vec<_> = (0..3)
        .map(|_| {
            let port = free_port();
            let mut command = std::process::Command::new(PORTCULLIS);
            command.arg("auth").current_dir(data.path());
            command.env("PORT", port.number().to_string());
            command.env(
                "DATABASE_URL",
                format!("sqlite://{}/auth.db", data.path().display()),
            );
            command.env("ISSUER_URL", "http://localhost:8080");
            command.env("SECURITY_SALT", pepper);
            command.env("DRAIN_DELAY", "0");
            (port, Process::spawn(command))
        })
        .collect();
    for (port, _) in &instances {
        wait_until("every instance to be ready", async || {
            let answer = portcullis_testkit::client::get(port.address(), "/health/ready").await;
            answer.ok().filter(|response| response.status == 200)
        })
        .await;
    }
    let [a, b, c] = [0, 1, 2].map(|index: usize| instances[index].0.address());
    let account = json!({ "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(post(a, "/api/v1/auth/register", &account).await.status, 202);
    let login = post(b, "/api/v1/auth/login", &account).await;
    assert_eq!(login.status, 200, "{}", login.text());
    assert_eq!(verify(c, &login.json()["access_token"]).await.status, 200);
    assert!(has_file(data.path(), ".db"));
}

#[tokio::test]
async fn a_taken_port_is_one_line_and_starts_nothing() {
    let place = Place::new();
    for flag in [
        "--http",
        "--https",
        "--admin",
        "--base-port",
        "--internal-port",
    ] {
        let first = place.arguments();
        let value = first.iter().position(|argument| argument == flag).unwrap() + 1;
        let port: u16 = first[value].parse().unwrap();
        let _taken = tokio::net::TcpListener::bind(("127.0.0.1", port))
            .await
            .unwrap();
        let started = Instant::now();
        let mut up = place.spawn();
        assert_eq!(up.process.exit_code().await, 1, "{}", up.process.output());
        assert!(started.elapsed() < Duration::from_secs(8), "at once");
        let lines = up.process.stderr();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains(&port.to_string()), "{lines:?}");
        assert!(lines[0].contains(flag), "says what to do: {lines:?}");
        let own = std::process::id().to_string();
        assert!(lines[0].contains(&own), "names who holds it: {lines:?}");
    }
}
