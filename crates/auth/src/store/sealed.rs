//! The box that lets a retry get the same successor. Never opens without the spent token: the database alone cannot read it.
//!
//! `AES-256-GCM(HKDF-SHA256(old token), new token)`. The key is unique to the old token; the nonce is random because
//! several instances may seal different successors under the same old token before one of them wins.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};

use crate::domain::RefreshToken;
use zeroize::Zeroizing;

const CONTEXT: &[u8] = b"portcullis refresh successor v1";

/// Seals `new` for whoever holds `old`: nonce, then ciphertext with tag.
pub fn seal(old: &RefreshToken, new: &RefreshToken) -> Vec<u8> {
    let nonce: [u8; NONCE_LEN] = crate::random::bytes();
    let mut text = new.expose().to_vec();
    key_of(old)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text)
        .expect("32 bytes are within the limits of AES-GCM");
    [nonce.as_slice(), &text].concat()
}

/// Opens a box with the token it was sealed for; `None` when it was not, or the box is damaged.
pub fn open(old: &RefreshToken, sealed: &[u8]) -> Option<RefreshToken> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut text = Zeroizing::new(text.to_vec());
    let opened = key_of(old)
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::empty(),
            &mut text,
        )
        .ok()?;
    Some(RefreshToken::from_random(
        <[u8; 32]>::try_from(&*opened).ok()?,
    ))
}

fn key_of(old: &RefreshToken) -> LessSafeKey {
    let mut key = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, &[])
        .extract(old.expose())
        .expand(&[CONTEXT], KeyLength)
        .and_then(|okm| okm.fill(&mut *key))
        .expect("one block of HKDF output is always available");
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).expect("the key has 32 bytes"))
}

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_spent_token_opens_the_box() {
        let (old, new) = (
            RefreshToken::from_random([1; 32]),
            RefreshToken::from_random([2; 32]),
        );
        let sealed = seal(&old, &new);
        assert_eq!(open(&old, &sealed).unwrap().hash(), new.hash());
        assert!(open(&new, &sealed).is_none());
        assert!(!sealed.windows(8).any(|w| w == [2; 8]));
        assert_ne!(sealed, seal(&old, &new), "the nonce is fresh");
    }

    #[test]
    fn a_damaged_box_does_not_open() {
        let (old, new) = (
            RefreshToken::from_random([1; 32]),
            RefreshToken::from_random([2; 32]),
        );
        let sealed = seal(&old, &new);
        for length in 0..sealed.len() {
            assert!(open(&old, &sealed[..length]).is_none());
        }
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(open(&old, &damaged).is_none(), "byte {at}");
        }
    }
}
