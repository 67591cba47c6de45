//! The connections to a PostgreSQL server. Never waits for it without an end, and never uses a connection again that
//! was left in the middle of an answer.
//!
//! The driver's pool hands connections out; the bounds are ours. A server that is stopped, cut off or gone answers
//! nothing at all, so each answer has a deadline, and whoever waits for a connection gives up early when the server
//! has answered nobody for a while.

mod held;
mod recycle;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::Notify;

use super::super::attempt::Attempt as _;
use super::super::sql::statement::{Row, Statement};
use super::super::{PoolMetrics, StoreError, StoreResult};
use super::{PostgresAddress, PostgresOptions};
use crate::breaker::Guard;
use crate::domain::UnixMillis;
use crate::random;
use held::{Held, Standing};

pub(crate) use held::PoolWrite;
pub(super) use held::written;

/// A server that has answered nobody for so long is not worth more waiting.
const SILENCE: Duration = Duration::from_secs(3);
/// How often somebody who waits for a connection looks whether there is another way to one.
const LOOK: Duration = Duration::from_millis(250);
/// How long a login waits for a connection before it is shed.
const LOGIN_WAIT: Duration = Duration::from_secs(2);

/// How long the server may take to let the first connection in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long goodbyes may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections beyond the pool's size close after this long without work.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection that lay idle for longer is asked for a sign of life before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// What the server is told about every connection. It gives up a statement before we stop waiting for it, and ends the
/// transaction of an instance that was stopped in the middle of one: others wait for its locks.
const SERVER_SETTINGS: [(&str, &str); 3] = [
    ("lock_timeout", "3s"),
    ("statement_timeout", "4s"),
    ("idle_in_transaction_session_timeout", "10s"),
];

/// Asks up to where the server has written; at least to the end of what this connection has committed. One that is idle
/// may count the head of the next page, which no replica has: then the primary goes on answering.
pub(super) const WRITTEN: &str = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS position,
    ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint AS timeline";

/// How long a caller is willing to wait for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// As long as the pool allows.
    Usual,
    /// Somebody sits at a login form, and many more may come.
    Login,
    /// As long as the pool allows, and tried even while the circuit breaker is open: what others may rely on being
    /// revoked, and questions about the server's health.
    Vital,
}

/// The connections of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    connections: PgPool,
    /// For `Urgency::Usual`.
    wait: Duration,
    answers: Arc<Answers>,
    guard: Arc<Guard>,
}

/// When the server last answered anybody, and when it last failed to.
#[derive(Debug)]
struct Answers {
    opened: Instant,
    last_ms: AtomicU64,
    /// Zero: never.
    broken_ms: AtomicU64,
    /// Told when something speaks against the server, or against what it is taken for.
    doubt: Notify,
}

impl Pool {
    /// Connects, so that a server that cannot be used is found at once.
    pub(super) async fn open(
        options: &PostgresOptions,
        address: &PostgresAddress,
    ) -> StoreResult<Self> {
        let answers = Arc::new(Answers::new());
        let pool = pool_options(options, &answers);
        let connecting = pool.connect_with(connect_options(address));
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        let connections = connecting
            .unwrap_or_else(|_| Err(no_answer()))
            .attempting("connecting to the database")?;
        answers.arrived();
        Ok(Self::of(connections, options, answers))
    }

    /// Connects when it is first needed: the server may be away while others of its cluster answer.
    pub(super) fn open_later(options: &PostgresOptions, address: &PostgresAddress) -> Self {
        let answers = Arc::new(Answers::new());
        let pool = pool_options(options, &answers);
        let connections = pool.connect_lazy_with(connect_options(address));
        Self::of(connections, options, answers)
    }

    fn of(connections: PgPool, options: &PostgresOptions, answers: Arc<Answers>) -> Self {
        Self {
            connections,
            wait: options.acquire_timeout,
            answers,
            guard: options.guard.clone(),
        }
    }

    /// Resolves when something spoke against the server, or against what it is taken for.
    pub(super) async fn doubted(&self) {
        self.answers.doubt.notified().await;
    }

    /// Has it asked what the server is.
    pub(super) fn doubt(&self) {
        self.answers.doubt.notify_one();
    }

