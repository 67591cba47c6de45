//! Reloading 1,000 routes and 1,000 endpoints while requests come: how long it takes, and how long the
//! longest request waits meanwhile. Prints one table; never fails for being slow, since machines differ
//! and are shared.
//!
//! Run it with `cargo bench --profile dist --bench reload`: the binary as it is shipped.

#![expect(clippy::print_stdout, reason = "its table is what it is for")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use portcullis_testkit::{Connection, Endpoint, Process, client, free_port, wait_until};
use serde_json::{Value, json};

const ROUTES: usize = 1_000;
const CLUSTERS: usize = 100;
const ENDPOINTS_EACH: usize = 10;
const RELOADS: usize = 30;
/// From one reload to the next: most of it is quiet, to compare with.
const PACE: Duration = Duration::from_millis(400);

#[tokio::main]
async fn main() {
    // Criterion's arguments mean nothing here.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let answering = Endpoint::start("answering").await;
    let (http, admin) = (free_port(), free_port());
    let site = Site {
        file: directory.path().join("edge.yaml"),
        http: http.address(),
        admin: admin.address(),
        answering: answering.address(),
    };
    site.write(0);
    let process = site.start(directory.path());
    wait_until("the edge to be ready", async || {
        let ready = client::get(site.admin, "/readyz").await.ok()?;
        (ready.status == 200).then_some(())
    })
    .await;

    let asked = ask_without_end(site.http);
    let mut reloads = Vec::new();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for number in 1..=RELOADS {
        pace.tick().await;
        site.write(number);
        let began = Instant::now();
        process.signal(Signal::SIGHUP);
        wait_until("the reload", async || {
            (site.generation().await == number + 1).then_some(())
        })
        .await;
        reloads.push((began, Instant::now()));
    }
    let shots: Vec<Shot> = asked.try_iter().collect();
    report(took(&process), &reloads, &shots);
}

fn report(mut took: Vec<f64>, reloads: &[(Instant, Instant)], shots: &[Shot]) {
    let is_within = |shot: &Shot| {
        let mut all = reloads.iter();
        all.any(|(began, ended)| shot.began <= *ended && shot.began + shot.latency >= *began)
    };
    let (within, beside): (Vec<&Shot>, Vec<&Shot>) = shots.iter().partition(|shot| is_within(shot));
    println!(
        "{RELOADS} reloads of {ROUTES} routes and {} endpoints",
        CLUSTERS * ENDPOINTS_EACH
    );
    took.sort_by(f64::total_cmp);
    let median = at(&took, 0.5);
    let longest = at(&took, 1.0);
    row("reload, median", &format!("{median:.1} ms"), "");
    row(
        "reload, longest",
        &format!("{longest:.1} ms"),
        "under 100 ms",
    );
    for (name, shots, target) in [
        ("during reloads", &within, "longest under 5 ms"),
        ("between them", &beside, ""),
    ] {
        let latencies = shots
            .iter()
            .map(|shot| shot.latency.as_secs_f64() * 1_000.0);
        let mut latencies: Vec<f64> = latencies.collect();
        latencies.sort_by(f64::total_cmp);
        let said = format!(
            "{:.2} ms median, {:.2} ms p99, {:.2} ms longest of {}",
            at(&latencies, 0.5),
            at(&latencies, 0.99),
            at(&latencies, 1.0),
            latencies.len()
        );
        row(&format!("requests {name}"), &said, target);
    }
    row("requests that failed", &failed(shots), "0");
}

/// Of sorted values, the one that so large a share is below.
fn at(values: &[f64], share: f64) -> f64 {
    let position = (values.len() as f64 * share) as usize;
    let last = values.len().saturating_sub(1);
    values.get(position.min(last)).copied().unwrap_or_default()
}

/// Where everything is.
struct Site {
    file: PathBuf,
    http: SocketAddr,
    admin: SocketAddr,
    answering: SocketAddr,
}

impl Site {
    /// Every reload changes something of every route.
    fn write(&self, number: usize) {
        let endpoint = |cluster: usize, position: usize| match (cluster, position) {
            (0, 0) => self.answering.to_string(),
            // Nobody asks these.
            _ => format!("127.1.{cluster}.{}:9", position + 1),
        };
        let clusters = (0..CLUSTERS).map(|cluster| {
            let count = if cluster == 0 { 1 } else { ENDPOINTS_EACH };
            let endpoints: Vec<String> = (0..count).map(|one| endpoint(cluster, one)).collect();
            (
                format!("cluster-{cluster}"),
                json!({ "endpoints": endpoints }),
            )
        });
        let routes = (0..ROUTES).map(|route| {
            json!({
                "name": format!("route-{route}"),
                "path": format!("/r/{route}"),
                "cluster": format!("cluster-{}", route % CLUSTERS),
                "response_headers": { "set": { "X-Reload": number.to_string() } },
            })
        });
        let config = json!({
            "listeners": [{ "name": "http", "address": self.http.to_string() }],
            "clusters": clusters.collect::<serde_json::Map<_, _>>(),
            "routes": routes.collect::<Value>(),
            "admin": { "address": self.admin.to_string() },
            "access_log": "off",
            "shutdown": { "delay": "0s", "drain": "1s" },
        });
        let next = self.file.with_extension("next");
        std::fs::write(&next, config.to_string()).expect("the directory is there");
        std::fs::rename(next, &self.file).expect("the same directory");
    }

    fn start(&self, directory: &Path) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command
            .args(["edge", "--json", "--config"])
            .arg(&self.file)
            .current_dir(directory);
        Process::spawn(command)
    }

    async fn generation(&self) -> usize {
        let ready = client::get(self.admin, "/readyz").await.expect("it runs");
        let generation = ready.json()["generation"].as_u64().unwrap_or_default();
        usize::try_from(generation).unwrap_or_default()
    }
}

/// One request.
struct Shot {
    began: Instant,
    latency: Duration,
    is_served: bool,
}

/// One after the other, on a thread of its own, for as long as somebody listens.
fn ask_without_end(address: SocketAddr) -> mpsc::Receiver<Shot> {
    let (sender, shots) = mpsc::channel();
    let ask = async move {
        let mut connection = Connection::open(address).await.expect("it runs");
        loop {
            let began = Instant::now();
            let answered = connection.get("/r/0").await;
            let is_served = answered.as_ref().is_ok_and(|answer| answer.status == 200);
            let closes =
                answered.map_or(true, |answer| answer.field("connection") == Some("close"));
            let shot = Shot {
                began,
                latency: began.elapsed(),
                is_served,
            };
            if sender.send(shot).is_err() {
                return;
            }
            if closes {
                let Ok(another) = Connection::open(address).await else {
                    return;
                };
                connection = another;
            }
        }
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("threads can be made");
        runtime.block_on(ask);
    });
    shots
}

/// What the log says of each reload, in milliseconds.
fn took(process: &Process) -> Vec<f64> {
    let lines = process.stderr();
    let lines = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter_map(|line| line.pointer("/took_ms")?.as_f64())
        .collect()
}

fn failed(shots: &[Shot]) -> String {
    shots
        .iter()
        .filter(|shot| !shot.is_served)
        .count()
        .to_string()
}

fn row(what: &str, is: &str, target: &str) {
    println!("{what:<24} {is:<60} {target}");
}
