//! What auth writes while it is told secrets and lies: whole lines of JSON, route templates, and nothing that anybody
//! typed. Its log is at its most talkative. Never looks at more than the process's output.

use std::net::SocketAddr;
use std::process::Command;

use portcullis_testkit::postgres::Postgres;
use portcullis_testkit::{Connection, Process, client, free_port, wait_until};
use serde_json::{Value, json};

use crate::harness::PORTCULLIS;
use crate::harness::auth::Auth;

/// In every place where a requester may put something that is nobody else's affair.
const MARK: &str = "CANARY";
/// In every place where a requester may put something that looks like ours.
const FORGED: &str = "FORGED";

/// Lines of an instance that writes JSON, from its first answer to the last of what `tell` sent.
async fn lines(tell: impl AsyncFn(SocketAddr)) -> Vec<String> {
    let auth = Auth::start_with(0, &[("LOG_LEVEL", "trace".to_owned())]).await;
    let (public, internal) = (free_port(), free_port());
    let address = public.address();
    let mut command = Command::new(PORTCULLIS);
    command.args(["auth", "--json"]).envs(auth.variables());
    command.env("PORT", address.port().to_string());
    command.env("INTERNAL_ADDRESS", internal.address().to_string());
    let mut process = Process::spawn(command);
    wait_until("auth", async || {
        assert!(process.try_status().is_none(), "{}", process.output());
        let answer = client::get(address, "/health/ready").await.ok();
        answer.filter(|answer| answer.status == 200)
    })
    .await;
    let before = process.stderr().len() + process.stdout().len();
    tell(address).await;
    // Written behind everything that was asked before it.
    let last = [("X-Request-Id", "the-last-of-them")];
    let mut connection = Connection::open(address).await.unwrap();
    let asked = connection.request("GET", "/health", &last, b"").await;
    assert_eq!(asked.unwrap().status, 200);
    let written = wait_until("the last line", async || {
        let mut lines = process.stderr();
        lines.extend(process.stdout());
        lines
            .iter()
            .any(|line| line.contains("the-last-of-them") && line.contains("answered"))
            .then_some(lines)
    })
    .await;
    assert!(written.len() > before, "the capture works");
    written
}

