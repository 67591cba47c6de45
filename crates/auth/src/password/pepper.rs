//! The secret that is not in the database. Never stored, never printed; stored hashes only name the one they need.
//!
//! The pepper keys an HMAC over argon2's tag instead of being argon2's own secret input. Both make a stolen table
//! useless; only the HMAC can be put on existing rows, or taken over to a new pepper, without anybody's password.

use std::fmt;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use portcullis_ops::Secret;

use super::phc::TAG_BYTES;

/// One pepper.
#[derive(Clone)]
pub struct Pepper {
    id: PepperId,
    key: hmac::Key,
}

impl Pepper {
    /// Takes the value of `SECURITY_SALT`.
    pub fn new(secret: &Secret<String>) -> Self {
        let bytes = secret.expose().as_bytes();
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"portcullis pepper id v1");
        context.update(bytes);
        let mut id = [0; PepperId::BYTES];
        id.copy_from_slice(&context.finish().as_ref()[..PepperId::BYTES]);
        Self {
            id: PepperId(id),
            key: hmac::Key::new(hmac::HMAC_SHA256, bytes),
        }
    }

    pub(super) fn id(&self) -> PepperId {
        self.id
    }

    pub(super) fn apply(&self, tag: &[u8; TAG_BYTES]) -> [u8; TAG_BYTES] {
        let mut out = [0; TAG_BYTES];
        out.copy_from_slice(hmac::sign(&self.key, tag).as_ref());
        out
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pepper({})", self.id)
    }
}

/// The first bytes of a digest of the pepper: enough to tell a few apart, nothing to guess a long secret from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PepperId([u8; PepperId::BYTES]);

impl PepperId {
    /// PHC allows eight bytes; six make eight characters.
    const BYTES: usize = 6;

    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(Self(STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()?))
    }
}

impl fmt::Display for PepperId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD_NO_PAD.encode(self.0))
    }
}

/// The pepper of new hashes and those that older ones still need.
#[derive(Clone, Debug, Default)]
pub struct Peppers {
    current: Option<Pepper>,
    previous: Vec<Pepper>,
}

impl Peppers {
    /// No pepper at all: hashes stand on their salt and cost alone.
    pub fn none() -> Self {
        Self::default()
    }

    /// New hashes use `current`; those under `previous` still verify and are rewritten at login.
    pub fn new(current: Pepper, previous: Vec<Pepper>) -> Self {
        Self {
            current: Some(current),
            previous,
        }
    }

    pub(super) fn current(&self) -> Option<&Pepper> {
        self.current.as_ref()
    }

    pub(super) fn find(&self, id: PepperId) -> Option<&Pepper> {
        self.current
            .iter()
            .chain(&self.previous)
            .find(|pepper| pepper.id == id)
    }
}
