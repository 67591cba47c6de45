//! Connections to endpoints that speak HTTP/2, shared by all requests that may share. Never puts more
//! requests on one than its endpoint takes, nor any on one that is about to leave.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::{Bridge, STREAMS_MAX, shake};
use crate::engine::dial::{EndpointStream, dial};
use crate::engine::h1::PoolKey;
use crate::outcome::Cause;
use crate::pipeline::Attempt;

/// Which connection will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Any.
    Any,
    /// Any but the one that has failed the request.
    Another,
    /// One made for this request: what there was has failed it twice.
    New,
}

impl Wish {
    /// After one that failed. Ends: a new connection is not excused.
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Any => Self::Another,
            Self::Another | Self::New => Self::New,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    by_key: Mutex<HashMap<PoolKey, Arc<OfEndpoint>>>,
}

/// Those to one endpoint.
#[derive(Debug, Default)]
struct OfEndpoint {
    open: Mutex<Vec<Open>>,
    /// Held by whoever makes one, so that a hundred requests do not make a hundred.
    making: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Bytes>,
    state: Arc<State>,
}

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct State {
    requests: AtomicUsize,
    /// It takes no more.
    is_over: AtomicBool,
    /// It is being asked whether it lives.
    is_doubted: AtomicBool,
    doubts: Notify,
}

impl State {
    /// Nothing more goes there.
    pub(super) fn leave(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// A request waited in vain: maybe for the endpoint, maybe nobody hears us.
    pub(super) fn doubt(&self) {
        self.doubts.notify_one();
    }

    fn has_room(&self, most: usize) -> bool {
        self.requests.load(Ordering::Acquire) < most
            && !self.is_over.load(Ordering::Acquire)
            && !self.is_doubted.load(Ordering::Acquire)
    }

    /// Resolves when the endpoint no longer answers. It is asked only in doubt: servers of gRPC close
    /// connections on which they are asked for no reason.
    async fn silence(&self, mut pings: PingPong) {
        loop {
            self.doubts.notified().await;
            self.is_doubted.store(true, Ordering::Release);
            let answered = tokio::time::timeout(PING_TIMEOUT, pings.ping(Ping::opaque())).await;
            if !matches!(answered, Ok(Ok(_))) {
                return;
            }
            self.is_doubted.store(false, Ordering::Release);
            tokio::time::sleep(PING_PAUSE).await;
        }
    }
}

/// A request's place on a connection.
#[derive(Debug)]
pub(super) struct Place(Arc<State>);

impl Place {
    fn take(state: &Arc<State>) -> Self {
        state.requests.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(state))
    }

