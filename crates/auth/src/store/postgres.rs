//! The store on a PostgreSQL server: how it is reached, with how many connections, on which schema. Never shows a
//! password, and never waits for the server without an end.

mod address;
pub(crate) mod cluster;
mod migrate;
pub(crate) mod pool;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use super::StoreResult;
use super::attempt::Attempt as _;
use super::readers::Positions;
use super::schema::Plan;
use super::sql::SqlStore;
use super::sql::database::Database;
use crate::breaker::Guard;
pub use address::{AddressError, PostgresAddress, PostgresServers};
use cluster::Cluster;
use pool::Pool;

/// How to use the servers of a database.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Where they are, as whom, over TLS or not.
    pub servers: PostgresServers,
    /// Connections kept open.
    pub pool_size: u32,
    /// Connections opened beyond that under load.
    pub max_overflow: u32,
    /// How long an operation waits for a free connection.
    pub acquire_timeout: Duration,
    /// About how long a connection is used before another takes its place.
    pub recycle_after: Duration,
    /// A replica whose answers are older than this is not read.
    pub lag_max: Duration,
    /// Where accounts that wrote are remembered; without it replicas are not read.
    pub(crate) positions: Option<Arc<dyn Positions>>,
    /// The circuit breaker around the server.
    pub(crate) guard: Arc<Guard>,
}

/// Connects and brings the schema up to date. Any number of processes may try at once: one migrates, the others find
/// it done.
pub async fn open(options: &PostgresOptions) -> StoreResult<SqlStore> {
    let cluster = Cluster::open(options).await?;
    if let Err(error) = migrate_all(options, &cluster).await {
        cluster.close().await;
        return Err(error);
    }
    Ok(SqlStore::new(Database::Postgres(cluster)))
}

/// What bringing the schema up to date would do.
pub async fn plan(options: &PostgresOptions) -> StoreResult<Plan> {
    let cluster = Cluster::open(options).await?;
    let plan = match Direct::find(options, &cluster).await {
        Ok(direct) => {
            let plan = migrate::plan(&direct.pool).await;
            direct.close().await;
            plan
        }
        Err(error) => Err(error),
    };
    cluster.close().await;
    plan
}

async fn migrate_all(options: &PostgresOptions, cluster: &Cluster) -> StoreResult<()> {
    let direct = Direct::find(options, cluster).await?;
    let migrated = migrate::run(&direct.pool, &migrate::store()).await;
    direct.close().await;
    migrated
}

/// The way to the server that takes writes, past poolers.
struct Direct {
    pool: Pool,
    /// Whether it is another way than that of the cluster.
    is_own: bool,
}

impl Direct {
    async fn find(options: &PostgresOptions, cluster: &Cluster) -> StoreResult<Self> {
        const LOOKING: &str = "looking for the server to migrate";
        if options.servers.direct.is_empty() {
            let pool = cluster.primary(LOOKING)?.clone();
            let is_own = false;
            return Ok(Self { pool, is_own });
        }
        let narrow = PostgresOptions {
            pool_size: 1,
            max_overflow: 0,
            ..options.clone()
        };
        let mut refused = None;
        for address in &options.servers.direct {
            let pool = match Pool::open(&narrow, address).await {
                Ok(pool) => pool,
                Err(error) => {
                    refused = Some(error);
                    continue;
                }
            };
            match pool.can_write(LOOKING).await {
                Ok(()) => return Ok(Self { pool, is_own: true }),
                Err(error) => refused = Some(error),
            }
            pool.close().await;
        }
        let nobody = || Err(cluster::nobody_leads()).attempting(LOOKING);
        refused.map_or_else(nobody, Err)
    }

    async fn close(self) {
        if self.is_own {
            self.pool.close().await;
        }
    }
}
