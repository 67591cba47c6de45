//! Revocations of the embedded shared state as rows, and the mark and replica that spare most requests from reading
//! them. Never shortens one, and never answers from memory what another process may have changed.

use std::io;
use std::path::Path;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::SharedAttempt as _;
use super::mark::Mark;
use super::replica::{Answer, Replica};
use crate::domain::{PermissionVersion, Revocation, TokenFacts, UnixMillis};
use crate::shared::SharedResult;
use crate::store::attempt::Attempt as _;
use crate::store::sqlite::file::DatabaseFile;
use crate::store::{StoreError, StoreResult};

/// What is void whenever it was issued.
const ALWAYS: UnixMillis = UnixMillis(i64::MAX);
/// Rows that one statement reads; more take several.
const PAGE_ROWS: u32 = 5_000;

/// The last position that was committed, purged or not.
const REACHED: &str = "SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'revoked'";

const WRITING: &str = "sharing a revocation";
const READING: &str = "looking for revocations";

/// Not a revocation, but known by the same means: a row whose `not_before` is the version of the permissions. No token
/// is looked up under it.
pub(super) const PERMISSIONS: &str = "p:version";

/// A row as it is taken into memory.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: Box<str>,
    pub(super) not_before: UnixMillis,
    pub(super) until: UnixMillis,
}

#[derive(Debug)]
pub(super) struct Revoked {
    file: DatabaseFile,
    mark: Mark,
    replica: Replica,
}

impl Revoked {
    pub(super) fn open(file: DatabaseFile, mark: &Path) -> io::Result<Self> {
        Ok(Self {
            file,
            mark: Mark::open(mark)?,
            replica: Replica::default(),
        })
    }

    pub(super) async fn add(&self, revocations: &[Revocation]) -> SharedResult<()> {
        let rows = revocations.iter().map(|revocation| {
            let (key, not_before) = entry(revocation);
            (key, not_before, revocation.until())
        });
        self.extend(WRITING, rows.collect()).await
    }

    /// Never lowers it.
    pub(super) async fn raise_permissions(&self, version: PermissionVersion) -> SharedResult<()> {
        let row = (PERMISSIONS.to_owned(), UnixMillis(version.0), ALWAYS);
        self.extend("raising the version of the permissions", vec![row])
            .await
    }

    async fn extend(
        &self,
        attempted: &'static str,
        rows: Vec<(String, UnixMillis, UnixMillis)>,
    ) -> SharedResult<()> {
        let mut write = self.file.write(attempted).await.shared(attempted)?;
        let mut last = None;
        for (key, not_before, until) in rows {
            // Replaced rather than updated: the new position is what other instances notice. What is covered already
            // stays as it is, so that a rebuild does not make everybody read everything again.
            let row = sqlx::query(
                "REPLACE INTO revoked (key, not_before, until)
                 SELECT ?1, max(?2, ifnull(max(not_before), ?2)), max(?3, ifnull(max(until), ?3))
                 FROM revoked WHERE key = ?1
                 HAVING count(*) = 0 OR max(not_before) < ?2 OR max(until) < ?3
                 RETURNING position",
            )
            .bind(key)
            .bind(not_before.0)
            .bind(until.0)
            .fetch_optional(&mut *write)
            .await
            .shared(attempted)?;
            if let Some(row) = row {
                last = Some(row.try_get(0).shared(attempted)?);
            }
        }
        if let Some(position) = last {
            self.mark.announce(position).shared(attempted)?;
        }
        write.commit().await.shared(attempted)
    }

    /// As far as [`Revoked::covers`] has read, or from the file where memory does not hold it.
    pub(super) async fn permissions(&self) -> SharedResult<Option<PermissionVersion>> {
        if let Some(version) = self.replica.permissions() {
            return Ok(Some(version));
        }
        let version: Option<i64> =
            sqlx::query_scalar("SELECT not_before FROM revoked WHERE key = ?1")
                .bind(PERMISSIONS)
                .fetch_optional(self.file.readers())
                .await
                .shared(READING)?;
        Ok(version.map(PermissionVersion))
    }

    /// Sets the mark to what is committed, in case a writer died between its announcement and its commit.
    pub(super) async fn settle(&self) -> StoreResult<()> {
        const DOING: &str = "settling the mark of the shared state";
        let mut write = self.file.write(DOING).await?;
        let position = sqlx::query_scalar(REACHED)
            .fetch_one(&mut *write)
            .await
            .attempting(DOING)?;
        self.mark
            .announce(position)
            .map_err(|error| StoreError::Options(format!("{DOING}: {error}")))?;
        // Nothing was changed; the lock was held so that no announcement could come in between.
        write.commit().await.attempting(DOING)
    }

