//! Whose account a request is about, where people see to their own. Never believes a cookie in a request that changes
//! something unless its CSRF token came along.

use super::{App, Outcome, Refusal};
use crate::domain::{AccountId, SessionId, UnixMillis};

/// Who proved that they hold a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) account: AccountId,
    /// The session the request came in.
    pub(crate) session: SessionId,
    /// When the token that was shown expires: one from before lifetimes were shortened may outlive those of today.
    pub(crate) expires_at: UnixMillis,
}

impl App {
    /// The holder of an access token. Machines hold no account.
    pub(crate) async fn owner_by_token(&self, token: &str, now: UnixMillis) -> Outcome<Owner> {
        let verified = self.try_verify(token, now).await?;
        Owner::of(&verified.claims)
    }

    /// The holder of a session cookie, who only looks.
    pub(crate) async fn owner_by_session(&self, token: &str, now: UnixMillis) -> Outcome<Owner> {
        let session = self.try_verify_session(token, now).await?;
        Owner::of(&session.claims)
    }

    /// The holder of a session cookie, who changes something by a page of ours.
    pub(crate) async fn owner_by_session_and_csrf(
        &self,
        token: &str,
        csrf: &str,
        now: UnixMillis,
    ) -> Outcome<Owner> {
        let session = self.try_verify_session(token, now).await?;
        self.check_csrf(&session.claims.sid, csrf)?;
        Owner::of(&session.claims)
    }
}

impl Owner {
    pub(super) fn of(claims: &portcullis_token::Claims) -> Outcome<Self> {
        Ok(Self {
            account: AccountId::parse(&claims.sub).ok_or(Refusal::Forbidden)?,
            session: SessionId::parse(&claims.sid).ok_or(Refusal::Forbidden)?,
            expires_at: UnixMillis::from_seconds(claims.exp),
        })
    }
}
