//! HTTP/1.1, HTTP/2 and upgrades through pingora's proxy, driven on our own streams. Never decides:
//! its hooks ask the pipeline and do what it says.

mod cause;
mod failing;
mod handover;
mod hooks;
mod leaving;
mod message;
mod patient;
mod peer;
mod request;
mod watch;

use std::sync::Arc;

use pingora::apps::{HttpServerOptions, ServerApp};
use pingora::protocols::http::v2::server::default_h2_options;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::watch::Receiver;

use self::hooks::Hooks;
use self::watch::Watched;
use super::{Guard, Pool};
use crate::config;
use crate::state::Edge;

/// Attempts that pingora allows itself; how many are made is the pipeline's decision.
const ATTEMPT_CEILING: usize = 64;
/// Idle connections to endpoints kept per worker thread: as many as a worker may have requests in
/// flight, for a smaller pool makes every request above it connect anew.
const POOLED_CONNECTIONS: usize = 512;
/// Streams that the codec resets for a client's mistakes before it gives up the connection, over its
/// whole life: the guard's limit, which is one of rate, is the one that is meant.
const CODEC_ERRORS_MAX: usize = 100_000;
/// Streams that a client resets before anybody has looked at them: they come in one read.
const CODEC_RESETS_MAX: usize = 100;
/// Streams that were reset and may still be spoken of.
const RESET_STREAMS_KEPT: usize = 50;
/// What one stream keeps of its answer when the connection is slower.
const SEND_BUFFER_BYTES: usize = 256 << 10;

/// pingora's proxy with every default that matters made explicit; one per listener.
#[derive(Clone)]
pub(crate) struct Engine {
    proxy: Arc<Watched>,
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
    /// An engine that asks the pipeline of `edge` and keeps the limits of `listener`.
    /// What pingora cannot do towards endpoints, the native engine does with connections of `pool`.
    pub(crate) fn new(edge: Arc<Edge>, listener: &config::Listener, pool: Arc<Pool>) -> Self {
        let conf = ServerConf {
            threads: Handle::current().metrics().num_workers(),
            upstream_keepalive_pool_size: POOLED_CONNECTIONS,
            max_retries: ATTEMPT_CEILING,
            ..ServerConf::default()
        };
        let mut proxy = http_proxy(&Arc::new(conf), Hooks::new(edge, pool));
        let mut options = HttpServerOptions::default();
        // The connection's task sees to it, and says goodbye first.
        options.h2_idle_timeout = None;
        proxy.server_options = Some(options);
        let mut h2_options = default_h2_options();
        h2_options
            .max_local_error_reset_streams(Some(CODEC_ERRORS_MAX))
            .max_pending_accept_reset_streams(CODEC_RESETS_MAX)
            .max_concurrent_reset_streams(RESET_STREAMS_KEPT)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_concurrent_streams(listener.http2.max_streams)
            .initial_window_size(listener.http2.stream_window)
            .initial_connection_window_size(listener.http2.connection_window)
            .max_header_list_size(u32::try_from(listener.limits.header_bytes).unwrap_or(u32::MAX));
        proxy.h2_options = Some(h2_options);
        Self {
            proxy: Arc::new(Watched::new(proxy)),
            keeps: Kept::of(listener),
        }
    }

    /// Whether it would do for this listener, too.
    pub(crate) fn keeps_limits_of(&self, listener: &config::Listener) -> bool {
        self.keeps == Kept::of(listener)
    }

    /// Serves one connection to its end. When `stop` turns true, HTTP/2 clients get GOAWAY and
    /// HTTP/1.1 connections end after the request at hand. Those that are idle are the guard's to
    /// end: pingora's own way out (`http_cleanup`) drops requests whose head has arrived in part.
    pub(crate) async fn serve<S>(&self, stream: Guard<S>, stop: &Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
    {
        // Without h2 upgrades of its own, process_new never hands a stream back.
        let _ = ServerApp::process_new(&self.proxy, Box::new(stream), stop).await;
    }
}
