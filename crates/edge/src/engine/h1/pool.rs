//! Idle connections to endpoints, of all listeners together. Never hands out one that its endpoint
//! has closed, or on which it has said something unasked: that would be taken for the next answer.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use tokio::sync::watch;

use crate::engine::FRESH;
use crate::engine::dial::EndpointStream;
use crate::engine::h2::Connections;

/// How many connections may be idle; beyond it the oldest goes.
const BOUNDS: Bounds = Bounds {
    per_endpoint: 1024,
    in_all: 16_384,
};
/// How often expired and closed connections are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How sure it must be that the endpoint still listens on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// What is lost may be sent again.
    Usual,
    /// As sure as can be before a byte is sent: nothing may be repeated.
    NotRepeatable,
}

/// Who may use a connection: two clusters never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    /// The cluster.
    pub(crate) cluster: u64,
    /// The endpoint.
    pub(crate) address: SocketAddr,
}

/// Connections between two requests.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
    shared: Arc<Connections>,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    per_endpoint: usize,
    in_all: usize,
}

#[derive(Debug)]
struct Idle {
    bounds: Bounds,
    /// The newest last: it is the least likely to have been closed.
    by_key: HashMap<PoolKey, VecDeque<Kept>, RandomState>,
    count: usize,
}

#[derive(Debug)]
struct Kept {
    stream: EndpointStream,
    since: Instant,
    until: Instant,
}

