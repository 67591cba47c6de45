//! From a logout to its first refusal at the edge, beside 5,000 requests a second: the real binary, three
//! auth instances on PostgreSQL and Redis, an edge that follows them. Prints one table, and fails if a token
//! that was refused is ever accepted again; never for being slow, since machines differ and are shared.
//!
//! Run it with `cargo bench --profile dist --bench logout`: the binary as it is shipped.

#![expect(clippy::print_stdout, reason = "its table is what it is for")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on panics")]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portcullis_testkit::postgres::Postgres;
use portcullis_testkit::redis::Redis;
use portcullis_testkit::{
    Connection, Process, ReservedPort, Response, client, free_port, wait_until,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// What every test of revocations starts, too.
#[path = "../tests/system/harness/auth.rs"]
#[expect(dead_code, reason = "tests do more with it")]
mod auth;

use auth::{Auth, with_token};

const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");
/// Requests a second, all with a good token.
const RATE: u32 = 5_000;
const CONNECTIONS: u32 = 50;
/// Logouts of each phase: enough for a 99th percentile.
const LOGOUTS: usize = 200;
/// From one to the next, at least.
const PAUSE: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() {
    // Criterion's arguments mean nothing here.
    let (mut redis, postgres) = tokio::join!(Redis::start(), Postgres::start());
    let stores = [("DATABASE_URL", postgres.url()), ("REDIS_URL", redis.url())];
    let auth = Auth::start_with(3, &stores).await;
    let place = Place::new(&auth);
    let mut edge = place.start().await;
    println!(
        "3 auth instances, PostgreSQL, Redis, an edge; {RATE} requests/s, {LOGOUTS} logouts a phase"
    );
    let lasting = auth.log_in(0).await;
    let mut tokens = Vec::new();
    println!("{} sessions are begun first", 4 * LOGOUTS);
    for number in 0..4 * LOGOUTS {
        tokens.push(auth.log_in(number % 3).await);
    }
    let (one, rest) = tokens.split_at(LOGOUTS);
    let (two, rest) = rest.split_at(LOGOUTS);
    let (three, four) = rest.split_at(LOGOUTS);
    let load = Load::start(place.http.address(), &lasting);

    let mut phase = Phase::of("all is well", &load);
    phase.log_out(&auth, place.http.address(), one).await;
    phase.print(&load);

    let mut phase = Phase::of("Redis is killed and comes back empty", &load);
    phase
        .log_out(&auth, place.http.address(), &two[..LOGOUTS / 3])
        .await;
    redis.kill().await;
    phase
        .log_out(
            &auth,
            place.http.address(),
            &two[LOGOUTS / 3..LOGOUTS * 2 / 3],
        )
        .await;
    redis.restart_empty().await;
    phase
        .log_out(&auth, place.http.address(), &two[LOGOUTS * 2 / 3..])
        .await;
    phase.print(&load);

    let mut phase = Phase::of("the followed instance is paused", &load);
    auth.instances[0].pause();
    phase
        .log_out_at(&auth, &[1, 2], place.http.address(), three)
        .await;
    auth.instances[0].resume();
    phase.print(&load);

    drop(edge);
    for (number, token) in four.iter().enumerate() {
        auth.log_out(number % 3, token).await;
    }
    let began = Instant::now();
    edge = place.start().await;
    let ready = began.elapsed();
    let mut accepted = 0;
    for token in tokens.iter() {
        accepted += usize::from(ask(place.http.address(), token).await == 200);
    }
    println!(
        "{:<38} ready after {:.0} ms; of {} revoked tokens it accepted {accepted}",
        "the edge was down meanwhile",
        milliseconds(ready),
        tokens.len(),
    );
    assert_eq!(accepted, 0);
    drop((load, edge));
}

/// Where the edge is, and what it runs with.
struct Place {
    http: ReservedPort,
    admin: ReservedPort,
    directory: TempDir,
}

impl Place {
    fn new(auth: &Auth) -> Place {
        let (http, admin, directory) = (free_port(), free_port(), TempDir::new().unwrap());
        // The edge answers by itself: what is measured is its own.
        let config = json!({
            "listeners": [{ "name": "http", "address": http.address().to_string() }],
            "clusters": { "unused": { "endpoints": ["127.0.0.1:9"] } },
            "issuers": { "main": auth.issuer() },
            "routes": [{ "path": "/", "auth": "main", "respond": { "status": 200, "body": "hello" } }],
            "admin": { "address": admin.address().to_string() },
            "access_log": "off",
            "shutdown": { "delay": "0s", "drain": "1s" },
        });
        std::fs::write(directory.path().join("edge.yaml"), config.to_string()).unwrap();
        Place {
            http,
            admin,
            directory,
        }
    }

    /// Starts the edge and waits until it is ready.
    async fn start(&self) -> Process {
        let mut command = Command::new(PORTCULLIS);
        command
            .args(["edge", "--config"])
            .arg(self.directory.path().join("edge.yaml"));
        let mut process = Process::spawn(command);
        let admin = self.admin.address();
        wait_until("the edge", async || {
            if let Some(status) = process.try_status() {
                panic!("the edge ended with {status}\n{}", process.output());
            }
            let ready = client::get(admin, "/readyz").await.ok()?;
            (ready.status == 200).then_some(())
        })
        .await;
        process
    }
}

/// Requests at fixed times on kept connections.
struct Load {
    answered: Arc<AtomicU64>,
    /// Answers other than 200, and connections that broke.
    failed: Arc<AtomicU64>,
    _clients: JoinSet<()>,
}

impl Load {
    fn start(edge: SocketAddr, token: &str) -> Load {
        let (answered, failed) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let mut clients = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (answered, failed) = (Arc::clone(&answered), Arc::clone(&failed));
            let authorization = format!("Bearer {token}");
            clients.spawn(async move {
                let mut turn = tokio::time::interval(Duration::from_secs(1) * CONNECTIONS / RATE);
                let mut kept: Option<Connection> = None;
                loop {
                    turn.tick().await;
                    let mut connection = match kept.take() {
                        Some(connection) => connection,
                        None => match Connection::open(edge).await {
                            Ok(connection) => connection,
                            Err(_) => continue,
                        },
                    };
                    let fields = [("Authorization", authorization.as_str())];
                    match connection.request("GET", "/", &fields, b"").await {
                        Ok(answer) if answer.status == 200 => {
                            answered.fetch_add(1, Ordering::Relaxed);
                            kept = (!is_last(&answer)).then_some(connection);
                        }
                        _ => {
                            failed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        Load {
            answered,
            failed,
            _clients: clients,
        }
    }
}

/// Logouts under one kind of trouble.
struct Phase {
    name: &'static str,
    began: Instant,
    answered: u64,
    failed: u64,
    delays: Vec<Duration>,
}

impl Phase {
    fn of(name: &'static str, load: &Load) -> Phase {
        Phase {
            name,
            began: Instant::now(),
            answered: load.answered.load(Ordering::Relaxed),
            failed: load.failed.load(Ordering::Relaxed),
            delays: Vec::new(),
        }
    }

    async fn log_out(&mut self, auth: &Auth, edge: SocketAddr, tokens: &[String]) {
        self.log_out_at(auth, &[0, 1, 2], edge, tokens).await;
    }

    /// Each logout at one of these instances in turn. The delay counts from its answer; while the load
    /// goes on another request asks again and again.
    async fn log_out_at(
        &mut self,
        auth: &Auth,
        instances: &[usize],
        edge: SocketAddr,
        tokens: &[String],
    ) {
        let mut connection = Connection::open(edge).await.unwrap();
        let mut turn = tokio::time::interval(PAUSE);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for (number, token) in tokens.iter().enumerate() {
            turn.tick().await;
            assert_eq!(
                ask_on(&mut connection, edge, token).await,
                200,
                "not yet revoked"
            );
            auth.log_out(instances[number % instances.len()], token)
                .await;
            let answered = Instant::now();
            while ask_on(&mut connection, edge, token).await == 200 {}
            self.delays.push(answered.elapsed());
        }
        for token in tokens {
            assert_eq!(
                ask_on(&mut connection, edge, token).await,
                401,
                "once refused"
            );
        }
    }

    fn print(mut self, load: &Load) {
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = (load.answered.load(Ordering::Relaxed) - self.answered) as f64 / seconds;
        let failed = load.failed.load(Ordering::Relaxed) - self.failed;
        self.delays.sort_unstable();
        let at = |percent: usize| {
            let last = self.delays.len() - 1;
            milliseconds(self.delays[(self.delays.len() * percent / 100).min(last)])
        };
        println!(
            "{:<38} p50 {:>6.1} ms   p99 {:>6.1} ms   worst {:>6.1} ms   p99 under 1 s: {}   ({rate:.0} req/s, {failed} failed)",
            self.name,
            at(50),
            at(99),
            at(100),
            if at(99) < 1e3 { "yes" } else { "no" },
        );
    }
}

async fn ask(edge: SocketAddr, token: &str) -> u16 {
    with_token(edge, "GET", "/", token).await.status
}

async fn ask_on(connection: &mut Connection, edge: SocketAddr, token: &str) -> u16 {
    let value = format!("Bearer {token}");
    let fields = [("Authorization", value.as_str())];
    let answer = connection.request("GET", "/", &fields, b"").await.unwrap();
    if is_last(&answer) {
        *connection = Connection::open(edge).await.unwrap();
    }
    answer.status
}

/// After so many requests the edge closes a connection, and says so.
fn is_last(answer: &Response) -> bool {
    answer.field("connection") == Some("close")
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
