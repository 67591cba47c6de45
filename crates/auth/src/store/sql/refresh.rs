//! Refresh token families and their rotation. Never judges a use itself: `domain::judge` does, inside the transaction.

mod at_once;

use super::super::{
    FamilyCreation, RefreshGrant, Rotation, RotationOutcome, StoreError, StoreResult, Trail,
};
use super::database::{Database, Write};
use super::statement::{Row, Statement};
use super::{TENANT, account, audit, mail, revocation};
use crate::domain::{
    AccountId, AccountStatus, Actor, AuditEntry, AuditEvent, Family, FamilyId, MailKind, Network,
    Proof, ProvedBy, RefreshRecord, Revocation, SessionId, TokenHash, TokenState, UnixMillis,
    Verdict, judge,
};

const CREATING: &str = "starting a refresh token family";
const FINDING: &str = "finding a refresh token";
const ROTATING: &str = "rotating a refresh token";
const REVOKING: &str = "revoking a session";

pub(super) async fn create_family(
    database: &Database,
    family: &Family,
    first: &TokenHash,
    expires_at: UnixMillis,
    entry: &AuditEntry,
) -> StoreResult<FamilyCreation> {
    let created = at_once::create_family(database, family, first, expires_at, entry).await?;
    if let Some(created) = created {
        return Ok(created);
    }
    let mut write = database.write_soon(CREATING).await?;
    let inserted = Statement::new(CREATING, "INSERT INTO refresh_family (id, tenant_id, account_id, client_id, session_id, created_at, absolute_expires_at, revoked_at, began_from, proved_by)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
         WHERE EXISTS (SELECT 1 FROM account WHERE id = $3 AND tenant_id = $2 AND status = 'active'
                           AND COALESCE(sessions_from, 0) <= $6)")
    .bind(family.id.to_string())
    .bind(TENANT)
    .bind(family.account.to_string())
    .bind(&family.client_id)
    .bind(family.session.to_string())
    .bind(family.created_at.0)
    .bind(family.absolute_expires_at.0)
    .bind(family.revoked_at.map(|at| at.0))
    .bind(network(database.trail(), entry))
    .bind(factors(family)).execute(&mut write).await?;
    if inserted == 0 {
        return Ok(FamilyCreation::AccountNotActive);
    }
    insert_token(&mut write, first, family, family.created_at, expires_at).await?;
    audit::insert(&mut write, entry).await?;
    write.commit().await?;
    Ok(FamilyCreation::Created)
}

/// By what its owner proves at its beginning who they are.
fn factors(family: &Family) -> Option<&'static str> {
    family.proof.map(|proof| proof.by.as_str())
}

/// Where a session begins, as far as that is kept.
fn network(trail: &Trail, login: &AuditEntry) -> Option<String> {
    let kept = trail.addresses.keep(login.client?)?;
    Some(Network::of(kept).to_string())
}

/// What is judged is locked first, so that it cannot change before it is written; the update still compares
/// `spent_at IS NULL`, so that a mistake here could only ever refuse, never fork.
pub(super) async fn rotate(
    database: &Database,
    rotation: &Rotation<'_>,
) -> StoreResult<RotationOutcome> {
    if let Some(grant) = at_once::rotate(database, rotation).await? {
        return Ok(RotationOutcome::Rotated(grant));
    }
    let mut write = database.write(ROTATING).await?;
    write
        .hold(
            Statement::new(
                ROTATING,
                "SELECT 1 FROM refresh_token t JOIN refresh_family f ON f.id = t.family_id
                 WHERE t.hash = $1 FOR NO KEY UPDATE",
            )
            .bind(rotation.presented.as_bytes().as_slice()),
        )
        .await?;
    let Some(found) = find(&mut write, &rotation.presented).await? else {
        return Ok(RotationOutcome::Unknown);
    };
    let is_active = found.grant.account.status == AccountStatus::Active;
    let outcome = match judge(
        &found.grant.family,
        &found.record,
        rotation.client_id,
        rotation.now,
    ) {
        Verdict::WrongClient => RotationOutcome::Unknown,
        Verdict::Revoked => RotationOutcome::Revoked,
        Verdict::Expired => RotationOutcome::Expired,
        Verdict::Reused => reused(&mut write, &found.grant.family, rotation).await?,
        Verdict::Rotate | Verdict::Repeat if !is_active => RotationOutcome::AccountNotActive,
        Verdict::Repeat => found.repeated()?,
        Verdict::Rotate => spend(&mut write, found.grant, rotation).await?,
    };
    write.commit().await?;
    Ok(outcome)
}

