//! Sessions as their owner sees and ends them. Never finds one without its account.

use async_trait::async_trait;

use super::super::{PageLimit, SessionStore, StoreResult};
use super::database::Write;
use super::statement::{Row, Statement};
use super::{SqlStore, TENANT, audit, refresh, revocation};
use crate::domain::{
    AccountId, AuditEntry, Network, Revocation, SessionCursor, SessionId, SessionRecord, UnixMillis,
};

const LISTING: &str = "listing sessions";
const FINDING: &str = "finding a session of an account";
const ENDING: &str = "ending every session of an account";

#[async_trait]
impl SessionStore for SqlStore {
    async fn sessions_of(
        &self,
        account: AccountId,
        cookies_since: UnixMillis,
        now: UnixMillis,
        after: Option<SessionCursor>,
        limit: PageLimit,
    ) -> StoreResult<Vec<SessionRecord>> {
        let rows = Statement::new(LISTING, LIST)
            .bind(account.to_string())
            .bind(TENANT)
            .bind(now.0)
            .bind(cookies_since.0)
            .bind(after.map_or(i64::MAX, |cursor| cursor.began_at.0))
            .bind(after.map_or_else(String::new, |cursor| cursor.id.to_string()))
            .bind(limit.rows())
            .may_lag(account)
            .fetch_all(&self.database)
            .await?;
        rows.iter().map(from_row).collect()
    }

    async fn end_session_of(
        &self,
        account: AccountId,
        session: SessionId,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Option<Revocation>> {
        let found = Statement::new(
            FINDING,
            "SELECT 1 FROM refresh_family WHERE session_id = $1 AND account_id = $2 AND tenant_id = $3 LIMIT 1",
        )
        .bind(session.to_string())
        .bind(account.to_string())
        .bind(TENANT)
        .vital()
        .fetch_optional(&self.database)
        .await?;
        match found {
            None => Ok(None),
            // Whose a session is never changes, so that nothing can come in between.
            Some(_) => refresh::revoke_session(&self.database, session, until, audit)
                .await
                .map(Some),
        }
    }

    async fn end_all_sessions_of(
        &self,
        account: AccountId,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Option<Revocation>> {
        let mut write = self.database.write_vital(ENDING).await?;
        let ended = end_all(&mut write, account, until, audit).await?;
        if ended.is_some() {
            write.commit().await?;
        }
        Ok(ended)
    }
}

/// A session with several families began with the first of them.
const LIST: &str = "
    SELECT session_id, began_at, used_at, began_from FROM (
        SELECT f.session_id, min(f.created_at) AS began_at, max(COALESCE(t.issued_at, f.created_at)) AS used_at,
               max(t.expires_at) AS token_ends, min(f.began_from) AS began_from
        FROM refresh_family f LEFT JOIN refresh_token t ON t.family_id = f.id
        WHERE f.account_id = $1 AND f.tenant_id = $2 AND f.revoked_at IS NULL AND f.absolute_expires_at > $3
        GROUP BY f.session_id) AS session
    WHERE (token_ends > $3 OR began_at > $4) AND (began_at < $5 OR (began_at = $5 AND session_id > $6))
    ORDER BY began_at DESC, session_id LIMIT $7";

/// Part of a write: ends everything an account has, and holds back logins that are under way. The account's row is
/// changed first, so that a login that has not committed yet waits and then compares with what is written here.
pub(super) async fn end_all(
    write: &mut Write,
    account: AccountId,
    until: UnixMillis,
    entry: &AuditEntry,
) -> StoreResult<Option<Revocation>> {
    let found = Statement::new(
        ENDING,
        "UPDATE account SET sessions_from = $1 WHERE id = $2 AND tenant_id = $3",
    )
    .bind(entry.at.0)
    .bind(account.to_string())
    .bind(TENANT)
    .execute(&mut *write)
    .await?;
    if found == 0 {
        return Ok(None);
    }
    Statement::new(
        ENDING,
        "UPDATE refresh_family SET revoked_at = $1 WHERE account_id = $2 AND revoked_at IS NULL",
    )
    .bind(entry.at.0)
    .bind(account.to_string())
    .execute(&mut *write)
    .await?;
    audit::insert(write, entry).await?;
    let cut = Revocation::Account {
        sub: account,
        not_before: entry.at,
        until,
    };
    // Last, since followers wait from here to the commit.
    revocation::insert(write, &cut).await?;
    Ok(Some(cut))
}

fn from_row(row: &Row) -> StoreResult<SessionRecord> {
    let began_from = row.optional_text("began_from")?;
    Ok(SessionRecord {
        id: row.read("session id", SessionId::parse(row.text("session_id")?))?,
        began_at: UnixMillis(row.number("began_at")?),
        used_at: UnixMillis(row.number("used_at")?),
        began_from: began_from.and_then(Network::parse),
    })
}
