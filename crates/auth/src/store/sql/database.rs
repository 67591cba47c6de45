//! The database behind the store: a SQLite file or a PostgreSQL server. Never runs a statement of its own.
//!
//! A write is a transaction on both. On SQLite it is alone from its first moment; on PostgreSQL writes run side by
//! side, so that whatever must not interleave waits in a [`Queue`] or for a row.

use sqlx::{Sqlite, SqliteConnection, Transaction};

use super::super::attempt::Attempt as _;
use super::super::postgres::cluster::Cluster;
use super::super::postgres::pool::{PoolWrite, Urgency};
use super::super::sqlite::file::DatabaseFile;
use super::super::topology::Topology;
use super::super::{PoolMetrics, StoreResult, Trail};
use super::statement::{Row, Statement};
use crate::domain::{AccountId, UnixMillis};

/// Where statements go.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    Sqlite(DatabaseFile),
    Postgres(Cluster),
}

/// What runs one after the other on every database. The numbers are the keys of PostgreSQL's advisory locks.
#[derive(Clone, Copy, Debug)]
#[repr(i64)]
pub(super) enum Queue {
    SigningKeys = 0x706f_7274_0000_0002,
    SetupToken = 0x706f_7274_0000_0003,
    AuditChain = 0x706f_7274_0000_0008,
    Settings = 0x706f_7274_0000_0009,
}

/// An advisory lock on a number that begins with this is held by a write that takes a position above its other bits.
pub(super) const OPEN_REVOCATION: i64 = 0x7072;
/// Of such a number; positions end far below.
pub(super) const POSITION_BITS: u32 = 48;
/// What writes of the first schema held alone. Held together, it keeps those of either kind apart while one release
/// takes the place of the other.
const SERIAL_REVOCATIONS: i64 = 0x706f_7274_0000_0001;

/// Whoever is stopped in the middle holds up followers, so that the server does not wait for it as long as for others.
const ANNOUNCE: &str = "SELECT set_config('idle_in_transaction_session_timeout', '3s', true),
    pg_advisory_xact_lock_shared($1), pg_advisory_xact_lock($2),
    pg_advisory_xact_lock_shared($3 + COALESCE((SELECT max(position) FROM revocation), 0))";

/// A transaction. Dropped without commit, it never happened.
pub(super) struct Write {
    attempted: &'static str,
    transaction: Begun,
    pub(super) trail: Trail,
    /// Whose view of the database it changes.
    concerned: Vec<AccountId>,
    /// Told of it, where servers may lag.
    told: Option<Cluster>,
    pub(super) sends_mail: bool,
}

enum Begun {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(PoolWrite),
}

impl Database {
    pub(super) async fn write(&self, attempted: &'static str) -> StoreResult<Write> {
        self.write_as(attempted, Urgency::Usual).await
    }

    /// As [`Database::write`], for what somebody waits for at a login form: rather refused soon than late.
    pub(super) async fn write_soon(&self, attempted: &'static str) -> StoreResult<Write> {
        self.write_as(attempted, Urgency::Login).await
    }

    /// As [`Database::write`], for revocations: tried even while the circuit breaker is open.
    pub(super) async fn write_vital(&self, attempted: &'static str) -> StoreResult<Write> {
        self.write_as(attempted, Urgency::Vital).await
    }

    async fn write_as(&self, attempted: &'static str, urgency: Urgency) -> StoreResult<Write> {
        let transaction = match self {
            Self::Sqlite(file) => Begun::Sqlite(file.write(attempted).await?),
            Self::Postgres(cluster) => Begun::Postgres(cluster.write(attempted, urgency).await?),
        };
        let told = match self {
            Self::Postgres(cluster) => cluster.may_lag().then(|| cluster.clone()),
            Self::Sqlite(_) => None,
        };
        Ok(Write {
            attempted,
            transaction,
            trail: self.trail().clone(),
            concerned: Vec::new(),
            told,
            sends_mail: self.sends_mail(),
        })
    }

    /// Whether there are servers that may lag.
    pub(super) fn may_lag(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(cluster) => cluster.may_lag(),
        }
    }

    /// Whether mail is queued.
    fn sends_mail(&self) -> bool {
        match self {
            Self::Sqlite(file) => file.sends_mail,
            Self::Postgres(pool) => pool.sends_mail,
        }
    }

    /// How the audit log is written.
    pub(super) fn trail(&self) -> &Trail {
        match self {
            Self::Sqlite(file) => &file.trail,
            Self::Postgres(cluster) => &cluster.trail,
        }
    }

    /// After a statement that was a write by itself: these accounts must not read from a server that lacks it.
    pub(super) async fn wrote(&self, accounts: &[AccountId]) {
        if let Self::Postgres(cluster) = self {
            cluster.wrote(accounts).await;
        }
    }

    /// Fails once the file of an embedded database has been deleted or replaced.
    pub(super) fn still_in_place(&self, attempted: &'static str) -> StoreResult<()> {
        match self {
            Self::Sqlite(file) => file.still_in_place(attempted),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Fails when it is known, without writing, that writes would fail.
    pub(super) async fn can_write(&self, attempted: &'static str) -> StoreResult<()> {
        match self {
            Self::Sqlite(file) => file.can_write(attempted),
            Self::Postgres(cluster) => cluster.can_write(attempted).await,
        }
    }

    /// The present by the server's clock.
    pub(super) async fn clock(&self, attempted: &'static str) -> StoreResult<Option<UnixMillis>> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(cluster) => cluster.clock(attempted).await.map(Some),
        }
    }

    /// How many connections there may be in all, beside those kept for administrators.
    pub(super) async fn connection_limit(
        &self,
        attempted: &'static str,
    ) -> StoreResult<Option<u32>> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(cluster) => cluster.connection_limit(attempted).await.map(Some),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }

    pub(super) fn metrics(&self) -> PoolMetrics {
        match self {
            Self::Sqlite(file) => file.metrics(),
            Self::Postgres(cluster) => cluster.metrics(),
        }
    }

    pub(super) fn topology(&self) -> Topology {
        match self {
            Self::Sqlite(_) => Topology::default(),
            Self::Postgres(cluster) => cluster.topology(),
        }
    }

    pub(super) fn timeline(&self) -> i64 {
        match self {
            Self::Sqlite(_) => 0,
            Self::Postgres(cluster) => cluster.timeline(),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(file) => file.close().await,
            Self::Postgres(cluster) => cluster.close().await,
        }
    }
}

