//! The one-time set-up token. Never creates a second first administrator.

use super::super::{AccountCreation, SetupCreation, SetupOutcome, StoreResult};
use super::database::{Database, Queue};
use super::statement::Statement;
use super::{TENANT, account, audit};
use crate::domain::{Account, AuditEntry, Role, TokenHash, UnixMillis};

const CREATING: &str = "creating the set-up token";
const CONSUMING: &str = "using the set-up token";

pub(super) async fn create(
    database: &Database,
    token: &TokenHash,
    expires_at: UnixMillis,
    now: UnixMillis,
) -> StoreResult<SetupCreation> {
    let mut write = database.write(CREATING).await?;
    write.wait_in(Queue::SetupToken).await?;
    let stored = Statement::new(CREATING, "INSERT INTO setup_token (tenant_id, hash, created_at, expires_at)
         SELECT $1, $2, $3, $4
         WHERE NOT EXISTS (SELECT 1 FROM account_role r JOIN account a ON a.id = r.account_id WHERE r.role = $5 AND a.tenant_id = $1)
         ON CONFLICT (tenant_id) DO UPDATE SET hash = excluded.hash, created_at = excluded.created_at,
             expires_at = excluded.expires_at, spent_at = NULL")
    .bind(TENANT)
    .bind(token.as_bytes().as_slice())
    .bind(now.0)
    .bind(expires_at.0)
    .bind(Role::ADMIN).execute(&mut write).await?;
    write.commit().await?;
    Ok(match stored {
        0 => SetupCreation::AdministratorExists,
        _ => SetupCreation::Created,
    })
}

pub(super) async fn consume(
    database: &Database,
    token: &TokenHash,
    administrator: &Account,
    entry: &AuditEntry,
) -> StoreResult<SetupOutcome> {
    let mut write = database.write(CONSUMING).await?;
    write.wait_in(Queue::SetupToken).await?;
    let spent = Statement::new(CONSUMING, "UPDATE setup_token SET spent_at = $1
         WHERE tenant_id = $2 AND hash = $3 AND spent_at IS NULL AND expires_at > $1
           AND NOT EXISTS (SELECT 1 FROM account_role r JOIN account a ON a.id = r.account_id WHERE r.role = $4 AND a.tenant_id = $2)")
    .bind(entry.at.0)
    .bind(TENANT)
    .bind(token.as_bytes().as_slice())
    .bind(Role::ADMIN).execute(&mut write).await?;
    if spent == 0 {
        return Ok(SetupOutcome::InvalidToken);
    }
    // Returning without commit gives the token back.
    if account::insert(&mut write, administrator).await? == AccountCreation::EmailTaken {
        return Ok(SetupOutcome::EmailTaken);
    }
    audit::insert(&mut write, entry).await?;
    write.commit().await?;
    Ok(SetupOutcome::Created)
}
