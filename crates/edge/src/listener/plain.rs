//! What the first bytes on a TLS port are, if not TLS. Never answers.

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// A TLS handshake record.
    Tls,
    /// A request of HTTP/1 in clear text.
    Http,
    /// Could become a request.
    Undecided,
    /// Anything else: HTTP/2 in clear text, SSL 2, another protocol, noise.
    Other,
}

/// Looks at all bytes so far, at least one.
pub(super) fn opening(seen: &[u8]) -> Opening {
    if seen.first() == Some(&TLS_HANDSHAKE) {
        return Opening::Tls;
    }
    let is_letter = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'-';
    let method = seen.iter().take_while(|byte| is_letter(byte)).count();
    match seen.get(method) {
        _ if method > METHOD_MAX => Opening::Other,
        None => Opening::Undecided,
        // `PRI * HTTP/2.0` begins HTTP/2 (RFC 9113, 3.4), whose answers are frames.
        Some(b' ') if method >= METHOD_MIN && &seen[..method] != b"PRI" => Opening::Http,
        Some(_) => Opening::Other,
    }
}

/// Content type of the record that a ClientHello comes in (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
const METHOD_MIN: usize = 3;
const METHOD_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_from_tls_and_noise() {
        for (seen, expected) in [
            (&b"\x16"[..], Opening::Tls),
            (b"\x16\x03\x01GET / ", Opening::Tls),
            (b"G", Opening::Undecided),
            (b"GET", Opening::Undecided),
            (b"GET ", Opening::Http),
            (b"GET / HTTP/1.1\r\n", Opening::Http),
            (b"M-SEARCH * HTTP/1.1\r\n", Opening::Http),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Opening::Other),
            (b"GE /", Opening::Other),
            (b"get / HTTP/1.1\r\n", Opening::Other),
            (b"\x80\x2e\x01", Opening::Other),
            (b"\0", Opening::Other),
            (b"AAAAAAAAAAAAAAAAAAAAA", Opening::Other),
        ] {
            assert_eq!(
                opening(seen),
                expected,
                "{:?}",
                String::from_utf8_lossy(seen)
            );
        }
    }
}
