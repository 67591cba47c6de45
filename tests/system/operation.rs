//! What an operator meets when starting and stopping `up` and `auth`: signals, taken places, bad
//! settings, and an orderly way to a database.

use std::process::Command;

use nix::sys::signal::Signal;
use portcullis_testkit::{Connection, Endpoint, Process, client, free_port, wait_until};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::PORTCULLIS;
use crate::harness::up::{Place, post};

const PASSWORD: &str = "correct horse battery staple";

#[tokio::test]
async fn sigterm_drains_up_while_logins_finish() {
    let place = Place::new();
    let mut up = place.start().await;
    up.register("ada@example.com", PASSWORD).await;
    let http = up.http;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let logins: Vec<_> = (0..4)
        .map(|_| {
            let body = body.clone();
            tokio::spawn(async move { post(http, "/api/v1/auth/login", &body).await.status })
        })
        .collect();
    let admin = up.admin;
    wait_until("logins to be under way", async || {
        let metrics = client::get(admin, "/metrics").await.ok()?.text();
        let in_flight = metrics.lines().filter(|line| {
            line.starts_with("portcullis_edge_endpoint_in_flight") && !line.ends_with(" 0")
        });
        let all_are_over = logins.iter().all(tokio::task::JoinHandle::is_finished);
        (in_flight.count() > 0 || all_are_over).then_some(())
    })
    .await;
    up.process.signal(Signal::SIGTERM);
    for login in logins {
        assert_eq!(login.await.unwrap(), 200);
    }
    assert_eq!(up.process.exit_code().await, 0, "{}", up.process.output());
}

#[tokio::test]
async fn a_data_directory_in_use_is_one_line_and_exit_1() {
    let place = Place::new();
    let _up = place.start().await;
    let mut arguments = Place::new().arguments();
    let data = arguments
        .iter()
        .position(|argument| argument == "--data-dir")
        .unwrap()
        + 1;
    arguments[data] = place.data().to_str().unwrap().to_owned();
    let mut second = Process::start(PORTCULLIS, &arguments);
    assert_eq!(second.exit_code().await, 1);
    let lines = second.stderr();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("in use"), "{lines:?}");
}

fn auth(data: &TempDir, arguments: &[&str], variables: &[(&str, &str)]) -> Process {
    let mut command = Command::new(PORTCULLIS);
    command.arg("auth").args(arguments).current_dir(data.path());
    command.env(
        "DATABASE_URL",
        format!("sqlite://{}/auth.db", data.path().display()),
    );
    command.env("SECURITY_SALT", "0123456789abcdef0123456789abcdef");
    command.envs(variables.iter().copied());
    Process::spawn(command)
}

#[tokio::test]
async fn auth_refuses_every_bad_setting_at_once() {
    let data = TempDir::new().unwrap();
    let mut process = auth(
        &data,
        &[],
        &[
            ("PORT", "99999"),
            ("APP_ENV", "prodution"),
            ("ACCESS_TOKEN_TTL", "forever"),
            ("KEY_ENCRYPTION_KEY", "short"),
            ("LOG_LEVEL", "loud"),
        ],
    );
    assert_eq!(process.exit_code().await, 1);
    let text = process.stderr().join("\n");
    for name in [
        "PORT",
        "APP_ENV",
        "ACCESS_TOKEN_TTL",
        "KEY_ENCRYPTION_KEY",
        "LOG_LEVEL",
    ] {
        assert!(text.contains(&format!("{name}: ")), "{name} in\n{text}");
    }
    assert!(
        !text.contains("short"),
        "the value of a secret is never shown:\n{text}"
    );
    assert_eq!(
        std::fs::read_dir(data.path()).unwrap().count(),
        0,
        "nothing was made"
    );
}

