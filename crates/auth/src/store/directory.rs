//! Looking for accounts and at them. Never all of them at once.

use async_trait::async_trait;

use super::{PageLimit, StoreResult};
use crate::domain::{Account, AccountId, AccountStatus, Email, UnixMillis};

/// Accounts as administrators look for them.
#[async_trait]
pub trait DirectoryStore: Send + Sync + 'static {
    /// Accounts that fit, in order of their address, beginning behind `after`. What others than `reader` wrote in the last
    /// moments may be missing.
    async fn find_accounts(
        &self,
        filter: &AccountFilter,
        after: Option<&Email>,
        limit: PageLimit,
        reader: AccountId,
    ) -> StoreResult<Vec<Account>>;

    /// When the owner of the address said that it is theirs; `None`: never, or there is no such account.
    async fn email_verified_at(&self, id: AccountId) -> StoreResult<Option<UnixMillis>>;
}

/// Which accounts; everything that is said must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountFilter {
    /// A part of the address, in lower case.
    pub address: Option<String>,
    /// Open or shut.
    pub status: Option<AccountStatus>,
    /// The name of a role.
    pub role: Option<String>,
}
