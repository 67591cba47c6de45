//! Where the revocations of an issuer are told, and what holds while they are not. Never holds one.

use std::time::Duration;

use portcullis_ops::Secret;

use super::JwksSource;

/// Feeds of one issuer; each tells everything.
#[derive(Clone, Debug)]
pub struct Follow {
    /// The next one is asked when one fails. At least one; their targets are not used.
    pub feeds: Vec<JwksSource>,
    /// What is sent as a bearer token.
    pub token: Option<Secret<String>>,
}

/// What becomes of tokens while nobody can say whether they are revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenLost {
    /// They are refused (default).
    Closed,
    /// They are accepted for so long.
    Stale(Duration),
}

impl WhenLost {
    /// Whether news of this age will do. Never without a first snapshot.
    pub fn accepts(self, age: Duration) -> bool {
        match self {
            Self::Closed => false,
            Self::Stale(longest) => age <= longest,
        }
    }
}
