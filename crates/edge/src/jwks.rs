//! Whose tokens the edge believes: the keys of each issuer, kept fresh beside the traffic, and the
//! tokens that were read with them. Never asks anybody while a request waits, but for a key that it
//! has not seen: then once in half a minute, for all requests together.
//!
//! [`run`] holds one task for each issuer, which asks for its keys again and again (`jwks/fetch`).
//! Requests read what it found from memory: [`Issuer::read`] turns a token into a [`Passport`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use portcullis_token::{
    AccessClaims, AccessVerifier, Digest, Jwks, JwksError, KeySet, Seen, TOKEN_BYTES_MAX,
    VerifyError,
};

use crate::config;
use crate::metrics::{IssuerMetrics, Metrics};
use crate::revocation::Follower;

mod fetch;
mod follow;
mod passport;
mod wish;

pub(crate) use follow::run;
pub use passport::Passport;
pub(crate) use wish::Wish;
use wish::Wishes;

/// An issuer while the edge runs.
#[derive(Debug)]
pub struct Issuer {
    name: String,
    verifier: AccessVerifier,
    source: config::JwksSource,
    refresh: Duration,
    max_stale: Duration,
    revocations: Option<Arc<Follower>>,
    keys: ArcSwapOption<Keys>,
    /// What ages count from.
    origin: Instant,
    /// When the publisher last said that these are its keys, in milliseconds after `origin`.
    confirmed: AtomicU64,
    /// Until when the edge is not ready without keys; only at its start.
    awaited_until: Option<Instant>,
    seen: Seen<Passport>,
    wishes: Wishes,
    metrics: IssuerMetrics,
}

/// One key set as published.
#[derive(Debug)]
struct Keys {
    set: KeySet,
    /// The keys in our own words, to tell whether anything changed.
    canonical: Vec<u8>,
    kids: Vec<String>,
    /// The publisher's word for this version.
    etag: Option<String>,
    /// Tokens read with another generation of keys have to be read again.
    generation: u64,
}

/// Why a token was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// There are no keys, or none that are fresh enough.
    NoKeys,
    /// It is no good.
    Refused(VerifyError),
}

impl Issuer {
    /// Keys of a previous generation stay in use if they come from the same place.
    pub(crate) fn build(
        config: &config::Issuer,
        metrics: &Metrics,
        previous: Option<&Self>,
        is_first: bool,
    ) -> Self {
        let now = Instant::now();
        let profile = config.verifier.profile;
        let heir = previous
            .filter(|old| old.verifier.profile == profile && is_same(&old.source, &config.jwks));
        Self {
            name: config.name.clone(),
            verifier: config.verifier.clone(),
            source: config.jwks.clone(),
            refresh: config.refresh,
            max_stale: config.max_stale,
            revocations: config.revocations.as_ref().map(|follow| {
                let previous = previous.and_then(|old| old.revocations.as_ref());
                Follower::build(&config.name, follow, metrics, previous, is_first)
            }),
            keys: ArcSwapOption::new(heir.and_then(|old| old.keys.load_full())),
            origin: heir.map_or(now, |old| old.origin),
            confirmed: AtomicU64::new(heir.map_or(0, |old| old.confirmed.load(Ordering::Relaxed))),
            awaited_until: is_first.then(|| now + AWAITED),
            seen: Seen::new(SEEN_TOKENS),
            wishes: Wishes::default(),
            metrics: metrics.issuer(&config.name),
        }
    }

    /// The name by which routes know it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a token: from memory if it was read before with the keys of today. Costs no network.
    /// `now` is in Unix seconds, `at` the same moment for ages.
    ///
    /// # Errors
    /// See [`Unread`].
    pub fn read(&self, token: &str, now: i64, at: Instant) -> Result<Arc<Passport>, Unread> {
        let keys = self.keys.load();
        let Some(keys) = keys.as_ref().filter(|_| self.age(at) <= self.max_stale) else {
            return Err(Unread::NoKeys);
        };
        if token.len() > TOKEN_BYTES_MAX {
            let error = VerifyError::Malformed("too long");
            return Err(Unread::Refused(error));
        }
        let digest = Digest::of(token);
        if let Some(passport) = self.seen.find(&digest, keys.generation) {
            let times = passport.claims.check_times(self.verifier.skew, now);
            self.metrics.cache_hits.inc();
            return times.map(|()| passport).map_err(Unread::Refused);
        }
        let token = self.verifier.verify(token, &keys.set, now);
        let passport = Arc::new(Passport::new(token.map_err(Unread::Refused)?));
        self.metrics.cache_misses.inc();
        let entry = Arc::clone(&passport);
        self.seen.insert(digest, keys.generation, entry);
        Ok(passport)
    }

