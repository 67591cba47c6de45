//! Where the key encryption key comes from. Never replaces one that exists, and never prints one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis_ops::Secret;
use zeroize::Zeroizing;

use crate::config::{KeySource, decode_key};
use crate::domain::ChainKey;
use crate::random;

/// A key file has 45 or 65 bytes; anything much longer is another file.
const FILE_BYTES_MAX: u64 = 1024;

/// The key that private signing keys are sealed under. The same on every instance, and never in the database.
#[derive(Clone, Debug)]
pub struct Kek(Secret<[u8; 32]>);

/// Why there is no key encryption key.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// The file cannot be read.
    #[error("cannot read the key encryption key from {}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was missing and could not be made.
    #[error("cannot make the key encryption key file {}", .path.display())]
    Create {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} does not hold 32 random bytes as base64 or hex; make one with: openssl rand -base64 32", .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
}

impl Kek {
    /// HMAC-SHA-256 under a key of its own for each purpose.
    pub(super) fn mac(&self, purpose: &str, text: &str) -> hmac::Tag {
        let key = hmac::sign(
            &hmac::Key::new(HMAC_SHA256, self.bytes()),
            purpose.as_bytes(),
        );
        hmac::sign(&hmac::Key::new(HMAC_SHA256, key.as_ref()), text.as_bytes())
    }

    /// The key of the audit log's seals and links.
    pub(crate) fn audit_key(&self) -> ChainKey {
        ChainKey::new(self.mac("audit v1", "").as_ref())
    }

    /// Fetches the key, or makes it where the source allows.
    ///
    /// # Errors
    /// If the file cannot be read or made, or holds no key.
    pub async fn obtain(source: &KeySource) -> Result<Self, KekError> {
        let source = source.clone();
        let reading = tokio::task::spawn_blocking(move || match source {
            KeySource::Inline(key) => Ok(Self(key)),
            KeySource::File(path) => Self::read(&path),
            KeySource::FileOrCreate(path) => {
                create_if_missing(&path).map_err(|source| KekError::Create {
                    path: path.clone(),
                    source,
                })?;
                Self::read(&path)
            }
        });
        reading.await.expect("reading a file does not panic")
    }

    fn read(path: &Path) -> Result<Self, KekError> {
        let text = read_text(path).map_err(|source| KekError::Read {
            path: path.to_owned(),
            source,
        })?;
        decode_key(&text)
            .map(Self)
            .ok_or_else(|| KekError::Malformed {
                path: path.to_owned(),
            })
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        self.0.expose()
    }

    #[cfg(test)]
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }
}

fn read_text(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// Makes a key file, complete and private from its first instant, unless one is there. Several processes may try at
/// once: the file is written under another name and linked into place, which only one of them can do.
fn create_if_missing(path: &Path) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    let key: Zeroizing<[u8; 32]> = Zeroizing::new(random::bytes());
    let text = Zeroizing::new(format!("{}\n", STANDARD.encode(*key)));
    let draft = path.with_extension(format!("draft-{:x}", u64::from_be_bytes(random::bytes())));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    std::fs::remove_file(&draft)?;
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn source(path: &Path) -> KeySource {
        KeySource::FileOrCreate(path.to_owned())
    }

    #[tokio::test]
    async fn a_missing_key_is_made_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/auth.key");
        let first = Kek::obtain(&source(&path)).await.unwrap();
        let second = Kek::obtain(&KeySource::File(path.clone())).await.unwrap();
        assert_eq!(first.bytes(), second.bytes());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "no draft is left"
        );
    }

    #[tokio::test]
    async fn processes_that_start_at_once_agree_on_one_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth.key");
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let source = source(&path);
                tokio::spawn(async move { *Kek::obtain(&source).await.unwrap().bytes() })
            })
            .collect();
        let mut keys = Vec::new();
        for task in tasks {
            keys.push(task.await.unwrap());
        }
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[tokio::test]
    async fn a_key_file_that_must_exist_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth.key");
        let refusal = Kek::obtain(&KeySource::File(path.clone())).await;
        assert!(matches!(refusal, Err(KekError::Read { .. })));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_with_something_else_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth.key");
        for content in ["", "password", &"AAAA".repeat(11), &"x".repeat(5000)] {
            std::fs::write(&path, content).unwrap();
            let refusal = Kek::obtain(&source(&path)).await;
            assert!(
                matches!(refusal, Err(KekError::Malformed { .. })),
                "{content:.20}"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }
}