    /// For migrations, which run before anybody waits for an answer.
    pub(super) fn connections(&self) -> &PgPool {
        &self.connections
    }

    pub(crate) async fn write(
        &self,
        attempted: &'static str,
        urgency: Urgency,
    ) -> StoreResult<PoolWrite> {
        self.guarded(attempted, urgency, self.begin(attempted, urgency))
            .await
    }

    /// One statement by itself, which is a transaction of its own.
    pub(crate) async fn fetch(&self, statement: Statement) -> StoreResult<Vec<Row>> {
        let (attempted, urgency) = (statement.attempted(), statement.urgency());
        self.guarded(attempted, urgency, self.ask(statement)).await
    }

    /// Not at all while the circuit breaker is open. Errors that speak against the server count.
    async fn guarded<T>(
        &self,
        attempted: &'static str,
        urgency: Urgency,
        call: impl Future<Output = StoreResult<T>>,
    ) -> StoreResult<T> {
        if urgency == Urgency::Vital {
            let outcome = call.await;
            if outcome.is_ok() {
                self.guard.answered();
            }
            return outcome;
        }
        let is_failure = |error: &StoreError| matches!(error, StoreError::Unavailable { .. });
        let outcome = self.guard.call(is_failure, call).await;
        outcome.unwrap_or_else(|rejected| {
            let source = sqlx::Error::Io(std::io::Error::other(rejected));
            Err(StoreError::Unavailable { attempted, source })
        })
    }

    async fn begin(&self, attempted: &'static str, urgency: Urgency) -> StoreResult<PoolWrite> {
        let mut held = self.acquire(attempted, urgency).await?;
        let mut begun = held.begin(attempted).await;
        if held.standing == Standing::Ended {
            // Nothing was asked for yet. The pool knows now what to suspect, so that the next connection lives.
            held = self.acquire(attempted, urgency).await?;
            begun = held.begin(attempted).await;
        }
        begun?;
        Ok(PoolWrite { held: Some(held) })
    }

    /// Whatever the circuit breaker says.
    pub(super) async fn ask(&self, statement: Statement) -> StoreResult<Vec<Row>> {
        let (attempted, urgency) = (statement.attempted(), statement.urgency());
        let again = statement.repeatable();
        let mut held = self.acquire(attempted, urgency).await?;
        let answer = held.fetch(statement).await;
        match again {
            Some(statement) if held.standing == Standing::Ended => {
                let mut held = self.acquire(attempted, urgency).await?;
                held.fetch(statement).await
            }
            _ => answer,
        }
    }

    /// A standby that is not yet promoted answers, but takes no writes.
    pub(crate) async fn can_write(&self, attempted: &'static str) -> StoreResult<()> {
        const ASKING: &str = "SHOW transaction_read_only";
        let row = Statement::new(attempted, ASKING).vital();
        let is_read_only = match self.fetch(row).await?.first() {
            Some(row) => row.text("transaction_read_only")? != "off",
            None => true,
        };
        if !is_read_only {
            return Ok(());
        }
        let standby = std::io::Error::other("the server is read-only, as a standby is");
        Err(sqlx::Error::Io(standby)).attempting(attempted)
    }

    /// What the server takes from everybody, less what it keeps for administrators.
    pub(crate) async fn connection_limit(&self, attempted: &'static str) -> StoreResult<u32> {
        const ASKING: &str = "SELECT sum(CASE name WHEN 'max_connections' THEN setting::bigint \
             ELSE -setting::bigint END)::bigint AS connections FROM pg_settings \
             WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')";
        let rows = self.fetch(Statement::new(attempted, ASKING)).await?;
        let connections = rows.first().map(|row| row.number("connections"));
        let connections = connections.transpose()?.unwrap_or_default();
        Ok(u32::try_from(connections).unwrap_or_default())
    }

    pub(crate) async fn clock(&self, attempted: &'static str) -> StoreResult<UnixMillis> {
        const ASKING: &str =
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS millis";
        let rows = self.fetch(Statement::new(attempted, ASKING)).await?;
        let millis = rows.first().map(|row| row.number("millis")).transpose()?;
        Ok(UnixMillis(millis.unwrap_or_default()))
    }

