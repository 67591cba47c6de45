//! A shared state with a circuit breaker around it, and with counters of this instance for while it is away. Never
//! holds back what must be tried: revocations, signs of life and leaving.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::allowance::{Allowance, Taken};
use super::local::Local;
use super::{Copying, Counter, CounterKey, Shared, SharedError, SharedResult, Usage};
use crate::breaker::Guard;
use crate::domain::{
    AccountId, InstanceRecord, PermissionVersion, Revocation, TokenFacts, UnixMillis,
};
use crate::store::Standing;
use crate::store::topology::WalPosition;

/// [`Shared`] that fails at once while its breaker is open, and goes on counting by itself.
pub(crate) struct GuardedShared {
    inner: Arc<dyn Shared>,
    guard: Arc<Guard>,
    /// What counts meanwhile; `None` where nothing may.
    local: Option<Local>,
    /// What this instance gives out by itself, whether the shared state is there or not.
    parts: Local,
    /// One at a time hands over what was counted meanwhile.
    handing_over: tokio::sync::Mutex<()>,
    /// Instances seen last.
    living: AtomicU32,
}

impl GuardedShared {
    pub(crate) fn new(inner: Arc<dyn Shared>, guard: Arc<Guard>) -> Self {
        Self {
            inner,
            guard,
            local: Some(Local::default()),
            parts: Local::default(),
            handing_over: tokio::sync::Mutex::default(),
            living: AtomicU32::new(1),
        }
    }

    /// Counting fails while the shared state is away.
    #[must_use]
    pub(crate) fn without_local_counters(self) -> Self {
        Self {
            local: None,
            ..self
        }
    }

    /// What `local` says when the shared state said nothing.
    fn or_local<T>(
        &self,
        shared: SharedResult<T>,
        local: impl FnOnce(&Local, u32) -> T,
    ) -> SharedResult<T> {
        match (shared, &self.local) {
            (
                Err(SharedError::Unavailable { .. } | SharedError::PartUnavailable { .. }),
                Some(counters),
            ) => Ok(local(counters, self.living.load(Ordering::Relaxed))),
            (shared, _) => shared,
        }
    }

    fn has_news(&self) -> bool {
        self.local.as_ref().is_some_and(Local::has_news)
    }

    /// Counters of a shared state that answers again, with what was counted here meanwhile. While a part of it is away
    /// that cannot be told, what is counted in the others holds: it must not be counted here as well.
    async fn counters_with_news(
        &self,
        keys: &[CounterKey],
        counted: Vec<Counter>,
        now: UnixMillis,
    ) -> SharedResult<Vec<Counter>> {
        match self.hand_over(now).await {
            Ok(()) => {
                let call = self.inner.counters(keys, now);
                self.guarded("reading counters", call).await
            }
            Err(SharedError::PartUnavailable { .. }) => {
                let living = self.living.load(Ordering::Relaxed);
                let local = self.local.as_ref();
                let here = local.map(|local| local.counters(keys, now, living));
                let here = here.unwrap_or_default();
                let more = |(all, here): (Counter, &Counter)| match here.count > all.count {
                    true => *here,
                    false => all,
                };
                Ok(counted.into_iter().zip(&here).map(more).collect())
            }
            Err(error) => Err(error),
        }
    }

    /// What came of a call that is made whatever the breaker says.
    fn beside<T>(&self, outcome: SharedResult<T>) -> SharedResult<T> {
        if outcome.is_ok() {
            self.guard.answered();
        }
        outcome
    }

    async fn guarded<T>(
        &self,
        attempted: &'static str,
        call: impl Future<Output = SharedResult<T>>,
    ) -> SharedResult<T> {
        let outcome = self.guard.call(speaks_against_it, call).await;
        outcome.unwrap_or_else(|rejected| {
            Err(SharedError::Unavailable {
                attempted,
                source: Box::new(rejected),
            })
        })
    }
}

/// Counters told in one go.
const BITE: usize = 500;

/// An entry that cannot be read was read, and where a part is away others answer.
fn speaks_against_it(error: &SharedError) -> bool {
    matches!(error, SharedError::Unavailable { .. })
}

#[async_trait]
impl Shared for GuardedShared {
    /// Always tried: what is missing here is accepted elsewhere for as long as it is missing.
    async fn revoke(&self, revocations: &[Revocation]) -> SharedResult<()> {
        self.beside(self.inner.revoke(revocations).await)
    }

    /// Always tried: it is how an outage ends.
    async fn copy_revocations(&self, revocations: &[Revocation]) -> SharedResult<()> {
        self.beside(self.inner.copy_revocations(revocations).await)
    }

    async fn is_revoked(&self, token: &TokenFacts<'_>, now: UnixMillis) -> SharedResult<bool> {
        const DOING: &str = "looking for revocations";
        // Nobody is asked then, so it says nothing for or against.
        if !self.inner.is_current() {
            return Err(SharedError::Incomplete { attempted: DOING });
        }
        let call = self.inner.is_revoked(token, now);
        self.guarded(DOING, call).await
    }

    async fn standing(&self, token: &TokenFacts<'_>, now: UnixMillis) -> SharedResult<Standing> {
        const DOING: &str = "looking for revocations and the version of the permissions";
        // Nobody is asked then, so it says nothing for or against.
        if !self.inner.is_current() {
            return Err(SharedError::Incomplete { attempted: DOING });
        }
        let call = self.inner.standing(token, now);
        self.guarded(DOING, call).await
    }

    /// Always tried: what is missing here is believed elsewhere for as long as it is missing.
    async fn raise_permissions(&self, version: PermissionVersion) -> SharedResult<()> {
        self.beside(self.inner.raise_permissions(version).await)
    }

