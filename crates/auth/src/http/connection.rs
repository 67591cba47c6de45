//! Accepts connections and serves HTTP/1.1 on them, every bound explicit. Never
//! knows a route.

mod guard;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::client::Peer;
use crate::lifecycle::{Phase, PhaseWatch};
use crate::metrics::Metrics;
use guard::{Guarded, Timeouts};

/// A request line and headers together. Tokens are at most 8 KiB.
const HEADER_BYTES: usize = 32 * 1024;
const HEADER_COUNT: usize = 100;
/// After a failed accept, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// While stopping: how long a connection that sent nothing yet may still send a request.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Bounds on connections; constants in production, smaller in tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Each costs a socket and some kilobytes; behind an edge a few dozen suffice.
    pub(crate) connections: usize,
    pub(crate) timeouts: Timeouts,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            timeouts: Timeouts::default(),
        }
    }
}

/// Serves `router` until the phase is `Stopping` and every connection has ended.
/// Dropping the future drops all connections.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    mut phase: PhaseWatch,
    metrics: Arc<Metrics>,
    limits: Limits,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let timeouts = limits.timeouts;
    let mut connections = JoinSet::new();
    let mut stopping = phase.clone();
    let accepting = async {
        loop {
            // At the limit new connections wait in the kernel's queue, which is bounded too.
            let Ok(slot) = slots.clone().acquire_owned().await else {
                return;
            };
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let open = metrics.connection();
                    let serving = serve_one(
                        Guarded::new(stream, timeouts),
                        peer,
                        router.clone(),
                        phase.clone(),
                    );
                    connections.spawn(async move {
                        serving.await;
                        drop((open, slot));
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stopping.reached(Phase::Stopping) => {}
    }
    // Whoever completed the handshake before we stopped gets an answer, not a reset.
    while let Some((stream, peer)) = accept_pending(&listener).await {
        connections.spawn(serve_one(
            Guarded::new(stream, timeouts),
            peer,
            router.clone(),
            phase.clone(),
        ));
    }
    drop(listener);
    phase.reached(Phase::Stopping).await;
    while connections.join_next().await.is_some() {}
}

/// A connection that is already waiting, if any.
async fn accept_pending(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    std::future::poll_fn(|cx| match listener.poll_accept(cx) {
        std::task::Poll::Ready(accepted) => std::task::Poll::Ready(accepted.ok()),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

async fn serve_one(stream: Guarded, peer: SocketAddr, router: Router, mut phase: PhaseWatch) {
    let activity = stream.activity();
    let service = service_fn(|request: http::Request<Incoming>| {
        let (router, activity) = (router.clone(), activity.clone());
        async move {
            activity.request_started();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            let response = router.oneshot(request).await;
            activity.request_answered();
            Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        // hyper's own would also end idle connections, which the edge keeps for a minute: a
        // request sent at that moment would be lost. The guard tells the two apart.
        .header_read_timeout(None)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADER_COUNT)
        .keep_alive(true)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = phase.reached(Phase::Stopping) => {
            connection.as_mut().graceful_shutdown();
            loop {
                tokio::select! {
                    ended = connection.as_mut() => break ended,
                    () = tokio::time::sleep(LAST_CALL) => {
                        if activity.is_waiting() {
                            return;
                        }
                    }
                }
            }
        }
    };
    if let Err(error) = ended {
        // The peer's doing: malformed, slow or gone. Counted by nobody, worth a look at debug.
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