async fn spend(
    write: &mut Write,
    grant: RefreshGrant,
    rotation: &Rotation<'_>,
) -> StoreResult<RotationOutcome> {
    let spent = Statement::new(ROTATING, "UPDATE refresh_token SET spent_at = $1, successor = $2, successor_box = $3 WHERE hash = $4 AND spent_at IS NULL")
        .bind(rotation.now.0)
        .bind(rotation.successor.as_bytes().as_slice())
        .bind(rotation.successor_box.as_slice())
        .bind(rotation.presented.as_bytes().as_slice()).execute(&mut *write).await?;
    if spent != 1 {
        return Err(StoreError::BadRow {
            attempted: ROTATING,
            what: "refresh token",
        });
    }
    let expires_at = rotation
        .idle_expires_at
        .min(grant.family.absolute_expires_at);
    insert_token(
        write,
        &rotation.successor,
        &grant.family,
        rotation.now,
        expires_at,
    )
    .await?;
    Ok(RotationOutcome::Rotated(RefreshGrant {
        expires_at,
        ..grant
    }))
}

async fn reused(
    write: &mut Write,
    family: &Family,
    rotation: &Rotation<'_>,
) -> StoreResult<RotationOutcome> {
    let event = AuditEvent::RefreshReused;
    let entry = AuditEntry {
        account: Some(family.account),
        session: Some(family.session),
        client: rotation.client_address,
        request: rotation.request,
        ..AuditEntry::by(Actor::Unproven, rotation.now, event)
    };
    let owner = Some(family.account);
    mail::insert(write, owner, MailKind::SessionStolen, rotation.now).await?;
    let revocation = end_session(write, family.session, rotation.revoked_until, &entry).await?;
    Ok(RotationOutcome::Reused {
        account: family.account,
        session: family.session,
        revocation,
    })
}

pub(super) async fn revoke_session(
    database: &Database,
    session: SessionId,
    until: UnixMillis,
    entry: &AuditEntry,
) -> StoreResult<Revocation> {
    let mut write = database.write_vital(REVOKING).await?;
    let revocation = end_session(&mut write, session, until, entry).await?;
    write.commit().await?;
    Ok(revocation)
}

async fn end_session(
    write: &mut Write,
    session: SessionId,
    until: UnixMillis,
    entry: &AuditEntry,
) -> StoreResult<Revocation> {
    Statement::new(
        REVOKING,
        "UPDATE refresh_family SET revoked_at = $1 WHERE session_id = $2 AND revoked_at IS NULL",
    )
    .bind(entry.at.0)
    .bind(session.to_string())
    .execute(&mut *write)
    .await?;
    let revocation = Revocation::Session {
        sid: session,
        until,
    };
    audit::insert(write, entry).await?;
    // Last, since followers wait from here to the commit.
    revocation::insert(write, &revocation).await?;
    Ok(revocation)
}

