//! Reads the two kinds of PEM that keys are imported from. Never guesses at other kinds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The DER inside exactly one PKCS#8 block; nothing but white space may surround it.
pub(super) fn private_key(pem: &str) -> Option<Zeroizing<Vec<u8>>> {
    block("PRIVATE KEY", pem)
}

/// The DER inside exactly one SubjectPublicKeyInfo block.
pub(super) fn public_key(pem: &str) -> Option<Zeroizing<Vec<u8>>> {
    block("PUBLIC KEY", pem)
}

fn block(label: &str, pem: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body = pem
        .trim()
        .strip_prefix(&format!("-----BEGIN {label}-----"))?
        .strip_suffix(&format!("-----END {label}-----"))?;
    // Reserved at once: growing would leave copies of the key behind.
    let mut base64 = Zeroizing::new(String::with_capacity(body.len()));
    base64.extend(body.chars().filter(|c| !c.is_ascii_whitespace()));
    STANDARD.decode(base64.as_bytes()).ok().map(Zeroizing::new)
}
