//! Accounts and their roles. Never returns a row it cannot fully read.

use std::collections::BTreeSet;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::{AccountCreation, PageLimit, StoreResult};
use super::file::DatabaseFile;
use super::{Attempt as _, TENANT, Writer, audit, is_taken, read, revocation};
use crate::domain::{
    Account, AccountId, AccountStatus, AuditEntry, AuditEvent, Email, PasswordHash, Revocation,
    Role, UnixMillis,
};

const FINDING: &str = "finding an account";
const CREATING: &str = "creating an account";

pub(super) async fn create(
    file: &DatabaseFile,
    account: &Account,
    entry: &AuditEntry,
) -> StoreResult<AccountCreation> {
    let mut write = file.write(CREATING).await?;
    let created = insert(&mut write, account).await?;
    let line = match created {
        AccountCreation::Created => entry.clone(),
        // A commit waits for the disk: without one of its own, this ending would come visibly sooner.
        AccountCreation::EmailTaken => AuditEntry {
            event: AuditEvent::RegisteredAgain,
            account: owner(&mut write, &account.email).await?,
            ..entry.clone()
        },
    };
    audit::insert(&mut write, &line).await?;
    write.commit().await.attempting(CREATING)?;
    Ok(created)
}

async fn owner(write: Writer<'_>, email: &Email) -> StoreResult<Option<AccountId>> {
    sqlx::query("SELECT id FROM account WHERE tenant_id = ?1 AND email = ?2")
        .bind(TENANT)
        .bind(email.as_str())
        .fetch_optional(write)
        .await
        .attempting(CREATING)?
        .map(|row| {
            let id = row.try_get("id").attempting(CREATING)?;
            read(CREATING, "account id", AccountId::parse(id))
        })
        .transpose()
}

