//! Refresh tokens in families: states and the one rule that judges a use. Never talks to the store.
//!
//! A family is one login. Each use spends a token and makes one successor. A spent token that comes back within
//! [`RETRY_GRACE`], while its successor is unused, is a retry (lost response, second tab) and gets the same successor
//! again; any later use means a copy is in other hands and ends the whole family.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_ops::Secret;
use uuid::Uuid;

use super::{AccountId, Proof, UnixMillis, account::parse_uuid};

/// How long a spent token may be retried. Covers a mobile client's resend; short enough that a thief gains nothing.
pub const RETRY_GRACE: Duration = Duration::from_secs(10);

const PREFIX: &str = "pcr_";

/// The opaque secret a client holds: 256 random bits behind a prefix that secret scanners can find.
#[derive(Clone, Debug)]
pub struct RefreshToken(Secret<[u8; 32]>);

impl RefreshToken {
    /// Makes a token of random bytes.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Reads what a client sent; `None` when it cannot be one of ours, without touching the store.
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(PREFIX)?;
        let mut bytes = [0; 32];
        // Exactly 43 characters, and strict about trailing bits: one token has one spelling.
        let length = if encoded.len() == 43 {
            URL_SAFE_NO_PAD.decode_slice(encoded, &mut bytes).ok()?
        } else {
            return None;
        };
        (length == bytes.len()).then(|| Self::from_random(bytes))
    }

    /// The text for the client.
    pub fn reveal(&self) -> Secret<String> {
        Secret::new(format!(
            "{PREFIX}{}",
            URL_SAFE_NO_PAD.encode(self.0.expose())
        ))
    }

    /// The raw secret, for sealing.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// What the store keeps: 256 bits of entropy need no slow hash.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.0.expose())
    }
}

/// SHA-256 of an opaque token: finds it, cannot become it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Hashes a token.
    pub fn of(token: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token).as_ref());
        Self(bytes)
    }

    /// The bytes for a column.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A refresh token family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FamilyId(Uuid);

/// A logged-in period (`sid`); may hold families of several OAuth clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Uuid);

impl FamilyId {
    /// Makes an id of random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }
}

impl SessionId {
    /// Makes an id of random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }
}

impl fmt::Display for FamilyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// One login's chain of refresh tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its own id.
    pub id: FamilyId,
    /// Whose it is.
    pub account: AccountId,
    /// The OAuth client it was issued to; no other may use it.
    pub client_id: String,
    /// The session it belongs to.
    pub session: SessionId,
    /// When the login happened.
    pub created_at: UnixMillis,
    /// No rotation carries a family beyond this.
    pub absolute_expires_at: UnixMillis,
    /// Set once, never cleared.
    pub revoked_at: Option<UnixMillis>,
    /// The last proof of identity in its session; unknown for one that an earlier release began.
    pub proof: Option<Proof>,
}

/// One token of a family, as far as [`judge`] looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshRecord {
    /// Unused tokens end here.
    pub expires_at: UnixMillis,
    /// Whether and how it was used.
    pub state: TokenState,
}

/// Unused, or spent once. No move leads back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// Never used.
    Unused,
    /// Used once.
    Spent {
        /// When.
        at: UnixMillis,
        /// Whether the one successor has been used itself.
        is_successor_spent: bool,
    },
}

/// What a use of a token means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Spend it and make the successor.
    Rotate,
    /// A retry: give the same successor again.
    Repeat,
    /// A copy is in other hands: revoke the family.
    Reused,
    /// Too old, or the family is.
    Expired,
    /// The family has been revoked.
    Revoked,
    /// Presented by another client than it was issued to; says nothing about its state.
    WrongClient,
}