impl Write {
    /// Waits until no other write is past this point and not yet over.
    pub(super) async fn wait_in(&mut self, queue: Queue) -> StoreResult<()> {
        match self.transaction {
            // Has the file's one write lock already.
            Begun::Sqlite(_) => Ok(()),
            Begun::Postgres(_) => {
                Statement::new(self.attempted, "SELECT pg_advisory_xact_lock($1)")
                    .bind(queue as i64)
                    .execute(self)
                    .await
                    .map(drop)
            }
        }
    }

    /// Before a revocation gets its position: whoever changes the same one waits, and followers see from now on that a
    /// position above those of now may be taken and not yet committed. See `revocation::settled`.
    pub(super) async fn announce_revocation(&mut self, name: i64) -> StoreResult<()> {
        match self.transaction {
            // Has the file's one write lock already, so that positions are committed in their order.
            Begun::Sqlite(_) => Ok(()),
            Begun::Postgres(_) => Statement::new(self.attempted, ANNOUNCE)
                .bind(SERIAL_REVOCATIONS)
                .bind(name)
                .bind(OPEN_REVOCATION << POSITION_BITS)
                .execute(self)
                .await
                .map(drop),
        }
    }

    /// Locks rows that are read before they are written, by a statement that SQLite neither needs nor knows.
    pub(super) async fn hold(&mut self, rows: Statement) -> StoreResult<()> {
        match self.transaction {
            Begun::Sqlite(_) => Ok(()),
            Begun::Postgres(_) => rows.execute(self).await.map(drop),
        }
    }

    /// From the commit on, this account reads from no server that lacks what is written here. The accounts of audit
    /// lines are named by themselves.
    pub(super) fn concerns(&mut self, account: AccountId) {
        if self.told.is_some() && !self.concerned.contains(&account) {
            self.concerned.push(account);
        }
    }

    pub(super) async fn commit(self) -> StoreResult<()> {
        let write = match self.transaction {
            Begun::Sqlite(write) => return write.commit().await.attempting(self.attempted),
            Begun::Postgres(write) => write,
        };
        match self.told.filter(|_| !self.concerned.is_empty()) {
            None => write.commit(self.attempted).await,
            Some(cluster) => {
                let position = write.commit_and_tell(self.attempted).await?;
                cluster.note(&self.concerned, position).await;
                Ok(())
            }
        }
    }
}

/// Whatever a statement can run on.
pub(crate) trait Executor {
    fn execute(self, statement: Statement) -> impl Future<Output = StoreResult<u64>> + Send;

    fn fetch(self, statement: Statement) -> impl Future<Output = StoreResult<Vec<Row>>> + Send;
}

/// Inside the transaction.
impl Executor for &mut Write {
    async fn execute(self, statement: Statement) -> StoreResult<u64> {
        match &mut self.transaction {
            Begun::Sqlite(write) => execute_on_sqlite(write, statement).await,
            Begun::Postgres(write) => write.execute(statement).await,
        }
    }

    async fn fetch(self, statement: Statement) -> StoreResult<Vec<Row>> {
        match &mut self.transaction {
            Begun::Sqlite(write) => fetch_from_sqlite(write, statement).await,
            Begun::Postgres(write) => write.fetch(statement).await,
        }
    }
}

/// By itself. On SQLite only reads get through.
impl Executor for &Database {
    async fn execute(self, statement: Statement) -> StoreResult<u64> {
        self.fetch(statement).await.map(|rows| rows.len() as u64)
    }

    async fn fetch(self, statement: Statement) -> StoreResult<Vec<Row>> {
        match self {
            Database::Sqlite(file) => {
                let attempted = statement.attempted();
                let mut reader = file.readers().acquire().await.attempting(attempted)?;
                fetch_from_sqlite(&mut reader, statement).await
            }
            Database::Postgres(cluster) => cluster.fetch(statement).await,
        }
    }
}

async fn execute_on_sqlite(
    connection: &mut SqliteConnection,
    statement: Statement,
) -> StoreResult<u64> {
    let (attempted, sql) = (statement.attempted(), statement.sql());
    let arguments = statement.for_sqlite().attempting(attempted)?;
    let done = sqlx::query_with(sql, arguments).execute(connection).await;
    Ok(done.attempting(attempted)?.rows_affected())
}

async fn fetch_from_sqlite(
    connection: &mut SqliteConnection,
    statement: Statement,
) -> StoreResult<Vec<Row>> {
    let (attempted, sql) = (statement.attempted(), statement.sql());
    let arguments = statement.for_sqlite().attempting(attempted)?;
    let rows = sqlx::query_with(sql, arguments).fetch_all(connection).await;
    let rows = rows.attempting(attempted)?.into_iter();
    Ok(rows.map(|row| Row::from_sqlite(attempted, row)).collect())
}
