//! Opens the durable store that the settings name, and says when its server could run out of connections. Never asks
//! the store for anything else.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::breaker::Guard;
use crate::config::{Database, DatabasePlace};
use crate::domain::{AccountId, UnixMillis};
use crate::shared::Shared;
use crate::store::attempt::Attempt as _;
use crate::store::postgres::PostgresServers;
use crate::store::readers::{Positions, REMEMBERED, Unknown};
use crate::store::sqlite::Plan;
use crate::store::topology::WalPosition;
use crate::store::{PostgresOptions, SqliteOptions, Store, StoreResult, Trail, postgres, sqlite};

/// How long an operation waits for a free connection to a server.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// About how long a connection to a server is used.
const RECYCLE_AFTER: Duration = Duration::from_secs(3600);
/// How much of the server's connections instances may claim together: others want some, too.
const SHARE_PERCENT: u64 = 90;

/// Fails where a file cannot be, for want of its directory: nothing else is to be made there either, such as the key
/// that lies beside it.
pub(crate) fn is_possible(database: &Database) -> StoreResult<()> {
    let DatabasePlace::File(path) = &database.place else {
        return Ok(());
    };
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    match directory.map(std::fs::metadata) {
        Some(Err(error)) => Err(sqlx::Error::Io(error)).attempting("opening the database"),
        _ => Ok(()),
    }
}

/// Opens the store and brings its schema up to date. Accounts that wrote are remembered in the shared state, where
/// servers of the store may lag.
pub(crate) async fn open(
    database: &Database,
    trail: Trail,
    guard: &Arc<Guard>,
    shared: Option<Arc<dyn Shared>>,
) -> StoreResult<Arc<dyn Store>> {
    Ok(match &database.place {
        DatabasePlace::File(path) => {
            let store = sqlite::open(&file_options(database, path)).await?;
            Arc::new(store.audited(trail).mailing(database.sends_mail))
        }
        DatabasePlace::Servers(servers) => {
            let options = server_options(database, servers, guard, shared);
            let store = postgres::open(&options).await?;
            Arc::new(store.audited(trail).mailing(database.sends_mail))
        }
    })
}

/// What opening would do to the schema; changes nothing.
pub(crate) async fn plan(database: &Database, guard: &Arc<Guard>) -> StoreResult<Plan> {
    match &database.place {
        DatabasePlace::File(path) => sqlite::plan(&file_options(database, path)).await,
        DatabasePlace::Servers(servers) => {
            postgres::plan(&server_options(database, servers, guard, None)).await
        }
    }
}

fn file_options(database: &Database, path: &Path) -> SqliteOptions {
    SqliteOptions {
        path: path.to_owned(),
        pool_size: database.pool_size.get(),
        max_overflow: database.max_overflow,
    }
}

fn server_options(
    database: &Database,
    servers: &PostgresServers,
    guard: &Arc<Guard>,
    shared: Option<Arc<dyn Shared>>,
) -> PostgresOptions {
    PostgresOptions {
        servers: servers.clone(),
        pool_size: database.pool_size.get(),
        max_overflow: database.max_overflow,
        acquire_timeout: ACQUIRE_TIMEOUT,
        recycle_after: RECYCLE_AFTER,
        lag_max: database.replica_lag_max,
        positions: shared.map(|shared| Arc::new(Written(shared)) as Arc<dyn Positions>),
        guard: guard.clone(),
    }
}

/// Remembers in the shared state.
struct Written(Arc<dyn Shared>);

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Written({})", self.0.kind())
    }
}

#[async_trait]
impl Positions for Written {
    async fn note(&self, accounts: &[AccountId], position: WalPosition) {
        let noted = self.0.note_written(accounts, position, REMEMBERED, now());
        if let Err(error) = noted.await {
            tracing::debug!(%error, "a write is not noted");
        }
    }

    async fn needed(&self, account: AccountId) -> Result<Option<WalPosition>, Unknown> {
        self.0.written(account, now()).await.map_err(|_| Unknown)
    }
}

fn now() -> UnixMillis {
    UnixMillis::from_system(SystemTime::now())
}

/// Warns when `instances` like this one could ask for more connections than the server has for them. A server that
/// does not say is not a reason to stay away.
pub(crate) async fn check_connections(store: &dyn Store, database: &Database, instances: usize) {
    let limit = match store.connection_limit().await {
        Ok(Some(limit)) => u64::from(limit),
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(%error, "the database does not say how many connections it takes");
            return;
        }
    };
    let each = u64::from(database.pool_size.get()) + u64::from(database.max_overflow);
    let claimed = claim(each, instances);
    if let Some(usable) = exceeded(claimed, limit) {
        tracing::warn!(
            instances,
            each,
            claimed,
            usable,
            "the database may run out of connections: lower DATABASE_POOL_SIZE or DATABASE_MAX_OVERFLOW, \
             or raise its max_connections"
        );
    }
}

fn claim(each: u64, instances: usize) -> u64 {
    each.saturating_mul(u64::try_from(instances.max(1)).unwrap_or(u64::MAX))
}

/// How many connections there are for us, if they claim more.
fn exceeded(claimed: u64, limit: u64) -> Option<u64> {
    let usable = limit.saturating_mul(SHARE_PERCENT) / 100;
    (claimed > usable).then_some(usable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_may_claim_nine_tenths_of_the_connections() {
        assert_eq!(exceeded(claim(30, 2), 97), None);
        assert_eq!(exceeded(claim(30, 3), 97), Some(87));
        assert_eq!(exceeded(claim(30, 0), 30), Some(27), "this one counts");
    }
}
