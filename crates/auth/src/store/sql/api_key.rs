//! API keys as rows: their hashes, never themselves.

use super::super::authorization::ApiKeyCreation;
use super::super::{PageLimit, StoreResult};
use super::database::{Database, Write};
use super::statement::{Row, Statement};
use super::{TENANT, audit, permission, revocation};
use crate::domain::{
    AccountId, ApiKey, ApiKeyId, ApiKeyName, AuditEntry, ClientName, Revocation, SubjectId,
    TokenHash, UnixMillis,
};

/// Good keys of one owner: rotation needs two for each place they are used in.
const KEYS_MAX: i64 = 100;
/// Ended keys of one owner that are kept for its lists.
const ENDED_MAX: i64 = 100;

const CREATING: &str = "creating an API key";
const FINDING: &str = "finding an API key";

pub(super) async fn create(
    database: &Database,
    key: &ApiKey,
    hash: &TokenHash,
    entry: &AuditEntry,
) -> StoreResult<ApiKeyCreation> {
    let mut write = database.write(CREATING).await?;
    if !is_owner_active(&mut write, &key.owner).await? {
        return Ok(ApiKeyCreation::OwnerNotActive);
    }
    let (account, client) = owner_columns(&key.owner);
    let row = Statement::new(
        CREATING,
        "SELECT count(*) AS good FROM api_key
         WHERE (account_id = $1 OR (tenant_id = $2 AND client = $3)) AND revoked_at IS NULL
           AND (expires_at IS NULL OR expires_at > $4)",
    )
    .bind(account.clone())
    .bind(TENANT)
    .bind(client.clone())
    .bind(entry.at.0)
    .fetch_optional(&mut write)
    .await?;
    if row.is_some_and(|row| row.number("good").is_ok_and(|good| good >= KEYS_MAX)) {
        return Ok(ApiKeyCreation::TooMany);
    }
    // Whoever makes and revokes keys all day leaves no more behind than this.
    Statement::new(
        CREATING,
        "DELETE FROM api_key WHERE id IN (SELECT id FROM api_key
         WHERE (account_id = $1 OR (tenant_id = $2 AND client = $3)) AND (revoked_at IS NOT NULL OR expires_at <= $4)
         ORDER BY created_at DESC LIMIT 1000 OFFSET $5)",
    )
    .bind(account.clone())
    .bind(TENANT)
    .bind(client.clone())
    .bind(entry.at.0)
    .bind(ENDED_MAX)
    .execute(&mut write)
    .await?;
    let names: Vec<&str> = key.permissions.iter().map(|grant| grant.as_str()).collect();
    Statement::new(
        CREATING,
        "INSERT INTO api_key (id, tenant_id, hash, prefix, name, account_id, client, permissions, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(key.id.to_string())
    .bind(TENANT)
    .bind(hash.as_bytes().as_slice())
    .bind(&key.prefix)
    .bind(key.name.as_str())
    .bind(account)
    .bind(client)
    .bind(names.join(","))
    .bind(key.created_at.0)
    .bind(key.expires_at.map(|end| end.0))
    .execute(&mut write)
    .await?;
    audit::insert(&mut write, entry).await?;
    write.commit().await?;
    Ok(ApiKeyCreation::Created)
}

/// Holds the owner's row, so that of many that create at once none is one too many.
async fn is_owner_active(write: &mut Write, owner: &SubjectId) -> StoreResult<bool> {
    let (hold, ask) = match owner {
        SubjectId::Account(_) => (
            "SELECT 1 FROM account WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
            "SELECT 1 FROM account WHERE tenant_id = $1 AND id = $2 AND status = 'active'",
        ),
        SubjectId::Client(_) => (
            "SELECT 1 FROM client WHERE tenant_id = $1 AND name = $2 FOR UPDATE",
            "SELECT 1 FROM client WHERE tenant_id = $1 AND name = $2 AND status = 'active'",
        ),
    };
    let name = match owner {
        SubjectId::Account(id) => id.to_string(),
        SubjectId::Client(name) => name.as_str().to_owned(),
    };
    let statement = |text| Statement::new(CREATING, text).bind(TENANT).bind(&name);
    write.hold(statement(hold)).await?;
    Ok(statement(ask).fetch_optional(write).await?.is_some())
}

