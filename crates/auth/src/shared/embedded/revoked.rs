//! Revocations of the embedded shared state: one statement answers for all keys of a token. Never shortens one.

use super::SharedAttempt as _;
use crate::domain::{Revocation, TokenFacts, UnixMillis};
use crate::shared::SharedResult;
use crate::store::sqlite::file::DatabaseFile;

/// What is void whenever it was issued.
const ALWAYS: UnixMillis = UnixMillis(i64::MAX);

pub(super) async fn add(file: &DatabaseFile, revocations: &[Revocation]) -> SharedResult<()> {
    const DOING: &str = "sharing a revocation";
    let mut write = file.write(DOING).await.shared(DOING)?;
    for revocation in revocations {
        let (key, not_before) = entry(revocation);
        sqlx::query(
            "INSERT INTO revoked (key, not_before, until) VALUES (?1, ?2, ?3)
             ON CONFLICT (key) DO UPDATE SET
                 not_before = max(not_before, excluded.not_before),
                 until = max(until, excluded.until)",
        )
        .bind(key)
        .bind(not_before.0)
        .bind(revocation.until().0)
        .execute(&mut *write)
        .await
        .shared(DOING)?;
    }
    write.commit().await.shared(DOING)
}

/// The hot path of the whole service: one prepared statement, at most four lookups in one b-tree.
pub(super) async fn covers(
    file: &DatabaseFile,
    token: &TokenFacts<'_>,
    now: UnixMillis,
) -> SharedResult<bool> {
    const DOING: &str = "looking for revocations";
    let found = sqlx::query(
        "SELECT 1 FROM revoked
         WHERE key IN (?1, ?2, ?3, ?4) AND not_before > ?5 AND until > ?6 LIMIT 1",
    )
    .bind(format!("j:{}", token.jti))
    // NULL is in no list: a token without a session has one key less.
    .bind(token.sid.map(|sid| format!("s:{sid}")))
    .bind(format!("u:{}", token.sub))
    .bind(format!("k:{}", token.kid))
    .bind(token.issued_at.0)
    .bind(now.0)
    .fetch_optional(file.readers())
    .await
    .shared(DOING)?;
    Ok(found.is_some())
}

fn entry(revocation: &Revocation) -> (String, UnixMillis) {
    match revocation {
        Revocation::Token { jti, .. } => (format!("j:{jti}"), ALWAYS),
        Revocation::Session { sid, .. } => (format!("s:{sid}"), ALWAYS),
        Revocation::Account {
            sub, not_before, ..
        } => (format!("u:{sub}"), *not_before),
        Revocation::SigningKey { kid, .. } => (format!("k:{kid}"), ALWAYS),
    }
}
