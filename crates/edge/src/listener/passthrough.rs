//! Raw TLS for chosen server names: bytes go to a cluster untouched. Never decrypts anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::net::TcpStream;

use super::hello::Rewound;
use crate::cluster::Cluster;
use crate::config::{self, ClusterId, NamePattern};

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
        let matches = |pattern: &NamePattern| match pattern {
            NamePattern::Exact(exact) => exact == name,
            NamePattern::Wildcard(parent) => {
                name.split_once('.').is_some_and(|(_, rest)| rest == parent)
            }
        };
        self.0
            .iter()
            .find(|(pattern, _)| matches(pattern))
            .map(|(_, cluster)| *cluster)
    }
}

/// Joins a client with an endpoint of `cluster` until either side ends. `seen` is what was already
/// read from the client. An endpoint that cannot be reached is replaced by another.
pub(super) async fn tunnel(
    stream: TcpStream,
    seen: Bytes,
    cluster: &Arc<Cluster>,
    client: SocketAddr,
) {
    let mut tried = Vec::new();
    loop {
        let now = Instant::now();
        let Some(slot) = cluster.pick(&tried, now) else {
            tracing::warn!(%client, cluster = cluster.name(), "no endpoint for a passthrough connection");
            return;
        };
        let address = slot.endpoint().address();
        if tried.contains(&address) {
            tracing::warn!(%client, cluster = cluster.name(), "no endpoint of a passthrough cluster can be reached");
            return;
        }
        let connect = tokio::time::timeout(cluster.timeouts().connect, TcpStream::connect(address));
        match connect.await {
            Ok(Ok(mut upstream)) => {
                // A hint to the kernel only.
                let _ = upstream.set_nodelay(true);
                let mut downstream = Rewound::new(seen, stream);
                let copied = tokio::io::copy_bidirectional(&mut downstream, &mut upstream).await;
                tracing::debug!(%client, endpoint = %address, ?copied, "passthrough connection ended");
                return;
            }
            _refused_or_late => tried.push(address),
        }
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