    /// The hot path of the whole service.
    pub(super) async fn covers(
        &self,
        token: &TokenFacts<'_>,
        now: UnixMillis,
    ) -> SharedResult<bool> {
        // Memory would go on answering, but without a way to read on it may not be believed.
        self.file.still_open(READING).shared(READING)?;
        let mut answer = self.replica.answer(self.mark.read(), token, now);
        if let Answer::Behind(position) = answer {
            self.catch_up(position, now).await?;
            answer = self.replica.answer_now(token, now);
        }
        match answer {
            Answer::Revoked(is_revoked) => Ok(is_revoked),
            Answer::Behind(_) | Answer::Full => self.ask(token, now).await,
        }
    }

    /// Reads everything behind `position`. Tasks that come at once read the same rows; that harms nobody and needs no lock.
    async fn catch_up(&self, mut position: i64, now: UnixMillis) -> SharedResult<()> {
        // Asked first: rows up to here are then certainly among those read, or have ended and been purged.
        let reached: i64 = sqlx::query_scalar(REACHED)
            .fetch_one(self.file.readers())
            .await
            .shared(READING)?;
        loop {
            let rows = sqlx::query(
                "SELECT position, key, not_before, until FROM revoked
                 WHERE position > ?1 AND until > ?2 ORDER BY position LIMIT ?3",
            )
            .bind(position)
            .bind(now.0)
            .bind(PAGE_ROWS)
            .fetch_all(self.file.readers())
            .await
            .shared(READING)?;
            let Some(last) = rows.last() else { break };
            position = last.try_get("position").shared(READING)?;
            let is_last_page = rows.len() < PAGE_ROWS as usize;
            let rows = rows.iter().map(from_row).collect::<SharedResult<_>>()?;
            self.replica.take_in(rows, position, now);
            if is_last_page {
                break;
            }
        }
        self.replica.take_in(Vec::new(), reached, now);
        Ok(())
    }

    /// One prepared statement, at most four lookups in one index.
    async fn ask(&self, token: &TokenFacts<'_>, now: UnixMillis) -> SharedResult<bool> {
        // NULL is in no list: a token without a session has one key less.
        let [jti, sid, sub, kid] = keys(token);
        let found = sqlx::query(
            "SELECT 1 FROM revoked
             WHERE key IN (?1, ?2, ?3, ?4) AND not_before > ?5 AND until > ?6 LIMIT 1",
        )
        .bind(jti)
        .bind(sid)
        .bind(sub)
        .bind(kid)
        .bind(token.issued_at.0)
        .bind(now.0)
        .fetch_optional(self.file.readers())
        .await
        .shared(READING)?;
        Ok(found.is_some())
    }
}

