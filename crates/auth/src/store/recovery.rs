//! Another password for an account. Never without ending everything that was begun with the one before.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::{AuditEntry, PasswordHash, Revocation, TokenHash, UnixMillis};

/// Changes of passwords by those whom they belong to.
#[async_trait]
pub trait RecoveryStore: Send + Sync {
    /// Replaces the password hash of `audit.account`, if the account is active and the hash is still `from`. In the same
    /// moment every session ends, as by [`super::SessionStore::end_all_sessions_of`], tokens to reset the password are
    /// void, and the owner gets mail. `None`: nothing happened.
    async fn change_password(
        &self,
        from: &PasswordHash,
        to: &PasswordHash,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Option<Revocation>>;

    /// As [`RecoveryStore::change_password`], by spending the token of a mail instead of knowing the hash. Whoever has it
    /// reads the mail of the address, which is thereby verified. `None`: the token is unknown, spent, replaced or
    /// expired, or the account is not active.
    async fn reset_password(
        &self,
        token: &TokenHash,
        to: &PasswordHash,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Option<Revocation>>;
}