    /// Always tried: it is how an outage ends.
    async fn copy_permissions(&self, version: PermissionVersion) -> SharedResult<()> {
        self.beside(self.inner.copy_permissions(version).await)
    }

    async fn remembered(&self, key: &str, now: UnixMillis) -> SharedResult<Option<String>> {
        let call = self.inner.remembered(key, now);
        self.guarded("looking for what is remembered", call).await
    }

    async fn remember(
        &self,
        key: &str,
        value: &str,
        ttl: Duration,
        now: UnixMillis,
    ) -> SharedResult<()> {
        let call = self.inner.remember(key, value, ttl, now);
        self.guarded("remembering", call).await
    }

    async fn count(
        &self,
        keys: &[CounterKey],
        window: Duration,
        now: UnixMillis,
    ) -> SharedResult<Vec<Counter>> {
        let call = self.inner.count(keys, window, now);
        let mut shared = self.guarded("counting", call).await;
        if let (Ok(counted), true) = (&shared, self.has_news()) {
            let counted = counted.clone();
            shared = self.counters_with_news(keys, counted, now).await;
        }
        self.or_local(shared, |local, n| local.count(keys, window, now, n))
    }

    async fn counters(&self, keys: &[CounterKey], now: UnixMillis) -> SharedResult<Vec<Counter>> {
        let call = self.inner.counters(keys, now);
        let mut shared = self.guarded("reading counters", call).await;
        if let (Ok(counted), true) = (&shared, self.has_news()) {
            let counted = counted.clone();
            shared = self.counters_with_news(keys, counted, now).await;
        }
        self.or_local(shared, |local, n| local.counters(keys, now, n))
    }

    async fn add(&self, counted: &[(CounterKey, Counter)], now: UnixMillis) -> SharedResult<()> {
        let call = self.inner.add(counted, now);
        self.guarded("adding to counters", call).await
    }

    /// What an outage let pass must not be forgotten with it: whoever guesses would begin anew. A bite whose answer is
    /// lost is told twice, which errs on the safe side and ends with its counters.
    async fn hand_over(&self, now: UnixMillis) -> SharedResult<()> {
        let Some(local) = self.local.as_ref().filter(|local| local.has_news()) else {
            return Ok(());
        };
        let _alone = self.handing_over.lock().await;
        let mut news = local.news(now);
        while !news.next(BITE).is_empty() {
            self.add(news.next(BITE), now).await?;
            news.told(BITE);
        }
        Ok(())
    }

    async fn reset(&self, key: &CounterKey) -> SharedResult<()> {
        let call = self.inner.reset(key);
        let shared = self.guarded("resetting a counter", call).await;
        self.or_local(shared, |local, _| local.reset(key))
    }

    async fn take(&self, allowances: &[Allowance], now: UnixMillis) -> SharedResult<Option<Taken>> {
        let call = self.inner.take(allowances, now);
        let shared = self.guarded("taking from an allowance", call).await;
        self.or_local(shared, |local, n| local.take(allowances, now, n))
    }

    fn take_part(&self, allowances: &[Allowance], now: UnixMillis) -> Option<Taken> {
        let living = self.living.load(Ordering::Relaxed);
        self.parts.take(allowances, now, living)
    }

    async fn heartbeat(
        &self,
        instance: &InstanceRecord,
        ttl: Duration,
        now: UnixMillis,
    ) -> SharedResult<()> {
        let call = self.inner.heartbeat(instance, ttl, now);
        self.guarded("reporting an instance", call).await
    }

    async fn leave(&self, id: &str) -> SharedResult<()> {
        self.inner.leave(id).await
    }

    async fn instances(&self, now: UnixMillis) -> SharedResult<Vec<InstanceRecord>> {
        let call = self.inner.instances(now);
        let instances = self.guarded("listing instances", call).await?;
        let living = u32::try_from(instances.len()).unwrap_or(u32::MAX);
        self.living.store(living.max(1), Ordering::Relaxed);
        Ok(instances)
    }

    async fn note_written(
        &self,
        accounts: &[AccountId],
        position: WalPosition,
        ttl: Duration,
        now: UnixMillis,
    ) -> SharedResult<()> {
        let call = self.inner.note_written(accounts, position, ttl, now);
        self.guarded("noting a write", call).await
    }

    async fn written(
        &self,
        account: AccountId,
        now: UnixMillis,
    ) -> SharedResult<Option<WalPosition>> {
        let call = self.inner.written(account, now);
        self.guarded("looking for a write", call).await
    }

    async fn purge(&self, now: UnixMillis, limit: u16) -> SharedResult<u64> {
        let call = self.inner.purge(now, limit);
        self.guarded("purging the shared state", call).await
    }

    /// Not through the breaker: health says what is, not what is believed.
    async fn ping(&self) -> SharedResult<()> {
        self.beside(self.inner.ping().await)
    }

    async fn can_write(&self) -> SharedResult<()> {
        self.inner.can_write().await
    }

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn usage(&self) -> SharedResult<Option<Usage>> {
        self.guarded("asking for its size", self.inner.usage())
            .await
    }

    fn is_whole(&self) -> bool {
        self.inner.is_whole()
    }

    fn is_current(&self) -> bool {
        self.inner.is_current()
    }

    fn looked_through(&self, began: Instant) {
        self.inner.looked_through(began);
    }

    async fn doubted(&self) {
        self.inner.doubted().await;
    }

    /// Always tried: it is how an outage ends.
    async fn begin_copy(&self) -> SharedResult<Copying> {
        self.beside(self.inner.begin_copy().await)
    }

    async fn finish_copy(&self, copying: Copying) -> SharedResult<bool> {
        self.inner.finish_copy(copying).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
