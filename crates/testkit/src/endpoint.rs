//! HTTP/1.1 endpoints with one bad habit each, switchable while they run, in this process.
//! Never polite beyond what a test asked for: they exist to misbehave in a known way.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use behavior::{Behavior, Health, Step};
use state::State;

mod behavior;
mod script;
mod serve;
mod state;

/// An endpoint on a port of its own. Dropping it closes the port and every connection.
pub struct Endpoint {
    address: SocketAddr,
    state: Arc<State>,
    accept: JoinHandle<()>,
}

/// A request as the endpoint received it.
#[derive(Clone, Debug)]
pub struct Received {
    /// Method of the request line.
    pub method: String,
    /// Target of the request line.
    pub target: String,
    /// Fields in order, names as sent.
    pub fields: Vec<(String, String)>,
    /// The decoded body.
    pub body: Vec<u8>,
    /// Fields behind a chunked body.
    pub trailers: Vec<(String, String)>,
}

impl Received {
    /// Values of the fields called `name`, in order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
            .collect()
    }

    /// What an echoing endpoint answers.
    fn to_json(&self, name: &str) -> Value {
        let headers: Vec<Value> = self
            .fields
            .iter()
            .map(|(name, value)| json!([name.to_ascii_lowercase(), value]))
            .collect();
        json!({
            "endpoint": name,
            "method": self.method,
            "path": self.target,
            "headers": headers,
            "body": String::from_utf8_lossy(&self.body),
        })
    }
}

impl Endpoint {
    /// Starts an endpoint that echoes requests as JSON, with `name` in it.
    pub async fn start(name: &str) -> Endpoint {
        Endpoint::start_at(name, (Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Starts one whose answer to every request is `behavior`.
    pub async fn with(name: &str, behavior: Behavior) -> Endpoint {
        let endpoint = Endpoint::start(name).await;
        endpoint.behave(behavior);
        endpoint
    }

    /// Starts an endpoint on an address that was reserved, or that an earlier one has left.
    ///
    /// # Panics
    /// When the address cannot be bound.
    pub async fn start_at(name: &str, address: SocketAddr) -> Endpoint {
        let listener = TcpListener::bind(address)
            .await
            .unwrap_or_else(|error| panic!("endpoint {name} cannot bind {address}: {error}"));
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let state = Arc::new(State::new(name));
        let accept = tokio::spawn(accept_loop(listener, Arc::clone(&state)));
        Endpoint {
            address,
            state,
            accept,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name it puts into its answers.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Changes what every request from now on gets.
    pub fn behave(&self, behavior: Behavior) {
        self.state.set_behavior(behavior);
    }

    /// Changes what requests to `/health/ready` and other health paths get.
    pub fn set_health(&self, health: Health) {
        self.state.set_health(health);
    }

    /// Requests received, health checks left out.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Health checks received.
    pub fn health_checks(&self) -> usize {
        self.state.health_checks.load(Ordering::SeqCst)
    }

    /// Connections accepted.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Connections that are open at this moment.
    pub fn open_connections(&self) -> usize {
        self.state.open_connections.load(Ordering::SeqCst)
    }

    /// The most requests that were ever being answered at once.
    pub fn in_flight_max(&self) -> usize {
        self.state.in_flight_max.load(Ordering::SeqCst)
    }

    /// Requests being answered at this moment.
    pub fn in_flight(&self) -> usize {
        self.state.in_flight.load(Ordering::SeqCst)
    }

    /// Requests received, health checks left out, oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.state.received()
    }

    /// Health checks received, oldest first.
    pub fn received_health_checks(&self) -> Vec<Received> {
        self.state.received_health_checks()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.accept.abort();
        self.state.close_all();
    }
}

async fn accept_loop(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        state.connections.fetch_add(1, Ordering::SeqCst);
        let connection = Arc::clone(&state);
        let task = tokio::spawn(async move {
            // The peer's disappearance is the peer's business; tests look at the counters.
            let _: io::Result<()> = serve::connection(stream, connection).await;
        });
        state.adopt(task.abort_handle());
    }
}

#[cfg(test)]
mod tests;
