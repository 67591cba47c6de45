//! API keys: made, listed, revoked, and found again by whoever presents one. Never remembers one for longer than its
//! revocation is shared, and never asks the store for text that cannot be a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use portcullis_token::{Digest, Seen};

use super::{App, Caller, Outcome, Refusal, Unauthorized};
use crate::app::attempts::network;
use crate::app::{Administrator, Origin};
use crate::domain::{
    AccountId, Actor, ApiKey, ApiKeyId, ApiKeyName, ApiKeySecret, AuditEntry, AuditEvent,
    GRANTS_MAX, PermissionSet, Role, SubjectId, UnixMillis,
};
use crate::random;
use crate::shared::{CounterKey, SILENCE};
use crate::store::{ApiKeyCreation, PageLimit};

/// Keys that one instance remembers, under 1 KB each.
const KEYS: usize = 8192;
/// How long a key is believed without another look at its row.
const REMEMBERED: Duration = Duration::from_secs(30);
/// How long its revocation is shared: longer than anybody may remember it, whatever the clocks say.
const REVOCATION: Duration = Duration::from_secs(600);
/// At most one write an hour for each key says that it is used.
const NOTED: Duration = Duration::from_secs(3600);
/// Unknown keys of one network in a window, before it has to wait.
const FAILURES: u32 = 100;
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Nobody plans further.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Keys that were presented lately. One for all requests of an instance.
#[derive(Debug)]
pub(crate) struct ApiKeys(Seen<Known>);

/// A key as its row was, and until when that is believed.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) key: ApiKey,
    until: UnixMillis,
    /// When its use was noted last.
    noted: AtomicI64,
}

/// A key that somebody wants.
#[derive(Debug)]
pub(crate) struct NewApiKey<'a> {
    pub(crate) name: &'a str,
    pub(crate) permissions: &'a [String],
    pub(crate) expires_in: Option<u64>,
}

impl Default for ApiKeys {
    fn default() -> Self {
        Self(Seen::new(KEYS))
    }
}

impl Known {
    fn new(key: ApiKey, now: UnixMillis) -> Self {
        Self {
            noted: AtomicI64::new(key.last_used_at.unwrap_or_default().0),
            key,
            until: now.plus(REMEMBERED),
        }
    }
}

impl NewApiKey<'_> {
    pub(crate) fn parse(
        &self,
        owner: SubjectId,
        now: UnixMillis,
    ) -> Result<(ApiKey, ApiKeySecret), Unauthorized> {
        let name = ApiKeyName::parse(self.name).map_err(|_| Unauthorized::InvalidKeyName)?;
        if self.permissions.len() > GRANTS_MAX {
            return Err(Unauthorized::TooMany);
        }
        let permissions = PermissionSet::parse(self.permissions.iter().map(String::as_str));
        let permissions = permissions.map_err(|_| Unauthorized::InvalidPermission)?;
        let expires_in = self.expires_in.map(Duration::from_secs);
        if expires_in.is_some_and(|life| life.is_zero() || life > LONGEST_LIFE) {
            return Err(Unauthorized::InvalidExpiry);
        }
        let secret = ApiKeySecret::from_random(random::bytes());
        let key = ApiKey {
            id: ApiKeyId::from_random(random::bytes()),
            owner,
            name,
            prefix: secret.prefix().to_owned(),
            permissions,
            created_at: now,
            expires_at: expires_in.map(|life| now.plus(life)),
            revoked_at: None,
            last_used_at: None,
        };
        Ok((key, secret))
    }
}

impl App {
    /// The key that was presented, as its row is or was a moment ago.
    pub(super) async fn known_key(&self, text: &str, origin: Origin) -> Outcome<Arc<Known>> {
        // Its checksum says so without a lookup.
        let secret = ApiKeySecret::parse(text).ok_or(Refusal::InvalidToken)?;
        let digest = Digest::of(text);
        let known = self.api_keys.0.find(&digest, 0);
        let left = |known: &Arc<Known>| known.until.since(origin.now);
        if let Some(known) =
            known.filter(|known| !left(known).is_zero() && left(known) <= REMEMBERED)
        {
            return Ok(known);
        }
        let network = network(origin.client);
        let failures = [CounterKey::new(
            "unknown API keys of a network",
            &[&network],
        )];
        if self.policy.limits_logins {
            let found = self.shared.counters(&failures, origin.now).await?;
            if let Some(counter) = found.first().filter(|counter| counter.count >= FAILURES) {
                let retry_after = counter.resets_at.since(origin.now);
                return Err(Refusal::TooManyAttempts { retry_after });
            }
        }
        match self.store.api_key_by_hash(&secret.hash()).await? {
            Some(key) => {
                let known = Arc::new(Known::new(key, origin.now));
                self.api_keys.0.insert(digest, 0, known.clone());
                Ok(known)
            }
            None => {
                if self.policy.limits_logins {
                    self.shared.count(&failures, WINDOW, origin.now).await?;
                }
                Err(Refusal::InvalidToken)
            }
        }
    }

