//! Phase 4: who the request is from, and whether its route lets them in. Never asks anybody: it reads
//! a token with keys in memory. Answers do not tell one bad token from another.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderName;
use http::header::AUTHORIZATION;
use portcullis_token::{VerifyError, headers};

use super::forward::same_name;
use super::head::{Fields, Head, HeaderEdit, Said};
use super::{Answer, Exchange, unix_seconds};
use crate::config::Auth;
use crate::jwks::{Issuer, Passport, Unread};
use crate::outcome::{Cause, TokenResult};
use crate::revocation::{Facts, Verdict};
use crate::state::RouteId;

const X_AUTH_SUBJECT: HeaderName = HeaderName::from_static(headers::X_AUTH_SUBJECT);
const X_AUTH_ROLES: HeaderName = HeaderName::from_static(headers::X_AUTH_ROLES);
const X_AUTH_SESSION: HeaderName = HeaderName::from_static(headers::X_AUTH_SESSION);
const X_AUTH_CLIENT: HeaderName = HeaderName::from_static(headers::X_AUTH_CLIENT);
const X_AUTH_SCOPE: HeaderName = HeaderName::from_static(headers::X_AUTH_SCOPE);

/// Whom a request is from, as far as its route asks.
#[derive(Clone, Debug)]
pub(super) enum Principal {
    /// The route does not ask, or lets requests without a token pass.
    Nobody,
    /// Whoever the token was issued to.
    Verified(Arc<Passport>),
}

/// The token of the request, if there is one: exactly one Authorization field that says Bearer and
/// something. Another scheme is somebody else's business, so it counts as none.
fn bearer(fields: &impl Fields) -> Result<Option<&str>, TokenResult> {
    let value = match fields.said(&AUTHORIZATION) {
        Said::Never => return Ok(None),
        Said::Once(value) => value,
        Said::Repeatedly => return Err(TokenResult::Malformed),
    };
    let Some((scheme, rest)) = value.split_at_checked(BEARER.len()) else {
        return Ok(None);
    };
    if !scheme.eq_ignore_ascii_case(BEARER) {
        return Ok(None);
    }
    let token = match rest {
        [b' ', token @ ..] => token.trim_ascii_start(),
        [] => rest,
        _ => return Ok(None),
    };
    match std::str::from_utf8(token) {
        Ok(token) if !token.is_empty() => Ok(Some(token)),
        _ => Err(TokenResult::Malformed),
    }
}

/// Reads the token of a request by `read`, and asks what the route asks.
fn authorize(
    auth: &Auth,
    issuer: &Issuer,
    fields: &impl Fields,
    at: Instant,
    read: impl FnOnce(&str) -> Result<Arc<Passport>, Unread>,
) -> Result<Principal, TokenResult> {
    let Some(token) = bearer(fields)? else {
        return match auth.is_optional {
            true => Ok(Principal::Nobody),
            false => Err(TokenResult::Missing),
        };
    };
    let passport = read(token).map_err(result)?;
    if !passport.claims.is_for(&auth.audience) {
        return Err(TokenResult::WrongAudience);
    }
    // Before its rights: a token that was taken back has none, and a new login may help.
    is_still_good(auth, issuer, &passport, at)?;
    permits(auth, &passport)?;
    Ok(Principal::Verified(passport))
}

fn result(unread: Unread) -> TokenResult {
    let error = match unread {
        Unread::NoKeys => return TokenResult::NoKeys,
        Unread::Refused(error) => error,
    };
    match error {
        VerifyError::Malformed(_) => TokenResult::Malformed,
        VerifyError::UnknownKey { .. } => TokenResult::UnknownKey,
        VerifyError::WrongAlgorithm => TokenResult::WrongAlgorithm,
        VerifyError::WrongType => TokenResult::WrongType,
        VerifyError::BadSignature => TokenResult::BadSignature,
        VerifyError::Claims(_) => TokenResult::BadClaims,
        VerifyError::WrongIssuer => TokenResult::WrongIssuer,
        VerifyError::WrongAudience => TokenResult::WrongAudience,
        VerifyError::Expired => TokenResult::Expired,
        VerifyError::NotYetValid => TokenResult::NotYetValid,
    }
}

/// Whether the token was taken back, as far as the issuer's feed says so: a look into memory.
fn is_still_good(
    auth: &Auth,
    issuer: &Issuer,
    passport: &Passport,
    at: Instant,
) -> Result<(), TokenResult> {
    let Some(follower) = issuer.revocations() else {
        return Ok(());
    };
    match follower.set.is_revoked(at, &facts(passport)) {
        Verdict::Clear => Ok(()),
        Verdict::Revoked => Err(TokenResult::Revoked),
        Verdict::Unknown { age } if auth.when_lost.accepts(age) => Ok(()),
        Verdict::Unknown { .. } => Err(TokenResult::Unknown),
    }
}

/// What revocations look at.
pub(super) fn facts(passport: &Passport) -> Facts<'_> {
    let claims = &passport.claims;
    Facts {
        kid: &passport.kid,
        jti: claims.token_id(),
        sid: claims.session(),
        sub: Some(claims.subject()),
        iat: claims.issued_at(),
    }
}

