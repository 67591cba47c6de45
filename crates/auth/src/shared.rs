//! Short-lived state that every instance sees on its very next request. Never the only copy of anything durable.
//!
//! Everything has an end (`until`, a window, a TTL), so that losing the whole of it costs a rebuild from the store and
//! nothing else. An object for the same reasons as [`crate::store::Store`]: embedded or Redis is chosen at start-up.

mod allowance;
#[cfg(test)]
pub(crate) mod contract;
pub mod embedded;
pub(crate) mod guarded;
mod local;
pub mod redis;
mod types;

use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::domain::{
    AccountId, InstanceRecord, PermissionVersion, Revocation, TokenFacts, UnixMillis,
};
use crate::store::Standing;
use crate::store::topology::WalPosition;

pub use allowance::{Allowance, Taken};
pub use embedded::EmbeddedShared;
pub use redis::{RedisOptions, RedisShared};
pub use types::{Copying, Counter, CounterKey, SharedError, Usage};

/// How long an instance believes the shared state after the store was last looked through for revocations that are
/// missing in it. Where one could not be shared, the answer to its logout waits for as long: from then on every instance
/// has looked since, or asks the store.
pub(crate) const LEASE: Duration = Duration::from_millis(500);

/// A store that does not answer an indexed read for so long is as good as away. With the pause between two looks, less
/// than [`LEASE`].
pub(crate) const SILENCE: Duration = Duration::from_millis(250);

/// The result of every operation.
pub type SharedResult<T> = Result<T, SharedError>;

