//! Raw TLS for chosen server names: bytes go to a cluster untouched. Never decrypts anything.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_traffic::containment::Trouble;
use tokio::net::TcpStream;

use super::hello::Rewound;
use crate::cluster::{Ask, Cluster};
use crate::config::{self, HashKey, NamePattern};
use crate::connection::Connection;
use crate::engine::{connect_with, tunnel};
use crate::metrics::PassedMetrics;
use crate::outcome::Cause;
use crate::pipeline::{Passed, octets, report_passed};
use crate::state::{Edge, Snapshot};

/// A tunnel on which neither side has sent a byte for this long ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// Which server names are passed on, and where to.
#[derive(Debug)]
pub(super) struct Passthrough(Vec<(NamePattern, Arc<Cluster>)>);

impl Passthrough {
    /// Rules in file order; the first match wins.
    pub(super) fn new(rules: &[config::Passthrough], snapshot: &Snapshot) -> Self {
        let rule = |rule: &config::Passthrough| {
            let cluster = Arc::clone(snapshot.cluster(rule.cluster));
            (rule.sni.clone(), cluster)
        };
        Self(rules.iter().map(rule).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where a connection with this server name (lower case) goes; `None` terminates it here.
    pub(super) fn cluster(&self, server_name: Option<&str>) -> Option<&Arc<Cluster>> {
        let name = server_name?;
        self.0
            .iter()
            .find(|(pattern, _)| pattern.matches(name))
            .map(|(_, cluster)| cluster)
    }
}

/// One connection on its way; reported and counted however it ends.
pub(super) struct Passing<'a> {
    edge: &'a Edge,
    connection: Connection,
    cluster: &'a Arc<Cluster>,
    metrics: PassedMetrics<'a>,
    passed: Passed<'a>,
}

impl<'a> Passing<'a> {
    pub(super) fn new(
        edge: &'a Edge,
        connection: Connection,
        listener: &'a str,
        cluster: &'a Arc<Cluster>,
        server_name: Option<&'a str>,
    ) -> Self {
        Self {
            edge,
            connection,
            cluster,
            metrics: edge.metrics.passing(listener, cluster.name()),
            passed: Passed {
                server_name,
                cluster: cluster.name(),
                endpoint: None,
                attempts: 0,
                endpoint_time: None,
                to_endpoint: 0,
                to_client: 0,
                // What is dropped on the way was cut off.
                failure: Some(Cause::Draining),
            },
        }
    }

    /// Joins the client with an endpoint until both sides end or are silent for [`IDLE_TIMEOUT`].
    /// An endpoint that cannot be reached counts as failed and is replaced by another.
    pub(super) async fn run(mut self, mut stream: Rewound<TcpStream>) {
        let client = self.connection.client;
        let source = match self.cluster.hash_key() {
            Some(HashKey::Source) => Some(octets(client.ip().to_canonical())),
            _ => None,
        };
        let mut tried = Vec::new();
        loop {
            let started = Instant::now();
            let ask = Ask {
                bound: None,
                key: source.as_deref(),
                tried: &tried,
                now: started,
                chance: self.edge.ids.draw_span(),
            };
            let slot = self.cluster.acquire(&ask).await.ok();
            let Some(mut slot) = slot.filter(|slot| !tried.contains(&slot.endpoint().id())) else {
                let cluster = self.cluster.name();
                let client = self.edge.shown(client);
                tracing::warn!(client, cluster, "no endpoint for a passthrough connection");
                if tried.is_empty() {
                    self.passed.failure = Some(Cause::NoEndpoint);
                }
                return;
            };
            let address = slot.endpoint().address();
            self.passed.attempts += 1;
            self.passed.endpoint = Some(slot.endpoint().label().to_owned());
            let local = self.connection.local;
            let (via, _) = self.cluster.via(slot.endpoint(), client, local);
            let timeout = self.cluster.timeouts().connect;
            let connected = connect_with(address, via.preamble.as_deref(), timeout).await;
            let mut endpoint = match connected {
                Ok(endpoint) => endpoint,
                Err(cause) => {
                    tried.push(slot.endpoint().id());
                    self.passed.failure = Some(cause);
                    let trouble = cause.trouble().unwrap_or(Trouble::ConnectFailed);
                    slot.finish(Err(trouble), Instant::now());
                    continue;
                }
            };
            let connected = Instant::now();
            let took = connected.saturating_duration_since(started);
            self.passed.endpoint_time = Some(took);
            self.passed.failure = Some(Cause::Draining);
            slot.answered(took);
            slot.judge(Ok(()), connected);
            let joined = tunnel(&mut stream, &mut endpoint, IDLE_TIMEOUT, pending()).await;
            self.passed.to_endpoint = joined.to_endpoint;
            self.passed.to_client = joined.to_client;
            self.passed.failure = None;
            let client = || self.edge.shown(client);
            tracing::debug!(client = client(), endpoint = %address, ended = ?joined.ended, "passthrough connection ended");
            return;
        }
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        let Passed {
            to_endpoint,
            to_client,
            ..
        } = self.passed;
        let outcome = report_passed(self.edge, &self.connection, &self.passed);
        self.metrics.ended(outcome, to_endpoint, to_client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClusterId;
    use crate::pipeline::fake;

    #[test]
    fn first_matching_rule_wins_and_other_names_are_terminated() {
        let mut config = fake::config(fake::cluster(&["127.0.0.1:9"]));
        let named = |name: &str| config::Cluster {
            name: name.to_owned(),
            ..fake::cluster(&["127.0.0.1:9"])
        };
        config.clusters = ["none", "one", "two"].map(named).into();
        let edge = Edge::build(&config).unwrap();
        let rule = |sni, cluster| config::Passthrough {
            sni,
            cluster: ClusterId(cluster),
        };
        let rules = [
            rule(NamePattern::Exact("a.example.com".to_owned()), 1),
            rule(NamePattern::Wildcard("example.com".to_owned()), 2),
        ];
        let rules = Passthrough::new(&rules, &edge.snapshot.load());
        let cluster = |name| rules.cluster(name).map(|cluster| cluster.name());
        assert_eq!(cluster(Some("a.example.com")), Some("one"));
        assert_eq!(cluster(Some("b.example.com")), Some("two"));
        assert_eq!(cluster(Some("c.b.example.com")), None);
        assert_eq!(cluster(Some("example.com")), None);
        assert_eq!(cluster(None), None);
    }
}
