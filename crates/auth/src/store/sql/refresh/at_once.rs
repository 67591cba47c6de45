//! The usual ways of refresh tokens in one statement each, where the database can. Never decides about any other use:
//! whatever is not the first good one changes nothing here and is judged by the parent.

use super::super::super::{FamilyCreation, RefreshGrant, Rotation, StoreResult};
use super::super::database::Database;
use super::super::statement::Statement;
use super::super::{TENANT, account, audit};
use super::{CREATING, ROTATING, factors, family_from_row, network};
use crate::domain::{AuditEntry, Family, TokenHash, UnixMillis};

/// The account stays as it is until the family is there: whoever shuts it waits, and then ends this family, too. One
/// that was shut meanwhile is compared again and matches nothing. One round trip instead of seven.
const CREATE: &str = "
    WITH owner AS (
        SELECT id FROM account WHERE id = $3 AND tenant_id = $2 AND status = 'active'
            AND COALESCE(sessions_from, 0) <= $6 FOR SHARE
    ), family AS (
        INSERT INTO refresh_family (id, tenant_id, account_id, client_id, session_id, created_at, absolute_expires_at, revoked_at, began_from, proved_by)
        SELECT $1, $2, id, $4, $5, $6, $7, $8, $24, $25 FROM owner RETURNING id
    ), token AS (
        INSERT INTO refresh_token (hash, family_id, issued_at, expires_at)
        SELECT $9, id, $6, LEAST($10, $7) FROM family
    ), entry AS (
        INSERT INTO audit (tenant_id, at, event, outcome, actor_kind, actor_id, account_id, session_id, object, client, request_id, blind, seal)
        SELECT $2, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23 FROM family WHERE $11 = 1
    )
    SELECT id FROM family";

/// `None`: this database takes them one after the other.
pub(super) async fn create_family(
    database: &Database,
    family: &Family,
    first: &TokenHash,
    expires_at: UnixMillis,
    entry: &AuditEntry,
) -> StoreResult<Option<FamilyCreation>> {
    let Database::Postgres(_) = database else {
        return Ok(None);
    };
    let trail = database.trail();
    let statement = Statement::new(CREATING, CREATE)
        .bind(family.id.to_string())
        .bind(TENANT)
        .bind(family.account.to_string())
        .bind(&family.client_id)
        .bind(family.session.to_string())
        .bind(family.created_at.0)
        .bind(family.absolute_expires_at.0)
        .bind(family.revoked_at.map(|at| at.0))
        .bind(first.as_bytes().as_slice())
        .bind(expires_at.0)
        .bind(i64::from(trail.is_written));
    let created = audit::bind(statement, trail.row(entry))
        .bind(network(trail, entry))
        .bind(factors(family))
        .soon()
        .once()
        .fetch_optional(database)
        .await?;
    if created.is_none() {
        return Ok(Some(FamilyCreation::AccountNotActive));
    }
    database.wrote(&[family.account]).await;
    Ok(Some(FamilyCreation::Created))
}

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
                  f.revoked_at, f.authenticated_at, f.proved_by, a.email, a.password_hash, a.status, a.created_at AS account_created_at, a.tier
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
    let grant = RefreshGrant {
        account: account::from_row(&row)?,
        family: family_from_row(&row)?,
        expires_at: UnixMillis(row.number("expires_at")?),
    };
    database.wrote(&[grant.account.id]).await;
    Ok(Some(grant))
}
