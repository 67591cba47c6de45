//! The real `portcullis edge` with a configuration written for one test. Never shared by two.

pub(crate) mod auth;
pub(crate) mod doors;
pub(crate) mod issuer;
pub(crate) mod load;
pub(crate) mod standalone;
pub(crate) mod up;

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use portcullis_testkit::{
    Connection, Endpoint, Process, ReservedPort, Response, client, free_port, process, wait_until,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The binary under test.
pub(crate) const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");

/// The operator's token of every test that has one.
pub(crate) const ADMIN_TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Who carries HTTP/1.1 on the listeners of a test.
pub(crate) trait Engine {
    /// The word for it in a configuration; `None` leaves the key out.
    const KEY: Option<&'static str>;
}

/// A configuration in the making. It is written as JSON, which is YAML too; block style is
/// covered by the sample configurations. Tests name it through the module of their engine.
pub(crate) struct Setup<E> {
    config: Value,
    ports: Vec<ReservedPort>,
    directory: TempDir,
    engine: PhantomData<E>,
}

impl<E: Engine> Setup<E> {
    /// One plain listener `http`, one route for everything, one cluster `main` over `endpoints`
    /// with round robin and no health check. Admin and access log are on, nothing waits at the end.
    pub(crate) fn new(endpoints: &[&Endpoint]) -> Setup<E> {
        let addresses: Vec<SocketAddr> = endpoints.iter().map(|e| e.address()).collect();
        Setup::for_addresses(&addresses)
    }

    /// As [`Setup::for_addresses`], for one endpoint that speaks HTTP/2 in the clear.
    pub(crate) fn for_h2c(endpoint: SocketAddr) -> Setup<E> {
        Setup::for_addresses(&[endpoint]).set("clusters.main.protocol", json!("h2c"))
    }

    /// As [`Setup::new`], for addresses that need not have anything behind them.
    pub(crate) fn for_addresses(endpoints: &[SocketAddr]) -> Setup<E> {
        let (http, admin) = (free_port(), free_port());
        let directory = TempDir::new().unwrap();
        let endpoints: Vec<String> = endpoints.iter().map(SocketAddr::to_string).collect();
        let config = json!({
            "listeners": [{ "name": "http", "address": http.address().to_string() }],
            "clusters": { "main": { "balance": "round_robin", "endpoints": endpoints } },
            "routes": [{ "name": "all", "path": "/", "cluster": "main" }],
            "admin": { "address": admin.address().to_string() },
            "access_log": directory.path().join("access.log"),
            "shutdown": { "delay": "0s", "drain": "20s" },
        });
        Setup {
            config,
            ports: vec![http, admin],
            directory,
            engine: PhantomData,
        }
    }

    /// Sets the value at a dotted path; numbers index lists, and what is missing is made.
    pub(crate) fn set(mut self, path: &str, value: Value) -> Setup<E> {
        let mut place = &mut self.config;
        for step in path.split('.') {
            place = match step.parse::<usize>() {
                Ok(index) => {
                    if place.is_null() {
                        *place = json!([]);
                    }
                    let list = place.as_array_mut().unwrap();
                    while list.len() <= index {
                        list.push(Value::Null);
                    }
                    &mut list[index]
                }
                Err(_) => &mut place[step],
            };
        }
        *place = value;
        self
    }

    /// Lets [`Edge::change`] change what runs.
    pub(crate) fn with_token(self) -> Setup<E> {
        self.set("admin.token", json!(ADMIN_TOKEN))
    }

    /// Adds another cluster without health check.
    pub(crate) fn cluster(self, name: &str, endpoints: &[&Endpoint]) -> Setup<E> {
        let addresses: Vec<String> = endpoints.iter().map(|e| e.address().to_string()).collect();
        let cluster = json!({ "balance": "round_robin", "endpoints": addresses });
        self.set(&format!("clusters.{name}"), cluster)
    }

    /// Adds a listener, on a port of its own, with further keys.
    pub(crate) fn listener(mut self, name: &str, keys: &Value) -> Setup<E> {
        let port = free_port();
        let mut listener = json!({ "name": name, "address": port.address().to_string() });
        for (key, value) in keys.as_object().unwrap() {
            listener[key] = value.clone();
        }
        self.ports.push(port);
        self.config["listeners"]
            .as_array_mut()
            .unwrap()
            .push(listener);
        self
    }

    /// Where files of this test may live.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The configuration as it stands.
    pub(crate) fn config(&self) -> &Value {
        &self.config
    }

    /// Writes the file and starts the process, without waiting for anything. A listener that
    /// names an engine keeps it.
    pub(crate) fn spawn(self) -> Edge {
        self.spawn_as(|command| command)
    }

    /// As [`Setup::spawn`], with the command as `change` makes it.
    pub(crate) fn spawn_as(mut self, change: impl FnOnce(Command) -> Command) -> Edge {
        for listener in self.config["listeners"].as_array_mut().unwrap() {
            if let (Some(key), true) = (E::KEY, listener["engine"].is_null()) {
                listener["engine"] = json!(key);
            }
        }
        let file = self.directory.path().join("edge.yaml");
        std::fs::write(&file, serde_json::to_string_pretty(&self.config).unwrap()).unwrap();
        let mut command = Command::new(PORTCULLIS);
        command
            .args(["edge", "--config"])
            .arg(&file)
            .current_dir(self.directory.path());
        let listeners = self.config["listeners"].as_array().unwrap().iter();
        let listeners = listeners.map(|l| l["address"].as_str().unwrap().parse().unwrap());
        Edge {
            listeners: listeners.collect(),
            admin: self.config["admin"]["address"]
                .as_str()
                .map(|a| a.parse().unwrap()),
            process: Process::spawn(change(command)),
            config: self.config,
            sockets_at_rest: 0,
            directory: self.directory,
            _ports: self.ports,
        }
    }

    /// Starts the process and waits until it says it is ready.
    pub(crate) async fn start(self) -> Edge {
        let mut edge = self.spawn();
        edge.wait_for_admin("/readyz", 200).await;
        edge.sockets_at_rest = process::open_sockets(edge.process.id());
        edge
    }

    /// Starts the process and waits until it listens, ready or not.
    pub(crate) async fn start_unready(self) -> Edge {
        let mut edge = self.spawn();
        edge.wait_for_admin("/livez", 200).await;
        edge
    }
}

/// A running edge.
pub(crate) struct Edge {
    pub(crate) process: Process,
    config: Value,
    listeners: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    sockets_at_rest: usize,
    directory: TempDir,
    _ports: Vec<ReservedPort>,
}

impl Edge {
    /// Address of the first listener.
    pub(crate) fn http(&self) -> SocketAddr {
        self.listeners[0]
    }

    /// Address of a listener by its position.
    pub(crate) fn listener(&self, position: usize) -> SocketAddr {
        self.listeners[position]
    }

    /// Address of the admin listener.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.expect("the configuration has an admin address")
    }

    /// Where files of this test live.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The configuration that it was started with.
    pub(crate) fn config(&self) -> Value {
        self.config.clone()
    }

    /// Puts another configuration in the place of its file, in one step.
    pub(crate) fn write(&self, config: &Value) {
        self.write_text(&serde_json::to_string_pretty(config).unwrap());
    }

    /// The same for any text.
    pub(crate) fn write_text(&self, text: &str) {
        let directory = self.directory.path();
        std::fs::write(directory.join("next.yaml"), text).unwrap();
        std::fs::rename(directory.join("next.yaml"), directory.join("edge.yaml")).unwrap();
    }

    /// Has it read its file again by SIGHUP, and waits until it has, with or without success.
    pub(crate) async fn hang_up(&self, result: &str) {
        let labels = [("origin", "sighup"), ("result", result)];
        let name = "portcullis_edge_config_reloads_total";
        let before = self.metric(name, &labels).await;
        self.process.signal(Signal::SIGHUP);
        self.wait_for_metric(name, &labels, before + 1.0).await;
    }

    /// Puts another configuration into force.
    pub(crate) async fn reload(&self, config: &Value) {
        self.write(config);
        self.hang_up("ok").await;
    }

    /// A connection to the first listener.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.http()).await.unwrap()
    }

    /// One GET on a connection of its own to the first listener.
    pub(crate) async fn get(&self, path: &str) -> Response {
        client::get(self.http(), path).await.unwrap()
    }

    /// Asks what is shown; `path` is what follows `/v1/`.
    pub(crate) async fn ask(&self, path: &str) -> Response {
        let mut connection = Connection::open(self.admin()).await.unwrap();
        let token = format!("Bearer {ADMIN_TOKEN}");
        let fields = [("Authorization", token.as_str())];
        let path = format!("/v1/{path}");
        let shown = connection.request("GET", &path, &fields, b"");
        shown.await.unwrap()
    }

    /// Asks for a change; `path` is what follows `/v1/`.
    pub(crate) async fn change(&self, path: &str, body: &Value) -> Response {
        let mut connection = Connection::open(self.admin()).await.unwrap();
        let token = format!("Bearer {ADMIN_TOKEN}");
        let fields = [("Authorization", token.as_str())];
        let (path, body) = (format!("/v1/{path}"), body.to_string());
        let changed = connection.request("POST", &path, &fields, body.as_bytes());
        changed.await.unwrap()
    }

    /// Waits until an admin path answers with a status.
    pub(crate) async fn wait_for_admin(&mut self, path: &str, status: u16) {
        let admin = self.admin();
        let process = &mut self.process;
        wait_until(&format!("{path} to answer {status}"), async || {
            if let Some(status) = process.try_status() {
                panic!("the edge ended with {status}\n{}", process.output());
            }
            client::get(admin, path)
                .await
                .ok()
                .filter(|r| r.status == status)
        })
        .await;
    }

    /// Access log lines so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.directory.path().join("access.log"));
        let text = text.unwrap_or_default();
        // The last piece may still be in the writing.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| {
                serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("log line {line:?}: {error}"))
            })
            .collect()
    }

    /// Waits until the access log holds `count` lines that match, and returns those.
    pub(crate) async fn wait_for_log(
        &self,
        count: usize,
        matches: impl Fn(&Value) -> bool,
    ) -> Vec<Value> {
        wait_until(&format!("{count} matching access log lines"), async || {
            let lines: Vec<Value> = self.log().into_iter().filter(|l| matches(l)).collect();
            assert!(lines.len() <= count, "more than {count} lines: {lines:#?}");
            (lines.len() == count).then_some(lines)
        })
        .await
    }

    /// Waits for the only line of a path, and returns it.
    pub(crate) async fn log_of(&self, path: &str) -> Value {
        self.wait_for_log(1, |line| line["path"] == path)
            .await
            .remove(0)
    }

    /// Sum of the samples of a metric whose labels contain all of `labels`.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = client::get(self.admin(), "/metrics").await.unwrap().text();
        let samples = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels
                    .iter()
                    .all(|(k, v)| line.contains(&format!("{k}=\"{v}\"")))
        });
        samples
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until a metric has a value.
    pub(crate) async fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        wait_until(&format!("{name}{labels:?} to be {value}"), async || {
            (self.metric(name, labels).await == value).then_some(())
        })
        .await;
    }

    /// Waits until the process holds no more sockets than at its start and `idle` more, which are
    /// its idle connections to endpoints.
    pub(crate) async fn expect_sockets_at_rest(&self, idle: usize) {
        let most = self.sockets_at_rest + idle;
        wait_until(&format!("no more than {most} sockets"), async || {
            (process::open_sockets(self.process.id()) <= most).then_some(())
        })
        .await;
    }

    /// Waits until no client is connected and no endpoint is being asked.
    pub(crate) async fn expect_nothing_left(&self) {
        for gauge in [
            "portcullis_edge_connections_open",
            "portcullis_edge_endpoint_in_flight",
        ] {
            self.wait_for_metric(gauge, &[], 0.0).await;
        }
    }

    /// Waits until requests with an outcome have been counted, exactly `count` of them.
    pub(crate) async fn wait_for_outcome(&self, outcome: &str, count: u32) {
        let labels = [("outcome", outcome)];
        self.wait_for_metric("portcullis_edge_requests_total", &labels, count.into())
            .await;
    }
}

/// A client that trusts what a test's authority issued, for HTTP/1.1 with TLS.
pub(crate) async fn open_tls(
    address: SocketAddr,
    name: &str,
    authority: &portcullis_testkit::Authority,
) -> Connection {
    Connection::open_tls(address, name, authority.client())
        .await
        .unwrap()
}
