//! The store on a PostgreSQL server: how it is reached, with how many connections, on which schema. Never shows a
//! password, and never waits for the server without an end.

mod address;
mod migrate;
pub(crate) mod pool;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use super::StoreResult;
use super::sql::SqlStore;
use super::sql::database::Database;
use crate::breaker::Guard;
pub use address::{AddressError, PostgresAddress};
use pool::Pool;

/// How to use a server.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Where it is, as whom, over TLS or not.
    pub address: PostgresAddress,
    /// Connections kept open.
    pub pool_size: u32,
    /// Connections opened beyond that under load.
    pub max_overflow: u32,
    /// How long an operation waits for a free connection.
    pub acquire_timeout: Duration,
    /// About how long a connection is used before another takes its place.
    pub recycle_after: Duration,
    /// The circuit breaker around the server.
    pub(crate) guard: Arc<Guard>,
}

/// Connects and brings the schema up to date. Any number of processes may try at once: one migrates, the others find
/// it done.
pub async fn open(options: &PostgresOptions) -> StoreResult<SqlStore> {
    let pool = Pool::open(options).await?;
    if let Err(error) = migrate::run(&pool, &migrate::store()).await {
        pool.close().await;
        return Err(error);
    }
    Ok(SqlStore::new(Database::Postgres(pool)))
}
