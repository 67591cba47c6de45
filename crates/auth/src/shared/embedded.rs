//! Shared state without a server: a SQLite file of its own that the processes of one machine share.
//!
//! Its own file, so that counters and heartbeats never hold up a durable write. `WAL` with `synchronous = NORMAL`: a
//! commit is in the page cache, where every process sees it and `kill -9` cannot reach it; only a power cut forgets the
//! last ones, and then the store, which forgets nothing, rebuilds the revocations at the next start. `OFF` would save
//! nothing more per commit and could damage the file.
//!
//! Whether a token is revoked is asked on every request, so that answer comes from memory; `mark.rs` says how each
//! process knows that its memory is complete.

mod mark;
mod replica;
mod revoked;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteRow, SqliteSynchronous};

use super::{Allowance, Counter, CounterKey, Shared, SharedError, SharedResult, Taken};
use crate::domain::{
    AccountId, InstanceRecord, InstanceState, PermissionVersion, Revocation, TokenFacts, UnixMillis,
};
use crate::store::sqlite::file::{BUSY_TIMEOUT, DatabaseFile, FileOptions};
use crate::store::sqlite::migrate;
use crate::store::topology::WalPosition;
use crate::store::{Standing, StoreError};
use revoked::Revoked;

/// More than one reader only helps when checks wait on each other; two keep one slow reader from stopping all.
const READERS: u32 = 2;
const READERS_UNDER_LOAD: u32 = 2;
/// No cluster of ours has more instances; a registry that does is not ours.
const MAX_INSTANCES: u16 = 1000;

/// [`Shared`] on a SQLite file.
#[derive(Debug)]
pub struct EmbeddedShared {
    file: DatabaseFile,
    revoked: Revoked,
}

impl EmbeddedShared {
    /// Opens or creates the file and brings its schema up to date; any number of processes may do so at once.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let file = DatabaseFile::open(&FileOptions {
            path: path.to_owned(),
            synchronous: SqliteSynchronous::Normal,
            pool_size: READERS,
            max_overflow: READERS_UNDER_LOAD,
            busy_timeout: BUSY_TIMEOUT,
        })
        .await?;
        let schema = include_str!("../../migrations/shared/0001_short_lived_state.sql");
        let allowances = include_str!("../../migrations/shared/0002_allowances.sql");
        let remembered = include_str!("../../migrations/shared/0003_remembered.sql");
        migrate::run(
            &file,
            migrate::migrator(&[
                (1, "short-lived state", schema),
                (2, "allowances", allowances),
                (3, "remembered", remembered),
            ]),
        )
        .await?;
        // By its real name, as SQLite does with its own side files: through symbolic links, instances would each
        // have a mark of their own.
        let mark_of = |path: &Path| {
            let mut mark = path.canonicalize()?.into_os_string();
            mark.push("-mark");
            Revoked::open(file.clone(), Path::new(&mark))
        };
        let revoked = mark_of(path).map_err(|error| {
            StoreError::Options(format!("the mark of {}: {error}", path.display()))
        })?;
        let shared = Self { file, revoked };
        shared.revoked.settle().await?;
        Ok(shared)
    }
}

#[async_trait]
impl Shared for EmbeddedShared {
    async fn revoke(&self, revocations: &[Revocation]) -> SharedResult<()> {
        self.revoked.add(revocations).await
    }

    async fn is_revoked(&self, token: &TokenFacts<'_>, now: UnixMillis) -> SharedResult<bool> {
        self.revoked.covers(token, now).await
    }

    async fn standing(&self, token: &TokenFacts<'_>, now: UnixMillis) -> SharedResult<Standing> {
        Ok(Standing {
            is_revoked: self.revoked.covers(token, now).await?,
            // Asked behind it: what the mark promised has been read by then.
            permissions: self.revoked.permissions().await?,
        })
    }

    async fn raise_permissions(&self, version: PermissionVersion) -> SharedResult<()> {
        self.revoked.raise_permissions(version).await
    }