/// Whether the token says enough for the route.
fn permits(auth: &Auth, passport: &Passport) -> Result<(), TokenResult> {
    let claims = &passport.claims;
    let has_role = |role: &String| claims.roles().contains(role);
    if !auth.roles.is_empty() && !auth.roles.iter().any(has_role) {
        return Err(TokenResult::MissingRole);
    }
    let scope = claims.scope().unwrap_or_default();
    let has_scope = |wanted: &String| scope.split(' ').any(|scope| scope == wanted);
    match auth.scopes.iter().all(has_scope) {
        true => Ok(()),
        false => Err(TokenResult::MissingScope),
    }
}

impl Exchange {
    /// Whether the route lets the request in. `Err` is the answer to send now. A token whose key is
    /// not known yet leaves a wish for newer keys: [`Exchange::on_keys`] waits for it, and until then
    /// the request goes nowhere.
    pub(super) fn authorize(&mut self, route: RouteId, head: &impl Head) -> Result<(), Answer> {
        let snapshot = Arc::clone(&self.snapshot);
        let Some(auth) = &snapshot.route(route).auth else {
            return Ok(());
        };
        let issuer = &snapshot.issuers[auth.issuer.0];
        let at = self.started;
        let decided = match self.is_rehearsed() {
            true => {
                let read = |token: &str| issuer.examine(token, now(), at);
                let decided = authorize(auth, issuer, head.fields(), at, read);
                return self.decide(issuer, decided);
            }
            false => {
                let read = |token: &str| issuer.read(token, now(), at);
                authorize(auth, issuer, head.fields(), at, read)
            }
        };
        match decided {
            Err(TokenResult::UnknownKey) if self.wish.is_none() => {
                self.wish = issuer.wish(at);
                match self.wish {
                    Some(_) => Ok(()),
                    None => Err(self.refuse(issuer, TokenResult::UnknownKey)),
                }
            }
            decided => self.decide(issuer, decided),
        }
    }

    /// Whether [`Exchange::on_keys`] comes before the first attempt.
    pub fn waits_for_keys(&self) -> bool {
        self.wish.is_some()
    }

    /// Waits for newer keys, for a bounded time, reads the token once more and goes on where
    /// [`Exchange::on_request`] stopped. `Err` is the answer to send now.
    pub async fn on_keys(&mut self, head: &(impl Head + Sync)) -> Result<(), Answer> {
        if let Some(wish) = self.wish.take() {
            wish.granted().await;
        }
        let snapshot = Arc::clone(&self.snapshot);
        let Some((route, auth)) = self
            .route
            .and_then(|id| Some((id, snapshot.route(id).auth.as_ref()?)))
        else {
            return Err(self.on_failure(Cause::Internal));
        };
        let issuer = &snapshot.issuers[auth.issuer.0];
        let at = Instant::now();
        let read = |token: &str| issuer.read(token, now(), at);
        let decided = authorize(auth, issuer, head.fields(), at, read);
        self.decide(issuer, decided)?;
        self.with_path(head, |exchange, head| exchange.go_on(route, head))
    }

    fn decide(
        &mut self,
        issuer: &Issuer,
        decided: Result<Principal, TokenResult>,
    ) -> Result<(), Answer> {
        match decided {
            Ok(principal) => {
                let result = match &principal {
                    Principal::Nobody => TokenResult::Absent,
                    Principal::Verified(_) => TokenResult::Verified,
                };
                self.count(issuer.metrics().of(result));
                self.note_token(result);
                self.principal = principal;
                Ok(())
            }
            Err(result) => Err(self.refuse(issuer, result)),
        }
    }

    fn refuse(&mut self, issuer: &Issuer, result: TokenResult) -> Answer {
        self.count(issuer.metrics().of(result));
        self.note_token(result);
        let cause = result.cause().unwrap_or(Cause::Internal);
        self.on_failure(cause)
    }

    /// What the endpoint is told of the token, in place of whatever the client says there. What any
    /// route of this configuration carries claims in is removed on every route: an endpoint cannot
    /// know which one a request came by.
    pub(super) fn identity_edits(&self, fields: &impl Fields, edits: &mut Vec<HeaderEdit>) {
        let governed = &self.snapshot.claim_fields;
        if !governed.is_empty() {
            let is_governed =
                |sent: &&[u8]| governed.iter().any(|name| same_name(sent, name.as_str()));
            let sent = fields.names().filter(is_governed);
            let sent = sent.filter_map(|name| HeaderName::from_bytes(name).ok());
            edits.extend(sent.map(HeaderEdit::Remove));
        }
        let auth = self
            .route
            .and_then(|id| self.snapshot.route(id).auth.as_ref());
        let Some(auth) = auth else {
            return;
        };
        if let Principal::Verified(passport) = &self.principal {
            let mut set = |name, value: &Option<http::HeaderValue>| {
                edits.extend(value.clone().map(|value| HeaderEdit::Set(name, value)));
            };
            set(X_AUTH_SUBJECT, &Some(passport.subject.clone()));
            set(X_AUTH_ROLES, &passport.roles);
            set(X_AUTH_SESSION, &passport.session);
            set(X_AUTH_CLIENT, &passport.client);
            set(X_AUTH_SCOPE, &passport.scope);
            for (name, position) in &auth.claims {
                set(name.clone(), &passport.others[*position]);
            }
            if !auth.forwards_token {
                edits.push(HeaderEdit::Remove(AUTHORIZATION));
            }
        }
    }
}

fn now() -> i64 {
    i64::try_from(unix_seconds()).unwrap_or(i64::MAX)
}

const BEARER: &[u8] = b"bearer";

#[cfg(test)]
mod tests;
