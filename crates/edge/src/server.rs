//! The composition root: binds, builds and starts everything, and ends it in order. Never touches a
//! request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::clock;
use crate::config::{Config, Shutdown};
use crate::connection::ListenerContext;
use crate::engine::Pool;
use crate::gate::follow;
use crate::listener::{self, Listener, Signals, Slots};
use crate::state::{BuildError, Edge};
use crate::{admin, discovery, jwks, probe, revocation, tls};

/// How often the end of the last connections is looked for while draining.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// How long connections that were cut off may take to let go.
const CUT_OFF_TIMEOUT: Duration = Duration::from_secs(1);

/// Why an edge could not start. Nothing is left running.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address is taken, not ours, or not allowed.
    #[error("listener {listener}: cannot listen on {address}: {source}")]
    Bind {
        /// Name of the listener, or `admin`.
        listener: String,
        /// Address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The access log cannot be opened, or another part that needs the system refuses.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// A running edge. Dropping it stops everything at once; [`Running::shutdown`] does it politely.
#[derive(Debug)]
pub struct Running {
    /// Every listener's name and the address really bound, in configuration order.
    pub addresses: Vec<(String, SocketAddr)>,
    /// Where the operator's listener answers.
    pub admin: Option<SocketAddr>,
    edge: Arc<Edge>,
    slots: Arc<Slots>,
    shutdown: Shutdown,
    drain: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Starts an edge: all addresses are bound before anything runs.
///
/// # Errors
/// When an address cannot be bound, TLS cannot be set up or the access log cannot be opened.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let config = Arc::new(config);
    let edge = Arc::new(Edge::build(&config)?);
    let slots = Arc::new(Slots::new(config.max_connections));
    let pool = Arc::new(Pool::new());
    let (drain, draining) = watch::channel(false);
    let (stop, stopped) = watch::channel(false);

    let mut listeners = Vec::with_capacity(config.listeners.len());
    let mut addresses = Vec::with_capacity(config.listeners.len());
    for (index, listener) in config.listeners.iter().enumerate() {
        let (socket, address) = bind(&listener.name, listener.address)?;
        let context = ListenerContext::new(listener, index, address.port(), &edge.metrics);
        let built = Listener::new(
            listener,
            Arc::new(context),
            Arc::clone(&edge),
            Arc::clone(&slots),
            Arc::clone(&pool),
        );
        addresses.push((listener.name.clone(), address));
        listeners.push((Arc::new(built), socket));
    }
    let admin = config
        .admin
        .as_ref()
        .map(|admin| bind("admin", admin.address))
        .transpose()?;

    let mut tasks = JoinSet::new();
    tasks.spawn(probe::run(Arc::clone(&edge), stopped.clone()));
    tasks.spawn(jwks::run(Arc::clone(&edge), stopped.clone()));
    tasks.spawn(revocation::run(Arc::clone(&edge), stopped.clone()));
    let terminators = edge.terminators.iter().flatten().cloned().collect();
    let outward = tls::outward::Outward::all(&config.clusters, &edge.metrics);
    tasks.spawn(tls::watch::run(terminators, outward, stopped.clone()));
    tasks.spawn(clock::run(Arc::clone(&edge), stopped.clone()));
    let finding = discovery::run(Arc::clone(&edge), Arc::clone(&config), stopped.clone());
    tasks.spawn(finding);
    tasks.spawn(follow::run(Arc::clone(&edge), stopped.clone()));
    tasks.spawn(pool.run(stopped.clone()));
    let admin_address = admin.as_ref().map(|(_, address)| *address);
    if let Some((socket, _)) = admin {
        tasks.spawn(admin::run(Arc::clone(&edge), socket, stopped.clone()));
    }
    for (listener, socket) in listeners {
        let signals = Signals {
            drain: draining.clone(),
            stop: stopped.clone(),
        };
        tasks.spawn(listener.run(socket, signals));
    }
    Ok(Running {
        addresses,
        admin: admin_address,
        edge,
        slots,
        shutdown: config.shutdown.clone(),
        drain,
        stop,
        tasks,
    })
}

impl Running {
    /// Leaves in order: readiness fails while everything is still served, then nothing new is
    /// accepted and idle connections close, then what runs may finish until the deadline.
    /// Returns how many connections the deadline cut off.
    pub async fn shutdown(mut self) -> u64 {
        self.edge.is_draining.store(true, Ordering::Relaxed);
        tracing::info!(delay = ?self.shutdown.delay, "draining: readiness fails from now on");
        tokio::time::sleep(self.shutdown.delay).await;
        // Receivers live in the tasks; when they are gone there is nobody left to tell.
        let _ = self.drain.send(true);
        let drained = tokio::time::timeout(self.shutdown.drain, self.all_closed()).await;
        let cut_off = self.slots.open();
        if drained.is_err() {
            tracing::warn!(
                connections = cut_off,
                "drain deadline passed: cutting off what is left"
            );
        }
        self.edge.is_cutting_off.store(true, Ordering::Relaxed);
        let _ = self.stop.send(true);
        // What was cut off still writes its line to the access log.
        let _ = tokio::time::timeout(CUT_OFF_TIMEOUT, self.all_closed()).await;
        self.tasks.shutdown().await;
        self.edge.access_log.close();
        self.edge.audit.close();
        cut_off
    }

    async fn all_closed(&self) {
        while self.slots.open() > 0 {
            tokio::time::sleep(DRAIN_POLL).await;
        }
    }

    /// Resolves when a background task has ended although nobody asked: the edge should then be
    /// replaced. Names no task, for all of them are needed.
    pub async fn failed(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Err(error) if error.is_cancelled() => {}
                Err(error) => {
                    tracing::error!(%error, "a background task of the edge failed");
                    return;
                }
                Ok(()) => {
                    tracing::error!("a background task of the edge ended");
                    return;
                }
            }
        }
    }
}

fn bind(name: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = listener::bind(address)
        .and_then(|socket| socket.local_addr().map(|address| (socket, address)));
    bound.map_err(|source| StartError::Bind {
        listener: name.to_owned(),
        address,
        source,
    })
}

#[cfg(test)]
mod switch_tests;
#[cfg(test)]
mod tests;
