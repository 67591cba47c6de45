//! Secrets at rest: AES-256-GCM under the key encryption key, bound to what they are and whose they are.
//! Never opens a secret under another purpose or id, and never tells a wrong key from a damaged box.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::Kek;

/// First byte of every box: the layout is version, nonce, ciphertext with tag.
const VERSION: u8 = 1;

/// What a box holds: keeps boxes of one purpose apart from any other use of the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A private signing key, by its `kid`.
    SigningKey,
    /// The secret of an authenticator, by its account.
    Totp,
}

impl Purpose {
    fn context(self) -> &'static [u8] {
        match self {
            Self::SigningKey => b"portcullis signing key v1:",
            Self::Totp => b"portcullis totp secret v1:",
        }
    }
}

/// Seals a secret. The nonce is random: there are a handful of keys, and one enrolment for each account now and then,
/// far below the 2^32 boxes that allows.
pub(super) fn seal(kek: &Kek, purpose: Purpose, id: &str, secret: &[u8]) -> Vec<u8> {
    let nonce: [u8; NONCE_LEN] = crate::random::bytes();
    // Encrypted in place: room for the tag, or growing would leave a copy of the clear text behind.
    let mut text = Zeroizing::new(Vec::with_capacity(secret.len() + AES_256_GCM.tag_len()));
    text.extend_from_slice(secret);
    cipher(kek)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            aad(purpose, id),
            &mut *text,
        )
        .expect("a secret is far below the limits of AES-GCM");
    [&[VERSION][..], &nonce, &text].concat()
}

/// Opens a box; `None` if it was sealed with another key, for another purpose or id, or is damaged.
pub(super) fn open(
    kek: &Kek,
    purpose: Purpose,
    id: &str,
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed
        .strip_prefix(&[VERSION])?
        .split_first_chunk::<NONCE_LEN>()?;
    let mut text = Zeroizing::new(text.to_vec());
    let length = cipher(kek)
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            aad(purpose, id),
            &mut text,
        )
        .ok()?
        .len();
    text.truncate(length);
    Some(text)
}

fn cipher(kek: &Kek) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, kek.bytes()).expect("the key has 32 bytes"))
}

fn aad(purpose: Purpose, id: &str) -> Aad<Vec<u8>> {
    Aad::from([purpose.context(), id.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"not really a private key, but as secret";

    #[test]
    fn sec_c15_a_box_opens_with_its_key_and_id_only() {
        let (kek, other) = (Kek::from_bytes([7; 32]), Kek::from_bytes([8; 32]));
        let sealed = seal(&kek, Purpose::Totp, "a", SECRET);
        assert_eq!(
            open(&kek, Purpose::Totp, "a", &sealed)
                .expect("own box")
                .as_slice(),
            SECRET
        );
        assert!(open(&kek, Purpose::Totp, "b", &sealed).is_none());
        assert!(open(&kek, Purpose::SigningKey, "a", &sealed).is_none());
        assert!(open(&other, Purpose::Totp, "a", &sealed).is_none());
        assert_ne!(
            sealed,
            seal(&kek, Purpose::Totp, "a", SECRET),
            "the nonce is fresh"
        );
    }

    #[test]
    fn sec_c15_a_box_shows_nothing_of_its_content() {
        let sealed = seal(&Kek::from_bytes([7; 32]), Purpose::Totp, "a", SECRET);
        assert!(
            SECRET
                .windows(8)
                .all(|part| !sealed.windows(8).any(|seen| seen == part))
        );
    }

    #[test]
    fn sec_c15_a_damaged_box_does_not_open() {
        let kek = Kek::from_bytes([7; 32]);
        let sealed = seal(&kek, Purpose::Totp, "a", SECRET);
        for length in 0..sealed.len() {
            assert!(open(&kek, Purpose::Totp, "a", &sealed[..length]).is_none());
        }
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(
                open(&kek, Purpose::Totp, "a", &damaged).is_none(),
                "byte {at}"
            );
        }
    }
}
