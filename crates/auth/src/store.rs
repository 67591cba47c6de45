//! Durable truth behind one narrow trait. Never caches, never decides policy, never reads the clock.
//!
//! `now` is an argument, instants are whole milliseconds, not-found is `Ok(None)` or a named outcome, and what must
//! happen together (an account and its audit line, a reuse and the end of the family) is one method and one transaction.
//!
//! The trait is made into an object (`Arc<dyn Store>`) with `async_trait`: SQLite and PostgreSQL are chosen at start-up
//! from a URL, and one boxed future per call vanishes beside a round trip to either. An enum would spell every method
//! three times and keep a failing double out of the tests of `app`.

pub(crate) mod attempt;
mod audit;
mod authorization;
#[cfg(test)]
pub(crate) mod contract;
mod directory;
mod error;
mod factor;
mod import;
mod mail;
mod password;
pub mod postgres;
pub(crate) mod readers;
mod recovery;
mod schema;
pub mod sealed;
mod sessions;
mod settings;
mod sql;
pub mod sqlite;
pub mod topology;
mod trail;
mod types;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{
    Account, AccountId, AccountStatus, AuditEntry, Email, Family, InstanceRecord, KeyState,
    PasswordHash, Revocation, Role, SessionId, SigningKeyRecord, TokenFacts, TokenHash, UnixMillis,
};

pub use audit::{AuditFilter, AuditMarks, AuditStore};
pub use authorization::{ApiKeyCreation, AuthorizationStore, Definition, RoleRemoval, Standing};
pub use directory::{AccountFilter, DirectoryStore};
pub use error::StoreError;
pub use factor::{FactorStore, TotpConfirmation, TotpRecord};
pub use import::ImportStore;
pub use mail::{LeasedMail, MailLease, MailQueue, MailStore};
pub use password::PasswordStore;
pub use postgres::{PostgresAddress, PostgresOptions};
pub use recovery::RecoveryStore;
pub use sessions::SessionStore;
pub use settings::SettingStore;
pub use sql::SqlStore;
#[cfg(test)]
pub(crate) use sql::statement::RUN;
pub use sqlite::SqliteOptions;
pub use trail::Trail;
pub use types::{
    AccountCreation, FamilyCreation, FirstKey, PageLimit, PoolMetrics, Purged, RefreshGrant,
    RevocationPosition, Rotation, RotationOutcome, SetupCreation, SetupOutcome,
};

/// The result of every operation.
pub type StoreResult<T> = Result<T, StoreError>;