/// Asks for something, well formed or not; an answer or none is all the same.
async fn ask(address: SocketAddr, method: &str, path: &str, fields: &[(&str, &str)], body: &str) {
    let mut connection = Connection::open(address).await.unwrap();
    let asked = connection.request(method, path, fields, body.as_bytes());
    drop(asked.await);
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

async fn tell_secrets(address: SocketAddr) {
    let account = json!({ "email": "canary@example.com", "password": "CANARY-battery-staple" });
    let account = account.to_string();
    for path in ["register", "login"] {
        let path = format!("/api/v1/auth/{path}");
        ask(address, "POST", &path, &[JSON], &account).await;
    }
    let fields = [
        JSON,
        ("Authorization", "Bearer CANARY.CANARY.CANARY"),
        ("Cookie", "__Host-portcullis_session=CANARY-cookie"),
        ("X-API-Key", "pck_CANARY"),
        ("X-CSRF-Token", "CANARY-csrf"),
        ("Referer", "https://app.example.com/?code=CANARY"),
        ("User-Agent", "CANARY-agent"),
    ];
    let query =
        "code=CANARY-code&state=CANARY-state&token=CANARY&client_secret=CANARY&password=CANARY";
    let secrets = json!({
        "refresh_token": "CANARY", "token": "CANARY", "challenge": "CANARY", "code": "CANARY",
        "client_secret": "CANARY", "password": "CANARY-battery-staple",
    });
    for (method, path) in [
        ("GET", "/api/v1/auth/verify"),
        ("POST", "/api/v1/auth/refresh"),
        ("POST", "/api/v1/auth/logout"),
        ("POST", "/api/v1/auth/password/reset"),
        ("POST", "/api/v1/auth/login/second-factor"),
        ("DELETE", "/api/v1/auth/sessions/CANARY-session"),
        ("GET", "/CANARY-nowhere/CANARY"),
    ] {
        let path = format!("{path}?{query}");
        ask(address, method, &path, &fields, &secrets.to_string()).await;
        ask(address, method, &path, &fields[..1], &secrets.to_string()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_i02_lines_name_routes_and_no_secret_that_was_sent() {
    let lines = lines(tell_secrets).await;
    for line in &lines {
        assert!(!line.contains(MARK), "{line}");
    }
    let route = "/api/v1/auth/sessions/{id}";
    assert!(
        lines.iter().any(|line| line.contains(route)),
        "the route stands there, not the path"
    );
}

async fn tell_lies(address: SocketAddr) {
    let line = r#"{"timestamp":"2026-01-01","level":"ERROR","message":"FORGED"}"#;
    for typed in [
        format!("ada\r\n{line}\r\n@example.com"),
        "\u{1b}[31mFORGED\u{1b}[0m@example.com".to_owned(),
        "FORGED\u{2028}\u{85}\0@example.com".to_owned(),
        format!("{line}@example.com"),
        "\u{202e}FORGED@example.com".to_owned(),
    ] {
        let body = json!({ "email": typed, "password": typed, "FORGED\n": typed });
        let without = json!({ "email": typed, "password": typed });
        for path in ["register", "login", "password/forgot"] {
            let path = format!("/api/v1/auth/{path}");
            ask(address, "POST", &path, &[JSON], &body.to_string()).await;
            ask(address, "POST", &path, &[JSON], &without.to_string()).await;
        }
    }
    for field in [
        "X-Request-Id",
        "User-Agent",
        "traceparent",
        "X-Forwarded-For",
    ] {
        for value in ["FORGED \"}", "\u{1b}[2J", "FORGED\u{9b}31m", line] {
            ask(address, "GET", "/health", &[(field, value)], "").await;
        }
    }
    let path = "/api/v1/auth/%0d%0aFORGED?x=%0aFORGED%1b%5b31m";
    ask(address, "GET", path, &[], "").await;
    let mut connection = Connection::open(address).await.unwrap();
    let garbage = b"GET /\x1b[31mFORGED HTTP/1.1\r\nHost: a\r\n\r\nFORGED\r\n\r\n";
    connection.send(garbage).await.unwrap();
    drop(connection.response().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_i03_nothing_typed_makes_a_line_or_a_colour_of_its_own() {
    let lines = lines(tell_lies).await;
    let first = lines.iter().position(|line| line.contains("listening"));
    let first = first.expect("it says where it listens");
    for line in &lines[first..] {
        let read: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(read["level"].is_string(), "{line}");
        assert!(!line.contains(FORGED) && !line.contains('\u{1b}'), "{line}");
        assert!(!line.contains("\\u001b"), "{line}");
    }
}

async fn survives_a_kill(more: &[(&'static str, String)]) {
    let mut auth = Auth::start_with(1, more).await;
    for round in 1..=3 {
        let token = auth.log_in(0).await;
        auth.log_out(0, &token).await;
        auth.instances[0].kill();
        for event in ["login_succeeded", "logged_out"] {
            let list = ["audit", "list", "--json", "--event", event];
            let (code, process) = auth.run(&list).await;
            assert_eq!(code, 0, "{}", process.output());
            let lines = process.stdout();
            let told = lines.iter().filter(|line| line.contains(event));
            assert_eq!(told.count(), round, "{event}: {lines:?}");
        }
        let (code, process) = auth.run(&["audit", "verify"]).await;
        assert_eq!(code, 0, "{}", process.output());
        auth.restart(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_i05_what_was_answered_is_in_the_audit_log_after_a_kill_on_a_file() {
    survives_a_kill(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_i05_what_was_answered_is_in_the_audit_log_after_a_kill_on_postgresql() {
    let (postgres, directory) = (Postgres::start().await, tempfile::tempdir().unwrap());
    let shared = format!("sqlite://{}", directory.path().join("shared.db").display());
    survives_a_kill(&[
        ("DATABASE_URL", postgres.url()),
        ("SHARED_STATE_URL", shared),
    ])
    .await;
}
