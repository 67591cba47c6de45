//! What became of the token of one request: a closed set, for metrics. Never told to a client, who
//! hears only [`Cause`].

use super::Cause;

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenResult {
    /// Let in with an identity.
    Verified,
    /// Let in without a token.
    Absent,
    /// No token where one is needed.
    Missing,
    /// Not a token of the one shape that is read, or more than one.
    Malformed,
    /// It names a key that the issuer does not have.
    UnknownKey,
    /// Another algorithm than the key's, or one that is not accepted.
    WrongAlgorithm,
    /// Another kind of token.
    WrongType,
    /// The signature does not match.
    BadSignature,
    /// A claim is missing or out of range.
    BadClaims,
    /// From another issuer.
    WrongIssuer,
    /// For another application.
    WrongAudience,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// None of the roles that the route asks for.
    MissingRole,
    /// Not all scopes that the route asks for.
    MissingScope,
    /// There are no keys to verify it with.
    NoKeys,
    /// It was taken back.
    Revoked,
    /// Nobody can say whether it was taken back.
    Unknown,
}

impl TokenResult {
    /// All of them, in declaration order.
    pub const ALL: [Self; 18] = [
        Self::Verified,
        Self::Absent,
        Self::Missing,
        Self::Malformed,
        Self::UnknownKey,
        Self::WrongAlgorithm,
        Self::WrongType,
        Self::BadSignature,
        Self::BadClaims,
        Self::WrongIssuer,
        Self::WrongAudience,
        Self::Expired,
        Self::NotYetValid,
        Self::MissingRole,
        Self::MissingScope,
        Self::NoKeys,
        Self::Revoked,
        Self::Unknown,
    ];

    /// As metrics say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Absent => "absent",
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::WrongType => "wrong_type",
            Self::BadSignature => "bad_signature",
            Self::BadClaims => "bad_claims",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::MissingRole => "missing_role",
            Self::MissingScope => "missing_scope",
            Self::NoKeys => "no_keys",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
        }
    }

    /// What the client is told; `None` if the request is let in.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Verified | Self::Absent => None,
            Self::Missing => Some(Cause::NoToken),
            Self::MissingRole | Self::MissingScope => Some(Cause::Forbidden),
            Self::NoKeys => Some(Cause::NoKeys),
            Self::Unknown => Some(Cause::NoRevocations),
            Self::Malformed
            | Self::Revoked
            | Self::UnknownKey
            | Self::WrongAlgorithm
            | Self::WrongType
            | Self::BadSignature
            | Self::BadClaims
            | Self::WrongIssuer
            | Self::WrongAudience
            | Self::Expired
            | Self::NotYetValid => Some(Cause::BadToken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_has_its_place_and_a_name_of_its_own() {
        let mut names = std::collections::HashSet::new();
        for (position, result) in TokenResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, position, "{result:?}");
            assert!(names.insert(result.name()), "{result:?}");
        }
    }
}
