//! The audit log: appended to here, and read. What becomes of its lines later is in the files below.

mod chain;
mod erase;
mod row;

use std::time::Duration;

use async_trait::async_trait;

use super::super::{AuditFilter, AuditMarks, AuditStore, PageLimit, StoreResult};
use super::database::{Database, Write};
use super::statement::{Row, Statement};
use super::{SqlStore, TENANT, lease};
use crate::domain::{
    AccountId, Actor, AuditEntry, AuditEvent, AuditOutcome, AuditRow, RequestId, Revocation,
    SessionId, UnixMillis,
};

const WRITING: &str = "writing the audit log";
const READING: &str = "reading the audit log";

#[async_trait]
impl AuditStore for SqlStore {
    async fn audit_page(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: PageLimit,
        reader: Option<AccountId>,
    ) -> StoreResult<Vec<AuditRow>> {
        page(&self.database, filter, before, limit, reader).await
    }

    async fn link_audit(&self, now: UnixMillis, limit: PageLimit) -> StoreResult<u64> {
        chain::link(&self.database, now, limit).await
    }

    async fn audit_chain(&self, after: i64, limit: PageLimit) -> StoreResult<Vec<AuditRow>> {
        chain::page(&self.database, after, limit).await
    }

    async fn unlinked_audit(&self, after: i64, limit: PageLimit) -> StoreResult<Vec<AuditRow>> {
        chain::unlinked(&self.database, after, limit).await
    }

    async fn audit_marks(&self) -> StoreResult<AuditMarks> {
        chain::marks(&self.database).await
    }

    async fn copied_audit(&self) -> StoreResult<Option<i64>> {
        chain::copied(&self.database).await
    }

    async fn cut_audit(
        &self,
        before: UnixMillis,
        now: UnixMillis,
        limit: PageLimit,
    ) -> StoreResult<u64> {
        chain::cut(&self.database, before, now, limit).await
    }

    async fn erase_from_audit(
        &self,
        account: AccountId,
        pseudonym: AccountId,
        limit: PageLimit,
    ) -> StoreResult<u64> {
        erase::from_audit(&self.database, account, pseudonym, limit).await
    }

    async fn delete_account(
        &self,
        id: AccountId,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Option<Revocation>> {
        erase::account(&self.database, id, until, audit).await
    }

    async fn claim_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
        now: UnixMillis,
    ) -> StoreResult<bool> {
        lease::claim(&self.database, name, holder, ttl, now).await
    }

    async fn release_lease(&self, name: &str, holder: &str) -> StoreResult<()> {
        lease::release(&self.database, name, holder).await
    }
}

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
        "INSERT INTO audit (tenant_id, at, event, outcome, actor_kind, actor_id, account_id, session_id, object, client, request_id, blind, seal)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    );
    bind(statement.bind(TENANT), line).execute(write).await?;
    Ok(())
}

/// Binds what a line says, in the order of its columns from `at` on.
pub(super) fn bind(statement: Statement, line: AuditRow) -> Statement {
    let personal = line.personal;
    statement
        .bind(line.at.0)
        .bind(line.event)
        .bind(line.outcome)
        .bind(line.actor_kind)
        .bind(personal.actor_id)
        .bind(personal.account_id)
        .bind(personal.session_id)
        .bind(line.object)
        .bind(personal.client)
        .bind(personal.request_id)
        .bind(line.blind)
        .bind(line.seal)
}

/// Every value of the filter is bound; what is not said is `NULL`, which fits every line.
async fn page(
    database: &Database,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: PageLimit,
    reader: Option<AccountId>,
) -> StoreResult<Vec<AuditRow>> {
    let statement = Statement::new(
        READING,
        "SELECT id, at, event, outcome, actor_kind, actor_id, account_id, session_id, object, client, request_id,
             blind, seal, position, link, erasure FROM audit
         WHERE tenant_id = $1 AND id < $2 AND ($3 IS NULL OR event = $3) AND ($4 IS NULL OR outcome = $4)
             AND ($5 IS NULL OR account_id = $5 OR actor_id = $5) AND ($6 IS NULL OR request_id = $6)
             AND at >= $7 AND at < $8
         ORDER BY id DESC LIMIT $9",
    )
    .bind(TENANT)
    .bind(before.unwrap_or(i64::MAX))
    .bind(filter.event.clone())
    .bind(filter.outcome.clone())
    .bind(filter.account.map(|id| id.to_string()))
    .bind(filter.request.clone())
    .bind(filter.since.map_or(i64::MIN, |at| at.0))
    .bind(filter.until.map_or(i64::MAX, |at| at.0))
    .bind(limit.rows());
    let statement = match reader {
        Some(reader) => statement.may_lag(reader),
        None => statement,
    };
    let rows = statement.fetch_all(database).await?;
    rows.iter().map(row::read).collect()
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
