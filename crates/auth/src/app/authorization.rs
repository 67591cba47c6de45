//! Who asks, and what they may do. Never answers from what a request before this one was told: the version of the
//! permissions comes with every look for revocations, and older sets are read again.
//!
//! While the shared state is away the store is asked for both, as `REVOCATION_DEGRADED` says: one point read, and the
//! sets that are remembered here stay good as long as their version does.

pub(crate) mod administration;
mod allowance;
mod api_keys;
mod caller;
pub(crate) mod publish;
mod subjects;
mod wire;

use std::sync::Arc;
use std::time::Instant;

use super::{App, Outcome, Refusal};
use crate::config::RevocationFallback;
use crate::domain::{Permission, PermissionVersion, Subject, SubjectId, TokenFacts, UnixMillis};
use crate::shared::{SILENCE, SharedError, SharedResult};
use crate::store::Standing;

pub(crate) use api_keys::{ApiKeys, NewApiKey};
pub(crate) use caller::{Caller, Credential};
use subjects::Sources;
pub(crate) use subjects::Subjects;

/// Whoever has it may ask what others may do.
const ASKS_ABOUT_OTHERS: &str = "permissions:check";

/// Why something about permissions was not done; one variant per answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unauthorized {
    InvalidPermission,
    InvalidRole,
    InvalidSubject,
    InvalidClient,
    InvalidTier,
    InvalidKeyName,
    InvalidExpiry,
    /// More than a role, a client or an owner may have, or than there may be at all.
    TooMany,
    /// Somebody holds the role.
    RoleHeld,
    /// The key would give what its owner has not.
    BeyondOwner,
    NotFound,
}

impl From<Unauthorized> for Refusal {
    fn from(unauthorized: Unauthorized) -> Self {
        Self::Unauthorized(unauthorized)
    }
}

impl App {
    /// For each permission, whether the caller has it, or somebody else whom the caller may ask about.
    pub(crate) async fn check(
        &self,
        caller: &Caller,
        permissions: &[Permission<'_>],
        about: Option<&SubjectId>,
        now: UnixMillis,
    ) -> Outcome<Vec<bool>> {
        let outcome = self.try_check(caller, permissions, about, now).await;
        if let Ok(answers) = &outcome {
            let allowed = answers.iter().filter(|is_allowed| **is_allowed).count();
            self.metrics.authorization.checked(answers.len(), allowed);
        }
        self.counted("permission_check", outcome)
    }

    async fn try_check(
        &self,
        caller: &Caller,
        permissions: &[Permission<'_>],
        about: Option<&SubjectId>,
        now: UnixMillis,
    ) -> Outcome<Vec<bool>> {
        let Some(other) = about.filter(|id| **id != caller.subject.id) else {
            return Ok(permissions.iter().map(|one| caller.may(one)).collect());
        };
        let asks = Permission::parse(ASKS_ABOUT_OTHERS).map_err(Refusal::internal)?;
        if !caller.may(&asks) {
            return Err(Refusal::Forbidden);
        }
        let subject = self.subject(other, caller.version, now).await?;
        // Whoever is not there, or shut, may do nothing: nobody learns which.
        let subject = subject.filter(|subject| subject.is_active);
        let may = |one| {
            let allows = |subject: &Arc<Subject>| allows(subject, one);
            subject.as_ref().is_some_and(allows)
        };
        Ok(permissions.iter().map(may).collect())
    }

    /// A subject at least as new as `version`.
    async fn subject(
        &self,
        id: &SubjectId,
        version: PermissionVersion,
        now: UnixMillis,
    ) -> Outcome<Option<Arc<Subject>>> {
        let sources = Sources {
            store: self.store.as_ref(),
            shared: self.shared.as_ref(),
            metrics: &self.metrics.authorization,
        };
        let found = self.subjects.find(id, version, now, &sources).await;
        found.map_err(|error| match error.is_away() {
            true => Refusal::StoreUnavailable(error.into()),
            false => Refusal::internal(error),
        })
    }

    /// Whether any revocation covers the token, and how new permission sets have to be.
    async fn standing(
        &self,
        token: &TokenFacts<'_>,
        now: UnixMillis,
    ) -> Outcome<(bool, PermissionVersion)> {
        let standing = self.ask_standing(token, now).await?;
        let version = match standing.permissions {
            Some(version) => version,
            // Nobody told the shared state yet, or it lost it.
            None => {
                let version = self.store.permission_version().await?;
                if let Err(error) = self.shared.raise_permissions(version).await {
                    tracing::debug!(%error, "the shared state does not know the version of the permissions");
                }
                version
            }
        };
        Ok((standing.is_revoked, version))
    }

    async fn ask_standing(&self, token: &TokenFacts<'_>, now: UnixMillis) -> Outcome<Standing> {
        let error = match self.shared.standing(token, now).await {
            Ok(standing) => return Ok(standing),
            Err(SharedError::Incomplete { .. }) if self.shared.is_whole() => {
                match self.standing_behind_a_lease(token, now).await {
                    Ok(standing) => return Ok(standing),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        self.metrics.revocation_fallback();
        match self.policy.revocation_fallback {
            RevocationFallback::Store => match self.store.standing(token, now).await {
                Ok(standing) => Ok(standing),
                Err(database) => {
                    tracing::warn!(error = %database, "neither shared state nor database knows of revocations");
                    Err(error.into())
                }
            },
            RevocationFallback::Deny => Err(error.into()),
            RevocationFallback::Allow => Ok(Standing {
                is_revoked: false,
                permissions: Some(self.store.permission_version().await?),
            }),
        }
    }

    /// As for revocations alone: the shared state is whole, but the last look through the store is too long ago.
    async fn standing_behind_a_lease(
        &self,
        token: &TokenFacts<'_>,
        now: UnixMillis,
    ) -> SharedResult<Standing> {
        let stored = tokio::time::timeout(SILENCE, self.store.standing(token, now)).await;
        if let Ok(Ok(standing)) = stored {
            return Ok(standing);
        }
        self.shared.looked_through(Instant::now());
        self.shared.standing(token, now).await
    }
}

fn allows(subject: &Subject, permission: &Permission<'_>) -> bool {
    subject.is_active && subject.permissions.allows(permission)
}

#[cfg(test)]
mod tests;
