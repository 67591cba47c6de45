//! Looking for accounts. Never runs what somebody typed: each part of a filter is bound, and stands for itself.

use async_trait::async_trait;

use super::super::{AccountFilter, DirectoryStore, PageLimit, StoreResult};
use super::statement::Statement;
use super::{SqlStore, TENANT, account};
use crate::domain::{Account, AccountId, Email, UnixMillis};

#[async_trait]
impl DirectoryStore for SqlStore {
    async fn find_accounts(
        &self,
        filter: &AccountFilter,
        after: Option<&Email>,
        limit: PageLimit,
        reader: AccountId,
    ) -> StoreResult<Vec<Account>> {
        Statement::new("looking for accounts", "SELECT a.id AS account_id, a.email, a.password_hash, a.status, a.created_at AS account_created_at, a.tier,
                (SELECT string_agg(role, ',') FROM account_role WHERE account_id = a.id) AS roles
             FROM account a WHERE a.tenant_id = $1 AND a.email > $2 AND ($3 IS NULL OR a.email LIKE $3 ESCAPE '!')
                 AND ($4 IS NULL OR a.status = $4)
                 AND ($5 IS NULL OR EXISTS (SELECT 1 FROM account_role r WHERE r.account_id = a.id AND r.role = $5))
             ORDER BY a.email LIMIT $6")
        .bind(TENANT)
        // No address is empty: this is before the first.
        .bind(after.map_or("", Email::as_str))
        .bind(filter.address.as_deref().map(anywhere))
        .bind(filter.status.map(|status| status.as_str().to_owned()))
        .bind(filter.role.clone())
        .bind(limit.rows())
        .may_lag(reader)
        .fetch_all(&self.database)
        .await?
        .iter()
        .map(account::from_row)
        .collect()
    }

    async fn email_verified_at(&self, id: AccountId) -> StoreResult<Option<UnixMillis>> {
        let row = Statement::new(
            "looking whether an address is verified",
            "SELECT email_verified_at FROM account WHERE id = $1 AND tenant_id = $2",
        )
        .bind(id.to_string())
        .bind(TENANT)
        .fetch_optional(&self.database)
        .await?;
        let at = row.map(|row| row.optional_number("email_verified_at"));
        Ok(at.transpose()?.flatten().map(UnixMillis))
    }
}

/// A pattern for what contains the text as it is.
fn anywhere(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
