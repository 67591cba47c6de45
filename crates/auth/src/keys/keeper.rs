//! Makes keys and moves them on, as the plan says. Never decides when: [`KeyPlan`] does.
//!
//! Every instance runs it. Each change is a compare-and-set of the store, so one of them makes it and the others find
//! it made.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_ops::Secret;
use portcullis_token::{Algorithm, KeyError, RsaSize, SigningKey};
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use super::published::{self, Published};
use super::{Kek, KeyRingError, seal};
use crate::config::{ACCESS_TTL_CEILING, Config, GivenKey, Parsed, PrivateKey};
use crate::domain::{KeyPlan, KeyState, KeyStep, SigningKeyRecord, UnixMillis};
use crate::store::{FirstKey, Store, StoreResult};

/// More changes than can be due at once; a ring that wants more has lost its mind.
const STEPS_MAX: usize = 24;
/// An RSA key of 8192 bits takes 6,400.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// Why the key that the operator gave cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GivenKeyError {
    /// The file cannot be read.
    #[error("JWT_PRIVATE_KEY_FILE: cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is in it cannot be used.
    #[error("{variable}: {message}")]
    Unusable {
        /// The variable that is wrong.
        variable: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

/// See the module.
pub(crate) struct Keeper {
    pub(super) store: Arc<dyn Store>,
    pub(super) kek: Kek,
    pub(super) algorithm: Algorithm,
    pub(super) rsa_size: RsaSize,
    pub(super) given: Option<Parsed>,
    pub(super) plan: KeyPlan,
}

impl Keeper {
    /// Reads the given key, if there is one, and checks it.
    pub(crate) async fn new(
        config: &Config,
        store: Arc<dyn Store>,
        kek: Kek,
    ) -> Result<Self, GivenKeyError> {
        let settings = &config.keys;
        let given = match &settings.given {
            Some(given) => Some(read(given, settings.algorithm).await?),
            None => None,
        };
        let plan = KeyPlan {
            algorithm: settings.algorithm.name().to_owned(),
            interval: settings.rotation_interval,
            // Other instances may be set to longer ones than this.
            longest_token: Duration::from_secs(ACCESS_TTL_CEILING).max(config.sessions.idle_ttl),
            given: given.as_ref().map(|given| given.key.kid().to_owned()),
        };
        Ok(Self {
            store,
            kek,
            algorithm: settings.algorithm,
            rsa_size: settings.rsa_size,
            given,
            plan,
        })
    }

    pub(crate) fn plan(&self) -> &KeyPlan {
        &self.plan
    }

    /// Gives a fresh database its first key and takes the given key in. Any number of processes may try at once.
    pub(crate) async fn prepare(&self, now: UnixMillis) -> Result<FirstKey, KeyRingError> {
        let mut ring = self.store.signing_keys().await?;
        let mut first = FirstKey::KeysExist;
        if ring.is_empty() {
            let record = match &self.given {
                Some(given) => self.record(&given.key, &given.pkcs8, KeyState::Active, now),
                None => self.make(KeyState::Active, now).await?,
            };
            first = self.store.create_first_signing_key(&record).await?;
            ring = self.store.signing_keys().await?;
        }
        if let Some(given) = &self.given {
            self.take_in(given, &ring, now).await?;
        }
        Published::assemble(&ring, &self.kek, None)?;
        Ok(first)
    }

    /// Makes every change that is due, and tells which of them this instance made.
    pub(crate) async fn turn(&self, now: UnixMillis) -> Result<Vec<KeyStep>, KeyRingError> {
        let mut made = Vec::new();
        for _ in 0..STEPS_MAX {
            let ring = self.store.signing_keys().await?;
            let Some(step) = self.plan.due(&ring, now) else {
                break;
            };
            if self.take(&step, now).await? {
                tracing::info!(?step, "the ring of signing keys moves on");
                made.push(step);
            }
        }
        Ok(made)
    }

    /// A fresh key that is published but does not sign; `false`: there is one already.
    pub(crate) async fn publish_ahead(&self, now: UnixMillis) -> Result<bool, KeyRingError> {
        let record = self.make(KeyState::Next, now).await?;
        Ok(self.store.add_next_signing_key(&record).await?)
    }

    async fn take(&self, step: &KeyStep, now: UnixMillis) -> Result<bool, KeyRingError> {
        match step {
            KeyStep::Add => self.publish_ahead(now).await,
            KeyStep::Activate { kid } => Ok(self.store.activate_signing_key(kid, now).await?),
            KeyStep::Retire { kid } => {
                let (from, to) = (KeyState::Retiring, KeyState::Retired);
                Ok(self.store.move_signing_key(kid, from, to, now).await?)
            }
        }
    }

    /// Publishes the given key unless the ring holds it. What was moved on since does not come back.
    async fn take_in(
        &self,
        given: &Parsed,
        ring: &[SigningKeyRecord],
        now: UnixMillis,
    ) -> Result<(), KeyRingError> {
        let kid = given.key.kid();
        let Some(known) = ring.iter().find(|key| key.kid == kid) else {
            let record = self.record(&given.key, &given.pkcs8, KeyState::Next, now);
            return self.add(&record).await.map_err(KeyRingError::from);
        };
        let other = published::open(known, &self.kek)?;
        if other.public_jwk().thumbprint() != given.key.public_jwk().thumbprint() {
            tracing::error!(
                kid,
                "JWT_PRIVATE_KEY is not the key that other instances use under this JWT_KEY_ID: it is left \
                 aside; give all instances the same, or a new key a new JWT_KEY_ID"
            );
        } else if matches!(known.state, KeyState::Retiring | KeyState::Retired) {
            tracing::warn!(
                kid,
                state = known.state.as_str(),
                "JWT_PRIVATE_KEY signs no more: another key has taken over, or it was revoked"
            );
        }
        Ok(())
    }

    async fn add(&self, record: &SigningKeyRecord) -> StoreResult<()> {
        // `false`: another instance was quicker with the same key.
        if self.store.add_signing_key(record).await? {
            tracing::info!(
                kid = record.kid,
                "published JWT_PRIVATE_KEY; it signs once verifiers know it"
            );
        }
        Ok(())
    }

    async fn make(
        &self,
        state: KeyState,
        now: UnixMillis,
    ) -> Result<SigningKeyRecord, KeyRingError> {
        let (algorithm, size) = (self.algorithm, self.rsa_size);
        let (key, pkcs8) = tokio::task::spawn_blocking(move || match algorithm {
            Algorithm::Rs256 => SigningKey::generate_rsa(size),
            other => SigningKey::generate(other),
        })
        .await
        .unwrap_or(Err(KeyError::Library))
        .map_err(KeyRingError::Generate)?;
        Ok(self.record(&key, &pkcs8, state, now))
    }

    fn record(
        &self,
        key: &SigningKey,
        pkcs8: &Zeroizing<Vec<u8>>,
        state: KeyState,
        now: UnixMillis,
    ) -> SigningKeyRecord {
        SigningKeyRecord {
            kid: key.kid().to_owned(),
            algorithm: key.algorithm().name().to_owned(),
            state,
            sealed_private_key: seal::seal(&self.kek, seal::Purpose::SigningKey, key.kid(), pkcs8),
            created_at: now,
            changed_at: now,
        }
    }
}

async fn read(given: &GivenKey, algorithm: Algorithm) -> Result<Parsed, GivenKeyError> {
    let from_file;
    let pem = match &given.private_key {
        PrivateKey::Inline(pem) => pem,
        PrivateKey::File(path) => {
            from_file = read_file(path)
                .await
                .map_err(|source| GivenKeyError::File {
                    path: path.clone(),
                    source,
                })?;
            &from_file
        }
    };
    given
        .parse(pem.expose(), algorithm)
        .map_err(|(variable, message)| GivenKeyError::Unusable { variable, message })
}

async fn read_file(path: &Path) -> io::Result<Secret<String>> {
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await?;
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text).await;
    let text = Secret::new(text);
    read.map(|_| text)
}