    /// What [`Issuer::read`] would say. Remembers nothing and counts nothing.
    ///
    /// # Errors
    /// See [`Unread`].
    pub(crate) fn examine(
        &self,
        token: &str,
        now: i64,
        at: Instant,
    ) -> Result<Arc<Passport>, Unread> {
        let keys = self.keys.load();
        let Some(keys) = keys.as_ref().filter(|_| self.age(at) <= self.max_stale) else {
            return Err(Unread::NoKeys);
        };
        if token.len() > TOKEN_BYTES_MAX {
            let error = VerifyError::Malformed("too long");
            return Err(Unread::Refused(error));
        }
        let token = self.verifier.verify(token, &keys.set, now);
        Ok(Arc::new(Passport::new(token.map_err(Unread::Refused)?)))
    }

    /// Takes a key set as published. The previous one stays if this one is no good.
    ///
    /// # Errors
    /// See [`JwksError`].
    pub fn learn(&self, document: &[u8], etag: Option<String>) -> Result<(), JwksError> {
        let jwks = Jwks::parse_as(document, self.verifier.profile)?;
        let canonical = jwks.to_json();
        let known = self.keys.load();
        let generation = match known.as_ref() {
            None => 1,
            Some(known) if known.canonical == canonical => known.generation,
            Some(known) => known.generation + 1,
        };
        let keys = Keys {
            set: KeySet::from_jwks(&jwks),
            canonical,
            kids: jwks.keys().iter().map(|key| key.kid().to_owned()).collect(),
            etag,
            generation,
        };
        let is_new = known
            .as_ref()
            .is_none_or(|known| known.generation != generation);
        if is_new {
            tracing::info!(issuer = self.name, keys = ?keys.kids, "keys of an issuer");
        }
        self.keys.store(Some(Arc::new(keys)));
        self.confirm(Instant::now());
        Ok(())
    }

    /// The keys are still those of the publisher.
    fn confirm(&self, at: Instant) {
        let age = at.saturating_duration_since(self.origin).as_millis();
        self.confirmed
            .store(u64::try_from(age).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long ago the publisher last said that these are its keys.
    pub(crate) fn age(&self, at: Instant) -> Duration {
        let confirmed = Duration::from_millis(self.confirmed.load(Ordering::Relaxed));
        at.saturating_duration_since(self.origin)
            .saturating_sub(confirmed)
    }

    /// Ids of the keys in use.
    pub(crate) fn kids(&self) -> Vec<String> {
        let keys = self.keys.load();
        keys.as_ref()
            .map_or_else(Vec::new, |keys| keys.kids.clone())
    }

    /// Whether the edge should wait for its first keys before it calls itself ready.
    pub(crate) fn is_awaited(&self, at: Instant) -> bool {
        self.keys.load().is_none() && self.awaited_until.is_some_and(|until| at < until)
    }

    /// A token names a key that is not known: a place to wait for newer keys, if they are asked for.
    pub(crate) fn wish(&self, at: Instant) -> Option<Wish> {
        self.wishes.make(at)
    }

    /// Whether the time of a token that was read is over.
    pub(crate) fn has_expired(&self, claims: &AccessClaims, now: i64) -> bool {
        claims.check_times(self.verifier.skew, now) == Err(VerifyError::Expired)
    }

    /// What is revoked of its tokens, if anybody tells.
    pub fn revocations(&self) -> Option<&Arc<Follower>> {
        self.revocations.as_ref()
    }

    /// Where the value of a further claim is.
    pub(crate) fn position_of_claim(&self, name: &str) -> Option<usize> {
        self.verifier.others.iter().position(|other| other == name)
    }

    /// What its tokens feed.
    pub(crate) fn metrics(&self) -> &IssuerMetrics {
        &self.metrics
    }
}

/// Trust is read anew with each configuration, so a same place with another authority counts.
fn is_same(one: &config::JwksSource, other: &config::JwksSource) -> bool {
    let place = |source: &config::JwksSource| {
        (
            source.host.clone(),
            source.port,
            source.target.clone(),
            source.tls.is_some(),
        )
    };
    place(one) == place(other)
}

/// Tokens remembered of each issuer, some 1.5 KB each.
const SEEN_TOKENS: usize = 16_384;
/// An issuer that is down must not keep all other traffic away.
const AWAITED: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
