//! Accept loops: connection limits, then TLS termination or passthrough, then an engine. Never
//! looks at a request.

mod arrival;
mod cork;
mod crowd;
mod departure;
mod door;
mod handshake;
mod hello;
mod passthrough;
mod plain;
mod preface;
mod proxy_header;

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use self::arrival::{NoHeader, origin_of};
pub(crate) use self::cork::Corked;
use self::crowd::{Crowd, Guest};
pub(crate) use self::departure::Departure;
pub(crate) use self::door::Door;
pub(crate) use self::hello::Rewound;
use self::passthrough::Passthrough;
pub(crate) use self::proxy_header::Origin;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing {
    //! What must hold of any bytes whatever.

    pub use super::hello::fuzzing::client_hello;
    pub use super::proxy_header::fuzzing::proxy_header;
}
pub(crate) use self::proxy_header::write::{of_client, of_ourselves};
use crate::config;
use crate::connection::{Connection, ListenerContext, TlsFacts};
use crate::engine::{
    Control, Guard, Http2Engine, NativeEngine, PingoraEngine, Pool, Signal, Stream, linger,
    refusal, to_http1,
};
use crate::outcome::Cause;
use crate::pipeline::{self, Told};
use crate::state::{Edge, Snapshot};
use crate::tls::Terminator;

/// Connections the kernel may hold before we accept them.
const BACKLOG: u32 = 4096;
/// Refused connections of a listener that may wait for their clients to take the answer. Further
/// ones are closed at once, at the risk that a reset overtakes it.
const PARTING_MAX: usize = 256;
/// An HTTP/2 client that has heard GOAWAY may be silent for this long before its connection is closed.
const FAREWELL: Duration = Duration::from_secs(5);

/// Binds an address so that a restart succeeds while old connections linger in TIME_WAIT.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() {
        TcpSocket::new_v6()
    } else {
        TcpSocket::new_v4()
    }?;
    socket.set_reuseaddr(true)?;
    // Inherited by every connection that is accepted here. Only a hint to the kernel.
    let _ = socket.set_nodelay(true);
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A socket that another process has bound and listened on.
pub(crate) fn adopt(socket: OwnedFd) -> io::Result<TcpListener> {
    let socket = std::net::TcpListener::from(socket);
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// What the process tells its listeners and connections.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    /// True once no new connection may be accepted and the open ones shall end politely.
    pub(crate) drain: watch::Receiver<bool>,
    /// True once what is still open is cut off.
    pub(crate) stop: watch::Receiver<bool>,
}

/// One listener while it runs.
pub(crate) struct Listener {
    edge: Arc<Edge>,
    context: Arc<ListenerContext>,
    tls: Option<Arc<Terminator>>,
    passthrough: Passthrough,
    http2: Http2Engine,
    http1: Http1Engine,
    max_connections: u32,
    crowd: Option<Arc<Crowd>>,
    proxy_protocol: Option<config::ProxyProtocol>,
    parting: Arc<Semaphore>,
    /// Our end of every connection; `None` where it depends on the connection.
    local: Option<SocketAddr>,
    slots: Arc<Slots>,
}

/// Who carries HTTP/1.1, as the listener asks.
enum Http1Engine {
    Native(NativeEngine),
    Pingora(PingoraEngine),
}

/// What all listeners of an edge share.
pub(crate) struct House {
    pub(crate) edge: Arc<Edge>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) pool: Arc<Pool>,
}

/// Connections of all listeners together.
#[derive(Debug)]
pub(crate) struct Slots {
    open: AtomicU64,
    next_id: AtomicU64,
    max_open: AtomicU64,
}

impl Slots {
    /// At most `max_open` connections at once.
    pub(crate) fn new(max_open: u32) -> Self {
        Self {
            open: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
            max_open: AtomicU64::new(max_open.into()),
        }
    }

    /// At most `max_open` from now on. Those that are open stay.
    pub(crate) fn allow(&self, max_open: u32) {
        self.max_open.store(max_open.into(), Ordering::Relaxed);
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Acquire)
    }
}

