//! Raw TLS for chosen server names: bytes go to a cluster untouched. Never decrypts anything.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_traffic::containment::Trouble;
use tokio::net::TcpStream;

use super::hello::Rewound;
use crate::cluster::{Ask, Cluster};
use crate::config::{self, ClusterId, HashKey, NamePattern};
use crate::engine::{connect, tunnel};
use crate::pipeline::{IdSource, octets};

/// A tunnel on which neither side has sent a byte for this long ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// Which server names are passed on, and where to.
#[derive(Debug)]
pub(super) struct Passthrough(Vec<(NamePattern, ClusterId)>);

impl Passthrough {
    /// Rules in file order; the first match wins.
    pub(super) fn new(rules: &[config::Passthrough]) -> Self {
        Self(
            rules
                .iter()
                .map(|rule| (rule.sni.clone(), rule.cluster))
                .collect(),
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where a connection with this server name (lower case) goes; `None` terminates it here.
    pub(super) fn cluster(&self, server_name: Option<&str>) -> Option<ClusterId> {
        let name = server_name?;
        self.0
            .iter()
            .find(|(pattern, _)| pattern.matches(name))
            .map(|(_, cluster)| *cluster)
    }
}

/// Joins a client with an endpoint of `cluster` until both sides end or are silent for
/// [`IDLE_TIMEOUT`]. An endpoint that cannot be
/// reached counts as failed and is replaced by another.
pub(super) async fn pass_on(
    mut stream: Rewound<TcpStream>,
    cluster: &Arc<Cluster>,
    client: SocketAddr,
    ids: &IdSource,
) {
    let source = match cluster.hash_key() {
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
            chance: ids.draw_span(),
        };
        let slot = cluster.acquire(&ask).await.ok();
        let Some(mut slot) = slot.filter(|slot| !tried.contains(&slot.endpoint().id())) else {
            tracing::warn!(%client, cluster = cluster.name(), "no endpoint for a passthrough connection");
            return;
        };
        let address = slot.endpoint().address();
        let mut upstream = match connect(address, cluster.timeouts().connect).await {
            Ok(upstream) => upstream,
            Err(cause) => {
                tried.push(slot.endpoint().id());
                let trouble = cause.trouble().unwrap_or(Trouble::ConnectFailed);
                slot.finish(Err(trouble), Instant::now());
                continue;
            }
        };
        let connected = Instant::now();
        slot.answered(connected.saturating_duration_since(started));
        slot.judge(Ok(()), connected);
        let copied = tunnel(&mut stream, &mut upstream, IDLE_TIMEOUT, pending()).await;
        tracing::debug!(%client, endpoint = %address, ?copied, "passthrough connection ended");
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_matching_rule_wins_and_other_names_are_terminated() {
        let rule = |sni, cluster| config::Passthrough {
            sni,
            cluster: ClusterId(cluster),
        };
        let rules = Passthrough::new(&[
            rule(NamePattern::Exact("a.example.com".to_owned()), 1),
            rule(NamePattern::Wildcard("example.com".to_owned()), 2),
        ]);
        assert_eq!(rules.cluster(Some("a.example.com")), Some(ClusterId(1)));
        assert_eq!(rules.cluster(Some("b.example.com")), Some(ClusterId(2)));
        assert_eq!(rules.cluster(Some("c.b.example.com")), None);
        assert_eq!(rules.cluster(Some("example.com")), None);
        assert_eq!(rules.cluster(None), None);
    }
}
