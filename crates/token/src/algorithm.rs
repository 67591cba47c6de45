//! The closed lists of signature algorithms and token types. HMAC and `none` are not in them and never will be.

/// How a key signs. It belongs to the key's record; a token's header can only agree with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: cheapest to verify, so the default.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519: cheapest to sign.
    EdDsa,
}

impl Algorithm {
    /// The name in `alg` (RFC 7518 section 3.1, RFC 8037).
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm with exactly this name, if we have it.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Rs256, Self::Es256, Self::EdDsa]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// What a token is for. One kind is never accepted in place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenType {
    /// Presented to applications (RFC 9068).
    AccessToken,
    /// Presented by a browser to the auth service itself.
    Session,
    /// Sent to applications when a session ends.
    Logout,
}

impl TokenType {
    /// The value of the `typ` header.
    pub fn typ(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::Session => "session+jwt",
            Self::Logout => "logout+jwt",
        }
    }
}
