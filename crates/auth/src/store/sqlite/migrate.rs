//! Brings a file's schema up to date. Never goes backward, never edits a migration that was released.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{SqlSafeStr as _, Sqlite, Transaction};

use super::super::attempt::Attempt as _;
use super::super::schema::{self, Plan, Step};
use super::super::{StoreError, StoreResult};
use super::file::DatabaseFile;

/// The migrations of the store.
pub(super) fn store() -> Migrator {
    let accounts = include_str!("../../../migrations/sqlite/0001_accounts_and_tokens.sql");
    let instances = include_str!("../../../migrations/sqlite/0002_living_instances.sql");
    let organisation = include_str!("../../../migrations/sqlite/0003_organisation.sql");
    migrator(&[
        (1, "accounts and tokens", accounts),
        (2, "living instances", instances),
        (3, "organisation", organisation),
    ])
}

/// The steps of a migrator.
pub(crate) fn steps(migrator: &Migrator) -> Vec<Step> {
    let step = |migration: &Migration| Step {
        version: migration.version,
        name: migration.description.to_string(),
    };
    migrator.iter().map(step).collect()
}

/// What [`run`] would do to a file.
pub(super) async fn plan(file: &DatabaseFile) -> StoreResult<Plan> {
    const READING: &str = "reading the schema's version";
    const EXISTS: &str = "SELECT count(*) > 0 FROM sqlite_master WHERE name = '_sqlx_migrations'";
    let exists: bool = sqlx::query_scalar(EXISTS)
        .fetch_one(file.readers())
        .await
        .attempting(READING)?;
    let found = match exists {
        false => None,
        true => sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(file.readers())
            .await
            .attempting(READING)?,
    };
    schema::plan(found, steps(&store()))
}

/// A migrator over embedded files. An older binary meets a newer schema during a rolling deploy: unknown migrations
/// are not an error by themselves, `schema::judge` says how many are.
pub(crate) fn migrator(files: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = files
        .iter()
        .map(|&(version, name, sql)| {
            Migration::new(
                version,
                Cow::Borrowed(name),
                MigrationType::Simple,
                sql.into_sql_str(),
                false,
            )
        })
        .collect();
    let mut migrator = Migrator::with_migrations(migrations);
    migrator.set_ignore_missing(true);
    migrator
}

/// Runs what is missing. sqlx's migration lock does nothing on SQLite, so the whole run stands inside one
/// `BEGIN IMMEDIATE`: processes that start together take turns, and a killed one leaves nothing half done.
pub(crate) async fn run(file: &DatabaseFile, migrator: Migrator) -> StoreResult<()> {
    let ours = migrator.iter().map(|migration| migration.version).max();
    let mut write = begin(file).await?;
    migrator
        .run_direct(None, &mut *write, false)
        .await
        .map_err(StoreError::Migration)?;
    let found = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(&mut *write)
        .await
        .attempting("reading the schema's version")?;
    schema::judge(found, ours.unwrap_or_default())?;
    write.commit().await.attempting("committing the migration")
}

/// Waits for its turn longer than a request may: fifty processes that start together on a busy machine have been seen
/// to need more than those five seconds.
async fn begin(file: &DatabaseFile) -> StoreResult<Transaction<'static, Sqlite>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.write("beginning the migration").await {
            // It has waited for a while by itself.
            Err(StoreError::Busy { .. }) if Instant::now() < deadline => {}
            begun => return begun,
        }
    }
}

/// Until whoever waits in vain says so.
const PATIENCE: Duration = Duration::from_secs(60);
