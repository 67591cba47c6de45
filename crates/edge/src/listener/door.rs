//! A bound socket and the listener that stands behind it now. Never closes a connection: it only tells
//! those that came through it to end politely.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Departure, Listener, Signals};

/// Wait after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// An address where clients come in.
pub(crate) struct Door {
    /// As the configuration has it; port 0 stands for any.
    wanted: SocketAddr,
    /// Really bound.
    address: SocketAddr,
    listener: ArcSwap<Listener>,
    drain: watch::Sender<bool>,
    departure: Arc<Departure>,
    /// As long as it accepts.
    socket: Weak<TcpListener>,
}

impl Door {
    /// Not open before [`Door::run`]. `departure` is known to the listener's connections.
    pub(crate) fn new(
        (wanted, address): (SocketAddr, SocketAddr),
        listener: Arc<Listener>,
        departure: Arc<Departure>,
        socket: &Arc<TcpListener>,
    ) -> Self {
        Self {
            wanted,
            address,
            listener: ArcSwap::new(listener),
            drain: watch::Sender::new(false),
            departure,
            socket: Arc::downgrade(socket),
        }
    }

    /// As the configuration has it.
    pub(crate) fn wanted(&self) -> SocketAddr {
        self.wanted
    }

    /// Really bound.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who receives new connections.
    pub(crate) fn listener(&self) -> Arc<Listener> {
        self.listener.load_full()
    }

    /// Begins when it closes.
    pub(crate) fn departure(&self) -> &Arc<Departure> {
        &self.departure
    }

    /// What it accepts from, if it still does.
    pub(crate) fn socket(&self) -> Option<Arc<TcpListener>> {
        self.socket.upgrade()
    }

    /// New connections are this listener's from now on; those that are open keep theirs.
    pub(crate) fn hand_to(&self, listener: Arc<Listener>) {
        self.listener.store(listener);
    }

    /// Accepts nothing more, and has what came in here end politely: idle connections at once.
    pub(crate) fn close(&self) {
        self.departure.begin();
        self.drain.send_replace(true);
    }

    /// The same, but for idle connections of HTTP/1.1: a request may be on its way on each. They end with
    /// their next answer, or when they have been idle for as long as they may.
    pub(crate) fn leave(&self) {
        self.departure.begin();
    }

    /// Accepts until closed. Connections outlive the loop: they run as tasks of their own and end by
    /// the same signal.
    pub(crate) async fn run(
        self: Arc<Self>,
        socket: Arc<TcpListener>,
        stop: watch::Receiver<bool>,
    ) {
        let signals = Signals {
            drain: self.drain.subscribe(),
            stop,
        };
        let departure = self.departure.begun();
        tokio::pin!(departure);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut departure => break,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, client)) => self.listener.load().admit(stream, client, &signals),
                Err(error) => {
                    let listener = self.listener.load();
                    tracing::warn!(listener = listener.name(), %error, "cannot accept a connection");
                    drop(listener);
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
        // Closing the socket would reset what the kernel has accepted for us, unless another process
        // has it, too.
        let rest = async {
            while let Poll::Ready(Ok((stream, client))) =
                poll_once(|cx| socket.poll_accept(cx)).await
            {
                self.listener.load().admit(stream, client, &signals);
            }
        };
        // A task that is told to come back later would take the rest for nobody.
        tokio::task::unconstrained(rest).await;
    }
}

async fn poll_once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(poll(cx))).await
}