    pub(crate) fn metrics(&self) -> PoolMetrics {
        PoolMetrics {
            open: self.connections.size(),
            idle: u32::try_from(self.connections.num_idle()).unwrap_or(u32::MAX),
            max: self.connections.options().get_max_connections(),
        }
    }

    /// The driver first waits for connections it is trying to make in the place of lost ones, for five minutes where
    /// the server is gone. Nothing is under way any more that would have to end well.
    pub(crate) async fn close(&self) {
        let closing = self.connections.close();
        if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::warn!("connections to the database were left to the system");
        }
    }

    async fn acquire(&self, attempted: &'static str, urgency: Urgency) -> StoreResult<Held> {
        let wait = match urgency {
            Urgency::Usual | Urgency::Vital => self.wait,
            Urgency::Login => self.wait.min(LOGIN_WAIT),
        };
        let asked = Instant::now();
        let mut acquiring = Box::pin(self.connections.acquire());
        loop {
            let left = wait.saturating_sub(asked.elapsed());
            let look = left.min(LOOK);
            if let Ok(acquired) = tokio::time::timeout(look, &mut acquiring).await {
                let connection = acquired.attempting(attempted)?;
                return Ok(Held {
                    connection,
                    answers: self.answers.clone(),
                    standing: Standing::Idle,
                });
            }
            let silence = SILENCE.min(wait);
            if asked.elapsed() >= silence && self.answers.silence() >= silence {
                return Err(no_answer()).attempting(attempted);
            }
            if asked.elapsed() >= wait {
                return Err(sqlx::Error::PoolTimedOut).attempting(attempted);
            }
            // The driver tries to open one connection more for as long as the server is full, and never looks at those
            // that lie idle meanwhile. Where none does, the place in the line is kept.
            if self.connections.num_idle() > 0 {
                acquiring = Box::pin(self.connections.acquire());
            }
        }
    }
}

impl Answers {
    fn new() -> Self {
        Self {
            opened: Instant::now(),
            last_ms: AtomicU64::new(0),
            broken_ms: AtomicU64::new(0),
            doubt: Notify::new(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn arrived(&self) {
        self.last_ms.fetch_max(self.now_ms(), Ordering::Relaxed);
    }

    fn broke(&self) {
        let now = self.now_ms().max(1);
        self.broken_ms.fetch_max(now, Ordering::Relaxed);
        self.doubt.notify_one();
    }

    /// Where one connection broke, all that were idle then may have.
    fn is_suspect(&self, idle_for: Duration) -> bool {
        let idle_ms = u64::try_from(idle_for.as_millis()).unwrap_or(u64::MAX);
        let used_at = self.now_ms().saturating_sub(idle_ms);
        let broken_at = self.broken_ms.load(Ordering::Relaxed);
        idle_for > TRUSTED_IDLE || (broken_at > 0 && used_at <= broken_at)
    }

    fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(last)
    }
}

fn connect_options(address: &PostgresAddress) -> PgConnectOptions {
    let connect = address.connect_options();
    connect
        .application_name("portcullis-auth")
        .options(SERVER_SETTINGS)
        .disable_statement_logging()
}

fn pool_options(options: &PostgresOptions, answers: &Arc<Answers>) -> PgPoolOptions {
    let max = options.pool_size.saturating_add(options.max_overflow);
    let (asked, recycle_after) = (answers.clone(), options.recycle_after);
    PgPoolOptions::new()
        .min_connections(options.pool_size.min(max))
        .max_connections(max.max(1))
        .acquire_timeout(options.acquire_timeout)
        .idle_timeout(IDLE_TIMEOUT)
        // Both are decided below, connection by connection.
        .max_lifetime(None)
        .test_before_acquire(false)
        .before_acquire(move |connection, met| {
            let is_worn = recycle::is_worn(&met, recycle_after, random::fraction);
            let is_suspect = asked.is_suspect(met.idle_for);
            Box::pin(async move {
                if is_worn {
                    return Ok(false);
                }
                if !is_suspect {
                    return Ok(true);
                }
                let alive = tokio::time::timeout(SILENCE, connection.ping()).await;
                Ok(matches!(alive, Ok(Ok(()))))
            })
        })
}

fn no_answer() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        "the server does not answer",
    ))
}
