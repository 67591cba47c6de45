//! Keys by which machines act: 256 random bits that anybody can tell from other text, and of which only the hash is
//! kept. Never more than its owner: what a key gives is looked at together with what the owner has.
//!
//! `pck_` and 48 characters of base64url: 32 random bytes, then their CRC-32 (IEEE, big-endian). A scanner that finds
//! such text knows without asking anybody whether it is one of ours, and a mistyped key costs no lookup.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_ops::Secret;
use uuid::Uuid;

use super::account::parse_uuid;
use super::{PermissionSet, SubjectId, TokenHash, UnixMillis};

/// What every key begins with.
pub const API_KEY_PREFIX: &str = "pck_";
const SECRET_BYTES: usize = 32;
const BYTES: usize = SECRET_BYTES + 4;
const TEXT_BYTES: usize = BYTES / 3 * 4;
/// Enough to find a key in a list: 48 of its 256 bits.
const SHOWN: usize = API_KEY_PREFIX.len() + 8;
const NAME_BYTES_MAX: usize = 64;

/// The key itself, as its holder has it.
#[derive(Clone, Debug)]
pub struct ApiKeySecret(Secret<String>);

impl ApiKeySecret {
    /// Makes a key of random bytes.
    pub fn from_random(secret: [u8; SECRET_BYTES]) -> Self {
        let mut bytes = [0; BYTES];
        bytes[..SECRET_BYTES].copy_from_slice(&secret);
        bytes[SECRET_BYTES..].copy_from_slice(&crc32(&secret).to_be_bytes());
        let text = format!("{API_KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        Self(Secret::new(text))
    }

    /// Reads what somebody sent; `None` when it cannot be one of ours, without touching the store.
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(API_KEY_PREFIX)?;
        if encoded.len() != TEXT_BYTES {
            return None;
        }
        let mut bytes = [0; BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(encoded, &mut bytes).ok()?;
        let (secret, sum) = bytes.split_at(SECRET_BYTES);
        let is_ours = length == BYTES && crc32(secret).to_be_bytes() == sum;
        is_ours.then(|| Self(Secret::new(text.to_owned())))
    }

    /// The text for its holder.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What the store keeps: 256 bits of entropy need no slow hash.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.expose().as_bytes())
    }

    /// What lists show.
    pub fn prefix(&self) -> &str {
        &self.expose()[..SHOWN]
    }
}

/// Names a key, in lists and in revocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKeyId(Uuid);

impl ApiKeyId {
    /// Makes an id of random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }
}

impl fmt::Display for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What its owner calls a key: 1 to 64 printable ASCII characters, no blank at either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyName(String);

/// A name outside those bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key's name has 1 to 64 printable ASCII characters, and no blank at its ends")]
pub struct InvalidApiKeyName;

impl ApiKeyName {
    /// Parses a name.
    ///
    /// # Errors
    /// If it is outside the bounds.
    pub fn parse(name: &str) -> Result<Self, InvalidApiKeyName> {
        let is_valid = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
            && name.trim() == name;
        is_valid
            .then(|| Self(name.to_owned()))
            .ok_or(InvalidApiKeyName)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is known of a key, which is not the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// In place of a token's `jti`.
    pub id: ApiKeyId,
    /// Who acts by it.
    pub owner: SubjectId,
    /// What the owner calls it.
    pub name: ApiKeyName,
    /// How it begins.
    pub prefix: String,
    /// What it gives, as far as its owner has it.
    pub permissions: PermissionSet,
    /// When it was made.
    pub created_at: UnixMillis,
    /// From when on it is good for nothing; `None`: never.
    pub expires_at: Option<UnixMillis>,
    /// When it was revoked.
    pub revoked_at: Option<UnixMillis>,
    /// When it was used last, to about an hour.
    pub last_used_at: Option<UnixMillis>,
}

impl ApiKey {
    /// Whether it is good for anything by itself; its owner has a say, too.
    pub fn is_good(&self, now: UnixMillis) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// CRC-32 as in zlib.
fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (POLYNOMIAL & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_everybody_has() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn sec_b10_a_key_reads_back_and_no_other_text_does() {
        let key = ApiKeySecret::from_random([7; 32]);
        let text = key.expose();
        assert_eq!(text.len(), 52);
        assert_eq!(ApiKeySecret::parse(text).unwrap().hash(), key.hash());
        assert!(text.starts_with(key.prefix()) && key.prefix().len() == 12);
        for at in 0..text.len() {
            let mut other = text.as_bytes().to_vec();
            other[at] = if other[at] == b'B' { b'C' } else { b'B' };
            let other = String::from_utf8(other).unwrap();
            assert!(ApiKeySecret::parse(&other).is_none(), "one changed at {at}");
        }
        for other in [
            "",
            "pck_",
            &text[1..],
            &text[..51],
            &format!("{text}A"),
            &format!("{text} "),
        ] {
            assert!(ApiKeySecret::parse(other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn sec_b10_debug_shows_no_key() {
        let key = ApiKeySecret::from_random([7; 32]);
        assert!(!format!("{key:?}").contains("BwcH"));
    }

    #[test]
    fn names_are_printable_and_bounded() {
        for name in ["ci", "Deploy of main (2026)", &"a".repeat(64)] {
            assert!(ApiKeyName::parse(name).is_ok(), "{name}");
        }
        for name in [
            "",
            " ",
            " a",
            "a ",
            "a\n",
            "a\u{202e}",
            "ä",
            &"a".repeat(65),
        ] {
            assert!(ApiKeyName::parse(name).is_err(), "{name:?}");
        }
    }
}
