//! The key ring of one instance: signs with the active key, verifies with every published one, shows them as JWKS.
//! Never signs with a key that the store does not call active, and never writes a private key in clear.
//!
//! The truth is in the store, so that instances agree; this is a parsed copy, replaced as a whole. It is looked at
//! again every [`POLL_INTERVAL`], and at once when a token names a key that it does not hold. An instance signs with
//! what it has read as active, so it never uses a key that it has not seen.

mod keeper;
mod kek;
mod published;
mod seal;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_token::{
    Claims, Digest, JwksError, KeyError, KeySet, Seen, SignError, TOKEN_BYTES_MAX, TokenType,
    Verified, Verifier, VerifyError, sign,
};
use tokio::time::MissedTickBehavior;

use crate::domain::UnixMillis;
use crate::store::{Store, StoreError};

use aws_lc_rs::hmac::Tag;
pub use keeper::GivenKeyError;
pub(crate) use keeper::Keeper;
pub use kek::{Kek, KekError};
pub use published::JwksDocument;
use published::Published;
pub(crate) use seal::Purpose;
use zeroize::Zeroizing;

/// How often each instance looks for changes of the ring: a handful of rows. A compromised key signs nowhere after
/// this time; a new key is published for far longer before it signs.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often each instance asks whether a change of the ring is due.
pub const KEEPER_INTERVAL: Duration = Duration::from_secs(10);
/// Tokens that name unknown keys cause at most one look per this time, so that nobody can make us query at will.
pub const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(30);

