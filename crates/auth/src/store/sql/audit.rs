//! The audit log. Only ever appended to here.

use super::super::{PageLimit, StoreResult};
use super::TENANT;
use super::database::{Database, Write};
use super::statement::{Row, Statement};
use crate::domain::{
    AccountId, Actor, AuditEntry, AuditEvent, AuditOutcome, RequestId, SessionId, UnixMillis,
};

const WRITING: &str = "writing the audit log";
const READING: &str = "reading the audit log";

pub(super) async fn append(database: &Database, entry: &AuditEntry) -> StoreResult<()> {
    let mut write = database.write(WRITING).await?;
    insert(&mut write, entry).await?;
    write.commit().await
}

/// Nothing where nobody wants a trail.
pub(super) async fn insert(write: &mut Write, entry: &AuditEntry) -> StoreResult<()> {
    // Whoever asked and whomever it is about must find it when they look.
    if let Actor::Account(actor) = entry.actor {
        write.concerns(actor);
    }
    if let Some(account) = entry.account {
        write.concerns(account);
    }
    let Some(line) = write.trail.kept(entry) else {
        return Ok(());
    };
    let statement = Statement::new(
        WRITING,
        "INSERT INTO audit (tenant_id, at, event, outcome, actor_kind, actor_id, account_id, session_id, object, client, request_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    );
    bind(statement.bind(TENANT), &line).execute(write).await?;
    Ok(())
}

/// Binds what a line says, in the order of its columns from `at` on.
pub(super) fn bind(statement: Statement, line: &AuditEntry) -> Statement {
    let (actor_kind, actor_id) = line.actor.parts();
    statement
        .bind(line.at.0)
        .bind(line.event.as_str())
        .bind(line.outcome.as_str())
        .bind(actor_kind)
        .bind(actor_id)
        .bind(line.account.map(|id| id.to_string()))
        .bind(line.session.map(|id| id.to_string()))
        .bind(line.object.clone())
        .bind(line.client.map(|addr| addr.to_string()))
        .bind(line.request.map(|id| id.to_string()))
}

pub(super) async fn recent(database: &Database, limit: PageLimit) -> StoreResult<Vec<AuditEntry>> {
    Statement::new(
        READING,
        "SELECT at, event, outcome, actor_kind, actor_id, account_id, session_id, object, client, request_id
         FROM audit WHERE tenant_id = $1 ORDER BY id DESC LIMIT $2",
    )
    .bind(TENANT)
    .bind(limit.rows())
    .fetch_all(database)
    .await?
    .iter()
    .map(from_row)
    .collect()
}

fn from_row(row: &Row) -> StoreResult<AuditEntry> {
    let event = row.read("audit event", AuditEvent::parse(row.text("event")?))?;
    let outcome = match row.optional_text("outcome")? {
        Some(text) => row.read("audit outcome", AuditOutcome::parse(text))?,
        // Written by an earlier release, which did not say.
        None => event.outcome(),
    };
    let actor = match row.optional_text("actor_kind")? {
        Some(kind) => row.read("actor", Actor::parse(kind, row.optional_text("actor_id")?))?,
        None => Actor::Unproven,
    };
    Ok(AuditEntry {
        at: UnixMillis(row.number("at")?),
        event,
        actor,
        outcome,
        account: row
            .optional_text("account_id")?
            .map(|text| row.read("account id", AccountId::parse(text)))
            .transpose()?,
        session: row
            .optional_text("session_id")?
            .map(|text| row.read("session id", SessionId::parse(text)))
            .transpose()?,
        object: row.optional_text("object")?.map(str::to_owned),
        client: row
            .optional_text("client")?
            .map(|text| row.read("client address", text.parse().ok()))
            .transpose()?,
        request: row
            .optional_text("request_id")?
            .map(|text| row.read("request id", RequestId::parse(text)))
            .transpose()?,
    })
}
