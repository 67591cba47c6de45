//! Whether the time of a failed login tells why it failed (sec_a01): CPU time of
//! interleaved attempts, compared by their medians and a two-sample
//! Kolmogorov-Smirnov test. Fails when somebody could tell two reasons apart.
//!
//! `cargo bench -p portcullis-auth --bench login_timing`

#![expect(clippy::unwrap_used, reason = "in a bench, a panic is the report")]
#![expect(clippy::print_stdout, reason = "the table is the result")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use portcullis_auth::domain::UnixMillis;
use portcullis_auth::shared::{CounterKey, EmbeddedShared, Shared};
use portcullis_auth::{Config, operator, serve};
use portcullis_testkit::Connection;
use serde_json::json;
use tokio::net::TcpListener;

const ROUNDS: usize = 100;
/// Medians may differ by less than this.
const MEDIAN_TOLERANCE: f64 = 0.05;
/// Two distributions are told apart below this.
const P_VALUE: f64 = 0.01;

const RIGHT: &str = "correct horse battery";
const WRONG: &str = "not the password at all";
/// Accounts of a kind: ten failures each stay below what locks an account.
const ACCOUNTS: usize = 10;
const KINDS: [(&str, &str); 4] = [
    ("unknown", RIGHT),
    ("wrong", WRONG),
    ("disabled", RIGHT),
    ("locked", RIGHT),
];

fn main() {
    // Asked by test runners that go through all targets.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let samples = runtime.block_on(measure());
    let medians: Vec<f64> = samples.iter().map(|of_kind| median(of_kind)).collect();
    for ((kind, _), median) in KINDS.iter().zip(&medians) {
        println!("{kind:>9}: {median:8.3} ms CPU");
    }
    let mut is_told_apart = false;
    for (i, a) in samples.iter().enumerate() {
        for (j, b) in samples.iter().enumerate().skip(i + 1) {
            let ratio = (medians[i] / medians[j] - 1.0).abs();
            let p = kolmogorov_smirnov(a, b);
            is_told_apart |= ratio >= MEDIAN_TOLERANCE || p <= P_VALUE;
            let (one, other) = (KINDS[i].0, KINDS[j].0);
            println!(
                "{one:>9} / {other:<8}: medians differ by {:.2} %, p = {p:.3}",
                ratio * 100.0
            );
        }
    }
    assert!(!is_told_apart, "the time of a login tells why it failed");
}

/// CPU milliseconds of each attempt, by kind.
async fn measure() -> Vec<Vec<f64>> {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, config.clone(), async {
        drop(stopped.await)
    }));
    prepare(addr, directory.path(), &config).await;

    let mut client = Connection::open(addr).await.unwrap();
    let mut samples = vec![Vec::with_capacity(ROUNDS); KINDS.len()];
    let mut order: Vec<usize> = (0..KINDS.len()).collect();
    for round in 0..ROUNDS {
        // What ran before warms caches: every kind follows every other equally often.
        fastrand::shuffle(&mut order);
        for &n in &order {
            let (kind, password) = KINDS[n];
            // Every attempt from a network of its own: only the locks set up above count.
            let network = format!("10.{n}.0.{}", round + 1);
            let body = json!({ "email": email(kind, round), "password": password }).to_string();
            let fields = [
                ("Content-Type", "application/json"),
                ("X-Forwarded-For", &network),
            ];
            let before = cpu();
            let path = "/api/v1/auth/login";
            let answer = client
                .request("POST", path, &fields, body.as_bytes())
                .await
                .unwrap();
            let spent = cpu() - before;
            assert_eq!(answer.status, 401, "{kind}: {}", answer.text());
            samples[n].push(spent.as_secs_f64() * 1000.0);
        }
    }
    drop(stop);
    serving.await.unwrap().unwrap();
    samples
}

/// Accounts of every kind but the unknown; locks last longer than the bench runs.
async fn prepare(addr: SocketAddr, directory: &Path, config: &Config) {
    let mut client = Connection::open(addr).await.unwrap();
    let shared = EmbeddedShared::open(&directory.join("shared.db"))
        .await
        .unwrap();
    for (kind, _) in KINDS.into_iter().filter(|(kind, _)| *kind != "unknown") {
        for n in 0..ACCOUNTS {
            let email = email(kind, n);
            let body = json!({ "email": email, "password": RIGHT });
            let answer = client
                .post_json("/api/v1/auth/register", &body)
                .await
                .unwrap();
            assert_eq!(answer.status, 202);
            if kind == "disabled" {
                operator::disable(config, &email).await.unwrap();
            }
            if kind == "locked" {
                let lock = CounterKey::new("login lock of an account", &[&email]);
                shared
                    .count(&[lock], Duration::from_secs(3600), now())
                    .await
                    .unwrap();
            }
        }
    }
    shared.close().await;
}

/// Of one length for all kinds.
fn email(kind: &str, round: usize) -> String {
    format!("{kind:_>8}.{}@example.com", round % ACCOUNTS)
}

fn config(directory: &Path) -> Config {
    let database = format!("sqlite://{}", directory.join("auth.db").display());
    Config::from_env(|name| {
        let value = match name {
            "APP_ENV" => "test",
            "DATABASE_URL" => database.as_str(),
            "TRUST_PROXY" => "127.0.0.1",
            "DRAIN_DELAY" => "0",
            "HASH_WORKERS" => "1",
            _ => return None,
        };
        Some(value.to_owned())
    })
    .unwrap()
}

/// CPU time of the whole process: the service, its hash workers, and a client
/// that does the same for every kind.
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The probability of a distance at least as large, were both from one distribution.
fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> f64 {
    let below = |samples: &[f64], x: f64| {
        samples.iter().filter(|sample| **sample <= x).count() as f64 / samples.len() as f64
    };
    let distance = a
        .iter()
        .chain(b)
        .map(|x| (below(a, *x) - below(b, *x)).abs())
        .fold(0.0, f64::max);
    let (n, m) = (a.len() as f64, b.len() as f64);
    let size = (n * m / (n + m)).sqrt();
    let lambda = (size + 0.12 + 0.11 / size) * distance;
    let terms = (1..=100).map(|k| {
        let k = f64::from(k);
        2.0 * (-1.0_f64).powf(k - 1.0) * (-2.0 * k * k * lambda * lambda).exp()
    });
    if lambda < 0.2 {
        1.0
    } else {
        terms.sum::<f64>().clamp(0.0, 1.0)
    }
}

fn now() -> UnixMillis {
    UnixMillis::from_system(SystemTime::now())
}
