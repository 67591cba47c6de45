//! The servers of one database: which of them takes writes, which may answer reads, and the way to each. Never sends a
//! write, or a read that must not lag, to any but the one that leads.
//!
//! One server is used as it is. Where there are several, each has a pool and is asked once a second what it is
//! (`cluster/probe.rs`), and at once when something speaks against it; what follows from all answers together
//! (`cluster/judge.rs`) is swapped in as a whole.

pub(super) mod judge;
mod probe;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::super::attempt::Attempt as _;
use super::super::readers::Positions;
use super::super::sql::statement::{Reader, Row, Statement};
use super::super::topology::{EndpointView, Role, Topology};
use super::super::{PoolMetrics, StoreResult, Trail};
use super::pool::{Pool, PoolWrite, Urgency, WRITTEN, written};
use super::{PostgresAddress, PostgresOptions};
use crate::breaker::Guard;
use crate::domain::{AccountId, UnixMillis};
use crate::store::topology::WalPosition;
use judge::{Change, Judge, Placed, Seen, Standing};

/// How long a start waits until a server leads.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// A replica that takes longer is not waited for: the primary answers.
const REPLICA_PATIENCE: Duration = Duration::from_secs(1);

/// The way to the servers. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    state: Arc<State>,
    /// Ended with the last clone.
    _probes: Arc<Mutex<JoinSet<()>>>,
    /// How writes go into the audit log, too.
    pub(crate) trail: Trail,
    /// Whether writes queue mail, too.
    pub(crate) sends_mail: bool,
}

/// What requests and probes share.
#[derive(Debug)]
struct State {
    endpoints: Vec<Endpoint>,
    judge: Mutex<Judge>,
    standing: ArcSwap<Standing>,
    /// Told whenever the standing was replaced.
    is_replaced: Notify,
    guard: Arc<Guard>,
    positions: Option<Arc<dyn Positions>>,
    turn: AtomicUsize,
    replica_reads: AtomicU64,
    primary_reads: AtomicU64,
    failovers: AtomicU64,
}

/// One server.
#[derive(Debug)]
struct Endpoint {
    name: String,
    connect: PgConnectOptions,
    pool: Pool,
}

impl Endpoint {
    fn new(address: &PostgresAddress, pool: Pool) -> Self {
        Self {
            name: address.endpoint(),
            connect: address.connect_options(),
            pool,
        }
    }
}

impl Cluster {
    /// Connects to the only server, or finds out which of several leads.
    pub(super) async fn open(options: &PostgresOptions) -> StoreResult<Self> {
        let each: Vec<&PostgresAddress> = options.servers.each().collect();
        let may_lead = (0..each.len()).map(|index| index < options.servers.hosts.len());
        let mut endpoints = Vec::with_capacity(each.len());
        for address in &each {
            let pool = match each.len() {
                1 => Pool::open(options, address).await?,
                _ => Pool::open_later(options, address),
            };
            endpoints.push(Endpoint::new(address, pool));
        }
        let is_single = endpoints.len() == 1;
        let standing = match is_single {
            true => single(),
            false => nobody(endpoints.len()),
        };
        let state = Arc::new(State {
            endpoints,
            judge: Mutex::new(Judge::new(may_lead.collect(), options.lag_max)),
            standing: ArcSwap::from_pointee(standing),
            is_replaced: Notify::new(),
            guard: options.guard.clone(),
            positions: options.positions.clone(),
            turn: AtomicUsize::new(0),
            replica_reads: AtomicU64::new(0),
            primary_reads: AtomicU64::new(0),
            failovers: AtomicU64::new(0),
        });
        let mut probes = JoinSet::new();
        if !is_single {
            for index in 0..state.endpoints.len() {
                let state = state.clone();
                probes.spawn(async move {
                    let tell = |seen| state.told(index, seen);
                    probe::follow(&state.endpoints[index], tell).await;
                });
            }
        }
        let cluster = Self {
            state,
            _probes: Arc::new(Mutex::new(probes)),
            trail: Trail::default(),
            sends_mail: true,
        };
        if let Err(error) = cluster.state.somebody_leads().await {
            cluster.close().await;
            return Err(error);
        }
        Ok(cluster)
    }

