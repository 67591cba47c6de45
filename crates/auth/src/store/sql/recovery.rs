//! Another password for an account. Never leaves anything in force that was begun with the one before.
//!
//! Whoever writes here goes by one order, so that no two wait for each other: the account, its mails, its tokens, its
//! sessions.

use async_trait::async_trait;

use super::super::{RecoveryStore, StoreResult};
use super::database::Write;
use super::statement::Statement;
use super::{SqlStore, TENANT, mail, sessions};
use crate::domain::{
    AccountId, AuditEntry, MailKind, PasswordHash, Revocation, TokenHash, UnixMillis,
};

const CHANGING: &str = "changing a password";
const RESETTING: &str = "resetting a password";

#[async_trait]
impl RecoveryStore for SqlStore {
    async fn change_password(
        &self,
        from: &PasswordHash,
        to: &PasswordHash,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Option<Revocation>> {
        let Some(account) = audit.account else {
            return Ok(None);
        };
        let mut write = self.database.write(CHANGING).await?;
        let changed = Statement::new(
            CHANGING,
            "UPDATE account SET password_hash = $1 WHERE id = $2 AND tenant_id = $3 AND status = 'active' AND password_hash = $4",
        )
        .bind(to.expose())
        .bind(account.to_string())
        .bind(TENANT)
        .bind(from.expose())
        .execute(&mut write)
        .await?;
        if changed == 0 {
            return Ok(None);
        }
        mail::cancel_resets(&mut write, account).await?;
        mail::void_resets(&mut write, account).await?;
        finish(write, account, until, audit).await
    }

    async fn reset_password(
        &self,
        token: &TokenHash,
        to: &PasswordHash,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Option<Revocation>> {
        let Some(account) = audit.account else {
            return Ok(None);
        };
        let mut write = self.database.write(RESETTING).await?;
        let changed = Statement::new(
            RESETTING,
            "UPDATE account SET password_hash = $1, email_verified_at = COALESCE(email_verified_at, $2)
             WHERE id = $3 AND tenant_id = $4 AND status = 'active'",
        )
        .bind(to.expose())
        .bind(audit.at.0)
        .bind(account.to_string())
        .bind(TENANT)
        .execute(&mut write)
        .await?;
        mail::cancel_resets(&mut write, account).await?;
        // Of any number that come with one token the first spends it, and what the others wrote never happened.
        let spent = mail::spend(&mut write, token, MailKind::ResetPassword, audit.at).await?;
        if changed == 0 || spent != Some(account) {
            return Ok(None);
        }
        finish(write, account, until, audit).await
    }
}

async fn finish(
    mut write: Write,
    account: AccountId,
    until: UnixMillis,
    audit: &AuditEntry,
) -> StoreResult<Option<Revocation>> {
    mail::insert(
        &mut write,
        Some(account),
        MailKind::PasswordChanged,
        audit.at,
    )
    .await?;
    let ended = sessions::end_all(&mut write, account, until, audit).await?;
    write.commit().await?;
    Ok(ended)
}