    async fn remembered(&self, key: &str, now: UnixMillis) -> SharedResult<Option<String>> {
        const DOING: &str = "looking for what is remembered";
        sqlx::query_scalar("SELECT value FROM remembered WHERE key = ?1 AND until > ?2")
            .bind(key)
            .bind(now.0)
            .fetch_optional(self.file.readers())
            .await
            .shared(DOING)
    }

    async fn remember(
        &self,
        key: &str,
        value: &str,
        ttl: Duration,
        now: UnixMillis,
    ) -> SharedResult<()> {
        const DOING: &str = "remembering";
        let mut write = self.file.write(DOING).await.shared(DOING)?;
        sqlx::query("REPLACE INTO remembered (key, value, until) VALUES (?1, ?2, ?3)")
            .bind(key)
            .bind(value)
            .bind(now.plus(ttl).0)
            .execute(&mut *write)
            .await
            .shared(DOING)?;
        write.commit().await.shared(DOING)
    }

    async fn count(
        &self,
        keys: &[CounterKey],
        window: Duration,
        now: UnixMillis,
    ) -> SharedResult<Vec<Counter>> {
        const DOING: &str = "counting";
        let mut write = self.file.write(DOING).await.shared(DOING)?;
        let mut counters = Vec::with_capacity(keys.len());
        for key in keys {
            let row = sqlx::query(
                "INSERT INTO counter (key, count, resets_at) VALUES (?1, 1, ?2)
                 ON CONFLICT (key) DO UPDATE SET
                     count = CASE WHEN resets_at <= ?3 THEN 1 ELSE min(count + 1, 4294967295) END,
                     resets_at = CASE WHEN resets_at <= ?3 THEN excluded.resets_at ELSE resets_at END
                 RETURNING count, resets_at",
            )
            .bind(key.as_bytes().as_slice())
            .bind(now.plus(window).0)
            .bind(now.0)
            .fetch_one(&mut *write)
            .await
            .shared(DOING)?;
            counters.push(counter(&row, DOING)?);
        }
        write.commit().await.shared(DOING)?;
        Ok(counters)
    }

    async fn counters(&self, keys: &[CounterKey], now: UnixMillis) -> SharedResult<Vec<Counter>> {
        const DOING: &str = "reading counters";
        let mut counters = Vec::with_capacity(keys.len());
        for key in keys {
            let row = sqlx::query(
                "SELECT count, resets_at FROM counter WHERE key = ?1 AND resets_at > ?2",
            )
            .bind(key.as_bytes().as_slice())
            .bind(now.0)
            .fetch_optional(self.file.readers())
            .await
            .shared(DOING)?;
            let none = Counter {
                count: 0,
                resets_at: now,
            };
            counters.push(row.map_or(Ok(none), |row| counter(&row, DOING))?);
        }
        Ok(counters)
    }

    async fn add(&self, counted: &[(CounterKey, Counter)], now: UnixMillis) -> SharedResult<()> {
        const DOING: &str = "adding to counters";
        let mut write = self.file.write(DOING).await.shared(DOING)?;
        for (key, counter) in counted {
            sqlx::query(
                "INSERT INTO counter (key, count, resets_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET
                     count = min(excluded.count + CASE WHEN resets_at <= ?4 THEN 0 ELSE count END, 4294967295),
                     resets_at = max(excluded.resets_at, resets_at)",
            )
            .bind(key.as_bytes().as_slice())
            .bind(i64::from(counter.count))
            .bind(counter.resets_at.0)
            .bind(now.0)
            .execute(&mut *write)
            .await
            .shared(DOING)?;
        }
        write.commit().await.shared(DOING)
    }

    async fn reset(&self, key: &CounterKey) -> SharedResult<()> {
        const DOING: &str = "resetting a counter";
        let mut write = self.file.write(DOING).await.shared(DOING)?;
        sqlx::query("DELETE FROM counter WHERE key = ?1")
            .bind(key.as_bytes().as_slice())
            .execute(&mut *write)
            .await
            .shared(DOING)?;
        write.commit().await.shared(DOING)
    }

