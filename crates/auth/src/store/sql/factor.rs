//! Second factors and proofs of identity. Every use is a compare-and-set in one statement: what two instances spend at
//! once, one of them has spent.

use async_trait::async_trait;

use super::super::factor::{FactorStore, TotpConfirmation, TotpRecord};
use super::super::{StoreError, StoreResult};
use super::database::Write;
use super::statement::Statement;
use super::{SqlStore, TENANT, audit};
use crate::domain::{AccountId, AuditEntry, ProvedBy, SessionId, TokenHash, TotpStep, UnixMillis};

const ENROLLING: &str = "enrolling an authenticator";
const FINDING: &str = "finding an authenticator";
const CONFIRMING: &str = "confirming an authenticator";
const SPENDING: &str = "spending a code";
const REPLACING: &str = "replacing recovery codes";
const REMOVING: &str = "removing second factors";
const PROVING: &str = "noting a proof of identity";

#[async_trait]
impl FactorStore for SqlStore {
    async fn begin_totp(
        &self,
        account: AccountId,
        sealed_secret: &[u8],
        now: UnixMillis,
    ) -> StoreResult<bool> {
        let mut write = self.database.write(ENROLLING).await?;
        let begun = Statement::new(ENROLLING, "INSERT INTO totp (account_id, tenant_id, sealed_secret, created_at, confirmed_at, last_step)
             VALUES ($1, $2, $3, $4, NULL, 0)
             ON CONFLICT (account_id) DO UPDATE SET sealed_secret = excluded.sealed_secret, created_at = excluded.created_at
             WHERE totp.confirmed_at IS NULL")
        .bind(account.to_string())
        .bind(TENANT)
        .bind(sealed_secret)
        .bind(now.0).execute(&mut write).await?;
        write.commit().await?;
        Ok(begun == 1)
    }

    async fn totp(&self, account: AccountId) -> StoreResult<Option<TotpRecord>> {
        let row = Statement::new(FINDING, "SELECT sealed_secret, created_at, confirmed_at FROM totp WHERE account_id = $1 AND tenant_id = $2")
            .bind(account.to_string())
            .bind(TENANT).soon().fetch_optional(&self.database).await?;
        row.map(|row| {
            Ok(TotpRecord {
                sealed_secret: row.bytes("sealed_secret")?,
                created_at: UnixMillis(row.number("created_at")?),
                confirmed_at: row.optional_number("confirmed_at")?.map(UnixMillis),
            })
        })
        .transpose()
    }

    async fn confirm_totp(
        &self,
        confirmation: &TotpConfirmation<'_>,
        entry: &AuditEntry,
    ) -> StoreResult<bool> {
        let mut write = self.database.write(CONFIRMING).await?;
        let confirmed = Statement::new(CONFIRMING, "UPDATE totp SET confirmed_at = $1, last_step = $2
             WHERE account_id = $3 AND tenant_id = $4 AND confirmed_at IS NULL AND sealed_secret = $5")
        .bind(entry.at.0)
        .bind(confirmation.step.0)
        .bind(confirmation.account.to_string())
        .bind(TENANT)
        .bind(confirmation.sealed_secret).execute(&mut write).await?;
        if confirmed == 0 {
            return Ok(false);
        }
        put_codes(
            &mut write,
            confirmation.account,
            confirmation.codes,
            entry.at,
        )
        .await?;
        audit::insert(&mut write, entry).await?;
        write.commit().await?;
        Ok(true)
    }

    async fn spend_totp_step(&self, account: AccountId, step: TotpStep) -> StoreResult<bool> {
        let mut write = self.database.write_soon(SPENDING).await?;
        let spent = Statement::new(SPENDING, "UPDATE totp SET last_step = $1
             WHERE account_id = $2 AND tenant_id = $3 AND confirmed_at IS NOT NULL AND last_step < $1")
        .bind(step.0)
        .bind(account.to_string())
        .bind(TENANT).execute(&mut write).await?;
        write.commit().await?;
        Ok(spent == 1)
    }

    async fn replace_recovery_codes(
        &self,
        account: AccountId,
        codes: &[TokenHash],
        entry: &AuditEntry,
    ) -> StoreResult<bool> {
        let mut write = self.database.write(REPLACING).await?;
        // Holds the row, so that two sets that come at once do not both stay.
        let enrolled = Statement::new(
            REPLACING,
            "UPDATE totp SET last_step = last_step
             WHERE account_id = $1 AND tenant_id = $2 AND confirmed_at IS NOT NULL",
        )
        .bind(account.to_string())
        .bind(TENANT)
        .execute(&mut write)
        .await?;
        if enrolled == 0 {
            return Ok(false);
        }
        put_codes(&mut write, account, codes, entry.at).await?;
        audit::insert(&mut write, entry).await?;
        write.commit().await?;
        Ok(true)
    }

    async fn spend_recovery_code(
        &self,
        account: AccountId,
        code: &TokenHash,
        entry: &AuditEntry,
    ) -> StoreResult<bool> {
        let mut write = self.database.write_soon(SPENDING).await?;
        let spent = Statement::new(
            SPENDING,
            "UPDATE recovery_code SET spent_at = $1
             WHERE account_id = $2 AND tenant_id = $3 AND hash = $4 AND spent_at IS NULL",
        )
        .bind(entry.at.0)
        .bind(account.to_string())
        .bind(TENANT)
        .bind(code.as_bytes().as_slice())
        .execute(&mut write)
        .await?;
        if spent == 0 {
            return Ok(false);
        }
        audit::insert(&mut write, entry).await?;
        write.commit().await?;
        Ok(true)
    }

    async fn recovery_codes_left(&self, account: AccountId) -> StoreResult<u32> {
        const DOING: &str = "counting recovery codes";
        let row = Statement::new(
            DOING,
            "SELECT count(*) AS unspent FROM recovery_code
             WHERE account_id = $1 AND tenant_id = $2 AND spent_at IS NULL",
        )
        .bind(account.to_string())
        .bind(TENANT)
        .fetch_optional(&self.database)
        .await?;
        let unspent = row.map_or(Ok(0), |row| row.number("unspent"))?;
        u32::try_from(unspent).map_err(|_| StoreError::BadRow {
            attempted: DOING,
            what: "count",
        })
    }

    async fn remove_factors(&self, account: AccountId, entry: &AuditEntry) -> StoreResult<bool> {
        let mut write = self.database.write(REMOVING).await?;
        let removed = Statement::new(REMOVING, "DELETE FROM totp WHERE account_id = $1 AND tenant_id = $2 AND confirmed_at IS NOT NULL")
            .bind(account.to_string())
            .bind(TENANT).execute(&mut write).await?;
        if removed == 0 {
            return Ok(false);
        }
        delete_codes(&mut write, account).await?;
        audit::insert(&mut write, entry).await?;
        write.commit().await?;
        Ok(true)
    }

    async fn mark_authenticated(
        &self,
        session: SessionId,
        by: ProvedBy,
        entry: &AuditEntry,
    ) -> StoreResult<bool> {
        let mut write = self.database.write_soon(PROVING).await?;
        let marked = Statement::new(PROVING, "UPDATE refresh_family SET authenticated_at = $1, proved_by = $4
             WHERE session_id = $2 AND tenant_id = $3 AND revoked_at IS NULL AND absolute_expires_at > $1")
        .bind(entry.at.0)
        .bind(session.to_string())
        .bind(TENANT)
        .bind(by.as_str()).execute(&mut write).await?;
        if marked == 0 {
            return Ok(false);
        }
        audit::insert(&mut write, entry).await?;
        write.commit().await?;
        Ok(true)
    }

    async fn authenticated_at(
        &self,
        session: SessionId,
        now: UnixMillis,
    ) -> StoreResult<Option<UnixMillis>> {
        let row = Statement::new(PROVING, "SELECT max(COALESCE(authenticated_at, created_at)) AS authenticated_at FROM refresh_family
             WHERE session_id = $1 AND tenant_id = $2 AND revoked_at IS NULL AND absolute_expires_at > $3")
        .bind(session.to_string())
        .bind(TENANT)
        .bind(now.0).fetch_optional(&self.database).await?;
        let at = row.map(|row| row.optional_number("authenticated_at"));
        Ok(at.transpose()?.flatten().map(UnixMillis))
    }
}

async fn put_codes(
    write: &mut Write,
    account: AccountId,
    codes: &[TokenHash],
    now: UnixMillis,
) -> StoreResult<()> {
    delete_codes(write, account).await?;
    for code in codes {
        Statement::new(REPLACING, "INSERT INTO recovery_code (account_id, hash, tenant_id, created_at) VALUES ($1, $2, $3, $4)")
            .bind(account.to_string())
            .bind(code.as_bytes().as_slice())
            .bind(TENANT)
            .bind(now.0).execute(&mut *write).await?;
    }
    Ok(())
}

async fn delete_codes(write: &mut Write, account: AccountId) -> StoreResult<()> {
    Statement::new(
        REMOVING,
        "DELETE FROM recovery_code WHERE account_id = $1 AND tenant_id = $2",
    )
    .bind(account.to_string())
    .bind(TENANT)
    .execute(write)
    .await
    .map(drop)
}
