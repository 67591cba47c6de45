//! Ends the session an access token belongs to, for every instance from its next
//! request on. Never says so before it is durable and shared.

use portcullis_token::Claims;

use super::{App, Origin, Outcome, Refusal};
use crate::domain::{AccountId, AuditEvent, SessionId, UnixMillis};

impl App {
    /// Revokes the session's refresh tokens and every access token of it.
    pub(crate) async fn log_out(&self, token: &str, origin: Origin) -> Outcome<()> {
        let outcome = self.try_log_out(token, origin).await;
        self.counted("logout", outcome)
    }

    async fn try_log_out(&self, token: &str, origin: Origin) -> Outcome<()> {
        let verified = self.try_verify(token, origin.now).await?;
        let claims = &verified.claims;
        // A token from before ACCESS_TOKEN_TTL was shortened may outlive those of today.
        let end = Self::token_end(UnixMillis::from_seconds(claims.exp));
        self.end_session(claims, end, origin).await
    }

    /// Ends the session of a verified token, until `end` at least.
    pub(super) async fn end_session(
        &self,
        claims: &Claims,
        end: UnixMillis,
        origin: Origin,
    ) -> Outcome<()> {
        let session = SessionId::parse(&claims.sid).ok_or(Refusal::InvalidToken)?;
        let account = AccountId::parse(&claims.sub).ok_or(Refusal::InvalidToken)?;
        let audit = origin
            .audit(AuditEvent::LoggedOut, account)
            .in_session(session);
        let until = self.tokens_end(origin.now).max(end);
        let revocation = self.store.revoke_session(session, until, &audit).await?;
        self.share(revocation).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::tests::{inside_at, inside_with};

    #[tokio::test]
    async fn a_logout_holds_when_token_lifetimes_were_shortened_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let long = inside_with(&directory, Duration::from_secs(3600)).await;
        let short = inside_at(&directory).await;
        let at = |seconds: i64| Origin {
            now: UnixMillis::from_seconds(1_800_000_000 + seconds),
            client: [192, 0, 2, 1].into(),
            request: None,
        };
        let (email, password) = ("ada@example.com", "correct horse battery");
        let (old, new) = (long.app(), short.app());
        old.register(email, password, at(0)).await.unwrap();
        let grant = old.log_in(email, password, at(0)).await.unwrap();
        let token = grant.access_token.expose();
        new.log_out(token, at(1)).await.unwrap();
        for seconds in [2, 900, 3599, 3629] {
            let answer = old.verify(token, at(seconds).now).await;
            assert!(
                matches!(answer, Err(Refusal::InvalidToken)),
                "after {seconds} s"
            );
        }
    }
}
