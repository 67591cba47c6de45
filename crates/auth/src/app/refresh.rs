//! Exchanges a refresh token for its successor. Never lets a spent token pass: a
//! copy that comes back ends the session for thief and owner alike.

use super::{App, FIRST_PARTY, Grant, Origin, Outcome, Refusal};
use crate::domain::RefreshToken;
use crate::random;
use crate::store::{RefreshGrant, Rotation, RotationOutcome, sealed};

impl App {
    /// Spends the token and hands out the next one.
    pub(crate) async fn refresh(&self, token: &str, origin: Origin) -> Outcome<Grant> {
        let outcome = self.try_refresh(token, origin).await;
        self.counted("refresh", outcome)
    }

    async fn try_refresh(&self, token: &str, origin: Origin) -> Outcome<Grant> {
        let now = origin.now;
        let presented = RefreshToken::parse(token).ok_or(Refusal::InvalidRefreshToken)?;
        let successor = RefreshToken::from_random(random::bytes());
        let rotation = Rotation {
            client_address: Some(origin.client),
            request: origin.request,
            ..Rotation::new(
                &presented,
                &successor,
                FIRST_PARTY,
                now,
                now.plus(self.policy.refresh_idle_ttl),
                self.tokens_end(now),
            )
        };
        let (grant, next) = match self.store.rotate(&rotation).await? {
            RotationOutcome::Rotated(grant) => (grant, successor),
            RotationOutcome::Repeated {
                grant,
                successor_box,
            } => {
                let next = sealed::open(&presented, &successor_box)
                    .ok_or_else(|| Refusal::internal("the successor's box does not open"))?;
                (grant, next)
            }
            RotationOutcome::Reused {
                account,
                session,
                revocation,
            } => {
                self.metrics.refresh_reuse();
                tracing::warn!(%account, %session, "a spent refresh token came back: session ended");
                self.share(revocation).await?;
                return Err(Refusal::InvalidRefreshToken);
            }
            RotationOutcome::Expired
            | RotationOutcome::Revoked
            | RotationOutcome::AccountNotActive
            | RotationOutcome::Unknown => return Err(Refusal::InvalidRefreshToken),
        };
        let RefreshGrant {
            account,
            family,
            expires_at,
        } = grant;
        let (session, proof) = (family.session, family.proof);
        self.grant(&account, session, proof, &next, expires_at, now)
            .await
    }
}
