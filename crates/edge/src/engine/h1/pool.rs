//! Idle connections to endpoints, of all listeners together. Never hands out one that its endpoint
//! has closed, or on which it has said something unasked: that would be taken for the next answer.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::watch;

/// Idle connections to one endpoint: beyond it the oldest goes.
const PER_ENDPOINT: usize = 1024;
/// Idle connections in all: beyond it none is taken.
const IN_ALL: usize = 16_384;
/// How often expired and closed connections are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Who may use a connection: two clusters never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    /// The cluster.
    pub(crate) cluster: u64,
    /// The endpoint.
    pub(crate) address: SocketAddr,
}

/// Connections between two requests.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    /// The newest last: it is the least likely to have been closed.
    by_key: HashMap<PoolKey, VecDeque<Kept>>,
    count: usize,
}

#[derive(Debug)]
struct Kept {
    stream: TcpStream,
    until: Instant,
}

impl Kept {
    /// Whether another request may go out on it. Asks the kernel only when it has reported
    /// something.
    fn is_usable(&self, now: Instant) -> bool {
        let is_silent = || {
            let unasked = self.stream.try_read(&mut [0]);
            unasked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        now < self.until && is_silent()
    }
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The newest usable connection.
    pub(crate) fn take(&self, key: &PoolKey, now: Instant) -> Option<TcpStream> {
        loop {
            let kept = self.lock().pop(key)?;
            if kept.is_usable(now) {
                return Some(kept.stream);
            }
        }
    }

    /// Keeps a connection for at most `idle`.
    pub(crate) fn put(&self, key: PoolKey, stream: TcpStream, idle: Duration, now: Instant) {
        let until = now + idle;
        // Dropped outside the lock: closing is a system call.
        let _oldest = self.lock().push(key, Kept { stream, until });
    }

    /// Closes what is expired or was closed by its endpoint.
    fn sweep(&self, now: Instant) {
        let _closed = self.lock().take_unusable(now);
    }

    /// Sweeps until stopped, then closes everything.
    pub(crate) async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut interval = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => break,
                _ = interval.tick() => self.sweep(Instant::now()),
            }
        }
        *self.lock() = Idle::default();
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn pop(&mut self, key: &PoolKey) -> Option<Kept> {
        let kept = self.by_key.get_mut(key)?.pop_back()?;
        self.count -= 1;
        Some(kept)
    }

    /// Returns what must go for it.
    fn push(&mut self, key: PoolKey, kept: Kept) -> Option<Kept> {
        let of_endpoint = self.by_key.entry(key).or_default();
        if of_endpoint.len() >= PER_ENDPOINT {
            of_endpoint.push_back(kept);
            return of_endpoint.pop_front();
        }
        if self.count >= IN_ALL {
            return Some(kept);
        }
        of_endpoint.push_back(kept);
        self.count += 1;
        None
    }

    fn take_unusable(&mut self, now: Instant) -> Vec<Kept> {
        let mut unusable = Vec::new();
        for of_endpoint in self.by_key.values_mut() {
            for kept in std::mem::take(of_endpoint) {
                if kept.is_usable(now) {
                    of_endpoint.push_back(kept);
                } else {
                    unusable.push(kept);
                }
            }
        }
        self.by_key.retain(|_, of_endpoint| !of_endpoint.is_empty());
        self.count -= unusable.len();
        unusable
    }
}

#[cfg(test)]
mod tests {
    use portcullis_testkit::wait_until;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    struct Endpoint {
        listener: TcpListener,
        key: PoolKey,
    }

    impl Endpoint {
        async fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let key = PoolKey {
                cluster: 1,
                address,
            };
            Self { listener, key }
        }

        /// Our end and the endpoint's.
        async fn connect(&self) -> (TcpStream, TcpStream) {
            let stream = TcpStream::connect(self.key.address).await.unwrap();
            let (accepted, _) = self.listener.accept().await.unwrap();
            (stream, accepted)
        }
    }

    fn port(stream: &TcpStream) -> u16 {
        stream.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn newest_connection_is_taken_first_and_by_its_own_cluster_alone() {
        let (pool, endpoint, now) = (Pool::new(), Endpoint::start().await, Instant::now());
        let (one, _one) = endpoint.connect().await;
        let (two, _two) = endpoint.connect().await;
        let newest = port(&two);
        pool.put(endpoint.key, one, IDLE, now);
        pool.put(endpoint.key, two, IDLE, now);
        let stranger = PoolKey {
            cluster: 2,
            ..endpoint.key
        };
        assert!(pool.take(&stranger, now).is_none());
        assert_eq!(port(&pool.take(&endpoint.key, now).unwrap()), newest);
        assert!(pool.take(&endpoint.key, now).is_some());
        assert!(pool.take(&endpoint.key, now).is_none());
    }

    #[tokio::test]
    async fn expired_connection_is_not_handed_out() {
        let (pool, endpoint, now) = (Pool::new(), Endpoint::start().await, Instant::now());
        let (stream, _accepted) = endpoint.connect().await;
        pool.put(endpoint.key, stream, IDLE, now);
        assert!(pool.take(&endpoint.key, now + IDLE).is_none());
    }

    #[tokio::test]
    async fn closed_connection_and_one_with_unasked_bytes_are_not_handed_out() {
        let (pool, endpoint) = (Pool::new(), Endpoint::start().await);
        for unasked in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] {
            let (stream, mut accepted) = endpoint.connect().await;
            if unasked.is_empty() {
                drop(accepted);
            } else {
                accepted.write_all(unasked).await.unwrap();
            }
            stream.readable().await.unwrap();
            pool.put(endpoint.key, stream, IDLE, Instant::now());
            assert!(pool.take(&endpoint.key, Instant::now()).is_none());
        }
    }

    #[tokio::test]
    async fn running_pool_closes_what_endpoints_closed_and_everything_when_stopped() {
        let (pool, endpoint) = (Arc::new(Pool::new()), Endpoint::start().await);
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(Arc::clone(&pool).run(stopped));
        let (stream, mut accepted) = endpoint.connect().await;
        let (other, mut other_accepted) = endpoint.connect().await;
        pool.put(endpoint.key, stream, IDLE, Instant::now());
        pool.put(endpoint.key, other, IDLE, Instant::now());
        accepted.shutdown().await.unwrap();
        // The end of our side arrives only when the pool has closed it.
        assert_eq!(accepted.read(&mut [0]).await.unwrap(), 0);
        wait_until("one is left", async || {
            (pool.lock().count == 1).then_some(())
        })
        .await;
        stop.send(true).unwrap();
        assert_eq!(other_accepted.read(&mut [0]).await.unwrap(), 0);
        running.await.unwrap();
    }

    #[tokio::test]
    async fn pool_is_bounded_per_endpoint() {
        let (pool, endpoint, now) = (Pool::new(), Endpoint::start().await, Instant::now());
        let mut ends = Vec::new();
        let mut oldest = None;
        for _ in 0..=PER_ENDPOINT {
            let (stream, accepted) = endpoint.connect().await;
            oldest.get_or_insert(port(&stream));
            pool.put(endpoint.key, stream, IDLE, now);
            ends.push(accepted);
        }
        assert_eq!(pool.lock().count, PER_ENDPOINT);
        let mut kept = Vec::new();
        while let Some(stream) = pool.take(&endpoint.key, now) {
            assert_ne!(Some(port(&stream)), oldest, "the oldest went");
            kept.push(stream);
        }
        assert_eq!(kept.len(), PER_ENDPOINT);
    }
}
