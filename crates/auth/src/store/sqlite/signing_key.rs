//! The key ring's rows. Never sees a private key in clear and never decides when to rotate.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::{FirstKey, PageLimit, StoreResult};
use super::file::DatabaseFile;
use super::{Attempt as _, TENANT, is_taken, read};
use crate::domain::{KeyState, SigningKeyRecord, UnixMillis};

const ADDING: &str = "adding a signing key";
const READING: &str = "reading the key ring";
const MOVING: &str = "changing the state of a signing key";

pub(super) async fn create_first(
    file: &DatabaseFile,
    key: &SigningKeyRecord,
) -> StoreResult<FirstKey> {
    const UNLESS_ANY: &str =
        "INSERT INTO signing_key (kid, tenant_id, algorithm, state, sealed_private_key, created_at, changed_at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS (SELECT 1 FROM signing_key WHERE tenant_id = ?2)";
    Ok(match insert(file, UNLESS_ANY, key).await? {
        true => FirstKey::Created,
        false => FirstKey::KeysExist,
    })
}

pub(super) async fn add(file: &DatabaseFile, key: &SigningKeyRecord) -> StoreResult<bool> {
    const ALWAYS: &str =
        "INSERT INTO signing_key (kid, tenant_id, algorithm, state, sealed_private_key, created_at, changed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    insert(file, ALWAYS, key).await
}

pub(super) async fn add_next(file: &DatabaseFile, key: &SigningKeyRecord) -> StoreResult<bool> {
    const UNLESS_NEXT: &str =
        "INSERT INTO signing_key (kid, tenant_id, algorithm, state, sealed_private_key, created_at, changed_at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS
           (SELECT 1 FROM signing_key WHERE tenant_id = ?2 AND algorithm = ?3 AND state = 'next')";
    insert(file, UNLESS_NEXT, key).await
}

/// Whether the statement stored the key; a `kid` that is taken stores nothing.
async fn insert(
    file: &DatabaseFile,
    statement: &'static str,
    key: &SigningKeyRecord,
) -> StoreResult<bool> {
    let mut write = file.write(ADDING).await?;
    let inserted = sqlx::query(statement)
        .bind(&key.kid)
        .bind(TENANT)
        .bind(&key.algorithm)
        .bind(key.state.as_str())
        .bind(&key.sealed_private_key)
        .bind(key.created_at.0)
        .bind(key.changed_at.0)
        .execute(&mut *write)
        .await;
    if is_taken(&inserted) {
        return Ok(false);
    }
    let inserted = inserted.attempting(ADDING)?;
    write.commit().await.attempting(ADDING)?;
    Ok(inserted.rows_affected() == 1)
}

pub(super) async fn all(file: &DatabaseFile) -> StoreResult<Vec<SigningKeyRecord>> {
    sqlx::query(
        "SELECT kid, algorithm, state, sealed_private_key, created_at, changed_at FROM signing_key
         WHERE tenant_id = ?1 ORDER BY created_at DESC, kid DESC LIMIT ?2",
    )
    .bind(TENANT)
    .bind(PageLimit::MAX.rows())
    .fetch_all(file.readers())
    .await
    .attempting(READING)?
    .iter()
    .rev()
    .map(from_row)
    .collect()
}

pub(super) async fn activate(file: &DatabaseFile, kid: &str, now: UnixMillis) -> StoreResult<bool> {
    let mut write = file.write(MOVING).await?;
    sqlx::query(
        "UPDATE signing_key SET state = 'retiring', changed_at = ?1
         WHERE state = 'active' AND tenant_id = ?2
           AND EXISTS (SELECT 1 FROM signing_key WHERE kid = ?3 AND state = 'next' AND tenant_id = ?2)",
    )
    .bind(now.0)
    .bind(TENANT)
    .bind(kid)
    .execute(&mut *write)
    .await
    .attempting(MOVING)?;
    let activated = sqlx::query("UPDATE signing_key SET state = 'active', changed_at = ?1 WHERE kid = ?2 AND state = 'next' AND tenant_id = ?3")
        .bind(now.0)
        .bind(kid)
        .bind(TENANT)
        .execute(&mut *write)
        .await
        .attempting(MOVING)?;
    write.commit().await.attempting(MOVING)?;
    Ok(activated.rows_affected() == 1)
}

pub(super) async fn change_state(
    file: &DatabaseFile,
    kid: &str,
    from: KeyState,
    to: KeyState,
    now: UnixMillis,
) -> StoreResult<bool> {
    // Activation must retire the predecessor in the same moment and has its own operation.
    if !from.may_become(to) || to == KeyState::Active {
        return Ok(false);
    }
    let mut write = file.write(MOVING).await?;
    let moved = sqlx::query("UPDATE signing_key SET state = ?1, changed_at = ?2 WHERE kid = ?3 AND state = ?4 AND tenant_id = ?5")
        .bind(to.as_str())
        .bind(now.0)
        .bind(kid)
        .bind(from.as_str())
        .bind(TENANT)
        .execute(&mut *write)
        .await
        .attempting(MOVING)?;
    write.commit().await.attempting(MOVING)?;
    Ok(moved.rows_affected() == 1)
}

fn from_row(row: &SqliteRow) -> StoreResult<SigningKeyRecord> {
    let state = KeyState::parse(row.try_get("state").attempting(READING)?);
    Ok(SigningKeyRecord {
        kid: row.try_get("kid").attempting(READING)?,
        algorithm: row.try_get("algorithm").attempting(READING)?,
        state: read(READING, "key state", state)?,
        sealed_private_key: row.try_get("sealed_private_key").attempting(READING)?,
        created_at: UnixMillis(row.try_get("created_at").attempting(READING)?),
        changed_at: UnixMillis(row.try_get("changed_at").attempting(READING)?),
    })
}
