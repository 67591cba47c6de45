//! The usual rotation in one statement, where the database can. Never decides about any other use: whatever is not the
//! first good one changes nothing here and is judged by the parent.

use super::super::super::{RefreshGrant, Rotation, StoreResult};
use super::super::database::Database;
use super::super::statement::Statement;
use super::super::{TENANT, account};
use super::{ROTATING, family_from_row};
use crate::domain::UnixMillis;

/// Compare and set: of two that come at once the second waits for the row, compares again and matches nothing. One
/// round trip instead of six. SQLite has no such statement and gains nothing from one: it makes no round trips.
const COMPARE_AND_SET: &str = "
    WITH spent AS (
        UPDATE refresh_token t SET spent_at = $1, successor = $2, successor_box = $3
        FROM refresh_family f JOIN account a ON a.id = f.account_id
        WHERE t.hash = $4 AND t.spent_at IS NULL AND t.expires_at > $1
          AND f.id = t.family_id AND f.revoked_at IS NULL AND f.absolute_expires_at > $1
          AND f.client_id = $5 AND f.tenant_id = $6 AND a.status = 'active'
        RETURNING f.id AS family_id, f.account_id, f.client_id, f.session_id, f.created_at, f.absolute_expires_at,
                  f.revoked_at, a.email, a.password_hash, a.status, a.created_at AS account_created_at
    ), issued AS (
        INSERT INTO refresh_token (hash, family_id, issued_at, expires_at)
        SELECT $2, family_id, $1, LEAST($7, absolute_expires_at) FROM spent RETURNING expires_at
    )
    SELECT spent.*, issued.expires_at,
           (SELECT string_agg(role, ',') FROM account_role r WHERE r.account_id = spent.account_id) AS roles
    FROM spent, issued";

/// `None`: not done, for whatever reason.
pub(super) async fn rotate(
    database: &Database,
    rotation: &Rotation<'_>,
) -> StoreResult<Option<RefreshGrant>> {
    let Database::Postgres(_) = database else {
        return Ok(None);
    };
    let row = Statement::new(ROTATING, COMPARE_AND_SET)
        .bind(rotation.now.0)
        .bind(rotation.successor.as_bytes().as_slice())
        .bind(rotation.successor_box.as_slice())
        .bind(rotation.presented.as_bytes().as_slice())
        .bind(rotation.client_id)
        .bind(TENANT)
        .bind(rotation.idle_expires_at.0)
        .once()
        .fetch_optional(database)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(RefreshGrant {
        account: account::from_row(&row)?,
        family: family_from_row(&row)?,
        expires_at: UnixMillis(row.number("expires_at")?),
    }))
}
