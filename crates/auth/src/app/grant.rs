//! Signs the access token that goes with a refresh token. Never issues one
//! without the other, nor without a session.

use std::time::Duration;

use portcullis_ops::Secret;
use portcullis_token::{Authentication, Claims};

use super::session::SessionCookie;
use super::{App, FIRST_PARTY, Outcome, Refusal};
use crate::domain::{Account, Proof, RefreshToken, SessionId, UnixMillis};
use crate::random;

/// What a good login or refresh entitles to.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) access_token: Secret<String>,
    pub(crate) expires_in: Duration,
    pub(crate) refresh_token: Secret<String>,
    pub(crate) refresh_expires_in: Duration,
    /// For browsers; a login alone begins one.
    pub(crate) session: Option<SessionCookie>,
}

impl App {
    pub(super) async fn grant(
        &self,
        account: &Account,
        session: SessionId,
        proof: Option<Proof>,
        refresh_token: &RefreshToken,
        refresh_expires_at: UnixMillis,
        now: UnixMillis,
    ) -> Outcome<Grant> {
        let expires_in = self.policy.access_token_ttl;
        let claims = Claims {
            iss: self.policy.verifier.issuer.clone(),
            sub: account.id.to_string(),
            aud: vec![self.policy.verifier.audience.clone()],
            iat: now.seconds(),
            exp: now.plus(expires_in).seconds(),
            nbf: None,
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
        };
        let access_token = self.keys.sign(&claims).map_err(Refusal::internal)?;
        Ok(Grant {
            access_token: Secret::new(access_token),
            expires_in,
            refresh_token: refresh_token.reveal(),
            refresh_expires_in: refresh_expires_at.since(now),
            session: None,
        })
    }
}

/// What a token says of a proof; nothing of one that is not known.
pub(super) fn authentication(proof: Option<Proof>) -> Authentication {
    proof.map_or_else(Authentication::default, |proof| Authentication {
        time: Some(proof.at.seconds()),
        class: Some(proof.by.class().to_owned()),
        methods: proof.by.methods().iter().map(ToString::to_string).collect(),
    })
}
