//! HTTP/1.1 and its upgrades through pingora's proxy, driven on our own streams. Never decides: its hooks
//! ask the pipeline and do what it says.

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

use pingora::apps::ServerApp;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::watch::Receiver;

use self::hooks::Hooks;
use self::watch::Watched;
use super::{Guard, Pool};
use crate::state::Edge;

/// Attempts that pingora allows itself; how many are made is the pipeline's decision.
const ATTEMPT_CEILING: usize = 64;
/// Idle connections to endpoints kept per worker thread: as many as a worker may have requests in
/// flight, for a smaller pool makes every request above it connect anew.
const POOLED_CONNECTIONS: usize = 512;
/// pingora's proxy with every default that matters made explicit; one per listener.
#[derive(Clone)]
pub(crate) struct Engine {
    proxy: Arc<Watched>,
}

impl Engine {
    /// An engine that asks the pipeline of `edge`. What pingora cannot do towards endpoints, the native
    /// engine does with connections of `pool`.
    pub(crate) fn new(edge: Arc<Edge>, pool: Arc<Pool>) -> Self {
        let conf = ServerConf {
            threads: Handle::current().metrics().num_workers(),
            upstream_keepalive_pool_size: POOLED_CONNECTIONS,
            max_retries: ATTEMPT_CEILING,
            ..ServerConf::default()
        };
        let proxy = http_proxy(&Arc::new(conf), Hooks::new(edge, pool));
        Self {
            proxy: Arc::new(Watched::new(proxy)),
        }
    }

    /// Serves one connection to its end. When `stop` turns true, it ends after the request at hand. One
    /// that is idle is the guard's to end: pingora's own way out (`http_cleanup`) drops requests whose
    /// head has arrived in part.
    pub(crate) async fn serve<S>(&self, stream: Guard<S>, stop: &Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
    {
        // Without h2 upgrades of its own, process_new never hands a stream back.
        let _ = ServerApp::process_new(&self.proxy, Box::new(stream), stop).await;
    }
}
