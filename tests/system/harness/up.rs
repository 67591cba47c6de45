//! A whole `portcullis up` for one test: edge, three auth instances, a database of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use portcullis_testkit::{
    Connection, Process, ReservedPort, Response, client, free_port, free_ports, process, wait_until,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::PORTCULLIS;

/// Instances of every stack in these tests.
pub(crate) const INSTANCES: u16 = 3;

/// Ports and data directory of an `up`; outlives the process, so that it can be started again.
pub(crate) struct Place {
    http: ReservedPort,
    https: ReservedPort,
    admin: ReservedPort,
    instances: Vec<ReservedPort>,
    internal: Vec<ReservedPort>,
    data: TempDir,
}

/// A running `up`.
pub(crate) struct Up {
    pub(crate) process: Process,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) instances: Vec<SocketAddr>,
    pub(crate) internal: Vec<SocketAddr>,
}

impl Place {
    /// Free ports and an empty directory.
    pub(crate) fn new() -> Place {
        Place::with_instances(INSTANCES)
    }

    /// The same for another number of instances.
    pub(crate) fn with_instances(instances: u16) -> Place {
        Place {
            http: free_port(),
            https: free_port(),
            admin: free_port(),
            instances: free_ports(instances),
            internal: free_ports(instances),
            data: TempDir::new().unwrap(),
        }
    }

    /// Where everything is kept.
    pub(crate) fn data(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// The command line, for this place.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let data = self.data();
        [
            ("--instances", self.instances.len().to_string()),
            ("--base-port", self.instances[0].number().to_string()),
            ("--internal-port", self.internal[0].number().to_string()),
            ("--http", self.http.number().to_string()),
            ("--https", self.https.number().to_string()),
            ("--admin", self.admin.number().to_string()),
            ("--data-dir", data.to_str().unwrap().to_owned()),
        ]
        .into_iter()
        .fold(vec!["up".to_owned()], |mut all, (flag, value)| {
            all.extend([flag.to_owned(), value]);
            all
        })
    }

    /// Starts `up` without waiting.
    pub(crate) fn spawn(&self) -> Up {
        Up {
            process: Process::start(PORTCULLIS, &self.arguments()),
            http: self.http.address(),
            https: self.https.address(),
            admin: self.admin.address(),
            instances: self.instances.iter().map(ReservedPort::address).collect(),
            internal: self.internal.iter().map(ReservedPort::address).collect(),
        }
    }

    /// Starts `up` and waits until edge and instances are ready.
    pub(crate) async fn start(&self) -> Up {
        let mut up = self.spawn();
        up.wait_until_ready().await;
        up
    }
}

impl Up {
    pub(crate) async fn wait_until_ready(&mut self) {
        let mut addresses = vec![(self.admin, "/readyz")];
        addresses.extend(
            self.instances
                .iter()
                .map(|&address| (address, "/health/ready")),
        );
        for (address, path) in addresses {
            let process = &mut self.process;
            wait_until(&format!("{address}{path} to be ready"), async || {
                if let Some(status) = process.try_status() {
                    panic!("up ended with {status}\n{}", process.output());
                }
                client::get(address, path)
                    .await
                    .ok()
                    .filter(|r| r.status == 200)
            })
            .await;
        }
    }

    /// Ids of the auth processes, in no order.
    pub(crate) fn auth_processes(&self) -> Vec<u32> {
        process::children(self.process.id())
    }

    /// Sends JSON through the edge.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        post(self.http, path, body).await
    }

    /// Registers an account.
    pub(crate) async fn register(&self, email: &str, password: &str) {
        let body = json!({ "email": email, "password": password });
        let response = self.post("/api/v1/auth/register", &body).await;
        assert_eq!(response.status, 202, "{}", response.text());
    }

    /// Logs in and returns the answer's JSON.
    pub(crate) async fn log_in(&self, email: &str, password: &str) -> Value {
        let body = json!({ "email": email, "password": password });
        let response = self.post("/api/v1/auth/login", &body).await;
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    }
}

/// Sends JSON on a connection of its own.
pub(crate) async fn post(address: SocketAddr, path: &str, body: &Value) -> Response {
    let mut connection = Connection::open(address).await.unwrap();
    connection.post_json(path, body).await.unwrap()
}

/// Asks whether an access token is good.
pub(crate) async fn verify(address: SocketAddr, token: &Value) -> Response {
    let mut connection = Connection::open(address).await.unwrap();
    with_token(&mut connection, "GET", "/api/v1/auth/verify", token)
        .await
        .unwrap()
}

/// A request with a bearer token.
pub(crate) async fn with_token(
    connection: &mut Connection,
    method: &str,
    path: &str,
    token: &Value,
) -> std::io::Result<Response> {
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    connection
        .request(method, path, &[("Authorization", &bearer)], b"")
        .await
}

/// Waits until none of these processes runs any more.
pub(crate) async fn wait_for_end(processes: &[u32]) {
    for &id in processes {
        wait_until(&format!("process {id} to end"), async || {
            (!process::is_running(id)).then_some(())
        })
        .await;
    }
}

/// Whether a directory below holds a file with this ending.
pub(crate) fn has_file(directory: &Path, ending: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return false;
    };
    entries
        .flatten()
        .any(|e| e.file_name().to_string_lossy().ends_with(ending))
}
