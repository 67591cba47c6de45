//! Auth instances in processes of their own on one database, embedded unless a test says otherwise, which can be killed, paused and
//! started again. Never behind `portcullis up`, so that a test decides who lives.

use std::net::SocketAddr;
use std::process::Command;

use nix::sys::signal::Signal;
use portcullis_testkit::{
    Connection, Process, ReservedPort, Response, client, free_port, wait_until,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::PORTCULLIS;

const PASSWORD: &str = "correct horse battery";
/// Whom tokens are for, and who issues them.
pub(crate) const ISSUER: &str = "http://auth.example.com";
/// What opens the internal listeners.
pub(crate) const INTERNAL_TOKEN: &str = "fedcba9876543210fedcba9876543210";

/// The instances of one database.
pub(crate) struct Auth {
    pub(crate) instances: Vec<AuthInstance>,
    variables: Vec<(&'static str, String)>,
    _directory: TempDir,
}

/// One of them.
pub(crate) struct AuthInstance {
    process: Option<Process>,
    public: ReservedPort,
    internal: ReservedPort,
}

impl Auth {
    /// Starts them and waits until they are ready.
    pub(crate) async fn start(count: usize) -> Auth {
        Auth::start_with(count, &[]).await
    }

    /// With further variables.
    pub(crate) async fn start_with(count: usize, more: &[(&'static str, String)]) -> Auth {
        let directory = TempDir::new().unwrap();
        let database = format!("sqlite://{}", directory.path().join("auth.db").display());
        let key = directory.path().join("auth.key").display().to_string();
        let mut variables = vec![
            ("APP_ENV", "test".to_owned()),
            ("DATABASE_URL", database),
            ("KEY_ENCRYPTION_KEY_FILE", key),
            ("ISSUER_URL", ISSUER.to_owned()),
            ("HASH_WORKERS", "1".to_owned()),
            ("DRAIN_DELAY", "0".to_owned()),
            ("AUTH_RATE_LIMIT_ENABLED", "false".to_owned()),
            ("INTERNAL_TOKEN", INTERNAL_TOKEN.to_owned()),
        ];
        variables.extend_from_slice(more);
        let instance = |_| AuthInstance {
            process: None,
            public: free_port(),
            internal: free_port(),
        };
        let mut auth = Auth {
            instances: (0..count).map(instance).collect(),
            variables,
            _directory: directory,
        };
        for position in 0..count {
            auth.restart(position).await;
        }
        auth
    }

    /// Starts one again where it was and waits until it is ready.
    pub(crate) async fn restart(&mut self, position: usize) {
        let instance = &mut self.instances[position];
        instance.kill();
        let mut command = Command::new(PORTCULLIS);
        command
            .arg("auth")
            .envs(self.variables.iter().map(|(k, v)| (k, v)));
        command.env("PORT", instance.public.address().port().to_string());
        command.env("INTERNAL_ADDRESS", instance.internal.address().to_string());
        let process = instance.process.insert(Process::spawn(command));
        let address = instance.public.address();
        wait_until(&format!("auth at {address}"), async || {
            if let Some(status) = process.try_status() {
                panic!("auth ended with {status}\n{}", process.output());
            }
            let answer = client::get(address, "/health/ready").await.ok();
            answer.filter(|answer| answer.status == 200)
        })
        .await;
    }

    /// Runs an operator's command on the instances' database to its end: its code, and the process for what it said.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (i32, Process) {
        let mut command = Command::new(PORTCULLIS);
        command.arg("auth").args(arguments);
        command.envs(self.variables.iter().map(|(k, v)| (k, v)));
        // As in an instance's environment; nothing is opened there.
        command.env("INTERNAL_ADDRESS", "127.0.0.1:8100");
        let mut process = Process::spawn(command);
        (process.exit_code().await, process)
    }

    /// What the instances and commands on their database find in their environment.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.variables.clone().into_iter()
    }

    /// What an edge has to know; every instance is a feed.
    pub(crate) fn issuer(&self) -> Value {
        let feeds = self
            .instances
            .iter()
            .map(|one| format!("http://{}", one.internal.address()));
        let jwks = format!(
            "http://{}/.well-known/jwks.json",
            self.instances[0].address()
        );
        json!({
            "issuer": ISSUER, "audience": ISSUER, "jwks": jwks,
            "revocations": { "feeds": feeds.collect::<Vec<_>>(), "token": INTERNAL_TOKEN },
        })
    }

    /// The access token of a new session.
    pub(crate) async fn log_in(&self, position: usize) -> String {
        let login = self.log_in_for(position).await;
        login["access_token"].as_str().unwrap().to_owned()
    }

    /// All that a login gives.
    pub(crate) async fn log_in_for(&self, position: usize) -> Value {
        let body = json!({ "email": "ada@example.com", "password": PASSWORD });
        let address = self.instances[position].address();
        let post = async |path: &str| {
            let mut connection = Connection::open(address).await.unwrap();
            connection.post_json(path, &body).await.unwrap()
        };
        let mut answer = post("/api/v1/auth/login").await;
        if answer.status == 401 {
            assert_eq!(post("/api/v1/auth/register").await.status, 202);
            answer = post("/api/v1/auth/login").await;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Ends the session of a token; it is acknowledged when this returns.
    pub(crate) async fn log_out(&self, position: usize, token: &str) {
        let address = self.instances[position].address();
        let answer = with_token(address, "POST", "/api/v1/auth/logout", token).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
}

impl AuthInstance {
    pub(crate) fn address(&self) -> SocketAddr {
        self.public.address()
    }

    /// The value of a metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let address = self.internal.address();
        let text = with_token(address, "GET", "/metrics", INTERNAL_TOKEN).await;
        let text = text.text();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
    }

    /// What it wrote so far.
    pub(crate) fn log(&self) -> String {
        self.process.as_ref().expect("it runs").output()
    }

    /// Where it tells edges what is revoked.
    pub(crate) fn internal(&self) -> SocketAddr {
        self.internal.address()
    }

    /// All that it has written.
    pub(crate) fn output(&self) -> String {
        self.process.as_ref().expect("it runs").output()
    }

    /// Asks it to drain and leave.
    pub(crate) fn ask_to_leave(&self) {
        let process = self.process.as_ref();
        process.expect("it runs").signal(Signal::SIGTERM);
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Asks it to leave in good order.
    pub(crate) fn terminate(&self) {
        self.process
            .as_ref()
            .expect("it runs")
            .signal(Signal::SIGTERM);
    }

    /// Whether its process is there.
    pub(crate) fn is_running(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_some_and(|process| process.try_status().is_none())
    }

    /// Takes the processor away: its kernel still accepts connections, and nobody answers.
    pub(crate) fn pause(&self) {
        self.process
            .as_ref()
            .expect("it runs")
            .signal(Signal::SIGSTOP);
    }

    /// Gives it back.
    pub(crate) fn resume(&self) {
        self.process
            .as_ref()
            .expect("it runs")
            .signal(Signal::SIGCONT);
    }
}

/// One request with a bearer token.
pub(crate) async fn with_token(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: &str,
) -> Response {
    let value = format!("Bearer {token}");
    let mut connection = Connection::open(address).await.unwrap();
    let fields = [("Authorization", value.as_str())];
    connection
        .request(method, path, &fields, b"")
        .await
        .unwrap()
}
