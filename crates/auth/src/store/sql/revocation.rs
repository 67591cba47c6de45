//! The durable copy of revocations, from which the shared state is rebuilt. Never shortens one.
//!
//! Followers read in order of the position. On PostgreSQL writes commit side by side, so that a position may appear
//! below one that was read: [`settled`] says up to where none can. Each write announces itself by an advisory lock on
//! the highest position it sees, before it takes its own, which is higher. Whoever then sees a row, afterwards looks
//! which writes are announced, and afterwards reads, misses nothing up to that row but what these still hold back. A
//! lock goes with its transaction, however that ends, and after what it wrote can be seen. That costs one statement;
//! a lock held alone would cost every logout of the cluster the disk flushes of those before it. Snapshots of
//! transactions would tell as much, but of every database of the server, whose long ones would stop the followers.

use aws_lc_rs::digest::{SHA256, digest};

use super::super::{PageLimit, RevocationPosition, StoreResult};
use super::TENANT;
use super::database::{Database, OPEN_REVOCATION, POSITION_BITS, Write};
use super::statement::{Row, Statement};
use crate::domain::{AccountId, Revocation, SessionId, TokenFacts, UnixMillis};

const WRITING: &str = "recording a revocation";
const READING: &str = "reading revocations";
/// What the numbers of advisory locks on one revocation begin with.
const REVOCATION: i64 = 0x7071;

pub(super) async fn add(database: &Database, revocation: &Revocation) -> StoreResult<()> {
    let mut write = database.write_vital(WRITING).await?;
    insert(&mut write, revocation).await?;
    write.commit().await
}

/// Replaces the row rather than updating it: the new position tells followers that it changed.
pub(super) async fn insert(write: &mut Write, revocation: &Revocation) -> StoreResult<()> {
    let (kind, subject, not_before) = columns(revocation);
    write.announce_revocation(name(kind, &subject)).await?;
    let earlier = Statement::new(WRITING, "DELETE FROM revocation WHERE tenant_id = $1 AND kind = $2 AND subject = $3 RETURNING not_before, until")
        .bind(TENANT)
        .bind(kind)
        .bind(&subject).fetch_optional(&mut *write).await?;
    let (earlier_cut, earlier_until) = match earlier {
        Some(row) => (row.number("not_before")?, row.number("until")?),
        None => (i64::MIN, i64::MIN),
    };
    Statement::new(WRITING, "INSERT INTO revocation (tenant_id, kind, subject, not_before, until) VALUES ($1, $2, $3, $4, $5)")
        .bind(TENANT)
        .bind(kind)
        .bind(subject)
        .bind(not_before.0.max(earlier_cut))
        .bind(revocation.until().0.max(earlier_until)).execute(&mut *write).await?;
    Ok(())
}

/// Up to which position nothing will appear any more.
pub(super) async fn settled(database: &Database) -> StoreResult<RevocationPosition> {
    if let Database::Sqlite(_) = database {
        return Ok(RevocationPosition(i64::MAX));
    }
    let row = Statement::new(
        READING,
        "SELECT COALESCE(max(position), 0) AS written, (
             SELECT min(((classid::bigint & $1) << 32) | objid::bigint) FROM pg_locks
             WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = $2
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS held
         FROM revocation",
    )
    .vital()
    .bind((1_i64 << (POSITION_BITS - 32)) - 1)
    .bind(OPEN_REVOCATION)
    .fetch_optional(database)
    .await?;
    let Some(row) = row else {
        return Ok(RevocationPosition::default());
    };
    let written = row.number("written")?;
    let held = row.optional_number("held")?.unwrap_or(i64::MAX);
    Ok(RevocationPosition(written.min(held)))
}

pub(super) async fn page(
    database: &Database,
    after: RevocationPosition,
    now: UnixMillis,
    limit: PageLimit,
) -> StoreResult<Vec<(RevocationPosition, Revocation)>> {
    Statement::new(
        READING,
        "SELECT position, kind, subject, not_before, until FROM revocation
         WHERE position > $1 AND until > $2 AND tenant_id = $3 ORDER BY position LIMIT $4",
    )
    // Whoever follows what is revoked tries again by itself, and learns first that the database is back.
    .vital()
    .bind(after.0)
    .bind(now.0)
    .bind(TENANT)
    .bind(limit.rows())
    .fetch_all(database)
    .await?
    .iter()
    .map(from_row)
    .collect()
}

/// At most four lookups in one index.
pub(super) async fn covers(
    database: &Database,
    token: &TokenFacts<'_>,
    now: UnixMillis,
) -> StoreResult<bool> {
    // Nothing equals NULL: a token without a session is in none.
    let found = Statement::new(
        READING,
        "SELECT 1 FROM revocation WHERE tenant_id = $1 AND until > $2 AND (
             (kind = 'token' AND subject = $3) OR (kind = 'session' AND subject = $4)
             OR (kind = 'account' AND subject = $5 AND not_before > $6)
             OR (kind = 'signing_key' AND subject = $7)) LIMIT 1",
    )
    .bind(TENANT)
    .bind(now.0)
    .bind(token.jti)
    .bind(token.sid)
    .bind(token.sub)
    .bind(token.issued_at.0)
    .bind(token.kid)
    .fetch_optional(database)
    .await?;
    Ok(found.is_some())
}

/// A number for an advisory lock of those that change the same revocation; one shared by chance costs a wait.
fn name(kind: &str, subject: &str) -> i64 {
    let digest = digest(&SHA256, format!("{kind} {subject}").as_bytes());
    let mut bytes = [0; 8];
    bytes[2..].copy_from_slice(&digest.as_ref()[..6]);
    (REVOCATION << POSITION_BITS) | i64::from_be_bytes(bytes)
}

/// `not_before` counts for accounts only; everything else is void whenever it was issued.
fn columns(revocation: &Revocation) -> (&'static str, String, UnixMillis) {
    match revocation {
        Revocation::Token { jti, .. } => ("token", jti.clone(), UnixMillis::default()),
        Revocation::Session { sid, .. } => ("session", sid.to_string(), UnixMillis::default()),
        Revocation::Account {
            sub, not_before, ..
        } => ("account", sub.to_string(), *not_before),
        Revocation::SigningKey { kid, .. } => ("signing_key", kid.clone(), UnixMillis::default()),
    }
}

fn from_row(row: &Row) -> StoreResult<(RevocationPosition, Revocation)> {
    let subject = row.text("subject")?;
    let until = UnixMillis(row.number("until")?);
    let not_before = UnixMillis(row.number("not_before")?);
    let revocation = match row.text("kind")? {
        "token" => Some(Revocation::Token {
            jti: subject.to_owned(),
            until,
        }),
        "session" => SessionId::parse(subject).map(|sid| Revocation::Session { sid, until }),
        "account" => AccountId::parse(subject).map(|sub| Revocation::Account {
            sub,
            not_before,
            until,
        }),
        "signing_key" => Some(Revocation::SigningKey {
            kid: subject.to_owned(),
            until,
        }),
        _ => None,
    };
    let position = RevocationPosition(row.number("position")?);
    Ok((position, row.read("revocation", revocation)?))
}