pub(super) async fn insert(write: Writer<'_>, account: &Account) -> StoreResult<AccountCreation> {
    let inserted = sqlx::query(
        "INSERT INTO account (id, tenant_id, email, password_hash, status, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(account.id.to_string())
    .bind(TENANT)
    .bind(account.email.as_str())
    .bind(account.password_hash.expose())
    .bind(account.status.as_str())
    .bind(account.created_at.0)
    .execute(&mut *write)
    .await;
    if is_taken(&inserted) {
        return Ok(AccountCreation::EmailTaken);
    }
    inserted.attempting(CREATING)?;
    insert_roles(write, account.id, &account.roles).await?;
    Ok(AccountCreation::Created)
}

async fn insert_roles(write: Writer<'_>, id: AccountId, roles: &BTreeSet<Role>) -> StoreResult<()> {
    for role in roles {
        sqlx::query("INSERT INTO account_role (account_id, role) VALUES (?1, ?2)")
            .bind(id.to_string())
            .bind(role.as_str())
            .execute(&mut *write)
            .await
            .attempting("storing a role")?;
    }
    Ok(())
}

pub(super) async fn by_email(file: &DatabaseFile, email: &Email) -> StoreResult<Option<Account>> {
    sqlx::query(
        "SELECT a.id AS account_id, a.email, a.password_hash, a.status, a.created_at AS account_created_at,
                (SELECT group_concat(role, ',') FROM account_role WHERE account_id = a.id) AS roles
         FROM account a WHERE a.tenant_id = ?1 AND a.email = ?2",
    )
    .bind(TENANT)
    .bind(email.as_str())
    .fetch_optional(file.readers())
    .await
    .attempting(FINDING)?
    .map(|row| from_row(&row))
    .transpose()
}

pub(super) async fn by_id(file: &DatabaseFile, id: AccountId) -> StoreResult<Option<Account>> {
    sqlx::query(
        "SELECT a.id AS account_id, a.email, a.password_hash, a.status, a.created_at AS account_created_at,
                (SELECT group_concat(role, ',') FROM account_role WHERE account_id = a.id) AS roles
         FROM account a WHERE a.tenant_id = ?1 AND a.id = ?2",
    )
    .bind(TENANT)
    .bind(id.to_string())
    .fetch_optional(file.readers())
    .await
    .attempting(FINDING)?
    .map(|row| from_row(&row))
    .transpose()
}

pub(super) async fn page(
    file: &DatabaseFile,
    after: Option<&Email>,
    limit: PageLimit,
) -> StoreResult<Vec<Account>> {
    sqlx::query(
        "SELECT a.id AS account_id, a.email, a.password_hash, a.status, a.created_at AS account_created_at,
                (SELECT group_concat(role, ',') FROM account_role WHERE account_id = a.id) AS roles
         FROM account a WHERE a.tenant_id = ?1 AND a.email > ?2 ORDER BY a.email LIMIT ?3",
    )
    .bind(TENANT)
    // No address is empty: this is before the first.
    .bind(after.map_or("", Email::as_str))
    .bind(limit.rows())
    .fetch_all(file.readers())
    .await
    .attempting("listing accounts")?
    .iter()
    .map(from_row)
    .collect()
}

pub(super) async fn set_status(
    file: &DatabaseFile,
    id: AccountId,
    status: AccountStatus,
    until: UnixMillis,
    entry: &AuditEntry,
) -> StoreResult<bool> {
    const DOING: &str = "changing the status of an account";
    let mut write = file.write(DOING).await?;
    let changed = sqlx::query("UPDATE account SET status = ?1 WHERE id = ?2 AND tenant_id = ?3")
        .bind(status.as_str())
        .bind(id.to_string())
        .bind(TENANT)
        .execute(&mut *write)
        .await
        .attempting(DOING)?;
    if changed.rows_affected() == 0 {
        return Ok(false);
    }
    if status == AccountStatus::Disabled {
        sqlx::query("UPDATE refresh_family SET revoked_at = ?1 WHERE account_id = ?2 AND revoked_at IS NULL")
            .bind(entry.at.0)
            .bind(id.to_string())
            .execute(&mut *write)
            .await
            .attempting(DOING)?;
        let cut = Revocation::Account {
            sub: id,
            not_before: entry.at,
            until,
        };
        revocation::insert(&mut write, &cut).await?;
    }
    audit::insert(&mut write, entry).await?;
    write.commit().await.attempting(DOING)?;
    Ok(true)
}

pub(super) async fn set_roles(
    file: &DatabaseFile,
    id: AccountId,
    roles: &BTreeSet<Role>,
    entry: &AuditEntry,
) -> StoreResult<bool> {
    const DOING: &str = "changing the roles of an account";
    let mut write = file.write(DOING).await?;
    let found = sqlx::query("SELECT 1 FROM account WHERE id = ?1 AND tenant_id = ?2")
        .bind(id.to_string())
        .bind(TENANT)
        .fetch_optional(&mut *write)
        .await
        .attempting(DOING)?;
    if found.is_none() {
        return Ok(false);
    }
    sqlx::query("DELETE FROM account_role WHERE account_id = ?1")
        .bind(id.to_string())
        .execute(&mut *write)
        .await
        .attempting(DOING)?;
    insert_roles(&mut write, id, roles).await?;
    audit::insert(&mut write, entry).await?;
    write.commit().await.attempting(DOING)?;
    Ok(true)
}

pub(super) async fn upgrade_password_hash(
    file: &DatabaseFile,
    id: AccountId,
    from: &PasswordHash,
    to: &PasswordHash,
) -> StoreResult<bool> {
    const DOING: &str = "upgrading a password hash";
    let mut write = file.write(DOING).await?;
    let changed = sqlx::query("UPDATE account SET password_hash = ?1 WHERE id = ?2 AND tenant_id = ?3 AND password_hash = ?4")
        .bind(to.expose())
        .bind(id.to_string())
        .bind(TENANT)
        .bind(from.expose())
        .execute(&mut *write)
        .await
        .attempting(DOING)?;
    write.commit().await.attempting(DOING)?;
    Ok(changed.rows_affected() == 1)
}

/// Reads from our own table: a file without our schema is not an answer.
pub(super) async fn ping(file: &DatabaseFile) -> StoreResult<()> {
    const DOING: &str = "asking the database for a sign of life";
    sqlx::query("SELECT 1 FROM account LIMIT 1")
        .fetch_optional(file.readers())
        .await
        .attempting(DOING)?;
    file.still_in_place(DOING)
}

/// Reads the account columns of a row, under the names that every query here gives them.
pub(super) fn from_row(row: &SqliteRow) -> StoreResult<Account> {
    let text = |column: &str| row.try_get::<&str, _>(column).attempting(FINDING);
    let roles = row
        .try_get::<Option<&str>, _>("roles")
        .attempting(FINDING)?
        .unwrap_or_default();
    let roles = roles
        .split_terminator(',')
        .map(|role| Role::parse(role).ok())
        .collect::<Option<_>>();
    Ok(Account {
        id: read(FINDING, "account id", AccountId::parse(text("account_id")?))?,
        email: read(FINDING, "email address", Email::parse(text("email")?).ok())?,
        password_hash: PasswordHash::from_phc(text("password_hash")?.to_owned()),
        status: read(
            FINDING,
            "account status",
            AccountStatus::parse(text("status")?),
        )?,
        roles: read(FINDING, "role", roles)?,
        created_at: UnixMillis(row.try_get("account_created_at").attempting(FINDING)?),
    })
}