impl Kept {
    /// Whether another request may go out on it. Asks the kernel only when it has reported
    /// something.
    fn is_usable(&mut self, now: Instant) -> bool {
        now < self.until && self.stream.is_idle()
    }

    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) <= FRESH
    }
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new() -> Self {
        Self::bounded(BOUNDS)
    }

    fn bounded(bounds: Bounds) -> Self {
        Self {
            idle: Mutex::new(Idle::new(bounds)),
            shared: Arc::default(),
        }
    }

    /// The newest usable connection. What is not repeatable gets one only if it was used a moment
    /// ago and the kernel knows of nothing on it: tokio hears of a close a little later.
    pub(crate) fn take(&self, key: &PoolKey, care: Care, now: Instant) -> Option<EndpointStream> {
        loop {
            let mut kept = self
                .lock()
                .pop_if(key, |newest| care == Care::Usual || newest.is_fresh(now))?;
            let is_usable = kept.is_usable(now) && (care == Care::Usual || kept.stream.is_silent());
            if is_usable {
                return Some(kept.stream);
            }
        }
    }

    /// Connections that many requests share, over HTTP/2.
    pub(crate) fn shared(&self) -> &Arc<Connections> {
        &self.shared
    }

    /// Keeps a connection for at most `idle`.
    pub(crate) fn put(&self, key: PoolKey, stream: EndpointStream, idle: Duration, now: Instant) {
        let kept = Kept {
            stream,
            since: now,
            until: now + idle,
        };
        // Dropped outside the lock: closing is a system call.
        let _oldest = self.lock().push(key, kept);
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
        let _all = self.lock().take_all();
        self.shared.close();
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            by_key: HashMap::default(),
            count: 0,
        }
    }

    /// The newest, if it is as wanted.
    fn pop_if(&mut self, key: &PoolKey, is_wanted: impl Fn(&Kept) -> bool) -> Option<Kept> {
        let of_endpoint = self.by_key.get_mut(key)?;
        let kept = of_endpoint.pop_back_if(|newest| is_wanted(newest))?;
        self.count -= 1;
        Some(kept)
    }

    /// Returns what must go for it.
    fn push(&mut self, key: PoolKey, kept: Kept) -> Option<Kept> {
        let of_endpoint = self.by_key.entry(key).or_default();
        let is_full = of_endpoint.len() >= self.bounds.per_endpoint;
        of_endpoint.push_back(kept);
        if is_full {
            return of_endpoint.pop_front();
        }
        if self.count >= self.bounds.in_all {
            return self.pop_next_to_expire();
        }
        self.count += 1;
        None
    }

    /// Looks at every endpoint, which only a full pool has to.
    fn pop_next_to_expire(&mut self) -> Option<Kept> {
        let fronts = self.by_key.values_mut();
        fronts
            .filter(|of_endpoint| !of_endpoint.is_empty())
            .min_by_key(|of_endpoint| of_endpoint.front().map(|kept| kept.until))?
            .pop_front()
    }

    fn take_unusable(&mut self, now: Instant) -> Vec<Kept> {
        let mut unusable = Vec::new();
        for of_endpoint in self.by_key.values_mut() {
            // Once around: the order stays.
            for _ in 0..of_endpoint.len() {
                let Some(mut kept) = of_endpoint.pop_front() else {
                    break;
                };
                match kept.is_usable(now) {
                    true => of_endpoint.push_back(kept),
                    false => unusable.push(kept),
                }
            }
        }
        self.by_key.retain(|_, of_endpoint| !of_endpoint.is_empty());
        self.count -= unusable.len();
        unusable
    }

    fn take_all(&mut self) -> Self {
        mem::replace(self, Self::new(self.bounds))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_testkit::wait_until;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

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
        async fn connect(&self) -> (EndpointStream, TcpStream) {
            let stream = TcpStream::connect(self.key.address).await.unwrap();
            let (accepted, _) = self.listener.accept().await.unwrap();
            (EndpointStream::Plain(stream), accepted)
        }
    }

    fn port(stream: &EndpointStream) -> u16 {
        stream.socket().unwrap().local_addr().unwrap().port()
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
        assert!(pool.take(&stranger, Care::Usual, now).is_none());
        assert_eq!(
            port(&pool.take(&endpoint.key, Care::Usual, now).unwrap()),
            newest
        );
        assert!(pool.take(&endpoint.key, Care::Usual, now).is_some());
        assert!(pool.take(&endpoint.key, Care::Usual, now).is_none());
    }

    #[tokio::test]
    async fn expired_connection_is_not_handed_out() {
        let (pool, endpoint, now) = (Pool::new(), Endpoint::start().await, Instant::now());
        let (stream, _accepted) = endpoint.connect().await;
        pool.put(endpoint.key, stream, IDLE, now);
        assert!(pool.take(&endpoint.key, Care::Usual, now + IDLE).is_none());
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
            stream.socket().unwrap().readable().await.unwrap();
            pool.put(endpoint.key, stream, IDLE, Instant::now());
            assert!(
                pool.take(&endpoint.key, Care::Usual, Instant::now())
                    .is_none()
            );
        }
    }

    #[tokio::test]
    async fn what_cannot_be_repeated_gets_a_connection_used_a_moment_ago_or_none() {
        let (pool, endpoint, now) = (Pool::new(), Endpoint::start().await, Instant::now());
        let careful = |now| pool.take(&endpoint.key, Care::NotRepeatable, now);
        let (stream, mut accepted) = endpoint.connect().await;
        pool.put(endpoint.key, stream, IDLE, now);
        assert!(careful(now + 2 * FRESH).is_none(), "too old");
        let stream = careful(now + FRESH).expect("left for those that may be repeated");
        pool.put(endpoint.key, stream, IDLE, now);
        accepted.shutdown().await.unwrap();
        assert!(careful(now).is_none(), "closed, whatever the runtime knows");
        assert_eq!(pool.lock().count, 0);
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
    async fn pool_is_bounded_and_the_oldest_goes() {
        let pool = Pool::bounded(Bounds {
            per_endpoint: 2,
            in_all: 3,
        });
        let (first, second) = (Endpoint::start().await, Endpoint::start().await);
        let begun = Instant::now();
        let mut ends = Vec::new();
        let mut ports = Vec::new();
        for (age, endpoint) in [&first, &first, &first, &second, &second]
            .into_iter()
            .enumerate()
        {
            let (stream, accepted) = endpoint.connect().await;
            ports.push(port(&stream));
            ends.push(accepted);
            let now = begun + Duration::from_secs(age as u64);
            pool.put(endpoint.key, stream, IDLE, now);
        }
        assert_eq!(pool.lock().count, 3);
        // The first went for the third of its endpoint, the second for the fourth of all.
        for gone in &mut ends[..2] {
            assert_eq!(gone.read(&mut [0]).await.unwrap(), 0);
        }
        let taken = |key| {
            pool.take(key, Care::Usual, begun)
                .map(|stream| port(&stream))
        };
        assert_eq!(taken(&first.key), Some(ports[2]));
        assert_eq!(taken(&first.key), None);
        assert_eq!(taken(&second.key), Some(ports[4]));
        assert_eq!(taken(&second.key), Some(ports[3]));
        assert_eq!(taken(&second.key), None);
        assert_eq!(pool.lock().count, 0);
    }

    #[tokio::test]
    async fn sweep_closes_what_has_expired_and_keeps_the_order_of_the_rest() {
        let (pool, endpoint, now) = (Pool::new(), Endpoint::start().await, Instant::now());
        let mut ends = Vec::new();
        let mut ports = Vec::new();
        for idle in [2 * IDLE, IDLE, 2 * IDLE] {
            let (stream, accepted) = endpoint.connect().await;
            ports.push(port(&stream));
            ends.push(accepted);
            pool.put(endpoint.key, stream, idle, now);
        }
        pool.sweep(now + IDLE);
        assert_eq!(ends[1].read(&mut [0]).await.unwrap(), 0);
        let taken = || {
            pool.take(&endpoint.key, Care::Usual, now)
                .map(|stream| port(&stream))
        };
        assert_eq!(taken(), Some(ports[2]));
        assert_eq!(taken(), Some(ports[0]));
        assert_eq!(taken(), None);
        pool.sweep(now);
        assert!(
            pool.lock().by_key.is_empty(),
            "an endpoint without any is forgotten"
        );
    }
}
