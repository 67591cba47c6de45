//! Sessions of browsers: a signed token in a cookie, without a row or an entry of its own. Never accepted as an access
//! token, nor the other way round.
//!
//! `nbf` is when the session began, `iat` when its cookie was written, `exp` the end of its idle time. A cookie is
//! believed for [`TRUSTED`] by its signature and the revocations alone, as access tokens are. After that its session
//! is looked up in the store and the cookie written anew, with present roles: so idle time is kept without a write
//! per request, and what ended a session holds for cookies that outlive the revocation.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_ops::Secret;
use portcullis_token::{Claims, TokenType, Verifier};

use super::grant::authentication;
use super::{App, FIRST_PARTY, Origin, Outcome, Refusal};
use crate::domain::{Account, AccountStatus, Proof, SessionId, UnixMillis};
use crate::random;

/// A cookie older than this is looked up.
pub(super) const TRUSTED: Duration = Duration::from_secs(300);
/// Browsers refuse larger cookies, name and attributes included.
const COOKIE_BYTES_MAX: usize = 3800;
const CSRF: &str = "csrf v1";

/// The settings that sessions depend on.
#[derive(Debug, Clone)]
pub(crate) struct SessionPolicy {
    pub(crate) verifier: Verifier,
    pub(crate) ttl: Duration,
    pub(crate) idle_ttl: Duration,
}

/// What a browser is to keep.
#[derive(Debug)]
pub(crate) struct SessionCookie {
    pub(crate) token: Secret<String>,
    /// To be sent along as a header; worthless without the session.
    pub(crate) csrf: String,
    pub(crate) expires_in: Duration,
}

/// A session that holds.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) claims: Claims,
    /// The cookie that takes the place of the one that was sent.
    pub(crate) renewed: Option<SessionCookie>,
}

impl App {
    /// The claims of a good session cookie.
    pub(crate) async fn verify_session(&self, token: &str, now: UnixMillis) -> Outcome<Session> {
        let outcome = self.try_verify_session(token, now).await;
        self.counted("verify", outcome)
    }

    /// Ends the session of a cookie, unless another site may have asked for it.
    pub(crate) async fn log_out_session(
        &self,
        token: &str,
        csrf: &str,
        origin: Origin,
    ) -> Outcome<()> {
        let outcome = self.try_log_out_session(token, csrf, origin).await;
        self.counted("logout", outcome)
    }

    async fn try_log_out_session(&self, token: &str, csrf: &str, origin: Origin) -> Outcome<()> {
        let session = self.try_verify_session(token, origin.now).await?;
        self.check_csrf(&session.claims.sid, csrf)?;
        self.end_session(&session.claims, origin.now, origin).await
    }

    pub(super) async fn try_verify_session(
        &self,
        token: &str,
        now: UnixMillis,
    ) -> Outcome<Session> {
        let policy = self.policy.sessions.as_ref().ok_or(Refusal::InvalidToken)?;
        let verified = self.try_verify_as(&policy.verifier, token, now).await?;
        let claims = &verified.claims;
        let seen = UnixMillis::from_seconds(claims.iat);
        let began = UnixMillis::from_seconds(claims.nbf.ok_or(Refusal::InvalidToken)?);
        // By the settings of now, which may be shorter than those the cookie was written under.
        if now.since(began) >= policy.ttl || now.since(seen) >= policy.idle_ttl {
            return Err(Refusal::InvalidToken);
        }
        if now.since(seen) >= TRUSTED.min(policy.idle_ttl / 4) {
            return self.renew(claims, began, now).await;
        }
        Ok(Session {
            claims: claims.clone(),
            renewed: None,
        })
    }

    /// Looks a session up and writes its cookie anew, with what holds now.
    async fn renew(&self, claims: &Claims, began: UnixMillis, now: UnixMillis) -> Outcome<Session> {
        let id = SessionId::parse(&claims.sid).ok_or(Refusal::InvalidToken)?;
        let family = self.store.family_by_session(id).await?;
        let family = family
            .filter(|family| family.revoked_at.is_none() && now < family.absolute_expires_at)
            .ok_or(Refusal::InvalidToken)?;
        let account = self.store.account_by_id(family.account).await?;
        let account = account
            .filter(|account| account.status == AccountStatus::Active)
            .ok_or(Refusal::InvalidToken)?;
        let policy = self.policy.sessions.as_ref().ok_or(Refusal::InvalidToken)?;
        let claims = policy.claims(&account, id, family.proof, began, now);
        Ok(Session {
            renewed: self.write_cookie(&claims, now)?,
            claims,
        })
    }

    /// The cookie of a session that begins; `None` if there are no cookies, or if it would be too large for browsers.
    pub(super) fn session_cookie(
        &self,
        account: &Account,
        session: SessionId,
        proof: Option<Proof>,
        now: UnixMillis,
    ) -> Outcome<Option<SessionCookie>> {
        let Some(policy) = &self.policy.sessions else {
            return Ok(None);
        };
        self.write_cookie(&policy.claims(account, session, proof, now, now), now)
    }

    fn write_cookie(&self, claims: &Claims, now: UnixMillis) -> Outcome<Option<SessionCookie>> {
        let token = self.keys.sign_as(TokenType::Session, claims);
        let token = Secret::new(token.map_err(Refusal::internal)?);
        if token.expose().len() > COOKIE_BYTES_MAX {
            tracing::warn!(account = %claims.sub, "too many roles for a cookie: no session for browsers");
            return Ok(None);
        }
        Ok(Some(SessionCookie {
            csrf: self.csrf(&claims.sid),
            token,
            expires_in: UnixMillis::from_seconds(claims.exp).since(now),
        }))
    }

    /// Refuses a CSRF token that is not that of the session.
    pub(super) fn check_csrf(&self, sid: &str, csrf: &str) -> Outcome<()> {
        let expected = self.csrf(sid);
        aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_bytes(), csrf.as_bytes())
            .map_err(|_| Refusal::ForgedRequest)
    }

    /// The CSRF token of a session: nobody else can make it, and another session's does not fit.
    fn csrf(&self, sid: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.keys.mac(CSRF, sid))
    }
}

impl SessionPolicy {
    fn claims(
        &self,
        account: &Account,
        session: SessionId,
        proof: Option<Proof>,
        began: UnixMillis,
        now: UnixMillis,
    ) -> Claims {
        let end = now.plus(self.idle_ttl).min(began.plus(self.ttl));
        Claims {
            iss: self.verifier.issuer.clone(),
            sub: account.id.to_string(),
            aud: vec![self.verifier.audience.clone()],
            iat: now.seconds(),
            exp: end.seconds_up(),
            nbf: Some(began.seconds()),
            jti: portcullis_token::id(random::bytes()),
            client_id: FIRST_PARTY.to_owned(),
            sid: session.to_string(),
            roles: account
                .roles
                .iter()
                .map(|role| role.as_str().to_owned())
                .collect(),
            scope: None,
            tier: Some(account.tier.as_str().to_owned()),
            authentication: authentication(proof),
        }
    }
}

#[cfg(test)]
mod tests;