/// One counted connection with all its requests; gives its place back on drop.
struct OpenConnection {
    context: Arc<ListenerContext>,
    slots: Arc<Slots>,
    /// Its place among those of its client, once that is known.
    guest: Option<Guest>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.context.metrics.open.dec();
        self.slots.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Listener {
    /// `context.port` must be the port really bound, and `snapshot` of the same configuration. Whom
    /// `previous` let in still counts.
    pub(crate) fn new(
        config: &config::Listener,
        context: Arc<ListenerContext>,
        snapshot: &Snapshot,
        house: &House,
        previous: Option<&Self>,
    ) -> Self {
        let House { edge, slots, pool } = house;
        let same_http2 = previous
            .map(|previous| &previous.http2)
            .filter(|http2| http2.keeps_limits_of(config));
        let http2 = || Http2Engine::new(Arc::clone(edge), config, Arc::clone(pool));
        let same_http1 = previous.map(|previous| &previous.http1);
        let http1 = match (config.engine, same_http1) {
            (config::Engine::Native, _) => {
                Http1Engine::Native(NativeEngine::new(Arc::clone(edge), Arc::clone(pool)))
            }
            (config::Engine::Pingora, Some(Http1Engine::Pingora(same))) => {
                Http1Engine::Pingora(same.clone())
            }
            (config::Engine::Pingora, _) => {
                Http1Engine::Pingora(PingoraEngine::new(Arc::clone(edge), Arc::clone(pool)))
            }
        };
        let known_crowd = previous.and_then(|previous| previous.crowd.as_deref());
        let crowd = |policy| {
            let trusted = &snapshot.trusted_proxies;
            Arc::new(Crowd::new(policy, trusted, known_crowd))
        };
        Self {
            http2: same_http2.cloned().unwrap_or_else(http2),
            http1,
            tls: snapshot.terminator(&config.name).cloned(),
            passthrough: Passthrough::new(&config.passthrough, snapshot),
            max_connections: config.max_connections,
            crowd: config.connections_per_address.as_ref().map(crowd),
            proxy_protocol: config.proxy_protocol.clone(),
            parting: Arc::new(Semaphore::new(PARTING_MAX)),
            local: (!config.address.ip().is_unspecified())
                .then(|| SocketAddr::new(config.address.ip(), context.port)),
            edge: Arc::clone(edge),
            context,
            slots: Arc::clone(slots),
        }
    }

    /// Name in the configuration.
    pub(crate) fn name(&self) -> &str {
        &self.context.name
    }

    /// What its connections share.
    pub(crate) fn context(&self) -> Arc<ListenerContext> {
        Arc::clone(&self.context)
    }

    /// Counts the connection and serves it in a task of its own, or refuses it at a limit.
    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, signals: &Signals) {
        let metrics = &self.context.metrics;
        let open = self.slots.open.fetch_add(1, Ordering::AcqRel);
        metrics.open.inc();
        let mut place = OpenConnection {
            context: Arc::clone(&self.context),
            slots: Arc::clone(&self.slots),
            guest: None,
        };
        let is_full = open >= self.slots.max_open.load(Ordering::Relaxed)
            || metrics.open.get() > i64::from(self.max_connections);
        let welcomed = match &self.proxy_protocol {
            _ if is_full => Err(Cause::TooManyConnections),
            // Whose connection it is will only be known then.
            Some(_) => Ok(()),
            None => self.welcome(peer, &mut place),
        };
        let stop = Signal::new(signals.stop.clone());
        if let Err(cause) = welcomed {
            drop(place);
            if let Some(permit) = self.refuse(&stream, peer, cause) {
                tokio::spawn(until(stop, || part(stream, permit)));
            }
            return;
        }
        metrics.connections.inc();
        let listener = Arc::clone(self);
        let drain = signals.drain.clone();
        tokio::spawn(until(stop, move || {
            listener.serve(stream, peer, place, drain)
        }));
    }

