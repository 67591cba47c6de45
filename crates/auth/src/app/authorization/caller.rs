//! Whoever proved who they are by an access token or an API key, as far as permissions go. Never more than both the
//! credential and its subject have.

use std::sync::Arc;

use portcullis_token::Verified;

use super::api_keys::Known;
use super::{App, Outcome, Refusal, allows};
use crate::app::Origin;
use crate::domain::{
    API_KEY_PREFIX, AccountId, ApiKey, Permission, PermissionGrant, PermissionVersion, Subject,
    SubjectId, TokenFacts, UnixMillis,
};

/// A key outlives logins: only the end of its account ends it, and that the version tells. Behind the cut of every
/// account, and still in front of that of a single key, which in Redis is the last number that scripts count to.
const BEHIND_EVERY_CUT: UnixMillis = UnixMillis((1 << 53) - 2);

/// What a request proves its identity with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential<'a> {
    /// An access token.
    Token(&'a str),
    /// An API key.
    ApiKey(&'a str),
}

/// A subject that is active, and what it came by.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) subject: Arc<Subject>,
    /// How new the permission sets of this request have to be.
    pub(super) version: PermissionVersion,
    key: Option<Arc<Known>>,
}

impl<'a> Credential<'a> {
    /// What was sent as a bearer token may be either.
    pub(crate) fn of_bearer(text: &'a str) -> Self {
        match text.starts_with(API_KEY_PREFIX) {
            true => Self::ApiKey(text),
            false => Self::Token(text),
        }
    }
}

impl Caller {
    /// Whether it has the permission.
    pub(super) fn may(&self, permission: &Permission<'_>) -> bool {
        let gives = |key: &ApiKey| key.permissions.allows(permission);
        allows(&self.subject, permission) && self.key().is_none_or(gives)
    }

    /// Whether it has all that the grant gives.
    pub(super) fn covers(&self, grant: &PermissionGrant) -> bool {
        let gives = |key: &ApiKey| key.permissions.covers(grant);
        self.subject.permissions.covers(grant) && self.key().is_none_or(gives)
    }

    /// Its account, if it is no client.
    pub(super) fn account(&self) -> Option<AccountId> {
        match &self.subject.id {
            SubjectId::Account(id) => Some(*id),
            SubjectId::Client(_) => None,
        }
    }

    /// The API key it came by.
    pub(crate) fn key(&self) -> Option<&ApiKey> {
        self.key.as_deref().map(|known| &known.key)
    }
}

impl App {
    /// Who the credential is of. Everything that is not good is refused alike.
    pub(crate) async fn caller(
        &self,
        credential: Credential<'_>,
        origin: Origin,
    ) -> Outcome<Caller> {
        match credential {
            Credential::Token(token) => self.caller_by_token(token, origin.now).await,
            Credential::ApiKey(key) => self.caller_by_key(key, origin).await,
        }
    }

    /// Whether an API key may be believed right now.
    pub(crate) async fn verify_key(&self, key: Credential<'_>, origin: Origin) -> Outcome<Caller> {
        let outcome = self.caller(key, origin).await;
        self.counted("verify", outcome)
    }

    /// An account that proved itself otherwise.
    pub(crate) async fn caller_of(&self, account: AccountId, now: UnixMillis) -> Outcome<Caller> {
        let version = self.store.permission_version().await?;
        let id = SubjectId::Account(account);
        let subject = self.subject(&id, version, now).await?;
        let subject = subject.filter(|subject| subject.is_active);
        Ok(Caller {
            subject: subject.ok_or(Refusal::InvalidToken)?,
            version,
            key: None,
        })
    }

    async fn caller_by_token(&self, token: &str, now: UnixMillis) -> Outcome<Caller> {
        let verified = self.keys.verify(&self.policy.verifier, token, now).await;
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
        let id = SubjectId::parse(&claims.sub).ok_or(Refusal::InvalidToken)?;
        self.standing_caller(&id, &facts, None, now).await
    }

    async fn caller_by_key(&self, text: &str, origin: Origin) -> Outcome<Caller> {
        let now = origin.now;
        let known = self.known_key(text, origin).await?;
        let key = &known.key;
        if !key.is_good(now) {
            return Err(Refusal::InvalidToken);
        }
        let (jti, sub) = (key.id.to_string(), key.owner.to_string());
        let facts = TokenFacts {
            jti: &jti,
            sid: None,
            sub: &sub,
            kid: "",
            issued_at: BEHIND_EVERY_CUT,
        };
        let (id, using) = (key.owner.clone(), known.clone());
        let caller = self.standing_caller(&id, &facts, Some(known), now).await?;
        self.note_use(&using, now).await;
        Ok(caller)
    }

    async fn standing_caller(
        &self,
        id: &SubjectId,
        facts: &TokenFacts<'_>,
        key: Option<Arc<Known>>,
        now: UnixMillis,
    ) -> Outcome<Caller> {
        let (is_revoked, version) = self.standing(facts, now).await?;
        if is_revoked {
            return Err(Refusal::InvalidToken);
        }
        let subject = self.subject(id, version, now).await?;
        let subject = subject.filter(|subject| subject.is_active);
        Ok(Caller {
            subject: subject.ok_or(Refusal::InvalidToken)?,
            version,
            key,
        })
    }
}
