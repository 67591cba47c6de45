//! The composition root: binds, builds and starts everything, and ends it in order. Never touches a
//! request.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::clock;
use crate::config::{Config, Parsed};
use crate::control::{self, Controller};
use crate::engine::Pool;
use crate::gate::follow;
use crate::listener::{House, Slots};
use crate::state::{BuildError, Edge};
use crate::upgrade::{Launch, Predecessor, Succession};
use crate::{discovery, jwks, probe, revocation, tls, upgrade};

mod doors;

pub(crate) use doors::{Doors, Prepared};

/// How often the end of the last connections is looked for while draining.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// How long connections that were cut off may take to let go.
const CUT_OFF_TIMEOUT: Duration = Duration::from_secs(1);

/// How long an upgrade that came too late may take to end, and an operator to take an answer.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(5);

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
pub struct Running {
    /// Every listener's name and the address really bound, in configuration order.
    pub addresses: Vec<(String, SocketAddr)>,
    /// Where the operator's listener answers.
    pub admin: Option<SocketAddr>,
    edge: Arc<Edge>,
    slots: Arc<Slots>,
    doors: Arc<Doors>,
    controller: Arc<Controller>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("addresses", &self.addresses)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

/// Which processes were there before, and which may come after.
#[derive(Debug, Default)]
pub struct Lineage {
    /// How others are started; `None`: nobody comes after.
    pub launch: Option<Launch>,
    /// Who hands over.
    pub predecessor: Option<Predecessor>,
}

/// Starts an edge: all addresses are bound before anything runs. There is no file that it could be
/// reloaded from.
///
/// # Errors
/// When an address cannot be bound, TLS cannot be set up or the access log cannot be opened.
pub async fn start(config: Config) -> Result<Running, StartError> {
    start_with(config, None, Lineage::default()).await
}

/// The same for what was read from a file, which may be read again while the edge runs. One that takes
/// over from another process serves when that process lets it.
///
/// # Errors
/// As [`start`].
pub async fn start_from(
    file: PathBuf,
    parsed: Parsed,
    lineage: Lineage,
) -> Result<Running, StartError> {
    let text = parsed.text.into();
    start_with(parsed.config, Some((file, text)), lineage).await
}

async fn start_with(
    config: Config,
    file: Option<(PathBuf, Arc<str>)>,
    lineage: Lineage,
) -> Result<Running, StartError> {
    let Lineage {
        launch,
        mut predecessor,
    } = lineage;
    let affinity = predecessor.as_mut().map(Predecessor::affinity);
    let edge = Edge::build_after(&config, affinity.unwrap_or_default())?;
    let edge = Arc::new(edge);
    if let Some(launch) = launch {
        edge.succession.launched(launch);
    }
    let slots = Arc::new(Slots::new(config.max_connections));
    let pool = Arc::new(Pool::new());
    let (stop, stopped) = watch::channel(false);
    let house = House {
        edge: Arc::clone(&edge),
        slots: Arc::clone(&slots),
        pool: Arc::clone(&pool),
    };
    let (doors, loops) = Doors::new(house, stopped.clone());
    let doors = Arc::new(doors);
    if let Some(predecessor) = &mut predecessor {
        upgrade::inherit(&edge, &doors, predecessor);
    }
    let prepared = doors.prepare(&config, &edge.snapshot.load())?;
    let controller = Controller::new(Arc::clone(&edge), Arc::clone(&doors), config, file);
    let controller = Arc::new(controller);

    let mut tasks = JoinSet::new();
    tasks.spawn(probe::run(Arc::clone(&edge), stopped.clone()));
    tasks.spawn(jwks::run(Arc::clone(&edge), stopped.clone()));
    tasks.spawn(revocation::run(Arc::clone(&edge), stopped.clone()));
    tasks.spawn(tls::watch::run(Arc::clone(&edge), stopped.clone()));
    tasks.spawn(clock::run(Arc::clone(&edge), stopped.clone()));
    tasks.spawn(follow::run(Arc::clone(&edge), stopped.clone()));
    tasks.spawn(discovery::run(Arc::clone(&controller), stopped.clone()));
    tasks.spawn(control::follow(Arc::clone(&controller), stopped.clone()));
    tasks.spawn(pool.run(stopped));
    tasks.spawn(loops);
    if let Some(predecessor) = predecessor {
        let predecessor = upgrade::take_over(&edge, predecessor).await;
        tasks.spawn(Succession::follow(Arc::clone(&edge), predecessor));
    }
    doors.commit(prepared, &controller);
    Ok(Running {
        addresses: doors.addresses(),
        admin: doors.admin(),
        edge,
        slots,
        doors,
        controller,
        stop,
        tasks,
    })
}

impl Running {
    /// How long leaving may take, as the configuration says now.
    pub fn patience(&self) -> Duration {
        let snapshot = self.edge.snapshot.load();
        snapshot.shutdown.delay + snapshot.shutdown.drain
    }

    /// Who replaces the configuration.
    pub fn controller(&self) -> &Arc<Controller> {
        &self.controller
    }

    /// Leaves in order: readiness fails while everything is still served, then nothing new is
    /// accepted and idle connections close, then what runs may finish until the deadline.
    /// Returns how many connections the deadline cut off.
    pub async fn shutdown(self) -> u64 {
        self.edge.is_draining.store(true, Ordering::Relaxed);
        let shutdown = self.edge.snapshot.load().shutdown.clone();
        tracing::info!(delay = ?shutdown.delay, "draining: readiness fails from now on");
        tokio::time::sleep(shutdown.delay).await;
        self.drain(shutdown.drain).await;
        self.end().await
    }

    /// Leaves to another process what it has taken over: connections last as long as they like, but no
    /// longer than until the deadline of upgrades, nor than a drain from when `asked` resolves. Returns
    /// how many were cut off.
    pub async fn retire(self, asked: impl Future<Output = ()>) -> u64 {
        self.edge.is_draining.store(true, Ordering::Relaxed);
        let shutdown = self.edge.snapshot.load().shutdown.clone();
        tracing::info!(
            connections = self.slots.open(),
            upgrade_drain = ?shutdown.upgrade_drain,
            "another process serves: draining"
        );
        tokio::select! {
            _ = tokio::time::timeout(shutdown.upgrade_drain, self.all_closed()) => {}
            () = asked => self.drain(shutdown.drain).await,
        }
        self.end().await
    }

    /// Nothing new is accepted, idle connections close, and what runs may finish for so long.
    async fn drain(&self, longest: Duration) {
        self.doors.close();
        // Whoever waits for the deadline hears of it at the end.
        let _ = tokio::time::timeout(longest, self.all_closed()).await;
    }

    /// Cuts off what is left.
    async fn end(mut self) -> u64 {
        let cut_off = self.slots.open();
        if cut_off > 0 {
            tracing::warn!(
                connections = cut_off,
                "drain deadline passed: cutting off what is left"
            );
        }
        self.edge.is_cutting_off.store(true, Ordering::Relaxed);
        let _ = self.stop.send(true);
        // What was cut off still writes its line to the access log.
        let _ = tokio::time::timeout(CUT_OFF_TIMEOUT, self.all_closed()).await;
        // Nobody may take over from a process that was told to end; and who asked has an answer.
        let last_words = async {
            self.edge.succession.rest().await;
            if self.edge.succession.is_over() {
                self.doors.answered().await;
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS_TIMEOUT, last_words).await;
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

#[cfg(test)]
mod switch_tests;
#[cfg(test)]
mod tests;
