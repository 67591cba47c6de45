//! Where signing keys and the key that encrypts them come from. Never repeats one in a message.

use std::path::PathBuf;

use portcullis_ops::Secret;
use zeroize::Zeroizing;

use super::secrets::decode_key;
use super::values::Values;
use super::{Database, Environment, Variable, var};

pub(super) const VARIABLES: &[Variable] = &[
    var(
        "KEY_ENCRYPTION_KEY",
        "none",
        "32 bytes, as base64 or 64 hex digits, that encrypt signing keys at rest",
    ),
    var(
        "KEY_ENCRYPTION_KEY_FILE",
        "auth.key beside the database",
        "file holding the same; outside production it is made when missing",
    ),
];

/// The signing keys' settings.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Where the key that encrypts signing keys comes from.
    pub encryption_key: KeySource,
}

/// Where the key that encrypts signing keys at rest comes from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Given in the environment.
    Inline(Secret<[u8; 32]>),
    /// Read from a file that must exist.
    File(PathBuf),
    /// Read from a file that is made, readable by its owner alone, when missing.
    FileOrCreate(PathBuf),
}

impl Keys {
    pub(super) fn read(v: &mut Values<'_>, environment: Environment, database: &Database) -> Self {
        let encryption_key = v.key_encryption_key(environment, database);
        refuse_unsupported(v);
        Self { encryption_key }
    }
}

/// Settings that promise something this version does not do.
fn refuse_unsupported(v: &mut Values<'_>) {
    if v.get("JWT_ALGORITHM")
        .is_some_and(|algorithm| algorithm.trim() != "RS256")
    {
        v.error(
            "JWT_ALGORITHM",
            "is not supported: tokens are signed with RS256",
            "unset it",
        );
    }
    if v.get("JWT_PRIVATE_KEY").is_some() {
        v.error(
            "JWT_PRIVATE_KEY",
            "is set, but importing a signing key is not supported by this version yet",
            "unset it: instances make and share their signing key through the database",
        );
    }
}

impl Values<'_> {
    fn key_encryption_key(&mut self, environment: Environment, database: &Database) -> KeySource {
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
            (None, Some(path)) if environment.is_production() => KeySource::File(path),
            (None, Some(path)) => KeySource::FileOrCreate(path),
            (None, None) => {
                if environment.is_production() {
                    self.error(
                        "KEY_ENCRYPTION_KEY_FILE",
                        "is not set, and neither is KEY_ENCRYPTION_KEY: production requires one",
                        hint,
                    );
                }
                KeySource::FileOrCreate(default_file(database))
            }
        }
    }
}

/// `auth.db` has `auth.key` beside it.
fn default_file(database: &Database) -> PathBuf {
    match database.file() {
        Some(file) => file.with_extension("key"),
        None => PathBuf::from("auth.key"),
    }
}