    /// Whether one more connection of this client may be served.
    fn welcome(&self, client: SocketAddr, place: &mut OpenConnection) -> Result<(), Cause> {
        if pipeline::refuses_connection(&self.edge, self.context.index, client.ip()) {
            return Err(Cause::ClientRefused);
        }
        if let Some(crowd) = &self.crowd {
            let guest = crowd.enter(client.ip());
            place.guest = guest.map_err(|_crowded| Cause::TooManyOfAddress)?;
        }
        Ok(())
    }

    /// Counts and reports a connection that is not served, and tells a plain HTTP client why, as
    /// far as that is possible without waiting. The permit is for [`part`].
    fn refuse(
        &self,
        stream: &TcpStream,
        client: SocketAddr,
        cause: Cause,
    ) -> Option<OwnedSemaphorePermit> {
        let metrics = &self.context.metrics;
        match cause {
            Cause::ClientRefused => metrics.refused_client.inc(),
            Cause::TooManyOfAddress => metrics.refused_address.inc(),
            _ => metrics.refused_full.inc(),
        }
        let answer = refusal(&self.edge, cause);
        let connection = self.connection(client, client, None);
        let is_plain = !self.context.is_tls && self.passthrough.is_empty();
        let told = match is_plain {
            true => Told::from(&answer),
            false => Told::default(),
        };
        pipeline::report_unparsed(&self.edge, &connection, cause, told, Instant::now());
        if !is_plain {
            return None;
        }
        // A full socket buffer on a new connection is not worth waiting for.
        stream.try_write(&to_http1(&answer)).ok()?;
        Arc::clone(&self.parting).try_acquire_owned().ok()
    }

    /// The client's address and what it connected to, where a proxy in front tells them. `None`: the
    /// connection is refused, or has come to nothing.
    async fn ends(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
    ) -> Option<(SocketAddr, Option<SocketAddr>)> {
        let Some(policy) = &self.proxy_protocol else {
            return Some((peer, self.local));
        };
        let why = match Box::pin(origin_of(stream, peer, policy)).await {
            Ok(Some(origin)) => return Some((origin.source, Some(origin.destination))),
            Ok(None) => return Some((peer, self.local)),
            // A balancer looks whether somebody listens.
            Err(NoHeader::Gone) => return None,
            Err(why) => why,
        };
        self.context.metrics.refused_proxy_header.inc();
        tracing::debug!(client = self.edge.shown(peer), listener = %self.context.name, ?why, "no PROXY header");
        let (connection, cause) = (self.connection(peer, peer, None), Cause::ProxyHeader);
        let (told, now) = (Told::default(), Instant::now());
        pipeline::report_unparsed(&self.edge, &connection, cause, told, now);
        None
    }

    async fn serve(
        self: Arc<Self>,
        mut stream: TcpStream,
        peer: SocketAddr,
        mut place: OpenConnection,
        drain: watch::Receiver<bool>,
    ) {
        let Some((client, local)) = self.ends(&mut stream, peer).await else {
            return;
        };
        if self.proxy_protocol.is_some()
            && let Err(cause) = self.welcome(client, &mut place)
        {
            drop(place);
            if let Some(permit) = self.refuse(&stream, client, cause) {
                Box::pin(part(stream, permit)).await;
            }
            return;
        }
        let Ok(local) = local.map_or_else(|| stream.local_addr(), Ok) else {
            return;
        };
        if self.tls.is_none() && self.passthrough.is_empty() {
            let raw_fd = stream.as_raw_fd();
            let connection = self.connection(client, local, None);
            if self.context.takes_cleartext_http2 {
                return Box::pin(self.carry_either(stream, connection, place, drain)).await;
            }
            return self.carry(stream, raw_fd, connection, place, drain).await;
        }
        // In boxes, so that a connection pays for what it is and not for what it might have been.
        let Some((stream, facts)) = Box::pin(self.open(stream, client, local)).await else {
            return;
        };
        let raw_fd = stream.get_ref().0.get_ref().as_raw_fd();
        let connection = self.connection(client, local, Some(facts));
        self.carry(stream, raw_fd, connection, place, drain).await;
    }