pub(super) async fn family_by_token(
    database: &Database,
    token: &TokenHash,
) -> StoreResult<Option<Family>> {
    Statement::new(FINDING, "SELECT f.id AS family_id, f.account_id, f.client_id, f.session_id, f.created_at, f.absolute_expires_at, f.revoked_at, f.authenticated_at, f.proved_by
         FROM refresh_token t JOIN refresh_family f ON f.id = t.family_id WHERE t.hash = $1 AND f.tenant_id = $2")
    .bind(token.as_bytes().as_slice())
    .bind(TENANT).fetch_optional(database).await?
    .map(|row| family_from_row(&row))
    .transpose()
}

pub(super) async fn family_by_session(
    database: &Database,
    session: SessionId,
) -> StoreResult<Option<Family>> {
    Statement::new(FINDING, "SELECT id AS family_id, account_id, client_id, session_id, created_at, absolute_expires_at, revoked_at, authenticated_at, proved_by
         FROM refresh_family WHERE session_id = $1 AND tenant_id = $2 ORDER BY created_at DESC, id LIMIT 1")
    .bind(session.to_string())
    .bind(TENANT).fetch_optional(database).await?
    .map(|row| family_from_row(&row))
    .transpose()
}

async fn insert_token(
    write: &mut Write,
    token: &TokenHash,
    family: &Family,
    issued_at: UnixMillis,
    expires_at: UnixMillis,
) -> StoreResult<()> {
    Statement::new("storing a refresh token", "INSERT INTO refresh_token (hash, family_id, issued_at, expires_at) VALUES ($1, $2, $3, $4)")
        .bind(token.as_bytes().as_slice())
        .bind(family.id.to_string())
        .bind(issued_at.0)
        .bind(expires_at.min(family.absolute_expires_at).0).execute(&mut *write).await?;
    Ok(())
}

/// A token with all that its use depends on.
struct Found {
    record: RefreshRecord,
    grant: RefreshGrant,
    successor_box: Option<Vec<u8>>,
}

impl Found {
    fn repeated(self) -> StoreResult<RotationOutcome> {
        let successor_box = self.successor_box.ok_or(StoreError::BadRow {
            attempted: ROTATING,
            what: "successor",
        })?;
        Ok(RotationOutcome::Repeated {
            grant: self.grant,
            successor_box,
        })
    }
}

/// A successor that has been purged counts as spent: it can no longer be given again.
async fn find(write: &mut Write, token: &TokenHash) -> StoreResult<Option<Found>> {
    let row = Statement::new(FINDING, "SELECT t.expires_at, t.spent_at, t.successor_box,
                n.expires_at AS successor_expires_at, (n.hash IS NULL OR n.spent_at IS NOT NULL) AS is_successor_spent,
                f.id AS family_id, f.account_id, f.client_id, f.session_id, f.created_at, f.absolute_expires_at, f.revoked_at, f.authenticated_at, f.proved_by,
                a.email, a.password_hash, a.status, a.created_at AS account_created_at, a.tier,
                (SELECT string_agg(role, ',') FROM account_role WHERE account_id = a.id) AS roles
         FROM refresh_token t
         JOIN refresh_family f ON f.id = t.family_id
         JOIN account a ON a.id = f.account_id
         LEFT JOIN refresh_token n ON n.hash = t.successor
         WHERE t.hash = $1 AND f.tenant_id = $2")
    .bind(token.as_bytes().as_slice())
    .bind(TENANT).fetch_optional(&mut *write).await?;
    row.map(|row| found_from_row(&row)).transpose()
}

fn found_from_row(row: &Row) -> StoreResult<Found> {
    let expires_at = UnixMillis(row.number("expires_at")?);
    let state = match row.optional_number("spent_at")? {
        None => TokenState::Unused,
        Some(at) => TokenState::Spent {
            at: UnixMillis(at),
            is_successor_spent: row.flag("is_successor_spent")?,
        },
    };
    let successor_expires_at = row.optional_number("successor_expires_at")?;
    Ok(Found {
        record: RefreshRecord { expires_at, state },
        grant: RefreshGrant {
            account: account::from_row(row)?,
            family: family_from_row(row)?,
            expires_at: successor_expires_at.map_or(expires_at, UnixMillis),
        },
        successor_box: row.optional_bytes("successor_box")?,
    })
}

fn family_from_row(row: &Row) -> StoreResult<Family> {
    let created_at = UnixMillis(row.number("created_at")?);
    let authenticated_at = row.optional_number("authenticated_at")?.map(UnixMillis);
    let by = row.optional_text("proved_by")?.and_then(ProvedBy::parse);
    Ok(Family {
        id: row.read("family id", FamilyId::parse(row.text("family_id")?))?,
        account: row.read("account id", AccountId::parse(row.text("account_id")?))?,
        client_id: row.text("client_id")?.to_owned(),
        session: row.read("session id", SessionId::parse(row.text("session_id")?))?,
        created_at,
        absolute_expires_at: UnixMillis(row.number("absolute_expires_at")?),
        revoked_at: row.optional_number("revoked_at")?.map(UnixMillis),
        proof: by.map(|by| Proof {
            by,
            at: authenticated_at.unwrap_or(created_at),
        }),
    })
}
