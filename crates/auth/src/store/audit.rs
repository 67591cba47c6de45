//! What is asked of the audit log beside appending to it: pages, the chain, retention and erasure. Never decides what
//! is kept for how long.

use std::time::Duration;

use async_trait::async_trait;

use super::{PageLimit, StoreResult};
use crate::domain::{AccountId, AuditEntry, AuditRow, ChainMark, Revocation, UnixMillis};

/// The audit log.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// Lines that fit, newest first, beginning before the line with this id. With a `reader`, what others than that account
    /// caused in the last moments may be missing.
    async fn audit_page(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: PageLimit,
        reader: Option<AccountId>,
    ) -> StoreResult<Vec<AuditRow>>;

    /// Links at most so many lines into the chain and returns how many it were. Any number of instances may try at once.
    async fn link_audit(&self, now: UnixMillis, limit: PageLimit) -> StoreResult<u64>;

    /// Linked lines in the order of the chain, beginning behind a position.
    async fn audit_chain(&self, after: i64, limit: PageLimit) -> StoreResult<Vec<AuditRow>>;

    /// Lines that are not linked yet, beginning behind an id.
    async fn unlinked_audit(&self, after: i64, limit: PageLimit) -> StoreResult<Vec<AuditRow>>;

    /// Both ends of the chain.
    async fn audit_marks(&self) -> StoreResult<AuditMarks>;

    /// A line that is there twice: somebody copied one.
    async fn copied_audit(&self) -> StoreResult<Option<i64>>;

    /// Removes at most so many of the oldest lines of the chain, as long as they are older than `before`, and marks
    /// where the chain begins from now on.
    async fn cut_audit(
        &self,
        before: UnixMillis,
        now: UnixMillis,
        limit: PageLimit,
    ) -> StoreResult<u64>;

    /// Puts `pseudonym` in place of an account in at most so many of its lines, and takes away where they came from.
    /// Returns how many lines it were.
    async fn erase_from_audit(
        &self,
        account: AccountId,
        pseudonym: AccountId,
        limit: PageLimit,
    ) -> StoreResult<u64>;

    /// Deletes an account with all that is its own, and records, until `until`, that its tokens are void. `None`: no such
    /// account.
    async fn delete_account(
        &self,
        id: AccountId,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Option<Revocation>>;

    /// Takes or keeps a job that one instance at a time does, for `ttl`. `false`: another has it.
    async fn claim_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
        now: UnixMillis,
    ) -> StoreResult<bool>;

    /// Gives it back.
    async fn release_lease(&self, name: &str, holder: &str) -> StoreResult<()>;
}

/// Which lines; everything that is said must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The stored word of an event.
    pub event: Option<String>,
    /// The stored word of an outcome.
    pub outcome: Option<String>,
    /// The account that it concerns or that asked for it.
    pub account: Option<AccountId>,
    /// The request that asked for it.
    pub request: Option<String>,
    /// Not before.
    pub since: Option<UnixMillis>,
    /// Before.
    pub until: Option<UnixMillis>,
}

/// Both ends of the chain, where there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditMarks {
    /// The last line.
    pub head: Option<ChainMark>,
    /// The last line that was cut off the beginning.
    pub cut: Option<ChainMark>,
}
