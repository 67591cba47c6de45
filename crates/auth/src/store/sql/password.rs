//! Password hashes as a whole. One bounded read in the order of the primary key.

use async_trait::async_trait;

use super::super::password::PasswordStore;
use super::super::{PageLimit, StoreResult};
use super::statement::Statement;
use super::{SqlStore, TENANT};
use crate::domain::PasswordHash;

#[async_trait]
impl PasswordStore for SqlStore {
    async fn password_hash_sample(&self, limit: PageLimit) -> StoreResult<Vec<PasswordHash>> {
        let rows = Statement::new(
            "looking at the costs of password hashes",
            "SELECT password_hash FROM account WHERE tenant_id = $1 ORDER BY id LIMIT $2",
        )
        .bind(TENANT)
        .bind(limit.rows())
        .fetch_all(&self.database)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(PasswordHash::from_phc(
                    row.text("password_hash")?.to_owned(),
                ))
            })
            .collect()
    }
}
