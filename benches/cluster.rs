//! The whole product under load: memory at rest, and `/health` while logins take every core. Prints
//! one table; never fails for being slow, since machines differ and are shared.
//!
//! Run it with `cargo bench --profile dist --bench cluster`: the binary as it is shipped.

#![expect(clippy::print_stdout, reason = "its table is what it is for")]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portcullis_testkit::process::resident_kilobytes;
use portcullis_testkit::{Connection, Process};
use serde_json::{Value, json};

/// Logins at once: more than any machine this runs on has cores.
const LOGIN_CLIENTS: usize = 16;
/// `/health` requests a second while logins run, sent by the clock, not by the last answer.
const HEALTH_RATE: u64 = 50;
const HEALTH_DURATION: Duration = Duration::from_secs(10);
const PASSWORD: &str = "a long enough passphrase";

#[tokio::main]
async fn main() {
    // Criterion's arguments mean nothing here.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let cluster = Cluster::start(directory.path()).await;
    println!(
        "portcullis up, 3 instances, embedded database, {} cores",
        cores()
    );

    let edge = resident_kilobytes(cluster.process.id()).unwrap_or_default();
    row(
        "memory of the edge at rest",
        &megabytes(edge),
        "under 40 MB",
    );
    for (id, pid) in &cluster.instances {
        let resident = resident_kilobytes(*pid).unwrap_or_default();
        row(
            &format!("memory of {id} at rest"),
            &megabytes(resident),
            "under 60 MB",
        );
    }
    cluster.register("ada@example.com").await;
    health_beside_logins(&cluster).await;
}

/// A running `portcullis up`.
struct Cluster {
    process: Process,
    edge: SocketAddr,
    instance: SocketAddr,
    instances: Vec<(String, u32)>,
}

impl Cluster {
    async fn start(directory: &std::path::Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command
            .args([
                "up", "--json", "--http", "0", "--https", "0", "--admin", "0",
            ])
            .args(["--base-port", "0", "--data-dir"])
            .arg(directory.join("data"));
        let mut process = Process::spawn(command);
        let line = process.wait_for_line("\"ready\"").await;
        let ready: Value = serde_json::from_str(&line).expect("one JSON object a line");
        let instances = ready["instances"].as_array().expect("a list of instances");
        let pid = |instance: &Value| instance["pid"].as_u64().and_then(|pid| pid.try_into().ok());
        Self {
            edge: address(&ready["http"]),
            instance: address(&instances[0]["url"]),
            instances: instances
                .iter()
                .map(|instance| {
                    let id = instance["id"].as_str().unwrap_or_default().to_owned();
                    (id, pid(instance).unwrap_or_default())
                })
                .collect(),
            process,
        }
    }

    async fn register(&self, email: &str) {
        let body = json!({ "email": email, "password": PASSWORD });
        let mut client = Connection::open(self.edge).await.expect("the edge accepts");
        let response = client
            .post_json("/api/v1/auth/register", &body)
            .await
            .expect("an answer");
        assert_eq!(response.status, 202, "{}", response.text());
    }
}

/// Latency of `/health` straight at an instance and through the edge while logins saturate.
async fn health_beside_logins(cluster: &Cluster) {
    let stop = Arc::new(AtomicBool::new(false));
    let logins = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..LOGIN_CLIENTS)
        .map(|_| {
            tokio::spawn(log_in_until(
                cluster.edge,
                Arc::clone(&stop),
                Arc::clone(&logins),
            ))
        })
        .collect();
    let started = Instant::now();
    let (mut direct, mut through) = tokio::join!(
        health_latencies(cluster.instance),
        health_latencies(cluster.edge)
    );
    let rate = logins.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("a login client does not panic");
    }
    row(
        "logins beside it",
        &format!("{rate:.0}/s (argon2id m=19 MiB t=2 p=1)"),
        "",
    );
    for (path, latencies) in [
        ("at an instance", &mut direct),
        ("through the edge", &mut through),
    ] {
        for percent in [50, 99] {
            let target = if percent == 99 { "under 10 ms" } else { "" };
            let value = milliseconds(percentile(latencies, percent));
            row(&format!("/health {path}, p{percent}"), &value, target);
        }
    }
}

async fn log_in_until(edge: SocketAddr, stop: Arc<AtomicBool>, logins: Arc<AtomicU64>) {
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let mut client = Connection::open(edge).await.expect("the edge accepts");
    while !stop.load(Ordering::Relaxed) {
        match client.post_json("/api/v1/auth/login", &body).await {
            Ok(response) => logins.fetch_add(u64::from(response.status == 200), Ordering::Relaxed),
            Err(_closed) => {
                client = Connection::open(edge).await.expect("the edge accepts");
                0
            }
        };
    }
}

/// Sent at fixed times; a late answer delays nothing and counts in full.
async fn health_latencies(address: SocketAddr) -> Vec<Duration> {
    let period = Duration::from_secs(1) / u32::try_from(HEALTH_RATE).expect("a small rate");
    let mut ticks = tokio::time::interval(period);
    let mut requests = Vec::new();
    let end = Instant::now() + HEALTH_DURATION;
    while Instant::now() < end {
        let due = ticks.tick().await.into_std();
        requests.push(tokio::spawn(async move {
            let mut client = Connection::open(address).await.expect("accepted");
            let response = client.get("/health").await.expect("an answer");
            assert_eq!(response.status, 200);
            due.elapsed()
        }));
    }
    let mut latencies = Vec::with_capacity(requests.len());
    for request in requests {
        latencies.push(request.await.expect("a request does not panic"));
    }
    latencies
}

fn address(url: &Value) -> SocketAddr {
    let url = url.as_str().expect("a URL");
    let authority = url.split("//").nth(1).expect("an authority");
    authority.parse().expect("an address")
}

fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn row(name: &str, value: &str, target: &str) {
    println!("{name:<42} {value:>40}   {target}");
}

fn megabytes(kilobytes: u64) -> String {
    format!("{:.1} MB", kilobytes as f64 / 1024.0)
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
