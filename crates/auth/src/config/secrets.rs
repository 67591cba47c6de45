//! Reads the secrets: pepper and key encryption key. Never repeats a value in a
//! message.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis_ops::Secret;
use zeroize::Zeroizing;

use super::values::Values;
use super::{Environment, KeySource};

/// Words that appear in documented examples and placeholders, never in a random secret.
const EXAMPLE_WORDS: [&str; 6] = [
    "your-",
    "your_",
    "example",
    "change",
    "placeholder",
    "same-salt",
];

impl Values<'_> {
    pub(super) fn pepper(
        &mut self,
        environment: Environment,
        min_bytes: usize,
    ) -> Option<Secret<String>> {
        let production = environment == Environment::Production;
        let hint = "make one with: openssl rand -base64 48; give every instance the same";
        let Some(text) = self.get("SECURITY_SALT").map(Secret::new) else {
            if production {
                self.error(
                    "SECURITY_SALT",
                    "is not set, which production requires",
                    hint,
                );
            }
            return None;
        };
        let fault = if text.expose().len() < min_bytes {
            Some(format!("is shorter than {min_bytes} bytes"))
        } else if is_example(text.expose()) {
            Some("is an example, not a secret".to_owned())
        } else {
            None
        };
        match fault {
            Some(fault) if production => self.error("SECURITY_SALT", fault, hint),
            Some(fault) => self
                .warnings
                .push(format!("SECURITY_SALT {fault}: production refuses it")),
            None => {}
        }
        Some(text)
    }

    pub(super) fn key_encryption_key(
        &mut self,
        environment: Environment,
        database: &Path,
    ) -> KeySource {
        let hint = "make one with: openssl rand -base64 32; give every instance the same";
        let inline = self.get("KEY_ENCRYPTION_KEY").map(Zeroizing::new);
        let file = self.get("KEY_ENCRYPTION_KEY_FILE").map(PathBuf::from);
        match (inline, file) {
            (Some(_), Some(path)) => {
                self.error(
                    "KEY_ENCRYPTION_KEY",
                    "is set together with KEY_ENCRYPTION_KEY_FILE",
                    "set one of the two",
                );
                KeySource::File(path)
            }
            (Some(text), None) => match decode_key(&text) {
                Some(key) => KeySource::Inline(key),
                None => {
                    self.error(
                        "KEY_ENCRYPTION_KEY",
                        "is not 32 random bytes as base64 or hex",
                        hint,
                    );
                    KeySource::Inline(Secret::default())
                }
            },
            (None, Some(path)) if environment == Environment::Production => KeySource::File(path),
            (None, Some(path)) => KeySource::FileOrCreate(path),
            (None, None) => {
                if environment == Environment::Production {
                    self.error(
                        "KEY_ENCRYPTION_KEY_FILE",
                        "is not set, and neither is KEY_ENCRYPTION_KEY: production requires one",
                        hint,
                    );
                }
                KeySource::FileOrCreate(database.with_extension("key"))
            }
        }
    }
}

fn is_example(text: &str) -> bool {
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
