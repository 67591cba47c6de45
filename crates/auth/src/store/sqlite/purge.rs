//! Deletes what no answer depends on any more, in bites small enough not to hold up writers. Never touches the audit log.

use super::super::{PageLimit, Purged, StoreResult};
use super::file::DatabaseFile;
use super::{Attempt as _, TENANT, Writer};
use crate::domain::UnixMillis;

const PURGING: &str = "purging expired rows";

pub(super) async fn run(
    file: &DatabaseFile,
    now: UnixMillis,
    limit: PageLimit,
) -> StoreResult<Purged> {
    let mut write = file.write(PURGING).await?;
    let purged = Purged {
        refresh_tokens: delete(&mut write, now, limit, "DELETE FROM refresh_token WHERE hash IN (SELECT hash FROM refresh_token WHERE expires_at <= ?1 LIMIT ?2)").await?,
        families: delete(&mut write, now, limit, "DELETE FROM refresh_family WHERE id IN (SELECT id FROM refresh_family WHERE absolute_expires_at <= ?1 LIMIT ?2)").await?,
        revocations: delete(&mut write, now, limit, "DELETE FROM revocation WHERE position IN (SELECT position FROM revocation WHERE until <= ?1 LIMIT ?2)").await?,
        setup_tokens: delete_setup_token(&mut write, now).await?,
    };
    write.commit().await.attempting(PURGING)?;
    Ok(purged)
}

async fn delete(
    write: Writer<'_>,
    now: UnixMillis,
    limit: PageLimit,
    statement: &'static str,
) -> StoreResult<u64> {
    let done = sqlx::query(statement)
        .bind(now.0)
        .bind(limit.rows())
        .execute(write)
        .await
        .attempting(PURGING)?;
    Ok(done.rows_affected())
}

async fn delete_setup_token(write: Writer<'_>, now: UnixMillis) -> StoreResult<u64> {
    let done = sqlx::query("DELETE FROM setup_token WHERE tenant_id = ?1 AND (expires_at <= ?2 OR spent_at IS NOT NULL)")
        .bind(TENANT)
        .bind(now.0)
        .execute(write)
        .await
        .attempting(PURGING)?;
    Ok(done.rows_affected())
}
