//! A signing key as stored and the moves between its states. Never holds a private key in clear.

use super::UnixMillis;

/// One row of the key ring. The private half is sealed under the key encryption key before it gets here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKeyRecord {
    /// RFC 7638 thumbprint, or the name of an imported key.
    pub kid: String,
    /// Signature algorithm as in `alg` (`RS256`, …).
    pub algorithm: String,
    /// Where the key stands in its life.
    pub state: KeyState,
    /// The private key, sealed by `keys.rs`; opaque here.
    pub sealed_private_key: Vec<u8>,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it took its present state.
    pub changed_at: UnixMillis,
}

/// `next` and `retiring` keys are published but do not sign; exactly the `active` one signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Published ahead of its use, so that every verifier knows it first.
    Next,
    /// Signs.
    Active,
    /// Still verifies what it signed.
    Retiring,
    /// Neither signs nor is published.
    Retired,
}

impl KeyState {
    /// Legal moves only go forward; a compromised key may be retired from anywhere.
    pub fn may_become(self, to: Self) -> bool {
        matches!(
            (self, to),
            (Self::Next, Self::Active)
                | (Self::Active, Self::Retiring)
                | (Self::Next | Self::Active | Self::Retiring, Self::Retired)
        )
    }

    /// Whether JWKS shows the key.
    pub fn is_published(self) -> bool {
        self != Self::Retired
    }

    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
        }
    }

    /// Reads the stored word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Next, Self::Active, Self::Retiring, Self::Retired]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::KeyState::{Active, Next, Retired, Retiring};

    #[test]
    fn a_key_never_moves_backward() {
        let order = [Next, Active, Retiring, Retired];
        for (i, from) in order.into_iter().enumerate() {
            for (j, to) in order.into_iter().enumerate() {
                let is_legal = j == i + 1 || (to == Retired && from != Retired);
                assert_eq!(from.may_become(to), is_legal, "{from:?} -> {to:?}");
            }
        }
    }
}
