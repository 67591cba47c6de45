//! What makes a token void before it expires. Never reverses: a revocation only ends with the tokens it covers.

use super::{AccountId, SessionId, UnixMillis};

/// One revocation and the instant from which no token it covers can still be valid.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// One token.
    Token {
        /// Its `jti`.
        jti: String,
        /// May be forgotten from here on.
        until: UnixMillis,
    },
    /// Every token of a session.
    Session {
        /// Its `sid`.
        sid: SessionId,
        /// May be forgotten from here on.
        until: UnixMillis,
    },
    /// Every token of an account issued before a cut.
    Account {
        /// Its `sub`.
        sub: AccountId,
        /// Tokens with an earlier `iat` are void.
        not_before: UnixMillis,
        /// May be forgotten from here on.
        until: UnixMillis,
    },
    /// Every token signed by a key.
    SigningKey {
        /// Its `kid`.
        kid: String,
        /// May be forgotten from here on.
        until: UnixMillis,
    },
}

impl Revocation {
    /// When it may be forgotten.
    pub fn until(&self) -> UnixMillis {
        match self {
            Self::Token { until, .. }
            | Self::Session { until, .. }
            | Self::Account { until, .. }
            | Self::SigningKey { until, .. } => *until,
        }
    }
}

/// What a verified token says about itself, as far as revocations look at it.
#[derive(Clone, Copy, Debug)]
pub struct TokenFacts<'a> {
    /// `jti`.
    pub jti: &'a str,
    /// `sid`, when the token belongs to a session.
    pub sid: Option<&'a str>,
    /// `sub`.
    pub sub: &'a str,
    /// `kid` of the key that signed it.
    pub kid: &'a str,
    /// `iat`. Whole seconds: a token of the very second of a cut counts as older, which errs on the safe side.
    pub issued_at: UnixMillis,
}
