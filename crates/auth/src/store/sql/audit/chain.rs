//! The chain of the audit log: lines are linked after they are committed. Never changes what a line says.
//!
//! Writers insert lines without a place and never wait for each other: a chain that each of them had to extend would
//! queue the logins of a cluster behind the disk flush of the one before. Whoever links takes the lines that it can see,
//! in order of their ids, gives them the next places and moves the mark of the head, all under one advisory lock. A line
//! that is committed late gets a later place, whatever its id, so that nothing has to be known of open transactions. The
//! price is a second at most in which a line is sealed and not yet linked: it cannot be changed then, but whoever has the
//! database may take it away unseen.

use super::super::super::{AuditMarks, PageLimit, StoreResult};
use super::super::TENANT;
use super::super::database::{Database, Queue, Write};
use super::super::statement::{Row, Statement};
use super::row;
use crate::domain::{AuditRow, ChainKey, ChainMark, MarkKind, Tag, UnixMillis};
use crate::random;

const LINKING: &str = "linking the audit log";
const READING: &str = "reading the chain of the audit log";
const CUTTING: &str = "removing old lines of the audit log";

/// Nothing where this process has no key.
pub(in super::super) async fn link(
    database: &Database,
    now: UnixMillis,
    limit: PageLimit,
) -> StoreResult<u64> {
    let Some(key) = database.trail().key.clone() else {
        return Ok(0);
    };
    let waiting = Statement::new(
        LINKING,
        "SELECT id FROM audit WHERE position IS NULL LIMIT 1",
    );
    if waiting.fetch_optional(database).await?.is_none() {
        return Ok(0);
    }
    let mut write = database.write(LINKING).await?;
    write.wait_in(Queue::AuditChain).await?;
    let head = mark(&mut write, MarkKind::Head).await?;
    let rows = Statement::new(
        LINKING,
        "SELECT id, at, event, outcome, actor_kind, actor_id, account_id, session_id, object, client, request_id,
             blind, seal, position, link, erasure FROM audit
         WHERE tenant_id = $1 AND position IS NULL ORDER BY id LIMIT $2",
    )
    .bind(TENANT)
    .bind(limit.rows())
    .fetch_all(&mut write)
    .await?;
    let mut position = head.as_ref().map_or(0, |head| head.position);
    let mut link = head.map(|head| head.link).unwrap_or_default();
    let count = rows.len() as u64;
    for stored in &rows {
        let line = row::read(stored)?;
        position = position.saturating_add(1);
        link = link_one(&mut write, &key, line, position, &link)
            .await?
            .to_vec();
    }
    if count > 0 {
        set_mark(&mut write, &key, MarkKind::Head, position, &link, now).await?;
    }
    write.commit().await?;
    Ok(count)
}

async fn link_one(
    write: &mut Write,
    key: &ChainKey,
    mut line: AuditRow,
    position: i64,
    before: &[u8],
) -> StoreResult<Tag> {
    if line.seal.is_none() {
        let blind: [u8; 16] = random::bytes();
        let personal = line.personal.digest(&blind);
        line.seal = Some(key.adopt(&line, &personal).to_vec());
        line.blind = Some(blind.to_vec());
    }
    let seal = line.seal.unwrap_or_default();
    let link = key.link(before, position, &seal);
    Statement::new(
        LINKING,
        "UPDATE audit SET position = $1, link = $2, seal = $3, blind = $4 WHERE id = $5",
    )
    .bind(position)
    .bind(link.as_slice())
    .bind(&seal)
    .bind(line.blind)
    .bind(line.id)
    .execute(write)
    .await?;
    Ok(link)
}

pub(in super::super) async fn page(
    database: &Database,
    after: i64,
    limit: PageLimit,
) -> StoreResult<Vec<AuditRow>> {
    Statement::new(
        READING,
        "SELECT id, at, event, outcome, actor_kind, actor_id, account_id, session_id, object, client, request_id,
             blind, seal, position, link, erasure FROM audit
         WHERE tenant_id = $1 AND position > $2 ORDER BY position LIMIT $3",
    )
    .bind(TENANT)
    .bind(after)
    .bind(limit.rows())
    .fetch_all(database)
    .await?
    .iter()
    .map(row::read)
    .collect()
}

