//! The key ring's rows. Never sees a private key in clear and never decides when to rotate.

use super::super::{FirstKey, PageLimit, StoreResult};
use super::TENANT;
use super::database::{Database, Queue};
use super::statement::{Row, Statement};
use crate::domain::{KeyState, SigningKeyRecord, UnixMillis};

const ADDING: &str = "adding a signing key";
const READING: &str = "reading the key ring";
const MOVING: &str = "changing the state of a signing key";

pub(super) async fn create_first(
    database: &Database,
    key: &SigningKeyRecord,
) -> StoreResult<FirstKey> {
    const UNLESS_ANY: &str =
        "INSERT INTO signing_key (kid, tenant_id, algorithm, state, sealed_private_key, created_at, changed_at)
         SELECT $1, $2, $3, $4, $5, $6, $7 WHERE NOT EXISTS (SELECT 1 FROM signing_key WHERE tenant_id = $2) ON CONFLICT (kid) DO NOTHING";
    Ok(match insert(database, UNLESS_ANY, key).await? {
        true => FirstKey::Created,
        false => FirstKey::KeysExist,
    })
}

pub(super) async fn add(database: &Database, key: &SigningKeyRecord) -> StoreResult<bool> {
    const ALWAYS: &str =
        "INSERT INTO signing_key (kid, tenant_id, algorithm, state, sealed_private_key, created_at, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (kid) DO NOTHING";
    insert(database, ALWAYS, key).await
}

pub(super) async fn add_next(database: &Database, key: &SigningKeyRecord) -> StoreResult<bool> {
    const UNLESS_NEXT: &str =
        "INSERT INTO signing_key (kid, tenant_id, algorithm, state, sealed_private_key, created_at, changed_at)
         SELECT $1, $2, $3, $4, $5, $6, $7 WHERE NOT EXISTS
           (SELECT 1 FROM signing_key WHERE tenant_id = $2 AND algorithm = $3 AND state = 'next') ON CONFLICT (kid) DO NOTHING";
    insert(database, UNLESS_NEXT, key).await
}

/// Whether the statement stored the key; a `kid` that is taken stores nothing.
async fn insert(
    database: &Database,
    statement: &'static str,
    key: &SigningKeyRecord,
) -> StoreResult<bool> {
    let mut write = database.write(ADDING).await?;
    write.wait_in(Queue::SigningKeys).await?;
    let inserted = Statement::new(ADDING, statement)
        .bind(&key.kid)
        .bind(TENANT)
        .bind(&key.algorithm)
        .bind(key.state.as_str())
        .bind(&key.sealed_private_key)
        .bind(key.created_at.0)
        .bind(key.changed_at.0)
        .execute(&mut write)
        .await?;
    write.commit().await?;
    Ok(inserted == 1)
}

pub(super) async fn all(database: &Database) -> StoreResult<Vec<SigningKeyRecord>> {
    Statement::new(
        READING,
        "SELECT kid, algorithm, state, sealed_private_key, created_at, changed_at FROM signing_key
         WHERE tenant_id = $1 ORDER BY created_at DESC, kid DESC LIMIT $2",
    )
    .bind(TENANT)
    .bind(PageLimit::MAX.rows())
    .fetch_all(database)
    .await?
    .iter()
    .rev()
    .map(from_row)
    .collect()
}

pub(super) async fn activate(database: &Database, kid: &str, now: UnixMillis) -> StoreResult<bool> {
    let mut write = database.write(MOVING).await?;
    write.wait_in(Queue::SigningKeys).await?;
    Statement::new(MOVING, "UPDATE signing_key SET state = 'retiring', changed_at = $1
         WHERE state = 'active' AND tenant_id = $2
           AND EXISTS (SELECT 1 FROM signing_key WHERE kid = $3 AND state = 'next' AND tenant_id = $2)")
    .bind(now.0)
    .bind(TENANT)
    .bind(kid).execute(&mut write).await?;
    let activated = Statement::new(MOVING, "UPDATE signing_key SET state = 'active', changed_at = $1 WHERE kid = $2 AND state = 'next' AND tenant_id = $3")
        .bind(now.0)
        .bind(kid)
        .bind(TENANT).execute(&mut write).await?;
    write.commit().await?;
    Ok(activated == 1)
}

pub(super) async fn change_state(
    database: &Database,
    kid: &str,
    from: KeyState,
    to: KeyState,
    now: UnixMillis,
) -> StoreResult<bool> {
    // Activation must retire the predecessor in the same moment and has its own operation.
    if !from.may_become(to) || to == KeyState::Active {
        return Ok(false);
    }
    let mut write = database.write(MOVING).await?;
    write.wait_in(Queue::SigningKeys).await?;
    let moved = Statement::new(MOVING, "UPDATE signing_key SET state = $1, changed_at = $2 WHERE kid = $3 AND state = $4 AND tenant_id = $5")
        .bind(to.as_str())
        .bind(now.0)
        .bind(kid)
        .bind(from.as_str())
        .bind(TENANT).execute(&mut write).await?;
    write.commit().await?;
    Ok(moved == 1)
}

fn from_row(row: &Row) -> StoreResult<SigningKeyRecord> {
    let state = KeyState::parse(row.text("state")?);
    Ok(SigningKeyRecord {
        kid: row.text("kid")?.to_owned(),
        algorithm: row.text("algorithm")?.to_owned(),
        state: row.read("key state", state)?,
        sealed_private_key: row.bytes("sealed_private_key")?,
        created_at: UnixMillis(row.number("created_at")?),
        changed_at: UnixMillis(row.number("changed_at")?),
    })
}
