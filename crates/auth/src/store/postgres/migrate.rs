//! Brings a server's schema up to date. Never goes backward, never edits a migration that was released, and changes
//! nothing where nothing is missing, so that instances may run without the right to.

use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;

use super::super::attempt::Attempt as _;
use super::super::schema::{self, Plan, Schema};
use super::super::sqlite::migrate::{migrator, steps};
use super::super::{StoreError, StoreResult};
use super::pool::Pool;

const MIGRATING: &str = "migrating the database";
/// How long to try again when statements of other instances are in the way of a change.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);
/// The number of the advisory lock that only migrations take.
pub(super) const LOCK: i64 = 0x706f_7274_0000_0000;

/// The migrations of the store.
pub(super) fn store() -> Migrator {
    let accounts = include_str!("../../../migrations/postgres/0001_accounts_and_tokens.sql");
    let instances = include_str!("../../../migrations/postgres/0002_living_instances.sql");
    let organisation = include_str!("../../../migrations/postgres/0003_organisation.sql");
    migrator(&[
        (1, "accounts and tokens", accounts),
        (2, "living instances", instances),
        (3, "organisation", organisation),
    ])
}

/// What [`run`] would do.
pub(super) async fn plan(pool: &Pool) -> StoreResult<Plan> {
    schema::plan(version(pool).await?, steps(&store()))
}

/// The migrations of the store up to this one.
#[cfg(test)]
pub(super) fn store_until(version: i64) -> Migrator {
    let all = store();
    let until = all.iter().filter(|step| step.version <= version).cloned();
    let mut migrator = Migrator::with_migrations(until.collect());
    migrator.set_ignore_missing(true);
    migrator
}

/// Runs what is missing, unless the schema is of another age. A change that has to wait for running statements gives
/// up after the connection's `lock_timeout`, since all others queue behind it meanwhile, and is tried again.
pub(super) async fn run(pool: &Pool, migrator: &Migrator) -> StoreResult<()> {
    let began = Instant::now();
    loop {
        match attempt(pool, migrator).await {
            Err(StoreError::Busy { .. }) if began.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

async fn attempt(pool: &Pool, migrator: &Migrator) -> StoreResult<()> {
    let ours = migrator.iter().map(|migration| migration.version).max();
    let found = version(pool).await?;
    if schema::judge(found, ours.unwrap_or_default())? == Schema::Usable {
        return Ok(());
    }
    let mut write = pool.connections().begin().await.attempting(MIGRATING)?;
    // In one transaction: processes that start together take turns, and a killed one leaves nothing half done.
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *write)
        .await
        .attempting(MIGRATING)?;
    migrator
        .run_direct(None, &mut *write, false)
        .await
        .map_err(failed)?;
    write.commit().await.attempting(MIGRATING)
}

/// The newest migration that was ever run.
async fn version(pool: &Pool) -> StoreResult<Option<i64>> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(pool.connections())
        .await
        .attempting(MIGRATING)?;
    if !exists {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(pool.connections())
        .await
        .attempting(MIGRATING)
}

/// Others in the way are told apart from a migration that is wrong.
fn failed(error: sqlx::migrate::MigrateError) -> StoreError {
    use sqlx::migrate::MigrateError;
    match error {
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
            match Err::<(), _>(source).attempting(MIGRATING) {
                Err(busy @ StoreError::Busy { .. }) => busy,
                Err(StoreError::Unavailable { source, .. }) => {
                    StoreError::Migration(MigrateError::Execute(source))
                }
                Err(error) => error,
                Ok(()) => unreachable!("an error stays one"),
            }
        }
        error => StoreError::Migration(error),
    }
}
