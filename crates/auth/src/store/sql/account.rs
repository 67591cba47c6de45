//! Accounts and their roles. Never returns a row it cannot fully read.

use std::collections::BTreeSet;

use super::super::{AccountCreation, PageLimit, StoreResult};
use super::database::{Database, Write};
use super::statement::{Row, Statement};
use super::{TENANT, audit, mail, permission, revocation};
use crate::domain::{
    Account, AccountId, AccountStatus, AuditEntry, AuditEvent, Email, MailKind, PasswordHash,
    Revocation, Role, Tier, UnixMillis,
};

const FINDING: &str = "finding an account";
const PINGING: &str = "asking the database for a sign of life";
const CREATING: &str = "creating an account";

pub(super) async fn create(
    database: &Database,
    account: &Account,
    entry: &AuditEntry,
) -> StoreResult<AccountCreation> {
    let mut write = database.write(CREATING).await?;
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
    let kind = match created {
        AccountCreation::Created => MailKind::VerifyEmail,
        AccountCreation::EmailTaken => MailKind::RegisteredAgain,
    };
    mail::insert(&mut write, line.account, kind, line.at).await?;
    audit::insert(&mut write, &line).await?;
    write.commit().await?;
    Ok(created)
}

async fn owner(write: &mut Write, email: &Email) -> StoreResult<Option<AccountId>> {
    Statement::new(
        CREATING,
        "SELECT id FROM account WHERE tenant_id = $1 AND email IN ($2, $3) ORDER BY email = $3 DESC LIMIT 1",
    )
    .bind(TENANT)
    .bind(email.as_str())
    .bind(email.as_stored_before())
    .fetch_optional(&mut *write)
    .await?
    .map(|row| row.read("account id", AccountId::parse(row.text("id")?)))
    .transpose()
}

pub(super) async fn insert(write: &mut Write, account: &Account) -> StoreResult<AccountCreation> {
    let inserted = Statement::new(
        CREATING,
        "INSERT INTO account (id, tenant_id, email, password_hash, status, created_at, tier)
         SELECT $1, $2, $3, $4, $5, $6, $7 WHERE NOT EXISTS (SELECT 1 FROM account WHERE tenant_id = $2 AND email = $8)
         ON CONFLICT (tenant_id, email) DO NOTHING",
    )
    .bind(account.id.to_string())
    .bind(TENANT)
    .bind(account.email.as_str())
    .bind(account.password_hash.expose())
    .bind(account.status.as_str())
    .bind(account.created_at.0)
    .bind(account.tier.as_str())
    .bind(account.email.as_stored_before())
    .execute(&mut *write)
    .await?;
    if inserted == 0 {
        return Ok(AccountCreation::EmailTaken);
    }
    insert_roles(write, account.id, &account.roles).await?;
    Ok(AccountCreation::Created)
}

async fn insert_roles(write: &mut Write, id: AccountId, roles: &BTreeSet<Role>) -> StoreResult<()> {
    for role in roles {
        Statement::new(
            "storing a role",
            "INSERT INTO account_role (account_id, role) VALUES ($1, $2)",
        )
        .bind(id.to_string())
        .bind(role.as_str())
        .execute(&mut *write)
        .await?;
    }
    Ok(())
}

