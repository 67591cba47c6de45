//! Clients and their roles. Never a client's keys, which are rows of their own.

use std::collections::BTreeSet;

use super::super::authorization::Definition;
use super::super::{PageLimit, StoreResult};
use super::database::Database;
use super::permission::{Members, raise_version};
use super::statement::{Row, Statement};
use super::{TENANT, audit};
use crate::domain::{AccountStatus, AuditEntry, Client, ClientName, Role, Tier, UnixMillis};

/// Machines are made by hand or by a pipeline, not by users.
const CLIENTS_MAX: i64 = 1000;

pub(super) async fn page(
    database: &Database,
    after: Option<&ClientName>,
    limit: PageLimit,
) -> StoreResult<Vec<Client>> {
    Statement::new(
        "listing clients",
        "SELECT c.name, c.status, c.tier, c.created_at,
                (SELECT string_agg(role, ',') FROM client_role
                 WHERE tenant_id = c.tenant_id AND client = c.name) AS roles
         FROM client c WHERE c.tenant_id = $1 AND c.name > $2 ORDER BY c.name LIMIT $3",
    )
    .bind(TENANT)
    .bind(after.map_or("", ClientName::as_str))
    .bind(limit.rows())
    .fetch_all(database)
    .await?
    .iter()
    .map(from_row)
    .collect()
}

pub(super) async fn put(
    database: &Database,
    client: &Client,
    entry: &AuditEntry,
) -> StoreResult<Definition> {
    const DOING: &str = "storing a client";
    let mut write = database.write(DOING).await?;
    raise_version(&mut write, entry.at).await?;
    let status = match client.is_active {
        true => AccountStatus::Active,
        false => AccountStatus::Disabled,
    };
    Statement::new(
        DOING,
        "INSERT INTO client (tenant_id, name, status, tier, created_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (tenant_id, name) DO UPDATE SET status = excluded.status, tier = excluded.tier",
    )
    .bind(TENANT)
    .bind(client.name.as_str())
    .bind(status.as_str())
    .bind(client.tier.as_str())
    .bind(client.created_at.0)
    .execute(&mut write)
    .await?;
    let roles = client.roles.iter().map(Role::as_str);
    let members = Members {
        attempted: DOING,
        count: "SELECT count(*) AS owners FROM client WHERE tenant_id = $1",
        most: CLIENTS_MAX,
        remove: "DELETE FROM client_role WHERE tenant_id = $1 AND client = $2",
        insert: "INSERT INTO client_role (tenant_id, client, role) VALUES ($1, $2, $3)",
    };
    members
        .replace(write, client.name.as_str(), roles, entry)
        .await
}

pub(super) async fn remove(
    database: &Database,
    name: &ClientName,
    entry: &AuditEntry,
) -> StoreResult<bool> {
    const DOING: &str = "removing a client";
    let mut write = database.write(DOING).await?;
    raise_version(&mut write, entry.at).await?;
    let removed = Statement::new(
        DOING,
        "DELETE FROM client WHERE tenant_id = $1 AND name = $2",
    )
    .bind(TENANT)
    .bind(name.as_str())
    .execute(&mut write)
    .await?;
    if removed == 0 {
        return Ok(false);
    }
    audit::insert(&mut write, entry).await?;
    write.commit().await?;
    Ok(true)
}

fn from_row(row: &Row) -> StoreResult<Client> {
    let roles = row.optional_text("roles")?.unwrap_or_default();
    let roles = roles
        .split_terminator(',')
        .map(|role| Role::parse(role).ok())
        .collect::<Option<BTreeSet<_>>>();
    let status = row.read("status", AccountStatus::parse(row.text("status")?))?;
    Ok(Client {
        name: row.read("client's name", ClientName::parse(row.text("name")?).ok())?,
        is_active: status == AccountStatus::Active,
        tier: Tier::read(row.text("tier")?),
        roles: row.read("role", roles)?,
        created_at: UnixMillis(row.number("created_at")?),
    })
}
