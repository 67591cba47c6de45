//! Whether a token was taken back, and taking it back, also while the shared state is away. Never says "not revoked"
//! without having asked somebody who knows, unless it was set to.

use super::{App, Outcome};
use crate::config::RevocationFallback;
use crate::domain::{Revocation, TokenFacts, UnixMillis};
use crate::shared::{Shared, SharedResult};

impl App {
    /// Whether any revocation covers the token. When nobody can be asked, that is an error, and callers refuse.
    pub(super) async fn is_revoked(
        &self,
        token: &TokenFacts<'_>,
        now: UnixMillis,
    ) -> Outcome<bool> {
        let error = match self.shared.is_revoked(token, now).await {
            Ok(is_revoked) => return Ok(is_revoked),
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

    /// Makes a revocation that is durable known to all instances.
    pub(super) async fn share(&self, revocation: Revocation) -> Outcome<()> {
        Ok(share(self.shared.as_ref(), revocation).await?)
    }
}

/// Makes a revocation that is durable known to all instances. Where the shared state is known to lack some, every
/// instance asks the store until it has been copied to, so that this one is missed by nobody.
pub(crate) async fn share(shared: &dyn Shared, revocation: Revocation) -> SharedResult<()> {
    match shared.revoke(&[revocation]).await {
        Err(error) if !shared.is_whole() => {
            tracing::warn!(%error, "a revocation is in the database alone for now");
            Ok(())
        }
        shared => shared,
    }
}
