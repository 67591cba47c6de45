//! Decides whether a token may be believed. Never lets the token choose its algorithm or its key's material.

use crate::base64url;
use crate::claims::{Claims, ClaimsError};
use crate::json::Object;
use crate::{Algorithm, KeySet, Profile, TokenType};

/// Longest token that is read at all.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Longest encoded header; ours has about 130 bytes.
const HEADER_BYTES_MAX: usize = 1024;

/// Header parameters that would change what is signed or bring a key along. Others that we do not
/// know mean nothing to us and are ignored, as RFC 7515 section 4 asks.
const REFUSED_PARAMETERS: [&str; 8] = ["crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c"];

/// How far clocks may differ, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew(i64);

impl Skew {
    /// 30 seconds.
    pub const DEFAULT: Self = Self(30);
    /// More than this would keep expired tokens alive for no good reason.
    pub const MAX_SECONDS: u32 = 120;

    /// `None` beyond [`Skew::MAX_SECONDS`].
    pub fn new(seconds: u32) -> Option<Self> {
        (seconds <= Self::MAX_SECONDS).then_some(Self(i64::from(seconds)))
    }

    /// The tolerance in seconds.
    pub fn seconds(self) -> i64 {
        self.0
    }
}

/// What one resource demands of a token.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// The only issuer believed, compared byte by byte.
    pub issuer: String,
    /// Must be among the token's audiences.
    pub audience: String,
    /// The only kind of token accepted.
    pub token_type: TokenType,
    /// Tolerance for clocks.
    pub skew: Skew,
}

/// A token that passed every check but revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it says.
    pub claims: Claims,
    /// The key that signed it.
    pub kid: String,
}

/// Why a token is not believed. The text is for logs, never for the requester.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It is not a token of the one shape we read.
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    /// Signed, or said to be, with a key we do not have; the key set may be out of date.
    #[error("unknown signing key `{kid}`")]
    UnknownKey {
        /// A well-formed key id.
        kid: String,
    },
    /// The header names another algorithm than the key's record.
    #[error("the header's algorithm is not the key's")]
    WrongAlgorithm,
    /// Another kind of token.
    #[error("wrong token type")]
    WrongType,
    /// The signature does not match.
    #[error("bad signature")]
    BadSignature,
    /// Correctly signed, yet a claim is missing or out of range.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// From another issuer.
    #[error("wrong issuer")]
    WrongIssuer,
    /// For another audience.
    #[error("wrong audience")]
    WrongAudience,
    /// `exp` has passed.
    #[error("expired")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("not yet valid")]
    NotYetValid,
}

impl Verifier {
    /// Checks shape, signature, type, issuer, audience and times. Revocation is a separate question.
    ///
    /// Nothing inside the payload is looked at before the signature holds.
    ///
    /// # Errors
    /// See [`VerifyError`]; only [`VerifyError::UnknownKey`] may be worth another look at the key set.
    pub fn verify(&self, token: &str, keys: &KeySet, now: i64) -> Result<Verified, VerifyError> {
        let demands = Demands {
            accepts_type: &|typ| typ == Some(self.token_type.typ()),
            accepts_algorithm: &|_| true,
            profile: Profile::Portcullis,
        };
        let Signed { payload, kid } = signed(token, keys, &demands)?;
        let claims = Claims::parse(&payload)?;
        self.check(&claims, now)?;
        Ok(Verified { claims, kid })
    }

    /// Checks issuer, audience and times again of what was verified before, as a token of this type.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub fn check(&self, claims: &Claims, now: i64) -> Result<(), VerifyError> {
        if claims.iss != self.issuer {
            return Err(VerifyError::WrongIssuer);
        }
        if !claims.aud.contains(&self.audience) {
            return Err(VerifyError::WrongAudience);
        }
        let start = claims.iat.max(claims.nbf.unwrap_or(0));
        check_times(claims.exp, start, self.skew, now)
    }
}

