//! Makes a change of who may do what count everywhere. Never says so before it does.

use std::time::{Duration, Instant};

use crate::shared::{LEASE, Shared, SharedError};
use crate::store::{Store, StoreError};

/// Between attempts to tell a shared state that does not answer.
const RETRY: Duration = Duration::from_millis(50);

/// Why others may not know of a change yet.
#[derive(Debug)]
pub(crate) enum Unpublished {
    Store(StoreError),
    Shared(SharedError),
}

/// Tells all instances the version of the permissions that is durable now. Where the shared state cannot be told, this
/// returns only when each instance has looked through the store since, or no longer believes the shared state: as for
/// revocations.
pub(crate) async fn publish(store: &dyn Store, shared: &dyn Shared) -> Result<(), Unpublished> {
    let durable = Instant::now();
    let version = store.permission_version().await;
    let version = version.map_err(Unpublished::Store)?;
    loop {
        match shared.raise_permissions(version).await {
            Err(error) if !shared.is_whole() => {
                if durable.elapsed() >= LEASE {
                    tracing::warn!(%error, "a change of permissions is in the database alone for now");
                    return Ok(());
                }
            }
            told => return told.map_err(Unpublished::Shared),
        }
        tokio::time::sleep(RETRY).await;
    }
}
