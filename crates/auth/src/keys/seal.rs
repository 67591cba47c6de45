//! Private signing keys at rest: AES-256-GCM under the key encryption key, bound to their key id.
//! Never opens a key under another id, and never tells a wrong key from a damaged box.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::Kek;

/// First byte of every box: the layout is version, nonce, ciphertext with tag.
const VERSION: u8 = 1;
/// Keeps boxes of this purpose apart from any other use of the same key.
const CONTEXT: &[u8] = b"portcullis signing key v1:";

/// Seals a private key. The nonce is random: a ring sees a handful of keys, far below the 2^32 that allows.
pub(super) fn seal(kek: &Kek, kid: &str, pkcs8: &[u8]) -> Vec<u8> {
    let nonce: [u8; NONCE_LEN] = crate::random::bytes();
    // Encrypted in place: room for the tag, or growing would leave a copy of the clear text behind.
    let mut text = Zeroizing::new(Vec::with_capacity(pkcs8.len() + AES_256_GCM.tag_len()));
    text.extend_from_slice(pkcs8);
    cipher(kek)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(kid), &mut *text)
        .expect("a private key is far below the limits of AES-GCM");
    [&[VERSION][..], &nonce, &text].concat()
}

/// Opens a box; `None` if it was sealed with another key or for another id, or is damaged.
pub(super) fn open(kek: &Kek, kid: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed
        .strip_prefix(&[VERSION])?
        .split_first_chunk::<NONCE_LEN>()?;
    let mut text = Zeroizing::new(text.to_vec());
    let length = cipher(kek)
        .open_in_place(Nonce::assume_unique_for_key(*nonce), aad(kid), &mut text)
        .ok()?
        .len();
    text.truncate(length);
    Some(text)
}

fn cipher(kek: &Kek) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, kek.bytes()).expect("the key has 32 bytes"))
}

fn aad(kid: &str) -> Aad<Vec<u8>> {
    Aad::from([CONTEXT, kid.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"not really a private key, but as secret";

    #[test]
    fn sec_c15_a_box_opens_with_its_key_and_id_only() {
        let (kek, other) = (Kek::from_bytes([7; 32]), Kek::from_bytes([8; 32]));
        let sealed = seal(&kek, "a", SECRET);
        assert_eq!(
            open(&kek, "a", &sealed).expect("own box").as_slice(),
            SECRET
        );
        assert!(open(&kek, "b", &sealed).is_none());
        assert!(open(&other, "a", &sealed).is_none());
        assert_ne!(sealed, seal(&kek, "a", SECRET), "the nonce is fresh");
    }

    #[test]
    fn sec_c15_a_box_shows_nothing_of_its_content() {
        let sealed = seal(&Kek::from_bytes([7; 32]), "a", SECRET);
        assert!(
            SECRET
                .windows(8)
                .all(|part| !sealed.windows(8).any(|seen| seen == part))
        );
    }

    #[test]
    fn sec_c15_a_damaged_box_does_not_open() {
        let kek = Kek::from_bytes([7; 32]);
        let sealed = seal(&kek, "a", SECRET);
        for length in 0..sealed.len() {
            assert!(open(&kek, "a", &sealed[..length]).is_none());
        }
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(open(&kek, "a", &damaged).is_none(), "byte {at}");
        }
    }
}
