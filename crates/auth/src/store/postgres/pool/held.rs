//! One connection in use, and the transaction on it. Never given back in the middle of an answer.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, Postgres};

use super::super::super::StoreResult;
use super::super::super::attempt::Attempt as _;
use super::super::super::sql::statement::{Row, Statement};
use super::{Answers, WRITTEN, no_answer};
use crate::store::topology::WalPosition;

/// How long the server may take over one statement; `SERVER_SETTINGS` make it give up before.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the connection is over. Most errors that the server names are answers like others; with those of class 08
/// and 57P it takes its leave.
fn is_end(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code.starts_with("08") || code.starts_with("57P")),
        _ => true,
    }
}

/// Whether the server says that it takes no writes, as a standby does: it is not what it was taken for.
fn is_refused_write(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "25006")
}

/// A connection in use. Only an idle one is used again by others.
pub(super) struct Held {
    pub(super) connection: PoolConnection<Postgres>,
    pub(super) answers: Arc<Answers>,
    pub(super) standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Every answer has been read to its end.
    Idle,
    /// A statement was sent; who waited for its answer may have left.
    Midway,
    /// The server took its leave, or is gone.
    Ended,
    /// No answer came in time.
    Silent,
}

impl Held {
    pub(super) async fn begin(&mut self, attempted: &'static str) -> StoreResult<()> {
        self.run(attempted, async |connection| {
            sqlx::raw_sql("BEGIN").execute(connection).await.map(drop)
        })
        .await
    }

    async fn run<T>(
        &mut self,
        attempted: &'static str,
        call: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> StoreResult<T> {
        self.standing = Standing::Midway;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, call(&mut self.connection)).await;
        self.standing = match &answer {
            Err(_) => Standing::Silent,
            Ok(Err(error)) if is_end(error) || is_refused_write(error) => Standing::Ended,
            Ok(_) => Standing::Idle,
        };
        match self.standing {
            Standing::Idle => self.answers.arrived(),
            _ => self.answers.broke(),
        }
        let answer = answer.unwrap_or_else(|_| Err(no_answer()));
        answer.attempting(attempted)
    }

    async fn execute(&mut self, statement: Statement) -> StoreResult<u64> {
        let (attempted, sql) = (statement.attempted(), statement.sql());
        let arguments = statement.for_postgres().attempting(attempted)?;
        self.run(attempted, async |connection| {
            let done = sqlx::query_with(sql, arguments).execute(connection).await?;
            Ok(done.rows_affected())
        })
        .await
    }

    pub(super) async fn fetch(&mut self, statement: Statement) -> StoreResult<Vec<Row>> {
        let (attempted, sql) = (statement.attempted(), statement.sql());
        let arguments = statement.for_postgres().attempting(attempted)?;
        let rows = self.run(attempted, async |connection| {
            sqlx::query_with(sql, arguments).fetch_all(connection).await
        });
        let rows = rows.await?.into_iter();
        Ok(rows.map(|row| Row::from_postgres(attempted, row)).collect())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.standing != Standing::Idle {
            self.connection.close_on_drop();
        }
    }
}

/// Reads an answer to [`WRITTEN`].
pub(in super::super) fn written(row: &Row) -> StoreResult<WalPosition> {
    Ok(WalPosition {
        timeline: row.number("timeline")?,
        position: row.number("position")?,
    })
}

/// A transaction on one connection. Dropped without commit, it is rolled back.
pub(crate) struct PoolWrite {
    pub(super) held: Option<Held>,
}

impl PoolWrite {
    pub(crate) async fn execute(&mut self, statement: Statement) -> StoreResult<u64> {
        self.held().execute(statement).await
    }

    pub(crate) async fn fetch(&mut self, statement: Statement) -> StoreResult<Vec<Row>> {
        self.held().fetch(statement).await
    }

    pub(crate) async fn commit(mut self, attempted: &'static str) -> StoreResult<()> {
        self.held()
            .run(attempted, async |connection| {
                sqlx::raw_sql("COMMIT").execute(connection).await.map(drop)
            })
            .await?;
        self.held = None;
        Ok(())
    }

    /// As [`PoolWrite::commit`], and asks in the same breath up to where the server has written. An error may mean that
    /// it was committed, as there.
    pub(crate) async fn commit_and_tell(
        mut self,
        attempted: &'static str,
    ) -> StoreResult<WalPosition> {
        let text = format!("COMMIT; {WRITTEN}");
        let rows = self
            .held()
            .run(attempted, async |connection| {
                sqlx::raw_sql(sqlx::AssertSqlSafe(text))
                    .fetch_all(connection)
                    .await
            })
            .await?;
        self.held = None;
        let row = rows.into_iter().next();
        let row = row.map(|row| Row::from_postgres(attempted, row));
        row.ok_or(sqlx::Error::RowNotFound)
            .attempting(attempted)
            .and_then(|row| written(&row))
    }

    fn held(&mut self) -> &mut Held {
        self.held.as_mut().expect("given back by commit alone")
    }
}

impl Drop for PoolWrite {
    fn drop(&mut self) {
        let Some(mut held) = self.held.take() else {
            return;
        };
        // A closed connection rolls back by itself.
        if held.standing != Standing::Idle {
            return;
        }
        // Until it is rolled back.
        held.standing = Standing::Midway;
        // Outside a runtime nothing can be sent: the connection closes, too.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let rollback = held.run("giving up a write", async |connection| {
                    sqlx::raw_sql("ROLLBACK")
                        .execute(connection)
                        .await
                        .map(drop)
                });
                if let Err(error) = rollback.await {
                    tracing::debug!(%error, "a connection is closed instead of being used again");
                }
            });
        }
    }
}