/// What a signed envelope must be like before anybody looks inside.
pub(crate) struct Demands<'a> {
    /// Whether the `typ` header will do.
    pub(crate) accepts_type: &'a dyn Fn(Option<&str>) -> bool,
    /// Whether keys of this algorithm are used.
    pub(crate) accepts_algorithm: &'a dyn Fn(Algorithm) -> bool,
    /// Which key ids can be.
    pub(crate) profile: Profile,
}

/// What was signed, and by which key.
pub(crate) struct Signed {
    pub(crate) payload: Vec<u8>,
    pub(crate) kid: String,
}

/// Checks everything about a token that needs no look at its payload.
pub(crate) fn signed(
    token: &str,
    keys: &KeySet,
    demands: &Demands<'_>,
) -> Result<Signed, VerifyError> {
    let parts = Parts::split(token)?;
    let header = base64url::decode(parts.header).ok_or(VerifyError::Malformed("header"))?;
    let header = Header::parse(&header, demands)?;
    let key = keys
        .find(&header.kid)
        .ok_or_else(|| VerifyError::UnknownKey {
            kid: header.kid.clone(),
        })?;
    let algorithm = key.algorithm();
    if header.alg != algorithm.name() || !(demands.accepts_algorithm)(algorithm) {
        return Err(VerifyError::WrongAlgorithm);
    }
    let payload = base64url::decode(parts.payload).ok_or(VerifyError::Malformed("payload"))?;
    let signature =
        base64url::decode(parts.signature).ok_or(VerifyError::Malformed("signature"))?;
    if !key.is_signature(parts.signed.as_bytes(), &signature) {
        return Err(VerifyError::BadSignature);
    }
    Ok(Signed {
        payload,
        kid: header.kid,
    })
}

/// `exp` and `start` are within years 1970 to 9999, so adding the skew cannot overflow.
pub(crate) fn check_times(exp: i64, start: i64, skew: Skew, now: i64) -> Result<(), VerifyError> {
    if now >= exp + skew.seconds() {
        return Err(VerifyError::Expired);
    }
    if start > now.saturating_add(skew.seconds()) {
        return Err(VerifyError::NotYetValid);
    }
    Ok(())
}

/// The three parts of a compact serialisation, still encoded.
struct Parts<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    /// Header, dot, payload: the bytes under the signature.
    signed: &'a str,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, VerifyError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(VerifyError::Malformed("too long"));
        }
        let three = VerifyError::Malformed("not three parts");
        let (signed, signature) = token.rsplit_once('.').ok_or(three.clone())?;
        // A fourth part would leave a dot in the payload, which base64url refuses.
        let (header, payload) = signed.split_once('.').ok_or(three)?;
        if header.len() > HEADER_BYTES_MAX {
            return Err(VerifyError::Malformed("header too long"));
        }
        Ok(Self {
            header,
            payload,
            signature,
            signed,
        })
    }
}

/// The parameters we use, copied out of a header that holds none we refuse and whose `typ` will do.
struct Header {
    alg: String,
    kid: String,
}

impl Header {
    fn parse(json: &[u8], demands: &Demands<'_>) -> Result<Self, VerifyError> {
        let object = Object::parse(json).ok_or(VerifyError::Malformed("header"))?;
        if object
            .names()
            .any(|name| REFUSED_PARAMETERS.contains(&name))
        {
            return Err(VerifyError::Malformed("refused header parameter"));
        }
        let kid = object.string("kid").ok_or(VerifyError::Malformed("kid"))?;
        if !demands.profile.accepts_key_id(kid) {
            return Err(VerifyError::Malformed("kid"));
        }
        let typ = match object.member("typ") {
            None => None,
            Some(typ) => Some(typ.as_str().ok_or(VerifyError::WrongType)?),
        };
        let alg = object.string("alg").ok_or(VerifyError::Malformed("alg"))?;
        if !(demands.accepts_type)(typ) {
            return Err(VerifyError::WrongType);
        }
        Ok(Self {
            alg: alg.to_owned(),
            kid: kid.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
