//! Reads that may come from a server that lags, and what keeps each account from missing what it wrote. Never for
//! anything that decides whether somebody gets in: credentials, refresh, codes, revocations, keys.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::AccountId;
use crate::store::topology::WalPosition;

/// How long after a write its account is kept from servers that do not have it yet. A replica that lags longer than
/// `DATABASE_REPLICA_MAX_LAG` is read by nobody, so that only a write this old could be missed.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(30);

/// Where instances tell each other up to where a server must be before it answers an account that wrote.
#[async_trait]
pub(crate) trait Positions: Debug + Send + Sync {
    /// Remembers a write of each account for [`REMEMBERED`]. An earlier position never takes the place of a later one.
    async fn note(&self, accounts: &[AccountId], position: WalPosition);

    /// Up to where a server must be for this account. An error: it is not known, so that only the primary will do.
    async fn needed(&self, account: AccountId) -> Result<Option<WalPosition>, Unknown>;
}

/// Nobody can say what an account wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unknown;