/// What a token is looked up under.
pub(super) fn keys(token: &TokenFacts<'_>) -> [Option<String>; 4] {
    [
        Some(format!("j:{}", token.jti)),
        token.sid.map(|sid| format!("s:{sid}")),
        Some(format!("u:{}", token.sub)),
        Some(format!("k:{}", token.kid)),
    ]
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

fn from_row(row: &SqliteRow) -> SharedResult<Row> {
    Ok(Row {
        key: row.try_get::<&str, _>("key").shared(READING)?.into(),
        not_before: UnixMillis(row.try_get("not_before").shared(READING)?),
        until: UnixMillis(row.try_get("until").shared(READING)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(directory: &tempfile::TempDir) -> super::super::EmbeddedShared {
        super::super::EmbeddedShared::open(&directory.path().join("shared.db"))
            .await
            .unwrap()
    }

    fn token(jti: &str) -> TokenFacts<'_> {
        TokenFacts {
            jti,
            sid: None,
            sub: "s",
            kid: "k",
            issued_at: UnixMillis(1),
        }
    }

    fn revocation(jti: &str) -> Revocation {
        Revocation::Token {
            jti: jti.to_owned(),
            until: UnixMillis(1000),
        }
    }

    #[tokio::test]
    async fn a_writer_that_died_before_its_commit_hides_nothing_and_is_tidied_up_after() {
        let directory = tempfile::TempDir::new().unwrap();
        let (shared, other) = (open(&directory).await, open(&directory).await);
        shared.revoked.mark.announce(500).unwrap();
        let now = UnixMillis(2);
        for i in 0..3 {
            let jti = format!("t{i}");
            assert!(!other.revoked.covers(&token(&jti), now).await.unwrap());
            shared.revoked.add(&[revocation(&jti)]).await.unwrap();
            assert!(other.revoked.covers(&token(&jti), now).await.unwrap());
            shared.revoked.mark.announce(500 + i).unwrap();
        }
        assert!(matches!(
            other
                .revoked
                .replica
                .answer(other.revoked.mark.read(), &token("t0"), now),
            Answer::Behind(_)
        ));
        shared.revoked.settle().await.unwrap();
        let answer = other
            .revoked
            .replica
            .answer(other.revoked.mark.read(), &token("t0"), now);
        assert_eq!(answer, Answer::Revoked(true), "answered from memory again");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn none_is_missed_beside_purges_and_writers_that_die() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicBool, Ordering};
        let directory = tempfile::TempDir::new().unwrap();
        let (a, b, c) = tokio::join!(open(&directory), open(&directory), open(&directory));
        let (b, c) = (Arc::new(b), Arc::new(c));
        let is_over = Arc::new(AtomicBool::new(false));
        let (settling, over) = (Arc::clone(&c), Arc::clone(&is_over));
        let settling = tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                settling.revoked.settle().await.unwrap();
            }
        });
        let (dying, over) = (Arc::clone(&b), Arc::clone(&is_over));
        let dying = tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let mut write = dying.revoked.file.write("dying").await.unwrap();
                let insert = "REPLACE INTO revoked (key, not_before, until) VALUES ('j:lost', 9, 9) RETURNING position";
                let row = sqlx::query(insert).fetch_one(&mut *write).await.unwrap();
                dying.revoked.mark.announce(row.get(0)).unwrap();
            }
        });
        let now = UnixMillis(2);
        for i in 0..200 {
            let (jti, unknown) = (format!("t{i}"), format!("u{i}"));
            a.revoked.add(&[revocation(&jti)]).await.unwrap();
            for shared in [&b, &c] {
                let covers = async |jti: &str| shared.revoked.covers(&token(jti), now).await;
                assert!(covers(&jti).await.unwrap(), "{i}");
                assert!(!covers(&unknown).await.unwrap());
                assert!(!covers("lost").await.unwrap(), "it was never committed");
            }
        }
        is_over.store(true, Ordering::Relaxed);
        settling.await.unwrap();
        dying.await.unwrap();
    }

    #[tokio::test]
    async fn memory_answers_as_long_as_nothing_happens_even_after_a_purge() {
        use crate::shared::Shared as _;
        let directory = tempfile::TempDir::new().unwrap();
        let (shared, other) = (open(&directory).await, open(&directory).await);
        shared
            .revoke(&[revocation("t0"), revocation("t1")])
            .await
            .unwrap();
        shared.purge(UnixMillis(1000), 10).await.unwrap();
        let late = UnixMillis(1001);
        assert!(!other.revoked.covers(&token("t0"), late).await.unwrap());
        let answer = other
            .revoked
            .replica
            .answer(other.revoked.mark.read(), &token("t0"), late);
        assert_eq!(
            answer,
            Answer::Revoked(false),
            "purged positions count as read"
        );
    }

    #[tokio::test]
    async fn a_rebuild_of_what_is_there_makes_nobody_read_again() {
        let directory = tempfile::TempDir::new().unwrap();
        let shared = open(&directory).await;
        let longer = Revocation::Token {
            jti: "t0".to_owned(),
            until: UnixMillis(1001),
        };
        for (added, position) in [
            (revocation("t0"), 1),
            (revocation("t0"), 1),
            (longer, 2),
            (revocation("t0"), 2),
        ] {
            shared.revoked.add(&[added]).await.unwrap();
            assert_eq!(shared.revoked.mark.read(), Some(position));
        }
        assert!(
            shared
                .revoked
                .covers(&token("t0"), UnixMillis(1000))
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn statement_and_memory_agree() {
        let directory = tempfile::TempDir::new().unwrap();
        let shared = open(&directory).await;
        let sid = crate::domain::SessionId::from_random([1; 16]);
        let sub = crate::domain::AccountId::from_random([2; 16]);
        let until = UnixMillis(1000);
        shared
            .revoked
            .add(&[
                revocation("t1"),
                Revocation::Session { sid, until },
                Revocation::Account {
                    sub,
                    not_before: UnixMillis(50),
                    until,
                },
                Revocation::SigningKey {
                    kid: "k1".to_owned(),
                    until,
                },
            ])
            .await
            .unwrap();
        let (sid, sub) = (sid.to_string(), sub.to_string());
        for bits in 0..64_u32 {
            let is = |bit: u32| bits & (1 << bit) != 0;
            let token = TokenFacts {
                jti: if is(0) { "t1" } else { "t2" },
                sid: is(1).then_some(if is(2) { &sid } else { "other" }),
                sub: if is(3) { &sub } else { "other" },
                kid: if is(4) { "k1" } else { "k2" },
                issued_at: UnixMillis(if is(5) { 49 } else { 50 }),
            };
            for now in [UnixMillis(60), until] {
                let asked = shared.revoked.ask(&token, now).await.unwrap();
                assert_eq!(
                    shared.revoked.covers(&token, now).await.unwrap(),
                    asked,
                    "{token:?} at {now}"
                );
            }
        }
    }

    #[tokio::test]
    async fn many_pages_are_read_to_the_end() {
        let directory = tempfile::TempDir::new().unwrap();
        let (shared, other) = (open(&directory).await, open(&directory).await);
        let many: Vec<_> = (0..=2 * PAGE_ROWS)
            .map(|i| revocation(&format!("t{i}")))
            .collect();
        shared.revoked.add(&many).await.unwrap();
        for i in [0, PAGE_ROWS - 1, PAGE_ROWS, 2 * PAGE_ROWS] {
            assert!(
                other
                    .revoked
                    .covers(&token(&format!("t{i}")), UnixMillis(2))
                    .await
                    .unwrap(),
                "{i}"
            );
        }
    }
}
