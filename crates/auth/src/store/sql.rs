//! The store's statements, written once for both databases. Never opens one: `sqlite` and `postgres` do, and bring the
//! schema up to date.
//!
//! The two differ in what they do by themselves, not in what is asked of them: a [`Statement`](statement::Statement)
//! goes to either, a [`Write`](database::Write) is a transaction of either, and where PostgreSQL would let two writes
//! interleave they queue or hold a row, which SQLite has no need of.

mod account;
mod api_key;
mod audit;
mod authorization;
mod client;
pub(super) mod database;
mod directory;
mod factor;
mod import;
mod instance;
mod lease;
mod mail;
mod password;
mod permission;
mod purge;
mod recovery;
mod refresh;
mod revocation;
mod sessions;
mod setting;
mod setup;
mod signing_key;
pub(super) mod statement;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use super::topology::Topology;
use super::{
    AccountCreation, FamilyCreation, FirstKey, PageLimit, PoolMetrics, Purged, RevocationPosition,
    Rotation, RotationOutcome, SetupCreation, SetupOutcome, Store, StoreResult, Trail,
};
use crate::domain::{
    Account, AccountId, AccountStatus, AuditEntry, Email, Family, InstanceRecord, KeyState,
    PasswordHash, Revocation, Role, SessionId, SigningKeyRecord, TokenFacts, TokenHash, UnixMillis,
};
use database::Database;

/// The only tenant so far; every row carries it.
const TENANT: &str = "default";

/// [`Store`] on an open database whose schema is ours.
#[derive(Clone, Debug)]
pub struct SqlStore {
    database: Database,
}

impl SqlStore {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Writes the audit log in this way.
    pub(crate) fn audited(mut self, trail: Trail) -> Self {
        match &mut self.database {
            Database::Sqlite(file) => file.trail = trail,
            Database::Postgres(cluster) => cluster.trail = trail,
        }
        self
    }

    /// Queues mail, or does not, since nobody would send it.
    pub(crate) fn mailing(mut self, sends_mail: bool) -> Self {
        match &mut self.database {
            Database::Sqlite(file) => file.sends_mail = sends_mail,
            Database::Postgres(pool) => pool.sends_mail = sends_mail,
        }
        self
    }
}

#[cfg(test)]
impl SqlStore {
    /// How many accounts `reader` finds where it may come from a server that lags.
    pub(crate) async fn accounts_seen_by(&self, reader: AccountId) -> StoreResult<i64> {
        const COUNTING: &str = "SELECT count(*) AS seen FROM account";
        let counting = statement::Statement::new("a test", COUNTING).may_lag(reader);
        let row = counting.fetch_optional(&self.database).await?;
        row.expect("a count is a row").number("seen")
    }