    /// The server that takes writes.
    pub(super) fn primary(&self, attempted: &'static str) -> StoreResult<&Pool> {
        let primary = self.state.standing.load().primary;
        let primary = primary.map(|index| &self.state.endpoints[index].pool);
        primary.ok_or_else(nobody_leads).attempting(attempted)
    }

    pub(crate) async fn write(
        &self,
        attempted: &'static str,
        urgency: Urgency,
    ) -> StoreResult<PoolWrite> {
        self.primary(attempted)?.write(attempted, urgency).await
    }

    /// One statement by itself, which is a transaction of its own.
    pub(crate) async fn fetch(&self, statement: Statement) -> StoreResult<Vec<Row>> {
        if let Some(reader) = statement.reader()
            && self.may_lag()
        {
            if let Some(rows) = self.fetch_from_replica(reader, &statement).await {
                self.state.replica_reads.fetch_add(1, Ordering::Relaxed);
                return Ok(rows);
            }
            self.state.primary_reads.fetch_add(1, Ordering::Relaxed);
        }
        self.primary(statement.attempted())?.fetch(statement).await
    }

    /// `None`: no replica has all that the reader wrote, or none answered.
    async fn fetch_from_replica(&self, reader: Reader, statement: &Statement) -> Option<Vec<Row>> {
        let standing = self.state.standing.load_full();
        let is_replica = |placed: &Placed| placed.role == Role::Replica;
        if !standing.each.iter().any(is_replica) {
            return None;
        }
        let needed = match reader {
            Reader::Account(id) => self.state.positions.as_ref()?.needed(id).await.ok()?,
            Reader::Judging => None,
        };
        let holds = |placed: &Placed| match (needed, placed.at) {
            (None, _) => true,
            (Some(needed), Some(at)) => at.holds(needed),
            (Some(_), None) => false,
        };
        let count = standing.each.len();
        let turn = self.state.turn.fetch_add(1, Ordering::Relaxed);
        let index = (0..count)
            .map(|step| turn.wrapping_add(step) % count)
            .find(|&index| is_replica(&standing.each[index]) && holds(&standing.each[index]))?;
        let endpoint = &self.state.endpoints[index];
        let asking = endpoint.pool.ask(statement.clone());
        match tokio::time::timeout(REPLICA_PATIENCE, asking).await {
            Ok(Ok(rows)) => Some(rows),
            Ok(Err(error)) => {
                tracing::debug!(endpoint = endpoint.name, %error, "the primary answers instead of a replica");
                None
            }
            Err(_) => {
                endpoint.pool.doubt();
                None
            }
        }
    }

    /// Whether there are servers that may lag at all.
    pub(crate) fn may_lag(&self) -> bool {
        self.state.endpoints.len() > 1
    }

    /// After a statement that was a write by itself.
    pub(crate) async fn wrote(&self, accounts: &[AccountId]) {
        const ASKING: &str = "asking up to where the database has written";
        if !self.may_lag() {
            return;
        }
        let asked = async {
            let rows = self
                .primary(ASKING)?
                .ask(Statement::new(ASKING, WRITTEN))
                .await?;
            rows.first().map(written).transpose()
        };
        match asked.await {
            Ok(Some(position)) => self.note(accounts, position).await,
            Ok(None) => {}
            // It was written, which is what counts.
            Err(error) => tracing::debug!(%error, "a write is not noted"),
        }
    }

    /// These accounts have written up to `position`.
    pub(crate) async fn note(&self, accounts: &[AccountId], position: WalPosition) {
        if let Some(positions) = &self.state.positions {
            positions.note(accounts, position).await;
        }
    }

    /// A standby that is not yet promoted answers, but takes no writes.
    pub(crate) async fn can_write(&self, attempted: &'static str) -> StoreResult<()> {
        self.primary(attempted)?.can_write(attempted).await
    }

    /// What the server takes from everybody, less what it keeps for administrators.
    pub(crate) async fn connection_limit(&self, attempted: &'static str) -> StoreResult<u32> {
        self.primary(attempted)?.connection_limit(attempted).await
    }

