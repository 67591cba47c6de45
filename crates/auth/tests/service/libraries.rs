//! Our tokens in the hands of other people's libraries: npm `jose` and PyPI `PyJWT`, from JWKS alone. Installed once below
//! the target directory; without a network there is nothing to install from, and the tests say so and end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{Installation, Tokens};

const ISSUER: &str = "http://auth.example.com";
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/service/libraries");
/// What pip and npm say when the registry cannot be reached.
const NO_NETWORK: [&str; 9] = [
    "NewConnectionError",
    "ConnectTimeoutError",
    "ProxyError",
    "Temporary failure in name resolution",
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
];

/// Runs `install` in a directory of its own unless it succeeded before. `None`: there is no network.
#[expect(
    clippy::print_stderr,
    reason = "whoever reads the result must learn what it does not show"
)]
fn installed(name: &str, install: impl Fn(&Path) -> Vec<Command>) -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&home).unwrap();
    let lock = File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();
    let done = home.join("done");
    if !done.exists() {
        for mut command in install(&home) {
            let output = run(&mut command);
            if output.status.success() {
                continue;
            }
            let said = String::from_utf8_lossy(&output.stderr);
            if NO_NETWORK.iter().any(|sign| said.contains(sign)) {
                eprintln!("NOT CHECKED: {name} cannot be installed without a network");
                return None;
            }
            panic!("{command:?} failed\n{said}");
        }
        File::create(done).unwrap();
    }
    Some(home)
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; install it with: apt-get install python3-venv nodejs npm")
    })
}

fn pyjwt() -> Option<PathBuf> {
    installed("pyjwt", |home| {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(home.join("venv"));
        let mut install = Command::new(home.join("venv/bin/pip"));
        install.args([
            "install",
            "--quiet",
            "--retries",
            "1",
            "PyJWT[crypto]>=2.10,<3",
        ]);
        vec![venv, install]
    })
}

fn jose() -> Option<PathBuf> {
    installed("jose", |home| {
        let mut install = Command::new("npm");
        install.args(["install", "--no-audit", "--no-fund", "--fetch-retries=1"]);
        install.arg("--prefix").arg(home).arg("jose@6");
        vec![install]
    })
}

/// Asks a library about tokens of every algorithm.
async fn asked(verifier: impl Fn(&str, &str) -> Command) {
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let installation = Installation::with(&[("JWT_ALGORITHM", algorithm)]).await;
        let instance = installation.start("a").await;
        let first = instance.register_and_login().await;
        let second = Tokens::of(&instance.refresh(&first.refresh).await);
        let jwks = format!("http://{}/.well-known/jwks.json", instance.addr);
        for token in [first.access, second.access] {
            let mut command = verifier(&jwks, &token);
            let output = tokio::task::spawn_blocking(move || run(&mut command)).await;
            let output = output.unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{algorithm}: {said}");
            let claims: Value = serde_json::from_slice(&output.stdout).unwrap();
            let ours = instance.verify(&token).await.json();
            for name in ["sub", "sid", "jti", "roles", "iat", "exp", "client_id"] {
                assert_eq!(claims[name], ours[name], "{algorithm}: {name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyjwt_verifies_tokens_of_every_algorithm_from_jwks() {
    let Some(home) = pyjwt() else { return };
    asked(|jwks, token| {
        let mut command = Command::new(home.join("venv/bin/python"));
        command.arg(format!("{SCRIPTS}/verify.py"));
        command.args([jwks, ISSUER, token]);
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jose_verifies_tokens_of_every_algorithm_from_jwks() {
    let Some(home) = jose() else { return };
    asked(|jwks, token| {
        let mut command = Command::new("node");
        command.arg(format!("{SCRIPTS}/verify.mjs")).arg(&home);
        command.args([jwks, ISSUER, token]);
        command
    })
    .await;
}
