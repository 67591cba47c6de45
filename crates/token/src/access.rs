//! Reads access tokens for somebody who guards other people's applications: of any issuer, without
//! the audience, which each application has its own. Never looks inside before the signature holds.

use crate::claims::{Claims, ClaimsError};
use crate::json::{Json, Object};
use crate::verify::{Demands, check_times, signed};
use crate::{Algorithm, KeySet, Profile, Skew, VerifyError};

mod generic;

pub use generic::GenericClaims;

/// What every access token of one issuer has to satisfy, whichever application it is for.
#[derive(Clone, Debug)]
pub struct AccessVerifier {
    /// The only issuer believed, compared byte by byte.
    pub issuer: String,
    /// How its tokens are read.
    pub profile: Profile,
    /// Keys of other algorithms are not used, even if the issuer publishes them.
    pub algorithms: Vec<Algorithm>,
    /// Tolerance for clocks.
    pub skew: Skew,
    /// Where [`Profile::Generic`] finds roles: a claim, or members of nested ones joined by dots.
    pub roles_claim: String,
    /// Further claims to read, named in the same way.
    pub others: Vec<String>,
}

/// A token that passed every check but audience and revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// What it says.
    pub claims: AccessClaims,
    /// The key that signed it.
    pub kid: String,
    /// The values of [`AccessVerifier::others`] in the same order; `None` where there is none that
    /// text can hold.
    pub others: Vec<Option<ClaimValue>>,
}

/// The claims of either profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessClaims {
    /// All of ours.
    Portcullis(Claims),
    /// Those of any other issuer.
    Generic(GenericClaims),
}

/// A claim that text can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimValue {
    /// A string, an integer or a truth value.
    One(String),
    /// An array of those.
    Many(Vec<String>),
}

impl AccessVerifier {
    /// Checks shape, signature, type, issuer and times. Audience and revocation are separate
    /// questions: see [`AccessClaims::is_for`] and [`crate::revocation`].
    ///
    /// # Errors
    /// See [`VerifyError`]; only [`VerifyError::UnknownKey`] may be worth another look at the keys.
    pub fn verify(&self, token: &str, keys: &KeySet, now: i64) -> Result<AccessToken, VerifyError> {
        let demands = Demands {
            accepts_type: &|typ| self.profile.accepts_type(typ),
            accepts_algorithm: &|algorithm| self.algorithms.contains(&algorithm),
            profile: self.profile,
        };
        let signed = signed(token, keys, &demands)?;
        let payload = Object::parse(&signed.payload).ok_or(ClaimsError("payload"))?;
        let claims = match self.profile {
            Profile::Portcullis => AccessClaims::Portcullis(Claims::from_object(&payload)?),
            Profile::Generic => {
                AccessClaims::Generic(GenericClaims::from_object(&payload, &self.roles_claim)?)
            }
        };
        if claims.issuer() != self.issuer {
            return Err(VerifyError::WrongIssuer);
        }
        claims.check_times(self.skew, now)?;
        let others = self.others.iter();
        Ok(AccessToken {
            others: others
                .map(|name| find(&payload, name).and_then(ClaimValue::read))
                .collect(),
            claims,
            kid: signed.kid,
        })
    }
}

impl AccessClaims {
    /// Whether `audience` may accept the token.
    pub fn is_for(&self, audience: &str) -> bool {
        let audiences = match self {
            Self::Portcullis(claims) => &claims.aud,
            Self::Generic(claims) => &claims.aud,
        };
        audiences.iter().any(|one| one == audience)
    }

    /// Whether the token is valid at this moment, in Unix seconds.
    ///
    /// # Errors
    /// [`VerifyError::Expired`] or [`VerifyError::NotYetValid`].
    pub fn check_times(&self, skew: Skew, now: i64) -> Result<(), VerifyError> {
        let (exp, start) = match self {
            Self::Portcullis(claims) => (claims.exp, claims.iat.max(claims.nbf.unwrap_or(0))),
            Self::Generic(claims) => (claims.exp, claims.iat.max(claims.nbf).unwrap_or(0)),
        };
        check_times(exp, start, skew, now)
    }

    /// Who issued it.
    pub fn issuer(&self) -> &str {
        match self {
            Self::Portcullis(claims) => &claims.iss,
            Self::Generic(claims) => &claims.iss,
        }
    }

    /// Whom it is about.
    pub fn subject(&self) -> &str {
        match self {
            Self::Portcullis(claims) => &claims.sub,
            Self::Generic(claims) => &claims.sub,
        }
    }

    /// `jti`: unique to this token.
    pub fn token_id(&self) -> Option<&str> {
        match self {
            Self::Portcullis(claims) => Some(&claims.jti),
            Self::Generic(claims) => claims.jti.as_deref(),
        }
    }

    /// Time of issue in Unix seconds.
    pub fn issued_at(&self) -> Option<i64> {
        match self {
            Self::Portcullis(claims) => Some(claims.iat),
            Self::Generic(claims) => claims.iat,
        }
    }

    /// End of validity in Unix seconds, without the skew.
    pub fn expires(&self) -> i64 {
        match self {
            Self::Portcullis(claims) => claims.exp,
            Self::Generic(claims) => claims.exp,
        }
    }

    /// Roles of the subject.
    pub fn roles(&self) -> &[String] {
        match self {
            Self::Portcullis(claims) => &claims.roles,
            Self::Generic(claims) => &claims.roles,
        }
    }

    /// OAuth scope, separated by spaces.
    pub fn scope(&self) -> Option<&str> {
        match self {
            Self::Portcullis(claims) => claims.scope.as_deref(),
            Self::Generic(claims) => claims.scope.as_deref(),
        }
    }

    /// The session it belongs to.
    pub fn session(&self) -> Option<&str> {
        match self {
            Self::Portcullis(claims) => Some(&claims.sid),
            Self::Generic(claims) => claims.sid.as_deref(),
        }
    }

    /// The OAuth client that asked for it.
    pub fn client(&self) -> Option<&str> {
        match self {
            Self::Portcullis(claims) => Some(&claims.client_id),
            Self::Generic(claims) => claims.client_id.as_deref(),
        }
    }
}

impl ClaimValue {
    fn read(json: &Json<'_>) -> Option<Self> {
        match json {
            Json::Array(items) => items
                .iter()
                .map(text)
                .collect::<Option<_>>()
                .map(Self::Many),
            one => text(one).map(Self::One),
        }
    }
}

fn text(json: &Json<'_>) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone().into_owned()),
        Json::Integer(number) => Some(number.to_string()),
        Json::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// The claim of exactly this name; else the dots lead into nested objects. Names of claims may be
/// URLs, so a dot alone says nothing.
fn find<'a>(object: &'a Object<'a>, name: &str) -> Option<&'a Json<'a>> {
    if let Some(found) = object.member(name) {
        return Some(found);
    }
    let (outer, inner) = name.split_once('.')?;
    match object.member(outer)? {
        Json::Object(nested) => find(nested, inner),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