/// What must survive the death of every process.
#[async_trait]
pub trait Store:
    AuditStore
    + AuthorizationStore
    + DirectoryStore
    + FactorStore
    + ImportStore
    + MailStore
    + PasswordStore
    + RecoveryStore
    + SessionStore
    + SettingStore
    + Send
    + Sync
    + 'static
{
    /// Stores a new account and its audit line. When the address is taken, a line about its owner is all that is
    /// stored, by a commit that takes as long.
    async fn create_account(
        &self,
        account: &Account,
        audit: &AuditEntry,
    ) -> StoreResult<AccountCreation>;

    /// Finds an account by its normalised address.
    async fn account_by_email(&self, email: &Email) -> StoreResult<Option<Account>>;

    /// Finds an account by its id.
    async fn account_by_id(&self, id: AccountId) -> StoreResult<Option<Account>>;

    /// Accounts in order of their address, beginning behind `after`.
    async fn accounts(&self, after: Option<&Email>, limit: PageLimit) -> StoreResult<Vec<Account>>;

    /// Opens or shuts an account. Shutting also revokes its refresh token families and records, until `until`, that
    /// every token issued before `audit.at` is void; the caller hands that revocation to the shared state.
    /// `false`: no such account.
    async fn set_status(
        &self,
        id: AccountId,
        status: AccountStatus,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<bool>;

    /// Replaces the roles. `false`: no such account.
    async fn set_roles(
        &self,
        id: AccountId,
        roles: &BTreeSet<Role>,
        audit: &AuditEntry,
    ) -> StoreResult<bool>;

    /// Replaces a hash made with older parameters, unless it has been changed since it was read. `false`: it has.
    async fn upgrade_password_hash(
        &self,
        id: AccountId,
        from: &PasswordHash,
        to: &PasswordHash,
    ) -> StoreResult<bool>;

    /// Starts a family with its first token, if the account is still active, and writes the audit line of the login.
    async fn create_family(
        &self,
        family: &Family,
        first: &TokenHash,
        expires_at: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<FamilyCreation>;

    /// Uses a refresh token. Of any number of uses of one token, through any number of instances, exactly one rotates.
    async fn rotate(&self, rotation: &Rotation<'_>) -> StoreResult<RotationOutcome>;

    /// The family a refresh token belongs to, whatever the state of either.
    async fn family_by_token(&self, token: &TokenHash) -> StoreResult<Option<Family>>;

    /// The newest family of a session, whatever its state.
    async fn family_by_session(&self, session: SessionId) -> StoreResult<Option<Family>>;

    /// Ends a session: revokes its families and records, until `until`, that its access tokens are void. Also for a
    /// session without families. Doing it twice is no error. Returns the revocation for the shared state.
    async fn revoke_session(
        &self,
        session: SessionId,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Revocation>;

    /// Records a revocation. An earlier one of the same key is only ever extended.
    async fn add_revocation(&self, revocation: &Revocation) -> StoreResult<()>;

    /// Up to where the order of revocations is settled: at or before it, none will appear that cannot be read yet. Who
    /// follows them asks this before reading, and goes on from there when what was read reaches further.
    async fn settled_revocations(&self) -> StoreResult<RevocationPosition>;

    /// Revocations still needed at `now`, in order of their position, beginning behind `after`: all that are recorded,
    /// also beyond what is settled.
    async fn revocations(
        &self,
        after: RevocationPosition,
        now: UnixMillis,
        limit: PageLimit,
    ) -> StoreResult<Vec<(RevocationPosition, Revocation)>>;

    /// Whether a recorded revocation covers the token. One point read, from where every committed revocation is
    /// visible, so never from a replica: asked instead of the shared state while that is down or not yet whole.
    async fn is_revoked(&self, token: &TokenFacts<'_>, now: UnixMillis) -> StoreResult<bool>;

    /// Stores the very first signing key; when any key exists, by whomever, nothing happens.
    async fn create_first_signing_key(&self, key: &SigningKeyRecord) -> StoreResult<FirstKey>;

    /// Adds a key to the ring. `false`: the `kid` is taken.
    async fn add_signing_key(&self, key: &SigningKeyRecord) -> StoreResult<bool>;

    /// Publishes a key ahead, unless one of its algorithm is `next` already, by whomever. `false`: nothing happened.
    async fn add_next_signing_key(&self, key: &SigningKeyRecord) -> StoreResult<bool>;

    /// The key ring, oldest first; of more than a page, the newest.
    async fn signing_keys(&self) -> StoreResult<Vec<SigningKeyRecord>>;

    /// Makes a `next` key the active one and its predecessor, of whatever algorithm, retiring, in one moment.
    /// `false`: the key is not `next`.
    async fn activate_signing_key(&self, kid: &str, now: UnixMillis) -> StoreResult<bool>;

    /// Moves a key to another state, save to `active`. `false`: it was not in `from`, or the move is illegal.
    async fn move_signing_key(
        &self,
        kid: &str,
        from: KeyState,
        to: KeyState,
        now: UnixMillis,
    ) -> StoreResult<bool>;

    /// Puts a set-up token in force, in place of any earlier one, unless an administrator exists.
    async fn create_setup_token(
        &self,
        token: &TokenHash,
        expires_at: UnixMillis,
        now: UnixMillis,
    ) -> StoreResult<SetupCreation>;

    /// Spends the set-up token and creates the first administrator, both or neither.
    async fn consume_setup_token(
        &self,
        token: &TokenHash,
        administrator: &Account,
        audit: &AuditEntry,
    ) -> StoreResult<SetupOutcome>;

    /// Appends an audit line that belongs to no other change.
    async fn append_audit(&self, entry: &AuditEntry) -> StoreResult<()>;

    /// The newest audit lines, newest first.
    async fn recent_audit(&self, limit: PageLimit) -> StoreResult<Vec<AuditEntry>>;

    /// Says that an instance lives, until `ttl` from now.
    async fn report_instance(
        &self,
        instance: &InstanceRecord,
        ttl: Duration,
        now: UnixMillis,
    ) -> StoreResult<()>;

    /// Takes an instance out of the list at once.
    async fn forget_instance(&self, id: &str) -> StoreResult<()>;

    /// The living instances that use this database, whatever shared state they have; by id, at most 1,000.
    async fn instances(&self, now: UnixMillis) -> StoreResult<Vec<InstanceRecord>>;

    /// Deletes at most `limit` rows of each kind that no answer depends on any more.
    async fn purge(&self, now: UnixMillis, limit: PageLimit) -> StoreResult<Purged>;

    /// Proves that the database answers and holds our schema.
    async fn ping(&self) -> StoreResult<()>;

    /// Proves, without writing, that nothing is known to be in the way of writes: room, permission.
    async fn can_write(&self) -> StoreResult<()>;

    /// What the database's server has for the present; `None` where its clock is that of this machine.
    async fn clock(&self) -> StoreResult<Option<UnixMillis>>;

    /// How many connections the database takes from everybody; `None`: it sets no bound.
    async fn connection_limit(&self) -> StoreResult<Option<u32>>;

    /// What database it is, in one word.
    fn kind(&self) -> &'static str;

    /// How the connections are used right now.
    fn pool_metrics(&self) -> PoolMetrics;

    /// The servers, and what was asked of them.
    fn topology(&self) -> topology::Topology;

    /// The branch of history that is written now; 0 where nobody asks. On another one, what was read before may be gone
    /// and its places may be taken by something else.
    fn timeline(&self) -> i64;

    /// Finishes what runs and closes every connection.
    async fn close(&self);
}
