//! The audit log. Only ever appended to here.

use super::super::{PageLimit, StoreResult};
use super::TENANT;
use super::database::{Database, Write};
use super::statement::{Row, Statement};
use crate::domain::{AccountId, AuditEntry, AuditEvent, SessionId, UnixMillis};

const WRITING: &str = "writing the audit log";
const READING: &str = "reading the audit log";

pub(super) async fn append(database: &Database, entry: &AuditEntry) -> StoreResult<()> {
    let mut write = database.write(WRITING).await?;
    insert(&mut write, entry).await?;
    write.commit().await
}

/// Nothing where nobody wants a trail.
pub(super) async fn insert(write: &mut Write, entry: &AuditEntry) -> StoreResult<()> {
    if !write.is_audited {
        return Ok(());
    }
    Statement::new(WRITING, "INSERT INTO audit (tenant_id, at, event, account_id, session_id, client) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(TENANT)
        .bind(entry.at.0)
        .bind(entry.event.as_str())
        .bind(entry.account.map(|id| id.to_string()))
        .bind(entry.session.map(|id| id.to_string()))
        .bind(entry.client.map(|addr| addr.to_string())).execute(write).await?;
    Ok(())
}

pub(super) async fn recent(database: &Database, limit: PageLimit) -> StoreResult<Vec<AuditEntry>> {
    Statement::new(READING, "SELECT at, event, account_id, session_id, client FROM audit WHERE tenant_id = $1 ORDER BY id DESC LIMIT $2")
        .bind(TENANT)
        .bind(limit.rows()).fetch_all(database).await?
        .iter()
        .map(from_row)
        .collect()
}

fn from_row(row: &Row) -> StoreResult<AuditEntry> {
    let event = AuditEvent::parse(row.text("event")?);
    Ok(AuditEntry {
        at: UnixMillis(row.number("at")?),
        event: row.read("audit event", event)?,
        account: row
            .optional_text("account_id")?
            .map(|text| row.read("account id", AccountId::parse(text)))
            .transpose()?,
        session: row
            .optional_text("session_id")?
            .map(|text| row.read("session id", SessionId::parse(text)))
            .transpose()?,
        client: row
            .optional_text("client")?
            .map(|text| row.read("client address", text.parse().ok()))
            .transpose()?,
    })
}
