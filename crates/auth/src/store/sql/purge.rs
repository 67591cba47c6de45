//! Deletes what no answer depends on any more, in bites small enough not to hold up writers. Never touches the audit log.

use std::time::Duration;

use super::super::{PageLimit, Purged, StoreResult};
use super::TENANT;
use super::database::{Database, Write};
use super::statement::Statement;
use crate::domain::UnixMillis;

/// Longer than any mail may wait. Until then it can be seen what became of it.
const MAIL_KEPT: Duration = Duration::from_secs(2 * 24 * 3600);
const PURGING: &str = "purging expired rows";

pub(super) async fn run(
    database: &Database,
    now: UnixMillis,
    limit: PageLimit,
) -> StoreResult<Purged> {
    let mut write = database.write(PURGING).await?;
    let purged = Purged {
        refresh_tokens: delete(&mut write, now, limit, "DELETE FROM refresh_token WHERE hash IN (SELECT hash FROM refresh_token WHERE expires_at <= $1 LIMIT $2)").await?,
        families: delete(&mut write, now, limit, "DELETE FROM refresh_family WHERE id IN (SELECT id FROM refresh_family WHERE absolute_expires_at <= $1 LIMIT $2)").await?,
        revocations: delete(&mut write, now, limit, "DELETE FROM revocation WHERE position IN (SELECT position FROM revocation WHERE until <= $1 LIMIT $2)").await?,
        setup_tokens: delete_setup_token(&mut write, now).await?,
        mails: delete(&mut write, now, limit, "DELETE FROM mail_token WHERE hash IN (SELECT hash FROM mail_token WHERE expires_at <= $1 LIMIT $2)").await?
            + delete(&mut write, now.minus(MAIL_KEPT), limit, "DELETE FROM mail WHERE id IN (SELECT id FROM mail WHERE created_at <= $1 LIMIT $2)").await?,
    };
    // A handful at most, which no caller needs to count.
    delete(&mut write, now, limit, "DELETE FROM instance WHERE id IN (SELECT id FROM instance WHERE expires_at <= $1 LIMIT $2)").await?;
    write.commit().await?;
    Ok(purged)
}

async fn delete(
    write: &mut Write,
    now: UnixMillis,
    limit: PageLimit,
    statement: &'static str,
) -> StoreResult<u64> {
    let done = Statement::new(PURGING, statement)
        .bind(now.0)
        .bind(limit.rows())
        .execute(write)
        .await?;
    Ok(done)
}

async fn delete_setup_token(write: &mut Write, now: UnixMillis) -> StoreResult<u64> {
    let done = Statement::new(PURGING, "DELETE FROM setup_token WHERE tenant_id = $1 AND (expires_at <= $2 OR spent_at IS NOT NULL)")
        .bind(TENANT)
        .bind(now.0).execute(write).await?;
    Ok(done)
}