/// Judges a use of a token at `now` by `client_id`.
///
/// The order matters. A foreign client learns nothing, so its attempts cannot end somebody's session either. Reuse is
/// looked for before expiry: a spent token that comes back is a theft whether or not it has expired since.
pub fn judge(family: &Family, token: &RefreshRecord, client_id: &str, now: UnixMillis) -> Verdict {
    if family.client_id != client_id {
        return Verdict::WrongClient;
    }
    if family.revoked_at.is_some() {
        return Verdict::Revoked;
    }
    if family.absolute_expires_at <= now {
        return Verdict::Expired;
    }
    match token.state {
        TokenState::Unused if token.expires_at <= now => Verdict::Expired,
        TokenState::Unused => Verdict::Rotate,
        TokenState::Spent {
            at,
            is_successor_spent: false,
        } if now.since(at) <= RETRY_GRACE => Verdict::Repeat,
        TokenState::Spent { .. } => Verdict::Reused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPENT_AT: UnixMillis = UnixMillis(50_000);

    fn family() -> Family {
        Family {
            id: FamilyId::from_random([1; 16]),
            account: AccountId::from_random([2; 16]),
            client_id: "web".to_owned(),
            session: SessionId::from_random([3; 16]),
            created_at: UnixMillis(0),
            absolute_expires_at: UnixMillis(100_000),
            revoked_at: None,
            proof: None,
        }
    }

    fn unused() -> RefreshRecord {
        RefreshRecord {
            expires_at: UnixMillis(60_000),
            state: TokenState::Unused,
        }
    }

    fn spent(is_successor_spent: bool) -> RefreshRecord {
        RefreshRecord {
            state: TokenState::Spent {
                at: SPENT_AT,
                is_successor_spent,
            },
            ..unused()
        }
    }

    #[test]
    fn an_unused_token_rotates_until_it_or_the_family_expires() {
        assert_eq!(
            judge(&family(), &unused(), "web", UnixMillis(59_999)),
            Verdict::Rotate
        );
        assert_eq!(
            judge(&family(), &unused(), "web", UnixMillis(60_000)),
            Verdict::Expired
        );
        let short = Family {
            absolute_expires_at: UnixMillis(10),
            ..family()
        };
        assert_eq!(
            judge(&short, &unused(), "web", UnixMillis(10)),
            Verdict::Expired
        );
    }

    #[test]
    fn a_retry_inside_the_grace_repeats_and_outside_is_reuse() {
        let edge = SPENT_AT.plus(RETRY_GRACE);
        assert_eq!(
            judge(&family(), &spent(false), "web", SPENT_AT),
            Verdict::Repeat
        );
        assert_eq!(
            judge(&family(), &spent(false), "web", edge),
            Verdict::Repeat
        );
        assert_eq!(
            judge(&family(), &spent(false), "web", UnixMillis(edge.0 + 1)),
            Verdict::Reused
        );
    }

    #[test]
    fn a_retry_after_the_successor_was_used_is_reuse_even_inside_the_grace() {
        assert_eq!(
            judge(&family(), &spent(true), "web", SPENT_AT),
            Verdict::Reused
        );
    }

    #[test]
    fn a_clock_that_stepped_back_still_counts_as_a_retry() {
        assert_eq!(
            judge(
                &family(),
                &spent(false),
                "web",
                UnixMillis(SPENT_AT.0 - 500)
            ),
            Verdict::Repeat
        );
    }

    #[test]
    fn another_client_learns_nothing_and_ends_nothing() {
        for token in [unused(), spent(false), spent(true)] {
            assert_eq!(
                judge(&family(), &token, "other", SPENT_AT),
                Verdict::WrongClient
            );
        }
    }

    #[test]
    fn a_revoked_family_never_rotates_again() {
        let revoked = Family {
            revoked_at: Some(UnixMillis(1)),
            ..family()
        };
        for token in [unused(), spent(false), spent(true)] {
            assert_eq!(judge(&revoked, &token, "web", SPENT_AT), Verdict::Revoked);
        }
    }

    #[test]
    fn a_token_has_one_spelling() {
        let token = RefreshToken::from_random([0xa5; 32]);
        let text = token.reveal();
        assert_eq!(
            RefreshToken::parse(text.expose()).unwrap().hash(),
            token.hash()
        );
        let mut other_bits = text.expose().clone();
        other_bits.pop();
        other_bits.push('V');
        for bad in [
            "",
            "pcr_",
            "pcs_AAAA",
            other_bits.as_str(),
            &format!("{}=", text.expose()),
            &format!(" {}", text.expose()),
            &format!("pcr_{}", "A".repeat(100_000)),
        ] {
            assert!(
                RefreshToken::parse(bad).is_none(),
                "{:?}",
                &bad[..bad.len().min(60)]
            );
        }
        assert_eq!(format!("{token:?}"), "RefreshToken([redacted])");
    }
}
