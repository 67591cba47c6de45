//! Settings that all instances read. A value that is taken back leaves its row, so that whoever reads sees a newer
//! version.

use async_trait::async_trait;

use super::super::{SettingStore, StoreResult};
use super::database::{Database, Queue};
use super::statement::{Row, Statement};
use super::{SqlStore, TENANT, audit};
use crate::domain::{AuditEntry, StoredSetting, UnixMillis};

const READING: &str = "reading the settings";
const CHANGING: &str = "changing a setting";
/// More than there are names.
const ROWS_MAX: u16 = 100;

#[async_trait]
impl SettingStore for SqlStore {
    async fn settings(&self) -> StoreResult<Vec<StoredSetting>> {
        all(&self.database).await
    }

    async fn set_setting(
        &self,
        name: &str,
        value: Option<&str>,
        audit: &AuditEntry,
    ) -> StoreResult<i64> {
        set(&self.database, name, value, audit).await
    }
}

async fn all(database: &Database) -> StoreResult<Vec<StoredSetting>> {
    Statement::new(
        READING,
        "SELECT name, value, version, changed_at, changed_by FROM setting WHERE tenant_id = $1 ORDER BY name LIMIT $2",
    )
    .bind(TENANT)
    .bind(ROWS_MAX)
    .fetch_all(database)
    .await?
    .iter()
    .map(from_row)
    .collect()
}

async fn set(
    database: &Database,
    name: &str,
    value: Option<&str>,
    entry: &AuditEntry,
) -> StoreResult<i64> {
    let mut write = database.write(CHANGING).await?;
    write.wait_in(Queue::Settings).await?;
    let newest = Statement::new(
        CHANGING,
        "SELECT COALESCE(max(version), 0) AS version FROM setting WHERE tenant_id = $1",
    )
    .bind(TENANT)
    .fetch_optional(&mut write)
    .await?;
    let newest = newest.map_or(Ok(0), |row| row.number("version"))?;
    let version = newest.saturating_add(1);
    let (kind, id) = entry.actor.parts();
    let by = id.map_or(kind.to_owned(), |id| format!("{kind}:{id}"));
    Statement::new(
        CHANGING,
        "INSERT INTO setting (tenant_id, name, value, version, changed_at, changed_by) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tenant_id, name) DO UPDATE SET value = excluded.value, version = excluded.version,
             changed_at = excluded.changed_at, changed_by = excluded.changed_by",
    )
    .bind(TENANT)
    .bind(name)
    .bind(value)
    .bind(version)
    .bind(entry.at.0)
    .bind(by)
    .execute(&mut write)
    .await?;
    audit::insert(&mut write, entry).await?;
    write.commit().await?;
    Ok(version)
}

fn from_row(row: &Row) -> StoreResult<StoredSetting> {
    Ok(StoredSetting {
        name: row.text("name")?.to_owned(),
        value: row.optional_text("value")?.map(str::to_owned),
        version: row.number("version")?,
        changed_at: UnixMillis(row.number("changed_at")?),
        changed_by: row.text("changed_by")?.to_owned(),
    })
}
