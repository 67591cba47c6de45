//! Nothing that is secret reaches the logs, at the most talkative level. A process
//! of its own, because the subscriber is global.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use portcullis_auth::{Config, operator, prepare, serve};
use portcullis_testkit::redis::Redis;
use portcullis_testkit::{Connection, Postgres, postgres};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing_subscriber::fmt::MakeWriter;

const EMAIL: &str = "canary.person@example.com";
const PASSWORD: &str = "CANARY-password-7";
const WRONG: &str = "CANARY-wrong-password";
const SALT: &str = "CANARY-salt-Zq8vR2mX9cL4bN7tK1wP6yH3";
const REDIS_PASSWORD: &str = "CANARY-redis-password";
const KEY: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn sec_i01_logs_hold_no_password_token_key_or_address() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(captured.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let mut secrets = use_everything().await;
    secrets.extend(use_servers().await);
    let logs = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(
        logs.contains("registered") && logs.contains("stopped"),
        "the capture works:\n{logs}"
    );
    for secret in &secrets {
        assert!(!logs.contains(secret), "{secret:?} is in the logs");
    }
    for word in ["may run out of connections", "Redis cannot be reached"] {
        assert!(logs.contains(word), "{word:?} is not in the logs");
    }
    assert!(
        !logs.contains("FORGED"),
        "what a requester typed is in the logs"
    );
}

/// Uses servers with passwords, few connections and an end, and tries to with wrong ones; returns the passwords.
async fn use_servers() -> Vec<String> {
    let mut postgres = Postgres::start_with(&[("max_connections", "30")]).await;
    let mut redis = Redis::start_with_password(REDIS_PASSWORD).await;
    let (database, shared) = (postgres.url(), redis.url());
    let at = |database: &str, shared: &str| {
        let servers = [("DATABASE_URL", database), ("REDIS_URL", shared)];
        config_with(&servers)
    };
    let wrong = database.replace(postgres::PASSWORD, WRONG);
    let refused = prepare(&at(&wrong, &shared)).await.unwrap_err();
    let told = format!("{refused} {refused:?}");
    assert!(
        !told.contains("CANARY") && !told.contains(postgres::PASSWORD),
        "{told}"
    );
    prepare(&at(&database, &shared.replace(REDIS_PASSWORD, WRONG)))
        .await
        .unwrap();

    let (addr, stop, serving) = start(at(&database, &shared)).await;
    let mut client = Connection::open(addr).await.unwrap();
    let login = json!({ "email": EMAIL, "password": PASSWORD });
    client
        .post_json("/api/v1/auth/register", &login)
        .await
        .unwrap();
    for is_up in [true, false] {
        let answer = client
            .post_json("/api/v1/auth/login", &login)
            .await
            .unwrap();
        assert_eq!(answer.status == 200, is_up, "{}", answer.text());
        client
            .request("GET", "/health/detailed", &[], b"")
            .await
            .unwrap();
        redis.kill().await;
        postgres.kill().await;
    }
    drop(stop);
    serving.await.unwrap().unwrap();
    vec![postgres::PASSWORD.to_owned(), REDIS_PASSWORD.to_owned()]
}

type Serving = tokio::task::JoinHandle<Result<(), portcullis_auth::ServeError>>;

/// One instance that serves until the sender is dropped.
async fn start(config: Config) -> (SocketAddr, oneshot::Sender<()>, Serving) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, config, async { drop(stopped.await) }));
    (addr, stop, serving)
}

/// Uses every endpoint with good and bad input; returns all that must stay secret.
async fn use_everything() -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let prepared = prepare(&config).await.unwrap();
    let setup_token = prepared.setup_token.unwrap().expose().clone();
    let (addr, stop, serving) = start(config.clone()).await;

    let mut client = Connection::open(addr).await.unwrap();
    let mut secrets = vec![
        EMAIL.to_owned(),
        PASSWORD.to_owned(),
        WRONG.to_owned(),
        SALT.to_owned(),
        KEY.to_owned(),
        setup_token.clone(),
    ];
    secrets.extend(log_in_and_out(&mut client, &setup_token).await);
    operator::disable(&config, EMAIL).await.unwrap();
    drop(stop);
    serving.await.unwrap().unwrap();
    secrets
}

/// Returns the tokens that were issued.
async fn log_in_and_out(client: &mut Connection, setup_token: &str) -> Vec<String> {
    let mut post = async |path: &str, body: Value| {
        let path = format!("/api/v1/auth/{path}");
        client.post_json(&path, &body).await.unwrap()
    };
    let mut secrets = Vec::new();
    let login = json!({ "email": EMAIL, "password": PASSWORD });
    post(
        "setup",
        json!({ "setup_token": setup_token, "email": EMAIL, "password": PASSWORD }),
    )
    .await;
    post("register", login.clone()).await;
    post(
        "register",
        json!({ "email": "other@example.com", "password": PASSWORD }),
    )
    .await;
    post("login", json!({ "email": EMAIL, "password": WRONG })).await;
    post(
        "login",
        json!({ "email": "x\r\nFORGED ERROR line", "password": WRONG }),
    )
    .await;
    post(
        "login",
        json!({ "email": EMAIL, "password": PASSWORD, "extra": WRONG }),
    )
    .await;
    let mut tokens = Vec::new();
    let mut last = post("login", login).await.json();
    for _ in 0..3 {
        tokens.push(last.clone());
        last = post("refresh", json!({ "refresh_token": last["refresh_token"] }))
            .await
            .json();
    }
    // Reuse: the one case that is logged as an attack.
    post(
        "refresh",
        json!({ "refresh_token": tokens[0]["refresh_token"] }),
    )
    .await;
    for pair in &tokens {
        for name in ["access_token", "refresh_token"] {
            secrets.push(pair[name].as_str().unwrap().to_owned());
        }
    }
    for (method, path) in [("GET", "verify"), ("POST", "logout")] {
        for token in [tokens[2]["access_token"].as_str().unwrap(), WRONG] {
            let authorization = format!("Bearer {token}");
            let fields = [("Authorization", authorization.as_str()), ("Cookie", WRONG)];
            let path = format!("/api/v1/auth/{path}?token={WRONG}");
            client.request(method, &path, &fields, b"").await.unwrap();
        }
    }
    secrets
}

fn config(directory: &Path) -> Config {
    let database = format!("sqlite://{}", directory.join("auth.db").display());
    config_with(&[("DATABASE_URL", database.as_str())])
}

fn config_with(more: &[(&str, &str)]) -> Config {
    Config::from_env(|name| {
        if let Some((_, value)) = more.iter().find(|(key, _)| *key == name) {
            return Some((*value).to_owned());
        }
        let value = match name {
            "APP_ENV" => "test",
            "SECURITY_SALT" => SALT,
            "KEY_ENCRYPTION_KEY" => KEY,
            "DRAIN_DELAY" => "0",
            "HASH_WORKERS" => "1",
            _ => return None,
        };
        Some(value.to_owned())
    })
    .unwrap()
}
