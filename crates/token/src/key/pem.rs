//! Reads the one kind of PEM that private keys are imported from. Never guesses at other kinds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// The DER inside exactly one PKCS#8 block; nothing but white space may surround it.
pub(super) fn private_key(pem: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body = pem.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    // Reserved at once: growing would leave copies of the key behind.
    let mut base64 = Zeroizing::new(String::with_capacity(body.len()));
    base64.extend(body.chars().filter(|c| !c.is_ascii_whitespace()));
    STANDARD.decode(base64.as_bytes()).ok().map(Zeroizing::new)
}