pub(super) async fn by_hash(database: &Database, hash: &TokenHash) -> StoreResult<Option<ApiKey>> {
    Statement::new(
        FINDING,
        "SELECT id, account_id, client, name, prefix, permissions, created_at, expires_at, revoked_at, last_used_at
         FROM api_key WHERE hash = $1 AND tenant_id = $2",
    )
    .bind(hash.as_bytes().as_slice())
    .bind(TENANT)
    .fetch_optional(database)
    .await?
    .map(|row| from_row(&row))
    .transpose()
}

pub(super) async fn by_id(database: &Database, id: ApiKeyId) -> StoreResult<Option<ApiKey>> {
    Statement::new(
        FINDING,
        "SELECT id, account_id, client, name, prefix, permissions, created_at, expires_at, revoked_at, last_used_at
         FROM api_key WHERE id = $1 AND tenant_id = $2",
    )
    .bind(id.to_string())
    .bind(TENANT)
    .fetch_optional(database)
    .await?
    .map(|row| from_row(&row))
    .transpose()
}

pub(super) async fn of_owner(
    database: &Database,
    owner: &SubjectId,
    limit: PageLimit,
) -> StoreResult<Vec<ApiKey>> {
    let (account, client) = owner_columns(owner);
    Statement::new(
        "listing API keys",
        "SELECT id, account_id, client, name, prefix, permissions, created_at, expires_at, revoked_at, last_used_at
         FROM api_key WHERE account_id = $1 OR (tenant_id = $2 AND client = $3)
         ORDER BY created_at DESC, id LIMIT $4",
    )
    .bind(account)
    .bind(TENANT)
    .bind(client)
    .bind(limit.rows())
    .fetch_all(database)
    .await?
    .iter()
    .map(from_row)
    .collect()
}

pub(super) async fn revoke(
    database: &Database,
    id: ApiKeyId,
    until: UnixMillis,
    entry: &AuditEntry,
) -> StoreResult<Option<Revocation>> {
    const DOING: &str = "revoking an API key";
    let mut write = database.write_vital(DOING).await?;
    let revoked = Statement::new(
        DOING,
        "UPDATE api_key SET revoked_at = $1 WHERE id = $2 AND tenant_id = $3 AND revoked_at IS NULL",
    )
    .bind(entry.at.0)
    .bind(id.to_string())
    .bind(TENANT)
    .execute(&mut write)
    .await?;
    if revoked == 0 {
        return Ok(None);
    }
    audit::insert(&mut write, entry).await?;
    let revocation = Revocation::Token {
        jti: id.to_string(),
        until,
    };
    revocation::insert(&mut write, &revocation).await?;
    write.commit().await?;
    Ok(Some(revocation))
}

pub(super) async fn note_use(
    database: &Database,
    id: ApiKeyId,
    now: UnixMillis,
    since: UnixMillis,
) -> StoreResult<()> {
    const DOING: &str = "noting the use of an API key";
    let mut write = database.write(DOING).await?;
    Statement::new(
        DOING,
        "UPDATE api_key SET last_used_at = $1
         WHERE id = $2 AND tenant_id = $3 AND (last_used_at IS NULL OR last_used_at <= $4)",
    )
    .bind(now.0)
    .bind(id.to_string())
    .bind(TENANT)
    .bind(since.0)
    .execute(&mut write)
    .await?;
    write.commit().await
}

/// NULL equals nothing: one of the two finds nobody.
fn owner_columns(owner: &SubjectId) -> (Option<String>, Option<String>) {
    match owner {
        SubjectId::Account(id) => (Some(id.to_string()), None),
        SubjectId::Client(name) => (None, Some(name.as_str().to_owned())),
    }
}

fn from_row(row: &Row) -> StoreResult<ApiKey> {
    let owner = match (
        row.optional_text("account_id")?,
        row.optional_text("client")?,
    ) {
        (Some(id), None) => AccountId::parse(id).map(SubjectId::Account),
        (None, Some(name)) => ClientName::parse(name).ok().map(SubjectId::Client),
        _ => None,
    };
    let instant = |column| Ok(row.optional_number(column)?.map(UnixMillis));
    Ok(ApiKey {
        id: row.read("API key's id", ApiKeyId::parse(row.text("id")?))?,
        owner: row.read("API key's owner", owner)?,
        name: row.read("API key's name", ApiKeyName::parse(row.text("name")?).ok())?,
        prefix: row.text("prefix")?.to_owned(),
        permissions: permission::permissions(row, Some(row.text("permissions")?))?,
        created_at: UnixMillis(row.number("created_at")?),
        expires_at: instant("expires_at")?,
        revoked_at: instant("revoked_at")?,
        last_used_at: instant("last_used_at")?,
    })
}
