//! Base64url without padding, canonical in both directions. Never accepts a second spelling of the same bytes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `None` for padding, other alphabets, white space and non-zero trailing bits alike.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_is_decoded() {
        assert_eq!(decode("-_8"), Some(vec![0xfb, 0xff]));
        for other in ["-_8=", "-_9", "+/8", "-_8 ", " -_8", "-\n_8", "-_8==", "A"] {
            assert_eq!(decode(other), None, "{other:?}");
        }
    }
}
