//! Raw TLS for chosen server names: bytes go to a cluster untouched. Never decrypts anything.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::hello::Rewound;
use crate::cluster::Cluster;
use crate::config::{self, ClusterId, NamePattern};

/// A tunnel on which neither side has sent a byte for this long (and at most twice as long) ends.
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

/// Joins a client with an endpoint of `cluster` until either side ends or both are silent for
/// [`IDLE_TIMEOUT`]. `seen` is what was already read from the client. An endpoint that cannot be
/// reached counts as failed and is replaced by another.
pub(super) async fn tunnel(
    stream: TcpStream,
    seen: Bytes,
    cluster: &Arc<Cluster>,
    client: SocketAddr,
) {
    let mut tried = Vec::new();
    loop {
        let slot = cluster.pick(&tried, Instant::now());
        let Some(slot) = slot.filter(|slot| !tried.contains(&slot.endpoint().address())) else {
            tracing::warn!(%client, cluster = cluster.name(), "no endpoint for a passthrough connection");
            return;
        };
        let address = slot.endpoint().address();
        let connect = tokio::time::timeout(cluster.timeouts().connect, TcpStream::connect(address));
        let Ok(Ok(upstream)) = connect.await else {
            cluster.record_failure(
                slot.endpoint(),
                "passthrough: cannot connect",
                Instant::now(),
            );
            tried.push(address);
            continue;
        };
        cluster.record_success(slot.endpoint());
        // A hint to the kernel only.
        let _ = upstream.set_nodelay(true);
        let copied = join(Rewound::new(seen, stream), upstream).await;
        tracing::debug!(%client, endpoint = %address, ?copied, "passthrough connection ended");
        return;
    }
}

/// Copies both ways; `Err` when a side failed or both were silent for too long.
async fn join(downstream: Rewound<TcpStream>, mut upstream: TcpStream) -> io::Result<(u64, u64)> {
    let activity = Arc::new(AtomicU64::new(0));
    let mut downstream = Watched {
        io: downstream,
        activity: Arc::clone(&activity),
    };
    let silence = async {
        let mut before = None;
        // Any byte either way passes through the downstream side.
        while before != Some(activity.load(Ordering::Relaxed)) {
            before = Some(activity.load(Ordering::Relaxed));
            tokio::time::sleep(IDLE_TIMEOUT).await;
        }
    };
    tokio::select! {
        copied = tokio::io::copy_bidirectional(&mut downstream, &mut upstream) => copied,
        () = silence => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Counts operations that moved bytes.
struct Watched<S> {
    io: S,
    activity: Arc<AtomicU64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_read(cx, buf);
        if polled.is_ready() {
            this.activity.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write(cx, data);
        if polled.is_ready() {
            this.activity.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silent_tunnel_ends_and_a_busy_one_lives() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (downstream, _) = listener.accept().await.unwrap();
        let mut endpoint = TcpStream::connect(address).await.unwrap();
        let (upstream, _) = listener.accept().await.unwrap();
        let started = tokio::time::Instant::now();
        tokio::io::AsyncWriteExt::write_all(&mut endpoint, b"hello")
            .await
            .unwrap();
        let joined = join(Rewound::new(Bytes::new(), downstream), upstream).await;
        assert_eq!(joined.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= IDLE_TIMEOUT, "{:?}", started.elapsed());
        drop(client);
    }

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
