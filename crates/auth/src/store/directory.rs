//! Looking for accounts. Never all of them at once.

use async_trait::async_trait;

use super::{PageLimit, StoreResult};
use crate::domain::{Account, AccountStatus, Email};

/// Accounts as administrators look for them.
#[async_trait]
pub trait DirectoryStore: Send + Sync + 'static {
    /// Accounts that fit, in order of their address, beginning behind `after`.
    async fn find_accounts(
        &self,
        filter: &AccountFilter,
        after: Option<&Email>,
        limit: PageLimit,
    ) -> StoreResult<Vec<Account>>;
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
