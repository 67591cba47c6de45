//! Decides whether an access token may be believed now: signature, claims, and
//! revocation on every call. Never caches an answer.

use portcullis_token::{Claims, Verified, Verifier};

use super::{App, Outcome, Refusal};
use crate::domain::{TokenFacts, UnixMillis};

impl App {
    /// The claims of a good token.
    pub(crate) async fn verify(&self, token: &str, now: UnixMillis) -> Outcome<Claims> {
        let outcome = self.try_verify(token, now).await;
        self.counted("verify", outcome)
    }

    pub(super) async fn try_verify(&self, token: &str, now: UnixMillis) -> Outcome<Claims> {
        self.try_verify_as(&self.policy.verifier, token, now).await
    }

    pub(super) async fn try_verify_as(
        &self,
        verifier: &Verifier,
        token: &str,
        now: UnixMillis,
    ) -> Outcome<Claims> {
        let verified = self.keys.verify(verifier, token, now).await;
        let Verified { claims, kid } = verified.map_err(|error| {
            tracing::debug!(%error, "refused a token");
            Refusal::InvalidToken
        })?;
        let facts = TokenFacts {
            jti: &claims.jti,
            sid: Some(&claims.sid),
            sub: &claims.sub,
            kid: &kid,
            issued_at: UnixMillis::from_seconds(claims.iat),
        };
        // Not known is refused: a revoked token must never pass because a lookup failed.
        match self.is_revoked(&facts, now).await? {
            true => Err(Refusal::InvalidToken),
            false => Ok(claims),
        }
    }
}