pub(in super::super) async fn unlinked(
    database: &Database,
    after: i64,
    limit: PageLimit,
) -> StoreResult<Vec<AuditRow>> {
    Statement::new(
        READING,
        "SELECT id, at, event, outcome, actor_kind, actor_id, account_id, session_id, object, client, request_id,
             blind, seal, position, link, erasure FROM audit
         WHERE tenant_id = $1 AND position IS NULL AND id > $2 ORDER BY id LIMIT $3",
    )
    .bind(TENANT)
    .bind(after)
    .bind(limit.rows())
    .fetch_all(database)
    .await?
    .iter()
    .map(row::read)
    .collect()
}

/// Both in one statement, so that they are of one moment.
pub(in super::super) async fn marks(database: &Database) -> StoreResult<AuditMarks> {
    let rows = Statement::new(
        READING,
        "SELECT kind, position, link, at, code FROM audit_mark WHERE tenant_id = $1",
    )
    .bind(TENANT)
    .fetch_all(database)
    .await?;
    let mut marks = AuditMarks::default();
    for row in &rows {
        let mark = Some(mark_from_row(row)?);
        match row.text("kind")? {
            "head" => marks.head = mark,
            "cut" => marks.cut = mark,
            _ => {}
        }
    }
    Ok(marks)
}

/// A copied line would pass for a second event.
pub(in super::super) async fn copied(database: &Database) -> StoreResult<Option<i64>> {
    let row = Statement::new(
        READING,
        "SELECT max(id) AS id FROM audit WHERE tenant_id = $1 AND seal IS NOT NULL
         GROUP BY seal HAVING count(*) > 1 LIMIT 1",
    )
    .bind(TENANT)
    .fetch_optional(database)
    .await?;
    row.map(|row| row.number("id")).transpose()
}

/// From the beginning of the chain on and no further than the first line that stays, so that what is left is whole.
pub(in super::super) async fn cut(
    database: &Database,
    before: UnixMillis,
    now: UnixMillis,
    limit: PageLimit,
) -> StoreResult<u64> {
    let Some(key) = database.trail().key.clone() else {
        return Ok(0);
    };
    let mut write = database.write(CUTTING).await?;
    write.wait_in(Queue::AuditChain).await?;
    let oldest = Statement::new(
        CUTTING,
        "SELECT id, at, event, outcome, actor_kind, actor_id, account_id, session_id, object, client, request_id,
             blind, seal, position, link, erasure FROM audit
         WHERE tenant_id = $1 AND position > 0 ORDER BY position LIMIT $2",
    )
    .bind(TENANT)
    .bind(limit.rows())
    .fetch_all(&mut write)
    .await?;
    let mut last = None;
    for stored in &oldest {
        let line = row::read(stored)?;
        if line.at >= before {
            break;
        }
        last = line.position.zip(line.link);
    }
    let Some((position, link)) = last else {
        return Ok(0);
    };
    let removed = Statement::new(
        CUTTING,
        "DELETE FROM audit WHERE tenant_id = $1 AND position <= $2",
    )
    .bind(TENANT)
    .bind(position)
    .execute(&mut write)
    .await?;
    set_mark(&mut write, &key, MarkKind::Cut, position, &link, now).await?;
    write.commit().await?;
    Ok(removed)
}

async fn mark(write: &mut Write, kind: MarkKind) -> StoreResult<Option<ChainMark>> {
    let row = Statement::new(
        LINKING,
        "SELECT position, link, at, code FROM audit_mark WHERE tenant_id = $1 AND kind = $2",
    )
    .bind(TENANT)
    .bind(kind.as_str())
    .fetch_optional(write)
    .await?;
    row.map(|row| mark_from_row(&row)).transpose()
}

async fn set_mark(
    write: &mut Write,
    key: &ChainKey,
    kind: MarkKind,
    position: i64,
    link: &[u8],
    at: UnixMillis,
) -> StoreResult<()> {
    let code = key.mark(kind, position, link, at);
    Statement::new(
        LINKING,
        "INSERT INTO audit_mark (tenant_id, kind, position, link, at, code) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tenant_id, kind) DO UPDATE SET position = excluded.position, link = excluded.link,
             at = excluded.at, code = excluded.code",
    )
    .bind(TENANT)
    .bind(kind.as_str())
    .bind(position)
    .bind(link)
    .bind(at.0)
    .bind(code.as_slice())
    .execute(write)
    .await?;
    Ok(())
}

fn mark_from_row(row: &Row) -> StoreResult<ChainMark> {
    Ok(ChainMark {
        position: row.number("position")?,
        link: row.bytes("link")?,
        at: UnixMillis(row.number("at")?),
        code: row.bytes("code")?,
    })
}
