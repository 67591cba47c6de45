//! Sessions as their owner sees and ends them. Never touches a session of another account.

use async_trait::async_trait;

use super::{PageLimit, StoreResult};
use crate::domain::{
    AccountId, AuditEntry, Revocation, SessionCursor, SessionId, SessionRecord, UnixMillis,
};

/// What an owner does with sessions.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// The sessions of an account that may go on at `now`, newest first, beginning behind `after`. A session goes on while
    /// its refresh token does, and without one where it began after `cookies_since`.
    async fn sessions_of(
        &self,
        account: AccountId,
        cookies_since: UnixMillis,
        now: UnixMillis,
        after: Option<SessionCursor>,
        limit: PageLimit,
    ) -> StoreResult<Vec<SessionRecord>>;

    /// Ends a session as [`super::Store::revoke_session`] does, if it is the account's. `None`: it is not, or never was.
    async fn end_session_of(
        &self,
        account: AccountId,
        session: SessionId,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Option<Revocation>>;

    /// Ends every session of an account: revokes its families, records, until `until`, that every token issued before
    /// `audit.at` is void, and refuses logins that began before. Returns the revocation for the shared state; `None`: no
    /// such account.
    async fn end_all_sessions_of(
        &self,
        account: AccountId,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Option<Revocation>>;
}
