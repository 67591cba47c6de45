//! HTTP/2 from clients. To the native path each of their requests is a stream of HTTP/1.1 like any other;
//! here it becomes one and back. Never decides anything: the exchange is asked at every step.
//!
//! | room | holds |
//! |---|---|
//! | `clients` | the life of a connection: requests side by side, the farewell |
//! | `clients/turn` | how long they move before other tasks have their turn |
//! | `clients/bell` | how they tell each other that they can move |
//! | `clients/request` | the life of one request: how it is let in, our own answers |
//! | `clients/stream` | a request as the relay sees it |
//! | `clients/answer` | the way back |
//!
//! All requests of a connection are carried by its one task: what several of them have to say leaves in
//! one write, no request wakes another worker, and a client with a hundred requests at once takes turns
//! with the others.

mod answer;
mod bell;
mod request;
mod stream;
mod turn;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, Stream as _};
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch::Receiver;
use tokio::task::yield_now;

use self::bell::Bell;
use self::request::Site;
use self::turn::{Sharing, Turn};
use crate::config;
use crate::connection;
use crate::engine::{Control, Guard, NativeEngine, Pool};
use crate::state::Edge;

/// Streams that the codec resets for a client's mistakes before it gives up the connection, over its
/// whole life: the guard's limit, which is one of rate, is the one that is meant.
const CODEC_ERRORS_MAX: usize = 100_000;
/// Streams that a client resets before anybody has looked at them: they come in one read.
const CODEC_RESETS_MAX: usize = 100;
/// Streams that were reset and may still be spoken of.
const RESET_STREAMS_KEPT: usize = 50;
/// What one stream keeps of its answer when the connection is slower.
const SEND_BUFFER_BYTES: usize = 256 << 10;

/// Serves HTTP/2 connections of one listener.
#[derive(Clone)]
pub(crate) struct Engine {
    site: Arc<Site>,
    keeps: Kept,
}

/// Of a listener's configuration what the engine keeps for its connections.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kept {
    max_streams: u32,
    stream_window: u32,
    connection_window: u32,
    header_bytes: usize,
}

impl Kept {
    fn of(listener: &config::Listener) -> Self {
        Self {
            max_streams: listener.http2.max_streams,
            stream_window: listener.http2.stream_window,
            connection_window: listener.http2.connection_window,
            header_bytes: listener.limits.header_bytes,
        }
    }
}

impl Engine {
    /// An engine that asks the pipeline of `edge`, keeps the limits of `listener`, and takes connections
    /// to endpoints from `pool`.
    pub(crate) fn new(edge: Arc<Edge>, listener: &config::Listener, pool: Arc<Pool>) -> Self {
        let native = NativeEngine::new(Arc::clone(&edge), pool);
        Self {
            site: Arc::new(Site { edge, native }),
            keeps: Kept::of(listener),
        }
    }

    /// Whether it would do for this listener, too.
    pub(crate) fn keeps_limits_of(&self, listener: &config::Listener) -> bool {
        self.keeps == Kept::of(listener)
    }

    /// Serves one connection to its end. When `stop` turns true, its client gets GOAWAY, and the requests
    /// that are on it their answers.
    pub(crate) async fn serve<S>(
        &self,
        stream: Guard<S>,
        connection: &Arc<connection::Connection>,
        control: &Arc<Control>,
        mut stop: Receiver<bool>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // Whoever does not shake hands has been counted by the guard.
        let Ok(client) = self.codec().handshake(stream).await else {
            return;
        };
        let turn = Arc::new(Turn::new(connection.opened));
        let begin = |(request, respond): Asked| {
            let (site, control) = (Arc::clone(&self.site), Arc::clone(control));
            let serve = site.serve(Arc::clone(connection), control, request, respond);
            Sharing::new(&turn, serve)
        };
        let mut shared = Shared {
            client,
            requests: FuturesUnordered::new(),
            turn: &turn,
            bells: [Bell::new(), Bell::new()],
        };
        {
            let mut stopped = pin!(stop.wait_for(|stop| *stop));
            let farewell = poll_fn(|cx| {
                if stopped.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(false);
                }
                shared.poll(cx, &begin).map(|()| true)
            });
            if farewell.await {
                return shared.end().await;
            }
        }
        shared.client.graceful_shutdown();
        poll_fn(|cx| shared.poll(cx, &begin)).await;
        shared.end().await;
    }

    fn codec(&self) -> Builder {
        let mut codec = Builder::new();
        codec
            .max_local_error_reset_streams(Some(CODEC_ERRORS_MAX))
            .max_pending_accept_reset_streams(CODEC_RESETS_MAX)
            .max_concurrent_reset_streams(RESET_STREAMS_KEPT)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_concurrent_streams(self.keeps.max_streams)
            .initial_window_size(self.keeps.stream_window)
            .initial_connection_window_size(self.keeps.connection_window)
            .max_header_list_size(u32::try_from(self.keeps.header_bytes).unwrap_or(u32::MAX));
        codec
    }
}

type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// A client and the requests that it has on its connection.
struct Shared<'a, S, F> {
    client: Connection<S, Bytes>,
    requests: FuturesUnordered<F>,
    turn: &'a Turn,
    /// Of the requests, and of the client.
    bells: [Bell; 2],
}

impl<S, F> Shared<'_, S, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = ()> + Unpin,
{
    /// A turn of the connection: lets every request on it move that can, and begins those that have come.
    /// Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>, begin: &impl Fn(Asked) -> F) -> Poll<()> {
        self.turn.begin(Instant::now());
        for bell in &self.bells {
            bell.listen(cx);
        }
        let is_over = self.poll_parts(begin).is_ready();
        // Nobody was woken for what has rung meanwhile. Others go first, and sockets.
        if self.bells.each_ref().map(Bell::leave).contains(&true) {
            let mut later = pin!(yield_now());
            let _ = later.as_mut().poll(cx);
        }
        if is_over {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Ends the requests of a connection that is over, in turns: each of them has a line in the log and
    /// an endpoint to leave.
    async fn end(self) {
        for request in self.requests {
            drop(request);
            if self.turn.is_over(Instant::now()) {
                yield_now().await;
                self.turn.begin(Instant::now());
            }
        }
    }

    fn poll_parts(&mut self, begin: &impl Fn(Asked) -> F) -> Poll<()> {
        let [of_requests, of_client] = &self.bells;
        loop {
            loop {
                let moved = Pin::new(&mut self.requests).poll_next(&mut of_requests.context());
                let has_ended = moved == Poll::Ready(Some(()));
                if !has_ended && (self.turn.is_over(Instant::now()) || !of_requests.has_rung()) {
                    break;
                }
            }
            // Whatever they have said so far is written now.
            of_client.has_rung();
            match self.client.poll_accept(&mut of_client.context()) {
                Poll::Ready(Some(Ok(asked))) => self.requests.push(begin(asked)),
                // It is common for clients just to disconnect.
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending if self.turn.is_over(Instant::now()) => return Poll::Pending,
                // What was read may be news to a request.
                Poll::Pending if of_requests.has_rung() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