    pub(crate) async fn clock(&self, attempted: &'static str) -> StoreResult<UnixMillis> {
        self.primary(attempted)?.clock(attempted).await
    }

    /// Of the pool that writes need.
    pub(crate) fn metrics(&self) -> PoolMetrics {
        let primary = self.state.standing.load().primary;
        self.state.endpoints[primary.unwrap_or(0)].pool.metrics()
    }

    pub(crate) fn timeline(&self) -> i64 {
        self.state.standing.load().timeline
    }

    pub(crate) fn topology(&self) -> Topology {
        let standing = self.state.standing.load();
        let view = |(endpoint, placed): (&Endpoint, &Placed)| {
            let pool = endpoint.pool.metrics();
            EndpointView {
                name: endpoint.name.clone(),
                role: placed.role,
                lag: placed.lag,
                connections: (pool.open, pool.idle),
            }
        };
        Topology {
            endpoints: self
                .state
                .endpoints
                .iter()
                .zip(&standing.each)
                .map(view)
                .collect(),
            replica_reads: self.state.replica_reads.load(Ordering::Relaxed),
            primary_reads: self.state.primary_reads.load(Ordering::Relaxed),
            failovers: self.state.failovers.load(Ordering::Relaxed),
        }
    }

    pub(crate) async fn close(&self) {
        let mut probes = std::mem::take(&mut *lock(&self._probes));
        probes.shutdown().await;
        for endpoint in &self.state.endpoints {
            endpoint.pool.close().await;
        }
    }
}

impl State {
    /// Takes in what a server said; how soon to ask it again.
    fn told(&self, index: usize, seen: Option<Seen>) -> Duration {
        let (changes, standing) = {
            let mut judge = lock(&self.judge);
            let changes = judge.observe(index, seen, Instant::now());
            let standing = judge.standing();
            self.standing.store(Arc::new(standing.clone()));
            (changes, standing)
        };
        for change in changes {
            self.say(change);
        }
        self.is_replaced.notify_waiters();
        // An answer of the leading server is a sign of life: whoever failed at its predecessor must not keep others away.
        if standing.primary == Some(index) && seen.is_some() {
            self.guard.answered();
        }
        match standing
            .primary
            .filter(|&primary| standing.each[primary].at.is_some())
        {
            Some(_) => Duration::MAX,
            None => probe::HASTE,
        }
    }

    fn say(&self, change: Change) {
        let name = |index: usize| self.endpoints[index].name.as_str();
        match change {
            Change::Leads(index) => {
                let before = self.failovers.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    endpoint = name(index),
                    is_first = before == 0,
                    "this database server leads"
                );
            }
            Change::Split => tracing::error!(
                "several database servers take writes and none can be told to hold everything: \
                 nothing is written until all but one are stopped or follow it"
            ),
            Change::Fenced(index) => tracing::error!(
                endpoint = name(index),
                "this database server takes itself for the primary although another one was promoted: nothing is asked \
                 of it; stop it, and let it follow the other"
            ),
            Change::Stranger(index) => tracing::error!(
                endpoint = name(index),
                "this database server holds another database than the others: nothing is asked of it"
            ),
        }
    }

    async fn somebody_leads(&self) -> StoreResult<()> {
        let waiting = async {
            loop {
                let mut replaced = std::pin::pin!(self.is_replaced.notified());
                replaced.as_mut().enable();
                if self.standing.load().primary.is_some() {
                    return;
                }
                replaced.await;
            }
        };
        let leads = tokio::time::timeout(START_TIMEOUT, waiting).await;
        leads
            .map_err(|_| nobody_leads())
            .attempting("looking for the leading database server")
    }
}

fn single() -> Standing {
    Standing {
        primary: Some(0),
        timeline: 0,
        each: vec![placed(Role::Single)],
    }
}

/// Before anybody was heard.
fn nobody(servers: usize) -> Standing {
    Standing {
        primary: None,
        timeline: 0,
        each: vec![placed(Role::Away); servers],
    }
}

fn placed(role: Role) -> Placed {
    Placed {
        role,
        lag: None,
        at: None,
    }
}

pub(super) fn nobody_leads() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::NotConnected,
        "none of the servers may be written to",
    ))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