    async fn take(&self, allowances: &[Allowance], now: UnixMillis) -> SharedResult<Option<Taken>> {
        const DOING: &str = "taking from an allowance";
        let mut write = self.file.write(DOING).await.shared(DOING)?;
        let mut takings = Vec::with_capacity(allowances.len());
        for allowance in allowances {
            let full_at: Option<i64> =
                sqlx::query_scalar("SELECT full_at FROM allowance WHERE key = ?1")
                    .bind(allowance.key.as_bytes().as_slice())
                    .fetch_optional(&mut *write)
                    .await
                    .shared(DOING)?;
            takings.push((allowance, allowance.take(full_at, now)));
        }
        if takings.iter().all(|(_, (taken, _))| taken.is_allowed) {
            for (allowance, (_, full_at)) in &takings {
                sqlx::query("REPLACE INTO allowance (key, full_at) VALUES (?1, ?2)")
                    .bind(allowance.key.as_bytes().as_slice())
                    .bind(full_at)
                    .execute(&mut *write)
                    .await
                    .shared(DOING)?;
            }
        }
        write.commit().await.shared(DOING)?;
        let taken = takings.into_iter().map(|(_, (taken, _))| taken);
        Ok(taken.reduce(Taken::tighter))
    }

    async fn heartbeat(
        &self,
        instance: &InstanceRecord,
        ttl: Duration,
        now: UnixMillis,
    ) -> SharedResult<()> {
        const DOING: &str = "reporting an instance";
        let mut write = self.file.write(DOING).await.shared(DOING)?;
        sqlx::query("REPLACE INTO instance (id, address, version, fingerprint, state, started_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
            .bind(&instance.id)
            .bind(&instance.address)
            .bind(&instance.version)
            .bind(&instance.fingerprint)
            .bind(instance.state.as_str())
            .bind(instance.started_at.0)
            .bind(now.plus(ttl).0)
            .execute(&mut *write)
            .await
            .shared(DOING)?;
        write.commit().await.shared(DOING)
    }

    async fn leave(&self, id: &str) -> SharedResult<()> {
        const DOING: &str = "taking an instance out of the registry";
        let mut write = self.file.write(DOING).await.shared(DOING)?;
        sqlx::query("DELETE FROM instance WHERE id = ?1")
            .bind(id)
            .execute(&mut *write)
            .await
            .shared(DOING)?;
        write.commit().await.shared(DOING)
    }

    async fn instances(&self, now: UnixMillis) -> SharedResult<Vec<InstanceRecord>> {
        const DOING: &str = "listing instances";
        sqlx::query("SELECT id, address, version, fingerprint, state, started_at FROM instance WHERE expires_at > ?1 ORDER BY id LIMIT ?2")
            .bind(now.0)
            .bind(MAX_INSTANCES)
            .fetch_all(self.file.readers())
            .await
            .shared(DOING)?
            .iter()
            .map(|row| instance(row, DOING))
            .collect()
    }

    async fn note_written(
        &self,
        accounts: &[AccountId],
        position: WalPosition,
        ttl: Duration,
        now: UnixMillis,
    ) -> SharedResult<()> {
        const DOING: &str = "noting a write";
        let mut write = self.file.write(DOING).await.shared(DOING)?;
        for account in accounts {
            sqlx::query(
                "INSERT INTO written (account, timeline, position, ends_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (account) DO UPDATE SET
                     timeline = max(timeline, excluded.timeline),
                     position = CASE WHEN (excluded.timeline, excluded.position) > (timeline, position)
                         THEN excluded.position ELSE position END,
                     ends_at = max(ends_at, excluded.ends_at)",
            )
            .bind(account.to_string())
            .bind(position.timeline)
            .bind(position.position)
            .bind(now.plus(ttl).0)
            .execute(&mut *write)
            .await
            .shared(DOING)?;
        }
        write.commit().await.shared(DOING)
    }

    async fn written(
        &self,
        account: AccountId,
        now: UnixMillis,
    ) -> SharedResult<Option<WalPosition>> {
        const DOING: &str = "looking for a write";
        let row = sqlx::query(
            "SELECT timeline, position FROM written WHERE account = ?1 AND ends_at > ?2",
        )
        .bind(account.to_string())
        .bind(now.0)
        .fetch_optional(self.file.readers())
        .await
        .shared(DOING)?;
        let read = |row: SqliteRow| {
            Ok(WalPosition {
                timeline: row.try_get("timeline").shared(DOING)?,
                position: row.try_get("position").shared(DOING)?,
            })
        };
        row.map(read).transpose()
    }

    async fn purge(&self, now: UnixMillis, limit: u16) -> SharedResult<u64> {
        const DOING: &str = "purging the shared state";
        let mut write = self.file.write(DOING).await.shared(DOING)?;
        let mut purged = 0;
        for statement in [
            "DELETE FROM revoked WHERE key IN (SELECT key FROM revoked WHERE until <= ?1 LIMIT ?2)",
            "DELETE FROM counter WHERE key IN (SELECT key FROM counter WHERE resets_at <= ?1 LIMIT ?2)",
            "DELETE FROM allowance WHERE key IN (SELECT key FROM allowance WHERE full_at <= ?1 * 1000 LIMIT ?2)",
            "DELETE FROM written WHERE account IN (SELECT account FROM written WHERE ends_at <= ?1 LIMIT ?2)",
            "DELETE FROM remembered WHERE key IN (SELECT key FROM remembered WHERE until <= ?1 LIMIT ?2)",
            "DELETE FROM instance WHERE id IN (SELECT id FROM instance WHERE expires_at <= ?1 LIMIT ?2)",
        ] {
            let done = sqlx::query(statement)
                .bind(now.0)
                .bind(limit)
                .execute(&mut *write)
                .await
                .shared(DOING)?;
            purged += done.rows_affected();
        }
        write.commit().await.shared(DOING)?;
        self.revoked.settle().await.shared(DOING)?;
        Ok(purged)
    }

    async fn ping(&self) -> SharedResult<()> {
        const DOING: &str = "asking the shared state for a sign of life";
        sqlx::query("SELECT 1 FROM revoked LIMIT 1")
            .fetch_optional(self.file.readers())
            .await
            .shared(DOING)?;
        self.file.still_in_place(DOING).shared(DOING)
    }

    async fn can_write(&self) -> SharedResult<()> {
        const DOING: &str = "looking for room to write to the shared state";
        self.file.can_write(DOING).shared(DOING)
    }

    async fn close(&self) {
        self.file.close().await;
    }
}

fn counter(row: &SqliteRow, attempted: &'static str) -> SharedResult<Counter> {
    Ok(Counter {
        count: row.try_get("count").shared(attempted)?,
        resets_at: UnixMillis(row.try_get("resets_at").shared(attempted)?),
    })
}

fn instance(row: &SqliteRow, attempted: &'static str) -> SharedResult<InstanceRecord> {
    let text = |column: &str| row.try_get::<String, _>(column).shared(attempted);
    let state = InstanceState::parse(&text("state")?);
    Ok(InstanceRecord {
        id: text("id")?,
        address: text("address")?,
        version: text("version")?,
        fingerprint: text("fingerprint")?,
        state: state.ok_or(SharedError::BadEntry {
            attempted,
            what: "instance state",
        })?,
        started_at: UnixMillis(row.try_get("started_at").shared(attempted)?),
    })
}

/// Names what was attempted when the file fails.
trait SharedAttempt<T> {
    fn shared(self, attempted: &'static str) -> SharedResult<T>;
}

impl<T, E: std::error::Error + Send + Sync + 'static> SharedAttempt<T> for Result<T, E> {
    fn shared(self, attempted: &'static str) -> SharedResult<T> {
        self.map_err(|source| SharedError::Unavailable {
            attempted,
            source: Box::new(source),
        })
    }
}
