//! What an operator does to signing keys. Works beside running instances, which sign with what they find within a second.

use std::time::Duration;

use super::{MARGIN, OperatorError, now};
use crate::config::Config;
use crate::domain::{
    Actor, AuditEntry, AuditEvent, KeyState, Revocation, SigningKeyRecord, UnixMillis,
    wait_until_known,
};
use crate::keys::{Keeper, Kek, KeyRingError};
use crate::server::Stores;

/// The key ring, oldest key first.
pub async fn list(config: &Config) -> Result<Vec<SigningKeyRecord>, OperatorError> {
    let stores = Stores::open(config).await?;
    let listed = stores.store.signing_keys().await;
    stores.close().await;
    Ok(listed?)
}

/// Lets the next key sign from now on. Refused while verifiers may not know it yet. Returns the ring.
pub async fn rotate(config: &Config) -> Result<Vec<SigningKeyRecord>, OperatorError> {
    let stores = Stores::open(config).await?;
    let rotated = async {
        let keeper = keeper(config, &stores).await?;
        let now = now();
        // Whatever is due anyway, a missing successor for one.
        keeper.turn(now).await?;
        let ring = stores.store.signing_keys().await?;
        let Some(next) = keeper.plan().successor(&ring) else {
            return Err(OperatorError::NoNextKey);
        };
        if let Some(wait) = wait_until_known(next, now) {
            let kid = next.kid.clone();
            return Err(OperatorError::NextKeyUnknown { kid, wait });
        }
        stores.store.activate_signing_key(&next.kid, now).await?;
        note(&stores, AuditEvent::KeysRotated, &next.kid).await?;
        keeper.turn(now).await?;
        Ok(stores.store.signing_keys().await?)
    }
    .await;
    stores.close().await;
    rotated
}

/// Ends a compromised key: what it signed is refused everywhere, and another key signs if it was the active one, however
/// new that is. Returns the ring. Doing it twice is no error.
pub async fn revoke(config: &Config, kid: &str) -> Result<Vec<SigningKeyRecord>, OperatorError> {
    let stores = Stores::open(config).await?;
    let revoked = async {
        let keeper = keeper(config, &stores).await?;
        let now = now();
        let state = state_of(&stores, kid).await?;
        if state == KeyState::Active {
            replace(&stores, &keeper, now).await?;
        }
        let revocation = Revocation::SigningKey {
            kid: kid.to_owned(),
            until: now.plus(keeper.plan().kept_for() + MARGIN),
        };
        stores.store.add_revocation(&revocation).await?;
        note(&stores, AuditEvent::KeyRevoked, kid).await?;
        let shared = stores.shared.revoke(&[revocation]).await;
        retire(&stores, kid, now).await?;
        keeper.turn(now).await?;
        shared?;
        Ok(stores.store.signing_keys().await?)
    }
    .await;
    stores.close().await;
    revoked
}

async fn keeper(config: &Config, stores: &Stores) -> Result<Keeper, OperatorError> {
    let kek = Kek::obtain(&config.keys.encryption_key).await?;
    let keeper = Keeper::new(config, stores.store.clone(), kek).await;
    Ok(keeper.map_err(KeyRingError::from)?)
}

async fn state_of(stores: &Stores, kid: &str) -> Result<KeyState, OperatorError> {
    let ring = stores.store.signing_keys().await?;
    let found = ring.iter().find(|key| key.kid == kid);
    found
        .map(|key| key.state)
        .ok_or_else(|| OperatorError::NoSuchKey(kid.to_owned()))
}

/// Lets any key that is published ahead sign, or a fresh one.
async fn replace(stores: &Stores, keeper: &Keeper, now: UnixMillis) -> Result<(), OperatorError> {
    let mut ring = stores.store.signing_keys().await?;
    if keeper.plan().successor(&ring).is_none() {
        keeper.publish_ahead(now).await?;
        ring = stores.store.signing_keys().await?;
    }
    let next = keeper.plan().successor(&ring);
    let next = next.ok_or(OperatorError::NoNextKey)?;
    stores.store.activate_signing_key(&next.kid, now).await?;
    Ok(())
}

