//! Decides whether an access token may be believed now: signature, claims, and
//! revocation on every call. Never remembers an answer, only that a signature holds.

use std::sync::Arc;

use portcullis_token::{Verified, Verifier};

use super::{App, Outcome, Refusal};
use crate::domain::{TokenFacts, UnixMillis};

impl App {
    /// What a good token says.
    pub(crate) async fn verify(&self, token: &str, now: UnixMillis) -> Outcome<Arc<Verified>> {
        let outcome = self.try_verify(token, now).await;
        self.counted("verify", outcome)
    }

    pub(super) async fn try_verify(&self, token: &str, now: UnixMillis) -> Outcome<Arc<Verified>> {
        self.try_verify_as(&self.policy.verifier, token, now).await
    }

    pub(super) async fn try_verify_as(
        &self,
        verifier: &Verifier,
        token: &str,
        now: UnixMillis,
    ) -> Outcome<Arc<Verified>> {
        let verified = self.keys.verify(verifier, token, now).await;
        let verified = verified.map_err(|error| {
            tracing::debug!(%error, "refused a token");
            Refusal::InvalidToken
        })?;
        let Verified { claims, kid } = &*verified;
        let facts = TokenFacts {
            jti: &claims.jti,
            sid: Some(&claims.sid),
            sub: &claims.sub,
            kid,
            issued_at: UnixMillis::from_seconds(claims.iat),
        };
        // Not known is refused: a revoked token must never pass because a lookup failed.
        match self.is_revoked(&facts, now).await? {
            true => Err(Refusal::InvalidToken),
            false => Ok(verified),
        }
    }
}
