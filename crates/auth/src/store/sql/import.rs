//! Accounts that another system made. Never touches one that is there.

use async_trait::async_trait;

use super::super::{AccountCreation, ImportStore, StoreResult};
use super::statement::Statement;
use super::{SqlStore, TENANT, account, audit};
use crate::domain::{Account, AuditEntry, UnixMillis};

const IMPORTING: &str = "importing an account";

#[async_trait]
impl ImportStore for SqlStore {
    async fn import_account(
        &self,
        imported: &Account,
        verified_at: Option<UnixMillis>,
        entry: &AuditEntry,
    ) -> StoreResult<AccountCreation> {
        let mut write = self.database.write(IMPORTING).await?;
        let created = account::insert(&mut write, imported).await?;
        if created == AccountCreation::EmailTaken {
            return Ok(created);
        }
        Statement::new(
            IMPORTING,
            "UPDATE account SET email_verified_at = $1 WHERE id = $2 AND tenant_id = $3",
        )
        .bind(verified_at.map(|at| at.0))
        .bind(imported.id.to_string())
        .bind(TENANT)
        .execute(&mut write)
        .await?;
        audit::insert(&mut write, entry).await?;
        write.commit().await?;
        Ok(created)
    }
}
