//! Whether a token was taken back, and taking it back, also while the shared state is away. Never says "not revoked"
//! without having asked somebody who knows, unless it was set to.

use std::error::Error as _;
use std::time::{Duration, Instant};

use super::{App, Outcome};
use crate::config::RevocationFallback;
use crate::domain::{Revocation, TokenFacts, UnixMillis};
use crate::shared::{LEASE, SILENCE, Shared, SharedError, SharedResult};

/// Between attempts to tell a shared state that does not answer.
const RETRY: Duration = Duration::from_millis(50);

impl App {
    /// Whether any revocation covers the token. When nobody can be asked, that is an error, and callers refuse.
    pub(super) async fn is_revoked(
        &self,
        token: &TokenFacts<'_>,
        now: UnixMillis,
    ) -> Outcome<bool> {
        let error = match self.shared.is_revoked(token, now).await {
            Ok(is_revoked) => return Ok(is_revoked),
            Err(SharedError::Incomplete { .. }) if self.shared.is_whole() => {
                match self.is_revoked_behind_a_lease(token, now).await {
                    Ok(is_revoked) => return Ok(is_revoked),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        self.metrics.revocation_fallback();
        match self.policy.revocation_fallback {
            RevocationFallback::Store => match self.store.is_revoked(token, now).await {
                Ok(is_revoked) => Ok(is_revoked),
                Err(database) => {
                    tracing::warn!(error = %database, "neither shared state nor database knows of revocations");
                    Err(error.into())
                }
            },
            RevocationFallback::Deny => Err(error.into()),
            RevocationFallback::Allow => Ok(false),
        }
    }

    /// The shared state is whole, but the last look through the store is too long ago: the store knows. One that is
    /// silent is what that look waits for, too, and nothing is made durable in it meanwhile.
    async fn is_revoked_behind_a_lease(
        &self,
        token: &TokenFacts<'_>,
        now: UnixMillis,
    ) -> SharedResult<bool> {
        let stored = tokio::time::timeout(SILENCE, self.store.is_revoked(token, now)).await;
        if let Ok(Ok(is_revoked)) = stored {
            return Ok(is_revoked);
        }
        self.shared.looked_through(Instant::now());
        self.shared.is_revoked(token, now).await
    }

    /// Makes a revocation that is durable known to all instances.
    pub(super) async fn share(&self, revocation: Revocation) -> Outcome<()> {
        Ok(share(self.shared.as_ref(), revocation).await?)
    }
}

/// Makes a revocation that is durable known to all instances. Where the shared state cannot be told, other instances may
/// still reach it: this returns only when each of them has looked through the store since, or no longer believes it.
pub(crate) async fn share(shared: &dyn Shared, revocation: Revocation) -> SharedResult<()> {
    let durable = Instant::now();
    loop {
        match shared.revoke(std::slice::from_ref(&revocation)).await {
            Err(error) if !shared.is_whole() => {
                if durable.elapsed() >= LEASE {
                    let cause = error.source().map(ToString::to_string);
                    tracing::warn!(%error, cause, "a revocation is in the database alone for now");
                    return Ok(());
                }
            }
            shared => return shared,
        }
        tokio::time::sleep(RETRY).await;
    }
}
