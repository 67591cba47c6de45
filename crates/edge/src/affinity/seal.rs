//! What an affinity cookie holds, sealed. Never returns anything that it did not seal itself.
//!
//! AES-256-GCM over the binding, with the cluster's name as associated data: opaque, and worthless
//! in another cluster. Edges that share a secret understand each other.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{KeyError, derived};

/// What is written down about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    /// [`crate::cluster::Endpoint::affinity_id`] of the endpoint.
    pub(super) endpoint: u64,
    /// When the client came to this endpoint.
    pub(super) since_unix_seconds: u64,
    /// When it was written, counted from then.
    pub(super) renewed_after_seconds: u32,
}

/// Seals under the first key, opens under any.
#[derive(Debug)]
pub(super) struct Seal {
    cluster: String,
    keys: Vec<RandomizedNonceKey>,
}

/// What was in a sealed value, and whether the newest key opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) binding: Binding,
    pub(super) is_newest_key: bool,
}

impl Seal {
    /// Secrets are texts of any length, the newest first.
    pub(super) fn new<'s>(
        cluster: &str,
        secrets: impl Iterator<Item = &'s [u8]>,
    ) -> Result<Self, KeyError> {
        let key = |secret| {
            let key = derived(secret, b"portcullis affinity cookie 2");
            RandomizedNonceKey::new(&AES_256_GCM, key.as_ref()).map_err(|_| KeyError)
        };
        Ok(Self {
            cluster: cluster.to_owned(),
            keys: secrets.map(key).collect::<Result<_, _>>()?,
        })
    }

    /// `None` if the cipher fails.
    pub(super) fn seal(&self, binding: Binding) -> Option<String> {
        let mut sealed = Vec::with_capacity(SEALED_BYTES);
        sealed.extend_from_slice(&binding.endpoint.to_be_bytes());
        sealed.extend_from_slice(&binding.since_unix_seconds.to_be_bytes());
        sealed.extend_from_slice(&binding.renewed_after_seconds.to_be_bytes());
        let aad = Aad::from(self.cluster.as_bytes());
        let key = self.keys.first()?;
        let nonce = key.seal_in_place_append_tag(aad, &mut sealed).ok()?;
        sealed.extend_from_slice(nonce.as_ref());
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// `None` for anything that was not sealed under one of the keys for this cluster.
    pub(super) fn open(&self, value: &[u8]) -> Option<Opened> {
        // The length is checked first: base64 would otherwise decode what it can.
        if value.len() != SEALED_CHARS {
            return None;
        }
        let mut bytes = [0; SEALED_BYTES];
        URL_SAFE_NO_PAD.decode_slice(value, &mut bytes).ok()?;
        self.keys.iter().enumerate().find_map(|(position, key)| {
            let binding = self.open_with(key, bytes)?;
            Some(Opened {
                binding,
                is_newest_key: position == 0,
            })
        })
    }

    fn open_with(
        &self,
        key: &RandomizedNonceKey,
        mut bytes: [u8; SEALED_BYTES],
    ) -> Option<Binding> {
        let (sealed, nonce) = bytes.split_last_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let aad = Aad::from(self.cluster.as_bytes());
        let plain = key.open_in_place(nonce, aad, sealed).ok()?;
        let (endpoint, rest) = plain.split_first_chunk()?;
        let (since, renewed) = rest.split_first_chunk()?;
        Some(Binding {
            endpoint: u64::from_be_bytes(*endpoint),
            since_unix_seconds: u64::from_be_bytes(*since),
            renewed_after_seconds: u32::from_be_bytes(renewed.try_into().ok()?),
        })
    }
}

/// Endpoint, since, renewed, tag, nonce: a multiple of three, so base64 has no bits to spare and
/// every value has one spelling.
const SEALED_BYTES: usize = 8 + 8 + 4 + 16 + NONCE_LEN;
/// Length of a sealed value.
pub(super) const SEALED_CHARS: usize = SEALED_BYTES / 3 * 4;