/// Why the ring cannot be had. The ring that was there before, if any, stays in use.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// The store did not answer.
    #[error("cannot read the signing keys")]
    Store(#[from] StoreError),
    /// Sealed under another key encryption key, or damaged.
    #[error(
        "signing key `{kid}` does not open: is this the key encryption key it was sealed under?"
    )]
    Sealed {
        /// Which key.
        kid: String,
    },
    /// Written by another version.
    #[error("signing key `{kid}` has the unknown algorithm `{algorithm}`")]
    Algorithm {
        /// Which key.
        kid: String,
        /// What the row says.
        algorithm: String,
    },
    /// Opened, but not usable as a key, or not under its id.
    #[error("signing key `{kid}` is not usable: {reason}")]
    Unusable {
        /// Which key.
        kid: String,
        /// Why.
        reason: String,
    },
    /// There must be exactly one key to sign with.
    #[error(
        "{0} signing keys are active, not one; a fresh database gets its first key when it is prepared"
    )]
    Active(usize),
    /// The published keys do not make a key set.
    #[error("the signing keys cannot be published")]
    Publish(#[from] JwksError),
    /// No new key could be made.
    #[error("cannot make a signing key")]
    Generate(#[source] KeyError),
    /// The key that the operator gave cannot be used.
    #[error(transparent)]
    Given(#[from] GivenKeyError),
}

/// See the module. Shared by all requests of an instance.
pub struct KeyRing {
    store: Arc<dyn Store>,
    kek: Kek,
    keeper: Keeper,
    published: ArcSwap<Published>,
    /// When an unknown key last made us look, in Unix milliseconds.
    looked_at: AtomicI64,
    seen: Seen<Known>,
    checked: AtomicU64,
    remembered: AtomicU64,
}

/// How many signatures of tokens were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signatures {
    /// By computing, whether they held or not.
    pub(crate) checked: u64,
    /// By having done so before.
    pub(crate) remembered: u64,
}

/// A token that passed, and as what.
struct Known {
    token_type: TokenType,
    verified: Arc<Verified>,
}

impl KeyRing {
    /// Prepares the ring with `keeper` and reads it.
    ///
    /// # Errors
    /// See [`KeyRingError`]: an instance without its keys must not start.
    pub(crate) async fn open(keeper: Keeper, now: UnixMillis) -> Result<Self, KeyRingError> {
        keeper.prepare(now).await?;
        Self::load(keeper).await
    }

    /// Reads the ring from a prepared database.
    ///
    /// # Errors
    /// See [`KeyRingError`]: an instance without its keys must not start.
    pub(crate) async fn load(keeper: Keeper) -> Result<Self, KeyRingError> {
        let (store, kek) = (keeper.store.clone(), keeper.kek.clone());
        let records = store.signing_keys().await?;
        let published = Published::assemble(&records, &kek, None)?;
        Ok(Self {
            store,
            kek,
            keeper,
            published: ArcSwap::from_pointee(published),
            looked_at: AtomicI64::new(i64::MIN),
            seen: Seen::new(0),
            checked: AtomicU64::new(0),
            remembered: AtomicU64::new(0),
        })
    }

    /// Remembers that signatures hold of about so many tokens, some 1 KB each.
    pub(crate) fn remembering(self, tokens: usize) -> Self {
        let seen = Seen::new(tokens);
        Self { seen, ..self }
    }

    /// Name and thumbprint of the key that the operator gave.
    pub(crate) fn given(&self) -> Option<String> {
        let given = self.keeper.given.as_ref()?;
        let thumbprint = given.key.public_jwk().thumbprint();
        Some(format!("{} {thumbprint}", given.key.kid()))
    }

    /// Makes the changes of the ring that are due.
    ///
    /// # Errors
    /// See [`KeyRingError`]; what was not changed is tried again next time.
    pub async fn turn(&self, now: UnixMillis) -> Result<(), KeyRingError> {
        if !self.keeper.turn(now).await?.is_empty() {
            self.refresh().await?;
        }
        Ok(())
    }

    /// Signs an access token with the active key. Takes about 0.3 ms of CPU.
    ///
    /// # Errors
    /// If a claim is not fit to be signed.
    pub fn sign(&self, claims: &Claims) -> Result<String, SignError> {
        self.sign_as(TokenType::AccessToken, claims)
    }

    /// As [`KeyRing::sign`], for another kind of token.
    ///
    /// # Errors
    /// If a claim is not fit to be signed.
    pub fn sign_as(&self, kind: TokenType, claims: &Claims) -> Result<String, SignError> {
        sign(self.published.load().active(), kind, claims)
    }

    /// A code for `text` that only instances with the same key encryption key can make; codes of different purposes
    /// have nothing in common.
    pub(crate) fn mac(&self, purpose: &str, text: &str) -> Tag {
        self.kek.mac(purpose, text)
    }

    /// Encrypts a secret for the store, for this purpose and id alone.
    pub(crate) fn seal(&self, purpose: Purpose, id: &str, secret: &[u8]) -> Vec<u8> {
        seal::seal(&self.kek, purpose, id, secret)
    }

    /// Opens what [`KeyRing::seal`] of any instance made; `None` if that was for something else, under another key, or
    /// is damaged.
    pub(crate) fn unseal(
        &self,
        purpose: Purpose,
        id: &str,
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        seal::open(&self.kek, purpose, id, sealed)
    }

    /// Checks a token with every published key. If it names an unknown one, looks once whether another instance has
    /// made it in the meantime. That a signature holds is remembered until the ring changes; all that depends on
    /// time is checked every time.
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    pub async fn verify(
        &self,
        verifier: &Verifier,
        token: &str,
        now: UnixMillis,
    ) -> Result<Arc<Verified>, VerifyError> {
        let verdict = self.read(verifier, token, now);
        let is_unknown = matches!(verdict, Err(VerifyError::UnknownKey { .. }));
        if !is_unknown || !self.may_look(now) {
            return verdict;
        }
        if let Err(error) = self.refresh().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not look for a new signing key"
            );
            return verdict;
        }
        self.read(verifier, token, now)
    }

    fn read(
        &self,
        verifier: &Verifier,
        token: &str,
        now: UnixMillis,
    ) -> Result<Arc<Verified>, VerifyError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(VerifyError::Malformed("too long"));
        }
        let published = self.published.load();
        let digest = Digest::of(token);
        let known = self.seen.find(&digest, published.generation());
        if let Some(known) = known.filter(|known| known.token_type == verifier.token_type) {
            self.remembered.fetch_add(1, Ordering::Relaxed);
            verifier.check(&known.verified.claims, now.seconds())?;
            return Ok(known.verified.clone());
        }
        self.checked.fetch_add(1, Ordering::Relaxed);
        let verified = verifier.verify(token, &published.key_set(), now.seconds())?;
        let known = Arc::new(Known {
            token_type: verifier.token_type,
            verified: Arc::new(verified),
        });
        let verified = known.verified.clone();
        self.seen.insert(digest, published.generation(), known);
        Ok(verified)
    }

    /// Counted since the start.
    pub(crate) fn signatures(&self) -> Signatures {
        Signatures {
            checked: self.checked.load(Ordering::Relaxed),
            remembered: self.remembered.load(Ordering::Relaxed),
        }
    }

    /// The keys that count right now.
    pub fn key_set(&self) -> Arc<KeySet> {
        self.published.load().key_set()
    }

    /// What `/.well-known/jwks.json` answers.
    pub fn jwks(&self) -> JwksDocument {
        self.published.load().document()
    }

    /// Reads the ring again. `true` if it has changed.
    ///
    /// # Errors
    /// See [`KeyRingError`]; the ring stays as it was.
    pub async fn refresh(&self) -> Result<bool, KeyRingError> {
        // A lap is only repeated when another task has replaced the ring meanwhile: what this one read may be older.
        loop {
            let current = self.published.load_full();
            let records = self.store.signing_keys().await?;
            if current.is_from(&records) {
                return Ok(false);
            }
            let next = Arc::new(Published::assemble(&records, &self.kek, Some(&current))?);
            let before = self.published.compare_and_swap(&current, Arc::clone(&next));
            if Arc::ptr_eq(&before, &current) {
                tracing::info!(
                    active = next.active().kid(),
                    keys = next.len(),
                    "signing keys have changed"
                );
                return Ok(true);
            }
        }
    }

    /// Refreshes at every `interval`, normally [`POLL_INTERVAL`]; never returns. Dropping it at any time is safe.
    pub async fn keep_fresh(&self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is immediate, and the ring has just been loaded.
        ticks.tick().await;
        let mut has_warned = false;
        loop {
            ticks.tick().await;
            match self.refresh().await {
                Err(error) if !has_warned => {
                    has_warned = true;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "could not refresh the signing keys, keeping those in use"
                    );
                }
                Err(_) => {}
                Ok(_) if has_warned => {
                    has_warned = false;
                    tracing::info!("the signing keys can be read again");
                }
                Ok(_) => {}
            }
        }
    }

    /// Whether an unknown key may cause a look now; if so, that counts as the look.
    fn may_look(&self, now: UnixMillis) -> bool {
        let before = self.looked_at.load(Ordering::Relaxed);
        // Distance in either direction: a clock set back must not stop us from looking for hours.
        let is_due = u128::from(now.0.abs_diff(before)) >= UNKNOWN_KEY_INTERVAL.as_millis();
        is_due
            && self
                .looked_at
                .compare_exchange(before, now.0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests;
