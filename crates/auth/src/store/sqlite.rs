//! The embedded store: one SQLite file that several processes share. Never a server, never in memory only.
//!
//! Durability is `WAL` with `synchronous = FULL`: a commit is on the disk before it is acknowledged. `NORMAL` would be
//! enough against `kill -9`, which leaves the page cache alone, but after a power cut it forgets the last commits, and
//! a forgotten logout is a token that works again. FULL costs a flush per write and still allows thousands a second.

mod account;
mod audit;
pub(crate) mod file;
pub(crate) mod migrate;
mod purge;
mod refresh;
mod revocation;
mod setup;
mod signing_key;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteSynchronous};

use super::{
    AccountCreation, FamilyCreation, FirstKey, PageLimit, PoolMetrics, Purged, RevocationPosition,
    Rotation, RotationOutcome, SetupCreation, SetupOutcome, Store, StoreError, StoreResult,
};
use crate::domain::{
    Account, AccountId, AccountStatus, AuditEntry, Email, Family, KeyState, PasswordHash,
    Revocation, Role, SessionId, SigningKeyRecord, TokenFacts, TokenHash, UnixMillis,
};
use file::{DatabaseFile, FileOptions};

/// The only tenant so far; every row carries it.
const TENANT: &str = "default";

/// Where the database lies and how many connections may use it.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The file; created when missing, its directory is not.
    pub path: PathBuf,
    /// Reading connections kept open.
    pub pool_size: u32,
    /// Reading connections opened beyond that under load.
    pub max_overflow: u32,
}

/// [`Store`] on a SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    file: DatabaseFile,
}

impl SqliteStore {
    /// Opens the file, or creates an empty one readable by its owner only. Does not touch the schema.
    pub async fn connect(options: &SqliteOptions) -> StoreResult<Self> {
        let file = DatabaseFile::open(&FileOptions {
            path: options.path.clone(),
            synchronous: SqliteSynchronous::Full,
            pool_size: options.pool_size,
            max_overflow: options.max_overflow,
            busy_timeout: file::BUSY_TIMEOUT,
        })
        .await?;
        Ok(Self { file })
    }

