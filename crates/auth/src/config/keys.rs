//! Where signing keys and the key that encrypts them come from. Never repeats one in a message.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_ops::Secret;
use portcullis_token::{Algorithm, RsaSize};
use zeroize::Zeroizing;

use super::given_key::GivenKey;
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
    var(
        "JWT_ALGORITHM",
        "RS256",
        "how tokens are signed: RS256, ES256 or EdDSA; a change takes effect once verifiers know its key",
    ),
    var(
        "JWT_RSA_BITS",
        "2048",
        "size of RSA keys that are made: 2048 or 3072",
    ),
    var(
        "KEY_ROTATION_INTERVAL",
        "7776000",
        "seconds a signing key is used before the next takes over, at least 3600; 0: only by hand",
    ),
    var(
        "JWT_PRIVATE_KEY",
        "none: instances make and share their keys",
        "the key to sign with, as PEM `PRIVATE KEY`; \\n may stand for line breaks; the same on every instance",
    ),
    var("JWT_PRIVATE_KEY_FILE", "none", "file holding the same"),
    var(
        "JWT_PUBLIC_KEY",
        "none",
        "its public half, to be told when the two do not belong together",
    ),
    var(
        "JWT_KEY_ID",
        "the key's RFC 7638 thumbprint",
        "name of JWT_PRIVATE_KEY in tokens and JWKS",
    ),
];

/// Shorter than this, keys would gather faster than what they signed expires.
const ROTATION_FLOOR: u64 = 3600;
const ROTATION_CEILING: u64 = 2 * 365 * 86_400;
const ROTATION_DEFAULT: u64 = 90 * 86_400;

/// The signing keys' settings.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Where the key that encrypts signing keys comes from.
    pub encryption_key: KeySource,
    /// How tokens are signed.
    pub algorithm: Algorithm,
    /// Size of RSA keys that are made.
    pub rsa_size: RsaSize,
    /// How long a key signs; `None`: until an operator says so.
    pub rotation_interval: Option<Duration>,
    /// The key that the operator gave.
    pub given: Option<GivenKey>,
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
        let algorithm = v.algorithm();
        let given = GivenKey::read(v, algorithm);
        Self {
            encryption_key: v.key_encryption_key(environment, database),
            algorithm,
            rsa_size: v.rsa_size(),
            rotation_interval: v.rotation_interval(given.is_some()),
            given,
        }
    }
}

impl Values<'_> {
    fn algorithm(&mut self) -> Algorithm {
        let Some(text) = self.get("JWT_ALGORITHM") else {
            return Algorithm::Rs256;
        };
        Algorithm::from_name(text.trim()).unwrap_or_else(|| {
            self.error(
                "JWT_ALGORITHM",
                format!("{text:?} is not an algorithm that tokens are signed with"),
                "use RS256, ES256 or EdDSA",
            );
            Algorithm::Rs256
        })
    }

    fn rsa_size(&mut self) -> RsaSize {
        match self.get("JWT_RSA_BITS").as_deref().map(str::trim) {
            None | Some("2048") => RsaSize::Bits2048,
            Some("3072") => RsaSize::Bits3072,
            Some(_) => {
                self.error(
                    "JWT_RSA_BITS",
                    "is neither 2048 nor 3072",
                    "leave it out for the default, 2048",
                );
                RsaSize::Bits2048
            }
        }
    }

    /// A given key is replaced by whoever gave it.
    fn rotation_interval(&mut self, is_given: bool) -> Option<Duration> {
        const NAME: &str = "KEY_ROTATION_INTERVAL";
        let default = if is_given { 0 } else { ROTATION_DEFAULT };
        let seconds = self.number(NAME, default, 0..=ROTATION_CEILING);
        match seconds {
            0 => None,
            _ if is_given => {
                self.error(
                    NAME,
                    "is set together with JWT_PRIVATE_KEY, which only you can replace",
                    "unset it, or unset JWT_PRIVATE_KEY and let instances make their keys",
                );
                None
            }
            1..ROTATION_FLOOR => {
                self.error(
                    NAME,
                    format!("{seconds} is shorter than an hour"),
                    format!(
                        "use 0 or {ROTATION_FLOOR} and more: old keys stay published for a while"
                    ),
                );
                None
            }
            _ => Some(Duration::from_secs(seconds)),
        }
    }

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
