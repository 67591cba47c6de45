//! What a usable secret looks like, and one that was copied from an example. Never shows any.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis_ops::Secret;
use zeroize::Zeroizing;

/// Words that appear in documented examples and placeholders, never in a random secret.
const EXAMPLE_WORDS: [&str; 6] = [
    "your-",
    "your_",
    "example",
    "change",
    "placeholder",
    "same-salt",
];

pub(super) fn is_example(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let distinct: BTreeSet<char> = lower.chars().collect();
    distinct.len() < 8 || EXAMPLE_WORDS.iter().any(|word| lower.contains(word))
}

/// 32 bytes written as base64 (either alphabet) or as 64 hex digits.
pub(crate) fn decode_key(text: &str) -> Option<Secret<[u8; 32]>> {
    let text = text.trim();
    let bytes = if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
        text.as_bytes()
            .chunks_exact(2)
            .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
            .collect()
    } else {
        let url_safe = text
            .trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_");
        URL_SAFE_NO_PAD
            .decode(url_safe)
            .or_else(|_| STANDARD.decode(text))
            .ok()?
    };
    let bytes = Zeroizing::new(bytes);
    let key: [u8; 32] = bytes.as_slice().try_into().ok()?;
    let distinct: BTreeSet<u8> = key.iter().copied().collect();
    // 32 random bytes with fewer than 8 distinct values happen once in 10^40.
    (distinct.len() >= 8).then(|| Secret::new(key))
}