    /// Brings the schema up to date. Any number of processes may try at once: one migrates, the others find it done.
    pub async fn migrate(&self) -> StoreResult<()> {
        migrate::run(&self.file, migrate::store()).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create_account(
        &self,
        account: &Account,
        audit: &AuditEntry,
    ) -> StoreResult<AccountCreation> {
        account::create(&self.file, account, audit).await
    }

    async fn account_by_email(&self, email: &Email) -> StoreResult<Option<Account>> {
        account::by_email(&self.file, email).await
    }

    async fn account_by_id(&self, id: AccountId) -> StoreResult<Option<Account>> {
        account::by_id(&self.file, id).await
    }

    async fn accounts(&self, after: Option<&Email>, limit: PageLimit) -> StoreResult<Vec<Account>> {
        account::page(&self.file, after, limit).await
    }

    async fn set_status(
        &self,
        id: AccountId,
        status: AccountStatus,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<bool> {
        account::set_status(&self.file, id, status, until, audit).await
    }

    async fn set_roles(
        &self,
        id: AccountId,
        roles: &BTreeSet<Role>,
        audit: &AuditEntry,
    ) -> StoreResult<bool> {
        account::set_roles(&self.file, id, roles, audit).await
    }

    async fn upgrade_password_hash(
        &self,
        id: AccountId,
        from: &PasswordHash,
        to: &PasswordHash,
    ) -> StoreResult<bool> {
        account::upgrade_password_hash(&self.file, id, from, to).await
    }

    async fn create_family(
        &self,
        family: &Family,
        first: &TokenHash,
        expires_at: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<FamilyCreation> {
        refresh::create_family(&self.file, family, first, expires_at, audit).await
    }

    async fn rotate(&self, rotation: &Rotation<'_>) -> StoreResult<RotationOutcome> {
        refresh::rotate(&self.file, rotation).await
    }

    async fn family_by_token(&self, token: &TokenHash) -> StoreResult<Option<Family>> {
        refresh::family_by_token(&self.file, token).await
    }

    async fn revoke_session(
        &self,
        session: SessionId,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Revocation> {
        refresh::revoke_session(&self.file, session, until, audit).await
    }

    async fn add_revocation(&self, revocation: &Revocation) -> StoreResult<()> {
        revocation::add(&self.file, revocation).await
    }

    async fn revocations(
        &self,
        after: RevocationPosition,
        now: UnixMillis,
        limit: PageLimit,
    ) -> StoreResult<Vec<(RevocationPosition, Revocation)>> {
        revocation::page(&self.file, after, now, limit).await
    }

    async fn is_revoked(&self, token: &TokenFacts<'_>, now: UnixMillis) -> StoreResult<bool> {
        revocation::covers(&self.file, token, now).await
    }

    async fn create_first_signing_key(&self, key: &SigningKeyRecord) -> StoreResult<FirstKey> {
        signing_key::create_first(&self.file, key).await
    }

    async fn add_signing_key(&self, key: &SigningKeyRecord) -> StoreResult<bool> {
        signing_key::add(&self.file, key).await
    }

    async fn add_next_signing_key(&self, key: &SigningKeyRecord) -> StoreResult<bool> {
        signing_key::add_next(&self.file, key).await
    }

    async fn signing_keys(&self) -> StoreResult<Vec<SigningKeyRecord>> {
        signing_key::all(&self.file).await
    }

    async fn activate_signing_key(&self, kid: &str, now: UnixMillis) -> StoreResult<bool> {
        signing_key::activate(&self.file, kid, now).await
    }

    async fn move_signing_key(
        &self,
        kid: &str,
        from: KeyState,
        to: KeyState,
        now: UnixMillis,
    ) -> StoreResult<bool> {
        signing_key::change_state(&self.file, kid, from, to, now).await
    }

    async fn create_setup_token(
        &self,
        token: &TokenHash,
        expires_at: UnixMillis,
        now: UnixMillis,
    ) -> StoreResult<SetupCreation> {
        setup::create(&self.file, token, expires_at, now).await
    }

    async fn consume_setup_token(
        &self,
        token: &TokenHash,
        administrator: &Account,
        audit: &AuditEntry,
    ) -> StoreResult<SetupOutcome> {
        setup::consume(&self.file, token, administrator, audit).await
    }

    async fn append_audit(&self, entry: &AuditEntry) -> StoreResult<()> {
        audit::append(&self.file, entry).await
    }

    async fn recent_audit(&self, limit: PageLimit) -> StoreResult<Vec<AuditEntry>> {
        audit::recent(&self.file, limit).await
    }

    async fn purge(&self, now: UnixMillis, limit: PageLimit) -> StoreResult<Purged> {
        purge::run(&self.file, now, limit).await
    }

    async fn ping(&self) -> StoreResult<()> {
        account::ping(&self.file).await
    }

    async fn can_write(&self) -> StoreResult<()> {
        self.file.can_write("looking for room to write")
    }

    fn pool_metrics(&self) -> PoolMetrics {
        self.file.metrics()
    }

    async fn close(&self) {
        self.file.close().await;
    }
}

/// Names what was attempted when the driver fails.
pub(crate) trait Attempt<T> {
    /// Turns the driver's error into the store's.
    fn attempting(self, attempted: &'static str) -> StoreResult<T>;
}

impl<T> Attempt<T> for Result<T, sqlx::Error> {
    fn attempting(self, attempted: &'static str) -> StoreResult<T> {
        self.map_err(|source| match &source {
            sqlx::Error::PoolTimedOut => StoreError::Busy { attempted, source },
            sqlx::Error::Database(error) if file::is_busy(error.as_ref()) => {
                StoreError::Busy { attempted, source }
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::BadRow {
                attempted,
                what: "column",
            },
            _ => StoreError::Unavailable { attempted, source },
        })
    }
}

/// A stored text that a parser of the domain must accept.
fn read<T>(attempted: &'static str, what: &'static str, parsed: Option<T>) -> StoreResult<T> {
    parsed.ok_or(StoreError::BadRow { attempted, what })
}

/// Whether the statement hit a UNIQUE constraint.
fn is_taken(result: &Result<sqlx::sqlite::SqliteQueryResult, sqlx::Error>) -> bool {
    matches!(result, Err(sqlx::Error::Database(error)) if error.is_unique_violation())
}

/// The connection inside a transaction; spelled once because every write uses it.
type Writer<'a> = &'a mut SqliteConnection;