async fn retire(stores: &Stores, kid: &str, now: UnixMillis) -> Result<(), OperatorError> {
    // Again if an instance moves it at the same moment: it can only move forward, and not often.
    for _ in 0..4 {
        let from = state_of(stores, kid).await?;
        let is_done = from == KeyState::Retired
            || stores
                .store
                .move_signing_key(kid, from, KeyState::Retired, now)
                .await?;
        if is_done {
            return Ok(());
        }
    }
    Err(OperatorError::NoSuchKey(kid.to_owned()))
}

async fn note(stores: &Stores, event: AuditEvent, kid: &str) -> Result<(), OperatorError> {
    let line = AuditEntry::by(Actor::Operator, now(), event).about(kid);
    Ok(stores.store.append_audit(&line).await?)
}

/// Whole seconds, rounded up.
pub(super) fn seconds(wait: &Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PUBLISHED_AHEAD;

    fn config(directory: &tempfile::TempDir) -> Config {
        let database = format!("sqlite://{}", directory.path().join("auth.db").display());
        Config::from_env(|name| match name {
            "DATABASE_URL" => Some(database.clone()),
            "JWT_ALGORITHM" => Some("EdDSA".to_owned()),
            _ => None,
        })
        .unwrap()
    }

    fn states(ring: &[SigningKeyRecord]) -> Vec<KeyState> {
        ring.iter().map(|key| key.state).collect()
    }

    async fn prepared() -> (tempfile::TempDir, Config) {
        let directory = tempfile::tempdir().unwrap();
        let config = config(&directory);
        crate::server::prepare(&config).await.unwrap();
        (directory, config)
    }

    /// Two keys that were made so long ago, as instances would have left them.
    async fn aged(config: &Config, age: Duration) {
        let stores = Stores::open(config).await.unwrap();
        let keeper = keeper(config, &stores).await.unwrap();
        let then = now().minus(age);
        assert!(keeper.publish_ahead(then).await.unwrap());
        stores.close().await;
    }

    #[tokio::test]
    async fn sec_c17_a_key_that_verifiers_may_not_know_is_not_activated() {
        let (_directory, config) = prepared().await;
        let refusal = rotate(&config).await.unwrap_err();
        assert!(
            matches!(&refusal, OperatorError::NextKeyUnknown { wait, .. } if *wait <= PUBLISHED_AHEAD),
            "{refusal}"
        );
        let ring = list(&config).await.unwrap();
        let of = |state| ring.iter().filter(|key| key.state == state).count();
        assert_eq!((of(KeyState::Active), of(KeyState::Next)), (1, 1));
    }

    #[tokio::test]
    async fn a_known_key_takes_over_at_once_and_another_is_published() {
        let (_directory, config) = prepared().await;
        aged(&config, PUBLISHED_AHEAD).await;
        let before = list(&config).await.unwrap();
        let next = before.iter().find(|key| key.state == KeyState::Next);
        let after = rotate(&config).await.unwrap();
        let active = after.iter().find(|key| key.state == KeyState::Active);
        assert_eq!(next.unwrap().kid, active.unwrap().kid);
        let mut states = states(&after);
        states.sort_by_key(|state| state.as_str());
        assert_eq!(
            states,
            [KeyState::Active, KeyState::Next, KeyState::Retiring]
        );
    }

    #[tokio::test]
    async fn sec_c18_a_revoked_key_is_replaced_and_never_comes_back() {
        let (_directory, config) = prepared().await;
        let first = list(&config).await.unwrap()[0].kid.clone();
        for _ in 0..2 {
            let ring = revoke(&config, &first).await.unwrap();
            let old = ring.iter().find(|key| key.kid == first).unwrap();
            assert_eq!(old.state, KeyState::Retired);
            let of = |state| ring.iter().filter(|key| key.state == state).count();
            assert_eq!((of(KeyState::Active), of(KeyState::Next)), (1, 1));
        }
        let refusal = revoke(&config, "nope").await.unwrap_err();
        assert!(matches!(refusal, OperatorError::NoSuchKey(_)));
    }
}