pub(super) async fn by_email(database: &Database, email: &Email) -> StoreResult<Option<Account>> {
    Statement::new(FINDING, "SELECT a.id AS account_id, a.email, a.password_hash, a.status, a.created_at AS account_created_at, a.tier,
                (SELECT string_agg(role, ',') FROM account_role WHERE account_id = a.id) AS roles
         FROM account a WHERE a.tenant_id = $1 AND a.email IN ($2, $3) ORDER BY a.email = $3 DESC LIMIT 1")
    .bind(TENANT)
    .bind(email.as_str())
    .bind(email.as_stored_before()).soon().fetch_optional(database).await?
    .map(|row| from_row(&row))
    .transpose()
}

pub(super) async fn by_id(database: &Database, id: AccountId) -> StoreResult<Option<Account>> {
    Statement::new(FINDING, "SELECT a.id AS account_id, a.email, a.password_hash, a.status, a.created_at AS account_created_at, a.tier,
                (SELECT string_agg(role, ',') FROM account_role WHERE account_id = a.id) AS roles
         FROM account a WHERE a.tenant_id = $1 AND a.id = $2")
    .bind(TENANT)
    .bind(id.to_string()).fetch_optional(database).await?
    .map(|row| from_row(&row))
    .transpose()
}

pub(super) async fn page(
    database: &Database,
    after: Option<&Email>,
    limit: PageLimit,
) -> StoreResult<Vec<Account>> {
    Statement::new("listing accounts", "SELECT a.id AS account_id, a.email, a.password_hash, a.status, a.created_at AS account_created_at, a.tier,
                (SELECT string_agg(role, ',') FROM account_role WHERE account_id = a.id) AS roles
         FROM account a WHERE a.tenant_id = $1 AND a.email > $2 ORDER BY a.email LIMIT $3")
    .bind(TENANT)
    // No address is empty: this is before the first.
    .bind(after.map_or("", Email::as_str))
    .bind(limit.rows()).fetch_all(database).await?
    .iter()
    .map(from_row)
    .collect()
}

pub(super) async fn set_status(
    database: &Database,
    id: AccountId,
    status: AccountStatus,
    until: UnixMillis,
    entry: &AuditEntry,
) -> StoreResult<bool> {
    const DOING: &str = "changing the status of an account";
    let mut write = database.write_vital(DOING).await?;
    let changed = Statement::new(
        DOING,
        "UPDATE account SET status = $1 WHERE id = $2 AND tenant_id = $3",
    )
    .bind(status.as_str())
    .bind(id.to_string())
    .bind(TENANT)
    .execute(&mut write)
    .await?;
    if changed == 0 {
        return Ok(false);
    }
    permission::raise_version(&mut write, entry.at).await?;
    audit::insert(&mut write, entry).await?;
    if status == AccountStatus::Disabled {
        Statement::new(DOING, "UPDATE refresh_family SET revoked_at = $1 WHERE account_id = $2 AND revoked_at IS NULL")
            .bind(entry.at.0)
            .bind(id.to_string()).execute(&mut write).await?;
        let cut = Revocation::Account {
            sub: id,
            not_before: entry.at,
            until,
        };
        revocation::insert(&mut write, &cut).await?;
    }
    write.commit().await?;
    Ok(true)
}

pub(super) async fn set_roles(
    database: &Database,
    id: AccountId,
    roles: &BTreeSet<Role>,
    entry: &AuditEntry,
) -> StoreResult<bool> {
    const DOING: &str = "changing the roles of an account";
    let mut write = database.write(DOING).await?;
    write
        .hold(
            Statement::new(DOING, "SELECT 1 FROM account WHERE id = $1 FOR UPDATE")
                .bind(id.to_string()),
        )
        .await?;
    let found = Statement::new(
        DOING,
        "SELECT 1 FROM account WHERE id = $1 AND tenant_id = $2",
    )
    .bind(id.to_string())
    .bind(TENANT)
    .fetch_optional(&mut write)
    .await?;
    if found.is_none() {
        return Ok(false);
    }
    Statement::new(DOING, "DELETE FROM account_role WHERE account_id = $1")
        .bind(id.to_string())
        .execute(&mut write)
        .await?;
    insert_roles(&mut write, id, roles).await?;
    permission::raise_version(&mut write, entry.at).await?;
    audit::insert(&mut write, entry).await?;
    write.commit().await?;
    Ok(true)
}

pub(super) async fn upgrade_password_hash(
    database: &Database,
    id: AccountId,
    from: &PasswordHash,
    to: &PasswordHash,
) -> StoreResult<bool> {
    const DOING: &str = "upgrading a password hash";
    let mut write = database.write(DOING).await?;
    let changed = Statement::new(DOING, "UPDATE account SET password_hash = $1 WHERE id = $2 AND tenant_id = $3 AND password_hash = $4")
        .bind(to.expose())
        .bind(id.to_string())
        .bind(TENANT)
        .bind(from.expose()).execute(&mut write).await?;
    write.commit().await?;
    Ok(changed == 1)
}

/// Reads from our own table: a database without our schema is not an answer.
pub(super) async fn ping(database: &Database) -> StoreResult<()> {
    Statement::new(PINGING, "SELECT id FROM account LIMIT 1")
        .vital()
        .fetch_optional(database)
        .await?;
    database.still_in_place(PINGING)
}

/// Reads the account columns of a row, under the names that every query here gives them.
pub(super) fn from_row(row: &Row) -> StoreResult<Account> {
    let roles = row.optional_text("roles")?.unwrap_or_default();
    let roles = roles
        .split_terminator(',')
        .map(|role| Role::parse(role).ok())
        .collect::<Option<_>>();
    Ok(Account {
        id: row.read("account id", AccountId::parse(row.text("account_id")?))?,
        email: row.read("email address", Email::from_store(row.text("email")?).ok())?,
        password_hash: PasswordHash::from_phc(row.text("password_hash")?.to_owned()),
        status: row.read("account status", AccountStatus::parse(row.text("status")?))?,
        roles: row.read("role", roles)?,
        tier: Tier::read(row.text("tier")?),
        created_at: UnixMillis(row.number("account_created_at")?),
    })
}
