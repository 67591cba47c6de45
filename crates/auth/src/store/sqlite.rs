//! The embedded store: one SQLite file that several processes share. Never a server, never in memory only.
//!
//! Durability is `WAL` with `synchronous = FULL`: a commit is on the disk before it is acknowledged. `NORMAL` would be
//! enough against `kill -9`, which leaves the page cache alone, but after a power cut it forgets the last commits, and
//! a forgotten logout is a token that works again. FULL costs a flush per write and still allows thousands a second.

pub(crate) mod file;
pub(crate) mod migrate;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use sqlx::sqlite::SqliteSynchronous;

use super::StoreResult;
use super::schema;
pub use super::schema::{Plan, Step};
use super::sql::SqlStore;
use super::sql::database::Database;
use file::{DatabaseFile, FileOptions};

/// Where the database lies and how many connections may use it.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The file; created when missing, its directory is not.
    pub path: PathBuf,
    /// Reading connections kept open.
    pub pool_size: u32,
    /// Reading connections opened beyond that under load.
    pub max_overflow: u32,
}

/// Opens the file, or creates an empty one readable by its owner only, and brings the schema up to date. Any number of
/// processes may try at once: one migrates, the others find it done.
pub async fn open(options: &SqliteOptions) -> StoreResult<SqlStore> {
    let file = open_file(options).await?;
    migrate::run(&file, migrate::store()).await?;
    Ok(SqlStore::new(Database::Sqlite(file)))
}

/// What bringing the schema up to date would do. Makes no file.
pub async fn plan(options: &SqliteOptions) -> StoreResult<Plan> {
    if !options.path.exists() {
        return schema::plan(None, migrate::steps(&migrate::store()));
    }
    let file = open_file(options).await?;
    let plan = migrate::plan(&file).await;
    file.close().await;
    plan
}

async fn open_file(options: &SqliteOptions) -> StoreResult<DatabaseFile> {
    DatabaseFile::open(&FileOptions {
        path: options.path.clone(),
        synchronous: SqliteSynchronous::Full,
        pool_size: options.pool_size,
        max_overflow: options.max_overflow,
        busy_timeout: file::BUSY_TIMEOUT,
    })
    .await
}
