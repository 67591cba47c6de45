//! Living instances as rows, for those that share a database and nothing else. Never more than a registry holds.

use std::time::Duration;

use super::super::StoreResult;
use super::TENANT;
use super::database::Database;
use super::statement::{Row, Statement};
use crate::domain::{InstanceRecord, InstanceState, UnixMillis};

const REPORTING: &str = "reporting an instance to the database";
const LEAVING: &str = "taking an instance out of the database";
const LISTING: &str = "listing instances in the database";

/// No cluster of ours has more.
const MAX_INSTANCES: i64 = 1000;

pub(super) async fn report(
    database: &Database,
    instance: &InstanceRecord,
    ttl: Duration,
    now: UnixMillis,
) -> StoreResult<()> {
    let mut write = database.write(REPORTING).await?;
    Statement::new(
        REPORTING,
        "INSERT INTO instance (id, tenant_id, address, version, fingerprint, state, started_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (id) DO UPDATE SET address = excluded.address, version = excluded.version,
             fingerprint = excluded.fingerprint, state = excluded.state, started_at = excluded.started_at,
             expires_at = excluded.expires_at",
    )
    .bind(&instance.id)
    .bind(TENANT)
    .bind(&instance.address)
    .bind(&instance.version)
    .bind(&instance.fingerprint)
    .bind(instance.state.as_str())
    .bind(instance.started_at.0)
    .bind(now.plus(ttl).0)
    .execute(&mut write)
    .await?;
    write.commit().await
}

pub(super) async fn leave(database: &Database, id: &str) -> StoreResult<()> {
    let mut write = database.write(LEAVING).await?;
    Statement::new(LEAVING, "DELETE FROM instance WHERE id = $1")
        .bind(id)
        .execute(&mut write)
        .await?;
    write.commit().await
}

pub(super) async fn living(
    database: &Database,
    now: UnixMillis,
) -> StoreResult<Vec<InstanceRecord>> {
    Statement::new(
        LISTING,
        "SELECT id, address, version, fingerprint, state, started_at FROM instance
         WHERE tenant_id = $1 AND expires_at > $2 ORDER BY id LIMIT $3",
    )
    .bind(TENANT)
    .bind(now.0)
    .bind(MAX_INSTANCES)
    .fetch_all(database)
    .await?
    .iter()
    .map(from_row)
    .collect()
}

fn from_row(row: &Row) -> StoreResult<InstanceRecord> {
    let state = InstanceState::parse(row.text("state")?);
    Ok(InstanceRecord {
        id: row.text("id")?.to_owned(),
        address: row.text("address")?.to_owned(),
        version: row.text("version")?.to_owned(),
        fingerprint: row.text("fingerprint")?.to_owned(),
        state: row.read("instance state", state)?,
        started_at: UnixMillis(row.number("started_at")?),
    })
}
