//! A shared state with a circuit breaker around it. Never holds back what must be tried: revocations, signs of life and
//! leaving.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Copying, Counter, CounterKey, InstanceRecord, Shared, SharedError, SharedResult, Usage,
};
use crate::breaker::Guard;
use crate::domain::{Revocation, TokenFacts, UnixMillis};

/// [`Shared`] that fails at once while its breaker is open.
pub(crate) struct GuardedShared {
    inner: Arc<dyn Shared>,
    guard: Arc<Guard>,
}

impl GuardedShared {
    pub(crate) fn new(inner: Arc<dyn Shared>, guard: Arc<Guard>) -> Self {
        Self { inner, guard }
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

/// An entry that cannot be read was read.
fn speaks_against_it(error: &SharedError) -> bool {
    matches!(error, SharedError::Unavailable { .. })
}

#[async_trait]
impl Shared for GuardedShared {
    /// Always tried: what is missing here is accepted elsewhere for as long as it is missing.
    async fn revoke(&self, revocations: &[Revocation]) -> SharedResult<()> {
        self.inner.revoke(revocations).await
    }

    async fn is_revoked(&self, token: &TokenFacts<'_>, now: UnixMillis) -> SharedResult<bool> {
        let call = self.inner.is_revoked(token, now);
        self.guarded("looking for revocations", call).await
    }

    async fn count(
        &self,
        keys: &[CounterKey],
        window: Duration,
        now: UnixMillis,
    ) -> SharedResult<Vec<Counter>> {
        let call = self.inner.count(keys, window, now);
        self.guarded("counting", call).await
    }

    async fn counters(&self, keys: &[CounterKey], now: UnixMillis) -> SharedResult<Vec<Counter>> {
        let call = self.inner.counters(keys, now);
        self.guarded("reading counters", call).await
    }

    async fn reset(&self, key: &CounterKey) -> SharedResult<()> {
        let call = self.inner.reset(key);
        self.guarded("resetting a counter", call).await
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
        self.guarded("listing instances", call).await
    }

    async fn purge(&self, now: UnixMillis, limit: u16) -> SharedResult<u64> {
        let call = self.inner.purge(now, limit);
        self.guarded("purging the shared state", call).await
    }

    /// Not through the breaker: health says what is, not what is believed.
    async fn ping(&self) -> SharedResult<()> {
        self.inner.ping().await
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

    async fn doubted(&self) {
        self.inner.doubted().await;
    }

    /// Always tried: it is how an outage ends.
    async fn begin_copy(&self) -> SharedResult<Copying> {
        self.inner.begin_copy().await
    }

    async fn finish_copy(&self, copying: Copying) -> SharedResult<bool> {
        self.inner.finish_copy(copying).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
