//! What is asked of stored password hashes as a whole. Never says whose one is.

use async_trait::async_trait;

use super::{PageLimit, StoreResult};
use crate::domain::PasswordHash;

/// Operations on password hashes; see [`super::Store`].
#[async_trait]
pub trait PasswordStore: Send + Sync {
    /// The hashes of the accounts with the lowest ids. Ids are random, so that these accounts are a sample of all, and
    /// the same ones each time and for every instance.
    async fn password_hash_sample(&self, limit: PageLimit) -> StoreResult<Vec<PasswordHash>>;
}
