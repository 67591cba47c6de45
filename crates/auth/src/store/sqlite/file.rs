//! A SQLite file in WAL mode and the connections to it. Never runs statements of its own beyond pragmas.
//!
//! One connection writes, several read. A second writer in the same process could only wait for the file's one write
//! lock by polling; behind a pool of one, writers queue in order and are woken at once. Other processes are waited for
//! by SQLite's busy handler, in `BEGIN IMMEDIATE`, where nothing has been read yet and nothing must be retried.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::AccessFlags;
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _, Transaction};

use super::super::attempt::{Attempt as _, is_busy};
use super::super::{PoolMetrics, StoreError, StoreResult, Trail};

/// How long a write waits for other processes before it is refused.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an operation waits for a free connection of its own process.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections beyond the pool's size close after this long without work.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The write-ahead log shrinks to this size after a checkpoint, however far a slow reader let it grow.
const JOURNAL_SIZE_LIMIT_BYTES: &str = "16777216";

/// How to open a file.
#[derive(Clone, Debug)]
pub(crate) struct FileOptions {
    pub(crate) path: PathBuf,
    pub(crate) synchronous: SqliteSynchronous,
    pub(crate) pool_size: u32,
    pub(crate) max_overflow: u32,
    pub(crate) busy_timeout: Duration,
}

/// An open file.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    writer: SqlitePool,
    readers: SqlitePool,
    /// How writes go into the audit log, too.
    pub(crate) trail: Trail,
    /// Whether writes queue mail, too.
    pub(crate) sends_mail: bool,
}

impl DatabaseFile {
    /// Opens or creates the file.
    pub(crate) async fn open(options: &FileOptions) -> StoreResult<Self> {
        create_private(&options.path)?;
        let base = SqliteConnectOptions::new()
            .filename(&options.path)
            .create_if_missing(false)
            .synchronous(options.synchronous)
            .busy_timeout(options.busy_timeout)
            .foreign_keys(true)
            .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT_BYTES)
            .disable_statement_logging();
        let wal = base.clone().journal_mode(SqliteJournalMode::Wal);
        let writer = open_writer(wal, options.busy_timeout).await?;
        let max_readers = options
            .pool_size
            .saturating_add(options.max_overflow)
            .max(1);
        let readers = pool(options.pool_size.min(max_readers), max_readers)
            // A write that strays here fails instead of dodging the queue.
            .connect_with(base.pragma("query_only", "ON"))
            .await
            .attempting("opening the database for reading")?;
        let identity = identity(&options.path).attempting("looking at the database's file")?;
        Ok(Self {
            path: options.path.clone(),
            identity,
            writer,
            readers,
            trail: Trail::default(),
            sends_mail: true,
        })
    }

    /// The connections for statements that only read.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Begins a write; it holds the file's write lock from here to its end. Dropped without commit, it never happened.
    pub(crate) async fn write(
        &self,
        attempted: &'static str,
    ) -> StoreResult<Transaction<'static, Sqlite>> {
        self.writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .attempting(attempted)
    }

    pub(crate) fn metrics(&self) -> PoolMetrics {
        let sum = |of: fn(&SqlitePool) -> u32| of(&self.writer) + of(&self.readers);
        PoolMetrics {
            open: sum(SqlitePool::size),
            idle: sum(|pool| u32::try_from(pool.num_idle()).unwrap_or(u32::MAX / 2)),
            max: sum(|pool| pool.options().get_max_connections()),
        }
    }

    /// Fails once the file has been closed: for answers that would not notice by themselves.
    pub(crate) fn still_open(&self, attempted: &'static str) -> StoreResult<()> {
        match self.writer.is_closed() {
            true => Err(sqlx::Error::PoolClosed).attempting(attempted),
            false => Ok(()),
        }
    }

    /// Fails once the file has been deleted or replaced: connections would go on with the old one, which no other
    /// process sees and no restart finds again.
    pub(crate) fn still_in_place(&self, attempted: &'static str) -> StoreResult<()> {
        if identity(&self.path).attempting(attempted)? == self.identity {
            return Ok(());
        }
        let replaced = io::Error::other("the file was replaced while it was open: restart");
        Err(sqlx::Error::Io(replaced)).attempting(attempted)
    }

    /// Fails when the disk is full or read-only, or the file is not ours to write.
    pub(crate) fn can_write(&self, attempted: &'static str) -> StoreResult<()> {
        check_writable(&self.path)
            .map_err(|error| sqlx::Error::Io(error.into()))
            .attempting(attempted)
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        // Last, so that it can fold the write-ahead log into the file.
        self.writer.close().await;
    }
}

fn pool(min: u32, max: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .min_connections(min)
        .max_connections(max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(None)
        // A local file does not go away between two uses.
        .test_before_acquire(false)
        // When the disk is full SQLite ends a transaction by itself. The driver believes it still open and would refuse
        // to begin another on this connection for ever.
        .before_acquire(|connection, _| {
            let is_usable = !connection.is_in_transaction();
            Box::pin(std::future::ready(Ok(is_usable)))
        })
}

/// The change to WAL needs the file for itself and is refused at once, busy handler or not, when two processes
/// attempt it on a fresh file: the only place where waiting is ours to do.
async fn open_writer(options: SqliteConnectOptions, patience: Duration) -> StoreResult<SqlitePool> {
    let deadline = Instant::now() + patience;
    loop {
        match pool(1, 1).connect_with(options.clone()).await {
            Err(sqlx::Error::Database(error))
                if is_busy(error.as_ref()) && Instant::now() < deadline =>
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            result => return result.attempting("opening the database"),
        }
    }
}

fn check_writable(path: &Path) -> nix::Result<()> {
    nix::unistd::access(path, AccessFlags::W_OK)?;
    let volume = statvfs(path)?;
    if volume.flags().contains(FsFlags::ST_RDONLY) {
        return Err(Errno::EROFS);
    }
    if volume.blocks_available() == 0 {
        return Err(Errno::ENOSPC);
    }
    Ok(())
}

fn identity(path: &Path) -> Result<(u64, u64), sqlx::Error> {
    use std::os::unix::fs::MetadataExt as _;
    let file = std::fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Password hashes and sealed keys are for the owner's eyes; the log files beside the database inherit its mode.
fn create_private(path: &Path) -> StoreResult<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::Options(format!("{}: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_on_a_full_volume_or_that_is_gone_cannot_be_written() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("auth.db");
        assert_eq!(check_writable(&path), Err(Errno::ENOENT));
        create_private(&path).unwrap();
        assert_eq!(check_writable(&path), Ok(()));
        // procfs has no room at all.
        assert_eq!(
            check_writable(Path::new("/proc/self/comm")),
            Err(Errno::ENOSPC)
        );
    }
}