    /// Says coarsely that a key is used. Nothing waits long for it, and nothing fails with it.
    pub(super) async fn note_use(&self, known: &Known, now: UnixMillis) {
        let before = known.noted.load(Ordering::Relaxed);
        let is_due = now.since(UnixMillis(before)) >= NOTED;
        let mine = || {
            let order = Ordering::Relaxed;
            known
                .noted
                .compare_exchange(before, now.0, order, order)
                .is_ok()
        };
        if !is_due || !mine() {
            return;
        }
        let noting = self
            .store
            .note_api_key_use(known.key.id, now, now.minus(NOTED));
        match tokio::time::timeout(SILENCE, noting).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the use of an API key is not noted"),
            Err(_) => tracing::debug!("the use of an API key is not noted in time"),
        }
    }

    /// Makes a key of the caller's own.
    pub(crate) async fn create_api_key(
        &self,
        caller: &Caller,
        wanted: NewApiKey<'_>,
        origin: Origin,
    ) -> Outcome<(ApiKey, ApiKeySecret)> {
        let created = async {
            let (key, secret) = wanted.parse(caller.subject.id.clone(), origin.now)?;
            if !key.permissions.iter().all(|grant| caller.covers(grant)) {
                return Err(Unauthorized::BeyondOwner.into());
            }
            let by = caller.account().ok_or(Refusal::Forbidden)?;
            self.store_key(key, secret, by, origin).await
        };
        self.counted("api_key_create", created.await)
    }

    /// Stores a key that may be; the secret is shown once, by the caller of this.
    async fn store_key(
        &self,
        key: ApiKey,
        secret: ApiKeySecret,
        by: AccountId,
        origin: Origin,
    ) -> Outcome<(ApiKey, ApiKeySecret)> {
        let audit = line(&key, by, AuditEvent::ApiKeyCreated, origin);
        match self
            .store
            .create_api_key(&key, &secret.hash(), &audit)
            .await?
        {
            ApiKeyCreation::Created => Ok((key, secret)),
            ApiKeyCreation::TooMany => Err(Unauthorized::TooMany.into()),
            ApiKeyCreation::OwnerNotActive => Err(Unauthorized::NotFound.into()),
        }
    }

    /// A key for a client, made by an administrator: what it gives is what the client has of it.
    pub(crate) async fn create_client_key(
        &self,
        owner: SubjectId,
        wanted: NewApiKey<'_>,
        by: Administrator,
        origin: Origin,
    ) -> Outcome<(ApiKey, ApiKeySecret)> {
        let created = async {
            let (key, secret) = wanted.parse(owner, origin.now)?;
            self.store_key(key, secret, by.account(), origin).await
        };
        self.counted("api_key_create", created.await)
    }

    /// The newest keys of an owner.
    pub(crate) async fn api_keys_of(&self, owner: &SubjectId) -> Outcome<Vec<ApiKey>> {
        Ok(self.store.api_keys(owner, PageLimit::MAX).await?)
    }

    /// The newest keys of a client, if there is such a client.
    pub(crate) async fn api_keys_of_client(&self, owner: &SubjectId) -> Outcome<Vec<ApiKey>> {
        let found = self.store.subject(owner).await?;
        found.ok_or(Unauthorized::NotFound)?;
        self.api_keys_of(owner).await
    }

    /// Revokes a key: one's own, or anybody's for an administrator.
    pub(crate) async fn revoke_api_key(
        &self,
        id: &str,
        by: &Caller,
        origin: Origin,
    ) -> Outcome<()> {
        let outcome = self.try_revoke_api_key(id, by, origin).await;
        self.counted("api_key_revoke", outcome)
    }

    async fn try_revoke_api_key(&self, id: &str, by: &Caller, origin: Origin) -> Outcome<()> {
        let id = ApiKeyId::parse(id).ok_or(Unauthorized::NotFound)?;
        let key = self.store.api_key_by_id(id).await?;
        let is_administrator = by.subject.roles.contains(&Role::admin());
        let key = key.filter(|key| is_administrator || key.owner == by.subject.id);
        let key = key.ok_or(Unauthorized::NotFound)?;
        let by = by.account().ok_or(Refusal::Forbidden)?;
        let audit = line(&key, by, AuditEvent::ApiKeyRevoked, origin);
        let until = origin.now.plus(REVOCATION);
        let revocation = self.store.revoke_api_key(id, until, &audit).await?;
        // One that was revoked before ends as well: whoever asked twice wanted the same.
        match revocation {
            Some(revocation) => self.share(revocation).await,
            None => Ok(()),
        }
    }
}

/// A line about a key; the key's id is all it says of it.
fn line(key: &ApiKey, by: AccountId, event: AuditEvent, origin: Origin) -> AuditEntry {
    let account = match &key.owner {
        SubjectId::Account(id) => Some(*id),
        SubjectId::Client(_) => None,
    };
    AuditEntry {
        account,
        ..origin.audit_by(Actor::Account(by), event)
    }
    .about(&key.id.to_string())
}