    /// Records a revocation, says so, and commits when it is told to.
    pub(crate) async fn add_revocation_slowly(
        &self,
        revocation: &Revocation,
        is_written: tokio::sync::oneshot::Sender<()>,
        mut go_on: tokio::sync::oneshot::Receiver<()>,
    ) -> StoreResult<()> {
        let mut write = self.database.write_vital("a test").await?;
        revocation::insert(&mut write, revocation).await?;
        is_written.send(()).expect("somebody waits for it");
        // A transaction in which nothing happens is ended by the server.
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                _ = &mut go_on => return write.commit().await,
                _ = ticks.tick() => {
                    let sign_of_life = statement::Statement::new("a test", "SELECT 1");
                    sign_of_life.execute(&mut write).await?;
                }
            }
        }
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn create_account(
        &self,
        account: &Account,
        audit: &AuditEntry,
    ) -> StoreResult<AccountCreation> {
        account::create(&self.database, account, audit).await
    }

    async fn account_by_email(&self, email: &Email) -> StoreResult<Option<Account>> {
        account::by_email(&self.database, email).await
    }

    async fn account_by_id(&self, id: AccountId) -> StoreResult<Option<Account>> {
        account::by_id(&self.database, id).await
    }

    async fn accounts(&self, after: Option<&Email>, limit: PageLimit) -> StoreResult<Vec<Account>> {
        account::page(&self.database, after, limit).await
    }

    async fn set_status(
        &self,
        id: AccountId,
        status: AccountStatus,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<bool> {
        account::set_status(&self.database, id, status, until, audit).await
    }

    async fn set_roles(
        &self,
        id: AccountId,
        roles: &BTreeSet<Role>,
        audit: &AuditEntry,
    ) -> StoreResult<bool> {
        account::set_roles(&self.database, id, roles, audit).await
    }

    async fn upgrade_password_hash(
        &self,
        id: AccountId,
        from: &PasswordHash,
        to: &PasswordHash,
    ) -> StoreResult<bool> {
        account::upgrade_password_hash(&self.database, id, from, to).await
    }

    async fn create_family(
        &self,
        family: &Family,
        first: &TokenHash,
        expires_at: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<FamilyCreation> {
        refresh::create_family(&self.database, family, first, expires_at, audit).await
    }

    async fn rotate(&self, rotation: &Rotation<'_>) -> StoreResult<RotationOutcome> {
        refresh::rotate(&self.database, rotation).await
    }

    async fn family_by_token(&self, token: &TokenHash) -> StoreResult<Option<Family>> {
        refresh::family_by_token(&self.database, token).await
    }

    async fn family_by_session(&self, session: SessionId) -> StoreResult<Option<Family>> {
        refresh::family_by_session(&self.database, session).await
    }

    async fn revoke_session(
        &self,
        session: SessionId,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Revocation> {
        refresh::revoke_session(&self.database, session, until, audit).await
    }

    async fn add_revocation(&self, revocation: &Revocation) -> StoreResult<()> {
        revocation::add(&self.database, revocation).await
    }

    async fn settled_revocations(&self) -> StoreResult<RevocationPosition> {
        revocation::settled(&self.database).await
    }

    async fn revocations(
        &self,
        after: RevocationPosition,
        now: UnixMillis,
        limit: PageLimit,
    ) -> StoreResult<Vec<(RevocationPosition, Revocation)>> {
        revocation::page(&self.database, after, now, limit).await
    }

    async fn is_revoked(&self, token: &TokenFacts<'_>, now: UnixMillis) -> StoreResult<bool> {
        revocation::covers(&self.database, token, now).await
    }

    async fn create_first_signing_key(&self, key: &SigningKeyRecord) -> StoreResult<FirstKey> {
        signing_key::create_first(&self.database, key).await
    }

    async fn add_signing_key(&self, key: &SigningKeyRecord) -> StoreResult<bool> {
        signing_key::add(&self.database, key).await
    }

    async fn add_next_signing_key(&self, key: &SigningKeyRecord) -> StoreResult<bool> {
        signing_key::add_next(&self.database, key).await
    }

    async fn signing_keys(&self) -> StoreResult<Vec<SigningKeyRecord>> {
        signing_key::all(&self.database).await
    }

    async fn activate_signing_key(&self, kid: &str, now: UnixMillis) -> StoreResult<bool> {
        signing_key::activate(&self.database, kid, now).await
    }

    async fn move_signing_key(
        &self,
        kid: &str,
        from: KeyState,
        to: KeyState,
        now: UnixMillis,
    ) -> StoreResult<bool> {
        signing_key::change_state(&self.database, kid, from, to, now).await
    }

    async fn create_setup_token(
        &self,
        token: &TokenHash,
        expires_at: UnixMillis,
        now: UnixMillis,
    ) -> StoreResult<SetupCreation> {
        setup::create(&self.database, token, expires_at, now).await
    }

    async fn consume_setup_token(
        &self,
        token: &TokenHash,
        administrator: &Account,
        audit: &AuditEntry,
    ) -> StoreResult<SetupOutcome> {
        setup::consume(&self.database, token, administrator, audit).await
    }

    async fn append_audit(&self, entry: &AuditEntry) -> StoreResult<()> {
        audit::append(&self.database, entry).await
    }

    async fn recent_audit(&self, limit: PageLimit) -> StoreResult<Vec<AuditEntry>> {
        audit::recent(&self.database, limit).await
    }

    async fn report_instance(
        &self,
        instance: &InstanceRecord,
        ttl: Duration,
        now: UnixMillis,
    ) -> StoreResult<()> {
        instance::report(&self.database, instance, ttl, now).await
    }

    async fn forget_instance(&self, id: &str) -> StoreResult<()> {
        instance::leave(&self.database, id).await
    }

    async fn instances(&self, now: UnixMillis) -> StoreResult<Vec<InstanceRecord>> {
        instance::living(&self.database, now).await
    }

    async fn purge(&self, now: UnixMillis, limit: PageLimit) -> StoreResult<Purged> {
        purge::run(&self.database, now, limit).await
    }

    async fn ping(&self) -> StoreResult<()> {
        account::ping(&self.database).await
    }

    async fn can_write(&self) -> StoreResult<()> {
        self.database.can_write("looking for room to write").await
    }

    async fn clock(&self) -> StoreResult<Option<UnixMillis>> {
        self.database.clock("asking what time it is").await
    }

    async fn connection_limit(&self) -> StoreResult<Option<u32>> {
        self.database
            .connection_limit("asking how many connections there may be")
            .await
    }

    fn kind(&self) -> &'static str {
        self.database.kind()
    }

    fn pool_metrics(&self) -> PoolMetrics {
        self.database.metrics()
    }

    fn topology(&self) -> Topology {
        self.database.topology()
    }

    fn timeline(&self) -> i64 {
        self.database.timeline()
    }

    async fn close(&self) {
        self.database.close().await;
    }
}
