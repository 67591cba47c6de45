//! Starts instances on temporary files and talks to them as a client would.

use std::net::SocketAddr;
use std::path::Path;

use portcullis_auth::{Config, ServeError, prepare, serve};
use portcullis_testkit::{Connection, Postgres, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const EMAIL: &str = "ada@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The files that instances share, and the set-up token of the first preparation.
pub(crate) struct Installation {
    directory: TempDir,
    settings: Vec<(String, String)>,
    pub(crate) setup_token: String,
    /// Where the store is not a file.
    pub(crate) server: Option<Postgres>,
}

/// One running instance.
pub(crate) struct Instance {
    pub(crate) addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), ServeError>>,
}

/// What a login gave.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Installation {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// One whose instances all have these settings.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let prepared = prepare(&config(directory.path(), "preparer", settings))
            .await
            .unwrap();
        let token = prepared
            .setup_token
            .expect("a fresh database has no administrator");
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            directory,
            settings: settings.iter().map(owned).collect(),
            setup_token: token.expose().clone(),
            server: None,
        }
    }

    /// One whose instances keep what they must not forget in a PostgreSQL of their own.
    pub(crate) async fn on_postgres() -> Self {
        Self::on_postgres_with(&[]).await
    }

    pub(crate) async fn on_postgres_with(settings: &[(&str, &str)]) -> Self {
        let server = Postgres::start_with(&[("max_connections", "200")]).await;
        let url = server.url();
        let place = [("DATABASE_URL", url.as_str()), ("DATABASE_POOL_SIZE", "2")];
        let all: Vec<_> = settings.iter().copied().chain(place).collect();
        Self {
            server: Some(server),
            ..Self::with(&all).await
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn config(&self, instance: &str, more: &[(&str, &str)]) -> Config {
        let common = self
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let all: Vec<_> = more.iter().copied().chain(common).collect();
        config(self.path(), instance, &all)
    }

    pub(crate) async fn start(&self, instance: &str) -> Instance {
        self.start_with(instance, &[]).await
    }

    pub(crate) async fn start_with(&self, instance: &str, more: &[(&str, &str)]) -> Instance {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            // A dropped sender stops the instance too.
            let _ = stopped.await;
        };
        let serving = tokio::spawn(serve(listener, self.config(instance, more), shutdown));
        let instance = Instance {
            addr,
            stop: Some(stop),
            serving,
        };
        // The kernel accepts before the service does: the first answer means that it is up.
        assert_eq!(instance.get("/health/ready").await.status, 200);
        instance
    }
}

pub(crate) fn config(directory: &Path, instance: &str, more: &[(&str, &str)]) -> Config {
    let file = |name: &str| format!("sqlite://{}", directory.join(name).display());
    // A Redis stands in the place of the file.
    let has_redis = more.iter().any(|(name, _)| *name == "REDIS_URL");
    let shared = if has_redis {
        String::new()
    } else {
        file("shared.db")
    };
    let database = file("auth.db");
    let kek = directory.join("auth.key").display().to_string();
    let defaults = [
        ("APP_ENV", "test"),
        ("INSTANCE_ID", instance),
        ("DATABASE_URL", database.as_str()),
        ("SHARED_STATE_URL", shared.as_str()),
        ("KEY_ENCRYPTION_KEY_FILE", kek.as_str()),
        ("ISSUER_URL", "http://auth.example.com"),
        ("HASH_WORKERS", "2"),
        ("DRAIN_DELAY", "0"),
        ("SHUTDOWN_TIMEOUT", "10000"),
    ];
    Config::from_env(|name| {
        let named = |(key, _): &&(&str, &str)| *key == name;
        let found = more
            .iter()
            .find(named)
            .or_else(|| defaults.iter().find(named));
        found.map(|(_, value)| (*value).to_owned())
    })
    .unwrap()
}

impl Instance {
    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.addr).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.connect().await.get(path).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Response {
        self.connect().await.post_json(path, &body).await.unwrap()
    }

    pub(crate) async fn bearer(&self, method: &str, path: &str, token: &str) -> Response {
        let authorization = format!("Bearer {token}");
        let fields = [("Authorization", authorization.as_str())];
        self.connect()
            .await
            .request(method, path, &fields, b"")
            .await
            .unwrap()
    }

    pub(crate) async fn verify(&self, token: &str) -> Response {
        self.bearer("GET", "/api/v1/auth/verify", token).await
    }

    pub(crate) async fn logout(&self, token: &str) -> Response {
        self.bearer("POST", "/api/v1/auth/logout", token).await
    }

    pub(crate) async fn register(&self, email: &str, password: &str) -> Response {
        self.post(
            "/api/v1/auth/register",
            json!({ "email": email, "password": password }),
        )
        .await
    }

    pub(crate) async fn try_login(&self, email: &str, password: &str) -> Response {
        self.post(
            "/api/v1/auth/login",
            json!({ "email": email, "password": password }),
        )
        .await
    }

    pub(crate) async fn login(&self) -> Tokens {
        Tokens::of(&self.try_login(EMAIL, PASSWORD).await)
    }

    /// Registers [`EMAIL`] and logs it in.
    pub(crate) async fn register_and_login(&self) -> Tokens {
        assert_eq!(self.register(EMAIL, PASSWORD).await.status, 202);
        self.login().await
    }

    pub(crate) async fn refresh(&self, token: &str) -> Response {
        self.post("/api/v1/auth/refresh", json!({ "refresh_token": token }))
            .await
    }

    /// The value of a metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.text();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
    }

    pub(crate) async fn hashes(&self) -> f64 {
        self.metric("portcullis_auth_password_hashes_total").await
    }

    /// Tells the instance to leave, without waiting for it.
    pub(crate) fn leave(&mut self) {
        drop(self.stop.take());
    }

    /// Stops the instance and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.leave();
        let ended = tokio::time::timeout(portcullis_testkit::DEADLINE, self.serving).await;
        ended.expect("the instance ends in time").unwrap().unwrap();
    }
}

impl Tokens {
    pub(crate) fn of(response: &Response) -> Self {
        assert_eq!(response.status, 200, "{}", response.text());
        let json = response.json();
        let text = |name: &str| {
            json[name]
                .as_str()
                .unwrap_or_else(|| panic!("{json}"))
                .to_owned()
        };
        Self {
            access: text("access_token"),
            refresh: text("refresh_token"),
        }
    }
}

/// Asserts that the response is a problem with this status and code.
pub(crate) fn assert_problem(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(
        response.field("content-type"),
        Some("application/problem+json")
    );
    let json = response.json();
    assert_eq!(
        (&json["code"], &json["status"]),
        (&json!(code), &json!(status)),
        "{json}"
    );
    assert!(json["title"].is_string() && json["detail"].is_string() && json["type"].is_string());
}
