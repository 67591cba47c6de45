//! Whether a request carries a key by which its application knows a repetition. Never keeps one.

use http::HeaderName;

use super::head::Fields;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Keys are identifiers: the draft of the IETF recommends UUIDs, the known services take up to 255
/// characters.
const BYTES_MAX: usize = 256;

/// Whether there is one key, and one that means the same to every reader. Of two, or of one that is
/// empty, endless or not visible ASCII, nobody knows what the application makes: such a request is
/// as good as one without.
pub(super) fn is_keyed(fields: &impl Fields) -> bool {
    let name = IDEMPOTENCY_KEY;
    let mut keys = fields.all(&name);
    match (keys.next(), keys.next()) {
        (Some(key), None) => {
            (1..=BYTES_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn is_keyed_by(keys: &[&[u8]]) -> bool {
        let mut fields = HeaderMap::new();
        for key in keys {
            fields.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(key).unwrap());
        }
        is_keyed(&fields)
    }

    #[test]
    fn one_key_of_visible_characters_counts() {
        let longest = [b'k'; BYTES_MAX];
        for key in [&b"4711"[..], b"\"8e03978e-40d5\"", b"!~", &longest] {
            assert!(is_keyed_by(&[key]), "{key:?}");
        }
    }

    #[test]
    fn anything_else_is_as_good_as_none() {
        let too_long = [b'k'; BYTES_MAX + 1];
        for keys in [
            &[] as &[&[u8]],
            &[b""],
            &[b"two words"],
            &[b"tab\there"],
            &[b"\xc3\xbc"],
            &[&too_long],
            &[b"4711", b"4711"],
            &[b"4711", b""],
        ] {
            assert!(!is_keyed_by(keys), "{keys:?}");
        }
    }
}