    pub(super) fn connection(&self) -> &Arc<State> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Connections {
    /// A stream for one request, and whether its connection was there before.
    pub(crate) async fn open(
        self: &Arc<Self>,
        key: PoolKey,
        attempt: &Attempt,
        wish: Wish,
    ) -> Result<(Bridge, bool), Cause> {
        let endpoint = Arc::clone(self.lock().entry(key).or_default());
        if wish != Wish::New
            && let Some(bridge) = endpoint.share(attempt).await
        {
            return Ok((bridge, true));
        }
        let deadline = Instant::now() + attempt.timeouts.connect;
        let made = timeout_at(deadline, async {
            let _making = endpoint.making.lock().await;
            if wish != Wish::New
                && let Some(bridge) = endpoint.share(attempt).await
            {
                return Ok((bridge, true));
            }
            let timeout = attempt.timeouts.connect;
            let stream = dial(attempt.address, &attempt.via, timeout).await?;
            check_agreement(&stream)?;
            let (sender, connection, pings) = shake(stream).await?;
            if sender.current_max_send_streams() == 0 {
                return Err(Cause::EndpointRefused);
            }
            let state = Arc::new(State::default());
            let bridge = Bridge::new(sender.clone(), Place::take(&state), attempt.via.is_secure());
            lock(&endpoint.open).push(Open {
                sender,
                state: Arc::clone(&state),
            });
            let idle = attempt.timeouts.idle;
            let keeper = Keeper {
                connections: Arc::downgrade(self),
                key,
                state,
                idle,
            };
            // Ends with its connection, which ends when nobody holds a sender any more.
            tokio::spawn(keeper.keep(connection, pings));
            Ok((bridge, false))
        });
        made.await.unwrap_or(Err(Cause::ConnectTimeout))
    }

    /// Lets go of all; each ends with the last of its requests.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }

    /// Forgets a connection; requests on it go on.
    fn forget(&self, key: &PoolKey, state: &Arc<State>) {
        let mut by_key = self.lock();
        let Some(endpoint) = by_key.get(key) else {
            return;
        };
        let is_empty = {
            let mut open = lock(&endpoint.open);
            open.retain(|one| !Arc::ptr_eq(&one.state, state));
            open.is_empty()
        };
        // Somebody who makes one just now holds another reference.
        if is_empty && Arc::strong_count(endpoint) == 1 {
            by_key.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PoolKey, Arc<OfEndpoint>>> {
        lock(&self.by_key)
    }
}

impl OfEndpoint {
    /// A stream on a connection that has room. Those that turn out to be over are passed by.
    async fn share(&self, attempt: &Attempt) -> Option<Bridge> {
        loop {
            let (sender, place) = self.place()?;
            let state = Arc::clone(&place.0);
            match sender.ready().await {
                Ok(sender) => return Some(Bridge::new(sender, place, attempt.via.is_secure())),
                // It was told to send no more, or is broken.
                Err(_error) => {
                    state.leave();
                    lock(&self.open).retain(|one| !Arc::ptr_eq(&one.state, &state));
                }
            }
        }
    }

    fn place(&self) -> Option<(SendRequest<Bytes>, Place)> {
        let open = lock(&self.open);
        let free = open.iter().find(|one| {
            let most = one.sender.current_max_send_streams().min(STREAMS_MAX);
            one.state.has_room(most)
        })?;
        Some((free.sender.clone(), Place::take(&free.state)))
    }
}

/// Whoever keeps a connection moving.
struct Keeper {
    connections: Weak<Connections>,
    key: PoolKey,
    state: Arc<State>,
    idle: Duration,
}

impl Keeper {
    async fn keep(self, connection: Connection<EndpointStream, Bytes>, pings: PingPong) {
        let ended = tokio::select! {
            ended = connection => ended,
            never = self.idleness() => match never {},
            () = self.state.silence(pings) => {
                tracing::debug!(endpoint = %self.key.address, "no sign of life over HTTP/2");
                Ok(())
            }
        };
        if let Err(error) = ended {
            tracing::debug!(endpoint = %self.key.address, %error, "an HTTP/2 connection broke");
        }
        self.forget();
    }

    /// Lets go of the connection once nobody has used it for a while; it ends by itself then.
    async fn idleness(&self) -> Infallible {
        let mut unused_since = None;
        loop {
            tokio::time::sleep(self.idle.min(LOOK_INTERVAL)).await;
            if self.state.requests.load(Ordering::Acquire) > 0 {
                unused_since = None;
                continue;
            }
            let now = Instant::now();
            if now.duration_since(*unused_since.get_or_insert(now)) >= self.idle {
                self.forget();
                return std::future::pending().await;
            }
        }
    }

    fn forget(&self) {
        self.state.leave();
        if let Some(connections) = self.connections.upgrade() {
            connections.forget(&self.key, &self.state);
        }
    }
}

/// TLS must have agreed on HTTP/2 (RFC 9113, 3.2).
fn check_agreement(stream: &EndpointStream) -> Result<(), Cause> {
    match stream.protocol() {
        Some(protocol) if protocol != b"h2" => Err(Cause::NoHttp2),
        _ => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often idle connections are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a sign of life may take; beyond it the connection is dead.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two questions for one.
const PING_PAUSE: Duration = Duration::from_secs(10);
