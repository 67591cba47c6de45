//! The audit log. Only ever appended to here.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::{PageLimit, StoreResult};
use super::file::DatabaseFile;
use super::{Attempt as _, TENANT, Writer, read};
use crate::domain::{AccountId, AuditEntry, AuditEvent, SessionId, UnixMillis};

const WRITING: &str = "writing the audit log";
const READING: &str = "reading the audit log";

pub(super) async fn append(file: &DatabaseFile, entry: &AuditEntry) -> StoreResult<()> {
    let mut write = file.write(WRITING).await?;
    insert(&mut write, entry).await?;
    write.commit().await.attempting(WRITING)
}

pub(super) async fn insert(write: Writer<'_>, entry: &AuditEntry) -> StoreResult<()> {
    sqlx::query("INSERT INTO audit (tenant_id, at, event, account_id, session_id, client) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
        .bind(TENANT)
        .bind(entry.at.0)
        .bind(entry.event.as_str())
        .bind(entry.account.map(|id| id.to_string()))
        .bind(entry.session.map(|id| id.to_string()))
        .bind(entry.client.map(|addr| addr.to_string()))
        .execute(write)
        .await
        .attempting(WRITING)?;
    Ok(())
}

pub(super) async fn recent(file: &DatabaseFile, limit: PageLimit) -> StoreResult<Vec<AuditEntry>> {
    sqlx::query("SELECT at, event, account_id, session_id, client FROM audit WHERE tenant_id = ?1 ORDER BY id DESC LIMIT ?2")
        .bind(TENANT)
        .bind(limit.rows())
        .fetch_all(file.readers())
        .await
        .attempting(READING)?
        .iter()
        .map(from_row)
        .collect()
}

fn from_row(row: &SqliteRow) -> StoreResult<AuditEntry> {
    let optional = |column: &str| row.try_get::<Option<&str>, _>(column).attempting(READING);
    let event = AuditEvent::parse(row.try_get("event").attempting(READING)?);
    Ok(AuditEntry {
        at: UnixMillis(row.try_get("at").attempting(READING)?),
        event: read(READING, "audit event", event)?,
        account: optional("account_id")?
            .map(|text| read(READING, "account id", AccountId::parse(text)))
            .transpose()?,
        session: optional("session_id")?
            .map(|text| read(READING, "session id", SessionId::parse(text)))
            .transpose()?,
        client: optional("client")?
            .map(|text| read(READING, "client address", text.parse().ok()))
            .transpose()?,
    })
}
