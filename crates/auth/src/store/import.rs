//! Accounts that another system made. Never sends mail about them: their owners did nothing.

use async_trait::async_trait;

use super::{AccountCreation, StoreResult};
use crate::domain::{Account, AuditEntry, UnixMillis};

/// Taking accounts over; see [`super::Store`].
#[async_trait]
pub trait ImportStore: Send + Sync {
    /// Stores an account with its audit line, both or neither. `verified_at`: the other system knew that the address is its
    /// owner's. An address that is taken changes nothing.
    async fn import_account(
        &self,
        account: &Account,
        verified_at: Option<UnixMillis>,
        audit: &AuditEntry,
    ) -> StoreResult<AccountCreation>;
}
