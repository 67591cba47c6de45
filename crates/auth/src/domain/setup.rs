//! The one-time token that creates the first administrator. Never stored in clear.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_ops::Secret;

use super::TokenHash;

/// How long a printed set-up token may be used.
pub const SETUP_TOKEN_TTL: Duration = Duration::from_secs(10 * 60);

const PREFIX: &str = "pcs_";

/// 256 random bits, shown once on the operator's terminal.
#[derive(Clone, Debug)]
pub struct SetupToken(Secret<String>);

impl SetupToken {
    /// Makes a token of random bytes.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(Secret::new(format!(
            "{PREFIX}{}",
            URL_SAFE_NO_PAD.encode(bytes)
        )))
    }

    /// Reads what was typed; `None` when it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let decoded = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        (decoded.len() == 32).then(|| Self(Secret::new(text.to_owned())))
    }

    /// The text to print.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What the store keeps: 256 bits of entropy need no slow hash.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.expose().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_reads_back_and_garbage_does_not() {
        let token = SetupToken::from_random([7; 32]);
        assert_eq!(
            SetupToken::parse(token.expose()).unwrap().hash(),
            token.hash()
        );
        for text in [
            "",
            "pcs_",
            "pcs_AAAA",
            "pcr_AAAA",
            &token.expose()[1..],
            &format!("{} ", token.expose()),
        ] {
            assert!(SetupToken::parse(text).is_none(), "{text:?}");
        }
        assert!(!format!("{token:?}").contains("BwcH"));
    }
}