/// What all instances share and may lose.
#[async_trait]
pub trait Shared: Send + Sync + 'static {
    /// Makes tokens void for every instance from its next request on. An earlier revocation of the same key is only
    /// ever extended. All of them or none.
    async fn revoke(&self, revocations: &[Revocation]) -> SharedResult<()>;

    /// As [`Shared::revoke`], of what is copied from the store: a part that cannot be told is in doubt from then on, and
    /// holds up no other.
    async fn copy_revocations(&self, revocations: &[Revocation]) -> SharedResult<()> {
        self.revoke(revocations).await
    }

    /// Whether any revocation covers the token. One round trip; an error means "not known", and callers refuse.
    async fn is_revoked(&self, token: &TokenFacts<'_>, now: UnixMillis) -> SharedResult<bool>;

    /// As [`Shared::is_revoked`], and what permission sets have to be as new as. One round trip for both.
    async fn standing(&self, token: &TokenFacts<'_>, now: UnixMillis) -> SharedResult<Standing>;

    /// Tells every instance, from its next request on, that permission sets older than this are worth nothing. An
    /// earlier version than the one that is known changes nothing.
    async fn raise_permissions(&self, version: PermissionVersion) -> SharedResult<()>;

    /// As [`Shared::raise_permissions`], of what is copied from the store, as [`Shared::copy_revocations`] says.
    async fn copy_permissions(&self, version: PermissionVersion) -> SharedResult<()> {
        self.raise_permissions(version).await
    }

    /// What was remembered under the key, unless it has ended.
    async fn remembered(&self, key: &str, now: UnixMillis) -> SharedResult<Option<String>>;

    /// Remembers something that the store knows anyway.
    async fn remember(
        &self,
        key: &str,
        value: &str,
        ttl: Duration,
        now: UnixMillis,
    ) -> SharedResult<()>;

    /// Adds one to each counter and returns them in order. A counter starts at its first hit and vanishes `window`
    /// later, whatever comes in between.
    async fn count(
        &self,
        keys: &[CounterKey],
        window: Duration,
        now: UnixMillis,
    ) -> SharedResult<Vec<Counter>>;

    /// Reads counters without adding; one that does not exist reads zero.
    async fn counters(&self, keys: &[CounterKey], now: UnixMillis) -> SharedResult<Vec<Counter>>;

    /// Adds hits that an instance counted by itself while nobody could be told; each counter vanishes when the later of
    /// the two ends.
    async fn add(&self, counted: &[(CounterKey, Counter)], now: UnixMillis) -> SharedResult<()>;

    /// Adds what this instance counted by itself, if it did.
    async fn hand_over(&self, _now: UnixMillis) -> SharedResult<()> {
        Ok(())
    }

    /// Forgets a counter.
    async fn reset(&self, key: &CounterKey) -> SharedResult<()>;

    /// One request out of every allowance, or out of none when any of them is used up; the verdict is about the
    /// tightest. `None` for no allowances.
    async fn take(&self, allowances: &[Allowance], now: UnixMillis) -> SharedResult<Option<Taken>>;

    /// As [`Shared::take`], out of this instance's part of each allowance: for what comes too often to ask others about
    /// it. `None` where nobody counts.
    fn take_part(&self, _allowances: &[Allowance], _now: UnixMillis) -> Option<Taken> {
        None
    }

    /// Says that an instance lives; it vanishes from the registry `ttl` later unless it says so again.
    async fn heartbeat(
        &self,
        instance: &InstanceRecord,
        ttl: Duration,
        now: UnixMillis,
    ) -> SharedResult<()>;

    /// Takes an instance out of the registry at once.
    async fn leave(&self, id: &str) -> SharedResult<()>;

    /// The living instances, by id. Bounded: at most 1,000.
    async fn instances(&self, now: UnixMillis) -> SharedResult<Vec<InstanceRecord>>;

    /// Remembers for `ttl` up to where each account has written into the store. The later of two positions stays.
    async fn note_written(
        &self,
        accounts: &[AccountId],
        position: WalPosition,
        ttl: Duration,
        now: UnixMillis,
    ) -> SharedResult<()>;

    /// Up to where an account has written into the store, if it did lately.
    async fn written(
        &self,
        account: AccountId,
        now: UnixMillis,
    ) -> SharedResult<Option<WalPosition>>;

    /// Deletes at most `limit` entries of each kind that have ended; returns how many.
    async fn purge(&self, now: UnixMillis, limit: u16) -> SharedResult<u64>;

    /// Proves that the shared state answers.
    async fn ping(&self) -> SharedResult<()>;

    /// Proves, without writing, that nothing is known to be in the way of writes: room, permission.
    async fn can_write(&self) -> SharedResult<()>;

    /// What it is, in a word, for health answers.
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    /// How much is in it, where that can be asked.
    async fn usage(&self) -> SharedResult<Option<Usage>> {
        Ok(None)
    }

    /// Whether, as far as this instance knows, every revocation of the store is in here. While it is not,
    /// [`Shared::is_revoked`] fails. What lies in a file of this machine loses nothing, and needs no copies.
    fn is_whole(&self) -> bool {
        true
    }

    /// Whether [`Shared::is_revoked`] may be believed at this moment: the state is whole, and the store was looked
    /// through for what other instances could not share no longer than [`LEASE`] ago.
    fn is_current(&self) -> bool {
        true
    }

    /// Tells that the store was looked through, beginning at `began`, and what was missing here was copied; or that it
    /// could not be asked, as when it is away, and then nothing was made durable in it either.
    fn looked_through(&self, _began: Instant) {}

    /// Resolves when [`Shared::is_whole`] is false.
    async fn doubted(&self) {
        std::future::pending().await
    }

    /// Before the store's revocations are copied in here: all of them or the newest, as [`Copying::is_of_everything`]
    /// says.
    async fn begin_copy(&self) -> SharedResult<Copying> {
        Ok(Copying::default())
    }

    /// After they were copied. `false`: something was lost meanwhile, and the copy has to begin again.
    async fn finish_copy(&self, _copying: Copying) -> SharedResult<bool> {
        Ok(true)
    }

    /// Finishes what runs and closes every connection.
    async fn close(&self);
}