#[tokio::test]
async fn auth_in_production_refuses_what_is_unsafe_and_says_why() {
    const EXAMPLE: &str = "change-me-in-production";
    for (name, value, says) in [
        ("SECURITY_SALT", EXAMPLE, "SECURITY_SALT: "),
        ("SECURITY_SALT", "hunter2", "SECURITY_SALT: "),
        ("SECURITY_SALT", "", "SECURITY_SALT: is not set"),
        ("ISSUER_URL", "http://auth.example.com", "ISSUER_URL: "),
        ("ISSUER_URL", "", "ISSUER_URL: "),
        ("SESSION_COOKIE_SECURE", "false", "SESSION_COOKIE_SECURE: "),
        ("KEY_ENCRYPTION_KEY", "", "KEY_ENCRYPTION_KEY"),
    ] {
        let data = TempDir::new().unwrap();
        let key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        let mut variables = vec![
            ("APP_ENV", "production"),
            ("ISSUER_URL", "https://auth.example.com"),
            ("KEY_ENCRYPTION_KEY", key),
        ];
        variables.retain(|(set, _)| *set != name);
        variables.push((name, value));
        let mut process = auth(&data, &[], &variables);
        assert_eq!(process.exit_code().await, 1, "{name}={value}");
        let text = process.stderr().join("\n");
        assert!(text.contains(says), "{name}={value}: {text}");
        assert!(text.contains("hint: "), "says what to do: {text}");
        let is_shown = name == "SECURITY_SALT" && !value.is_empty() && text.contains(value);
        assert!(!is_shown, "a secret is shown: {text}");
        let made = std::fs::read_dir(data.path()).unwrap().count();
        assert_eq!(made, 0, "nothing was made");
    }
}

#[tokio::test]
async fn auth_names_a_taken_port_at_once() {
    let data = TempDir::new().unwrap();
    let taken = Endpoint::start("taken").await;
    let port = taken.address().port().to_string();
    let mut process = auth(&data, &[], &[("PORT", &port)]);
    assert_eq!(process.exit_code().await, 1);
    let lines = process.stderr();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].contains(&port) && lines[0].contains("PORT"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn migrate_prepares_and_auth_drains() {
    let data = TempDir::new().unwrap();
    let mut check = auth(&data, &["migrate", "--check", "--json"], &[]);
    assert_eq!(check.exit_code().await, 3, "{}", check.output());
    let missing: serde_json::Value = serde_json::from_str(&check.stdout().join("")).unwrap();
    assert_eq!(
        (&missing["ok"], &missing["found"]),
        (&json!(false), &json!(null))
    );
    assert_eq!(missing["missing"][0]["version"], 1, "{missing}");
    assert!(
        !data.path().join("auth.db").exists(),
        "a look makes no database"
    );
    let mut migrate = auth(&data, &["migrate", "--json"], &[]);
    assert_eq!(migrate.exit_code().await, 0, "{}", migrate.output());
    let prepared: serde_json::Value = serde_json::from_str(&migrate.stdout().join("")).unwrap();
    assert!(prepared["setup_token"].is_string(), "{prepared}");

    let port = free_port();
    let number = port.number().to_string();
    let mut process = auth(&data, &[], &[("PORT", &number), ("DRAIN_DELAY", "1500")]);
    wait_until("auth to be ready", async || {
        let answer = client::get(port.address(), "/health/ready").await;
        answer.ok().filter(|response| response.status == 200)
    })
    .await;
    let setup = json!({
        "setup_token": prepared["setup_token"],
        "email": "admin@example.com",
        "password": PASSWORD,
    });
    assert_eq!(
        post(port.address(), "/api/v1/auth/setup", &setup)
            .await
            .status,
        201
    );

    process.signal(Signal::SIGTERM);
    wait_until("readiness to fail", async || {
        let response = client::get(port.address(), "/health/ready").await.ok()?;
        (response.status == 503).then_some(())?;
        assert_eq!(response.field("x-health-cause"), Some("draining"));
        Some(())
    })
    .await;
    assert_eq!(process.exit_code().await, 0, "{}", process.output());
    assert!(Connection::open(port.address()).await.is_err());
}