    /// Hands the connection to the engine of its protocol until it ends.
    async fn carry<S>(
        &self,
        stream: S,
        raw_fd: RawFd,
        connection: Connection,
        place: OpenConnection,
        drain: watch::Receiver<bool>,
    ) where
        S: Stream + Sync + 'static,
    {
        match &self.http1 {
            Http1Engine::Native(native) if !connection.is_h2() => {
                native.serve(stream, connection, Signal::new(drain)).await;
                drop(place);
            }
            _ => Box::pin(self.carry_guarded(stream, raw_fd, connection, place, drain)).await,
        }
    }

    /// Asks the engine to end the connection when the edge drains, or when an HTTP/2 connection is old, has
    /// served enough or is idle. An HTTP/1.1 connection then ends with its next answer, which says so:
    /// closing it while idle could meet a request on its way.
    async fn carry_guarded<S>(
        &self,
        stream: S,
        raw_fd: RawFd,
        connection: Connection,
        place: OpenConnection,
        mut drain: watch::Receiver<bool>,
    ) where
        S: Stream + Sync + 'static,
    {
        let control = Arc::new(Control::holding(place));
        let old_at = connection.opened + self.context.limits.connection_age;
        let is_h2 = connection.is_h2();
        let connection = Arc::new(connection);
        let guard = Guard::new(
            stream,
            raw_fd,
            Arc::clone(&self.edge),
            Arc::clone(&connection),
            Arc::clone(&control),
        );
        let (stop, stopped) = watch::channel(false);
        let served = async {
            match &self.http1 {
                Http1Engine::Pingora(pingora) if !is_h2 => pingora.serve(guard, &stopped).await,
                _ => {
                    let stopped = stopped.clone();
                    self.http2
                        .serve(guard, &connection, &control, stopped)
                        .await;
                }
            }
        };
        tokio::pin!(served);
        tokio::select! {
            () = &mut served => return,
            _ = drain.wait_for(|drain| *drain) => {}
            () = self.context.departs(), if is_h2 => {}
            () = tokio::time::sleep_until(old_at.into()), if is_h2 => {}
            () = control.asked_to_leave() => {}
            () = control.idle_for(self.context.timeouts.keep_alive), if is_h2 => {}
        }
        // The engine holds the receiver, so this cannot fail while it runs.
        let _ = stop.send(true);
        control.close_when_idle();
        tokio::select! {
            () = &mut served => {}
            // The last GOAWAY waits for a client that may never answer the first.
            () = control.idle_for(FAREWELL), if is_h2 => {}
        }
    }

    fn connection(
        &self,
        client: SocketAddr,
        local: SocketAddr,
        tls: Option<TlsFacts>,
    ) -> Connection {
        let id = self.slots.next_id.fetch_add(1, Ordering::Relaxed);
        Connection::new(
            id,
            Arc::clone(&self.context),
            client,
            local,
            tls,
            Instant::now(),
        )
    }
}

/// Waits, for a bounded time, until the client of a refused connection has its answer: what it has
/// sent and nobody read would make a reset of closing, and that can overtake the answer.
async fn part(mut stream: TcpStream, permit: OwnedSemaphorePermit) {
    linger(&mut stream).await;
    drop(permit);
}

/// Runs a task to its end, or to the end of the process. The task is made in here: one that was handed
/// over would take its memory twice for as long as the connection lasts.
async fn until<F: Future<Output = ()>>(mut stop: Signal, task: impl FnOnce() -> F) {
    let mut task = pin!(task());
    poll_fn(|cx| {
        if task.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        stop.poll(cx)
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    type Arrived = (
        Arc<Listener>,
        TcpStream,
        SocketAddr,
        OpenConnection,
        watch::Receiver<bool>,
    );

    fn bytes_of<F: Future>(_: impl FnOnce(Arrived) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_a_connection_stays_small() {
        let task = bytes_of(|(listener, stream, peer, place, drain)| {
            let stop = Signal::new(drain.clone());
            until(stop, move || listener.serve(stream, peer, place, drain))
        });
        assert!(task <= 2560, "{task} bytes, for as long as it is open");
    }
}
