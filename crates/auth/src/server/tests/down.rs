//! A shared state that does nothing, but may show signs of life. Never says "not revoked".

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{
    AccountId, InstanceRecord, PermissionVersion, Revocation, TokenFacts, UnixMillis,
};
use crate::shared::{Allowance, Counter, CounterKey, Shared, SharedError, SharedResult, Taken};
use crate::store::Standing;
use crate::store::topology::WalPosition;

pub(super) struct Down {
    pub(super) shows_life: bool,
}

fn down<T>() -> SharedResult<T> {
    Err(SharedError::Unavailable {
        attempted: "a test",
        source: "unplugged".into(),
    })
}

#[async_trait]
impl Shared for Down {
    async fn revoke(&self, _: &[Revocation]) -> SharedResult<()> {
        down()
    }

    async fn is_revoked(&self, _: &TokenFacts<'_>, _: UnixMillis) -> SharedResult<bool> {
        down()
    }

    async fn standing(&self, _: &TokenFacts<'_>, _: UnixMillis) -> SharedResult<Standing> {
        down()
    }

    async fn raise_permissions(&self, _: PermissionVersion) -> SharedResult<()> {
        down()
    }

    async fn remembered(&self, _: &str, _: UnixMillis) -> SharedResult<Option<String>> {
        down()
    }

    async fn remember(&self, _: &str, _: &str, _: Duration, _: UnixMillis) -> SharedResult<()> {
        down()
    }

    async fn count(
        &self,
        _: &[CounterKey],
        _: Duration,
        _: UnixMillis,
    ) -> SharedResult<Vec<Counter>> {
        down()
    }

    async fn counters(&self, _: &[CounterKey], _: UnixMillis) -> SharedResult<Vec<Counter>> {
        down()
    }

    async fn add(&self, _: &[(CounterKey, Counter)], _: UnixMillis) -> SharedResult<()> {
        down()
    }

    async fn reset(&self, _: &CounterKey) -> SharedResult<()> {
        down()
    }

    async fn take(&self, _: &[Allowance], _: UnixMillis) -> SharedResult<Option<Taken>> {
        down()
    }

    async fn heartbeat(&self, _: &InstanceRecord, _: Duration, _: UnixMillis) -> SharedResult<()> {
        down()
    }

    async fn leave(&self, _: &str) -> SharedResult<()> {
        down()
    }

    async fn instances(&self, _: UnixMillis) -> SharedResult<Vec<InstanceRecord>> {
        down()
    }

    async fn note_written(
        &self,
        _: &[AccountId],
        _: WalPosition,
        _: Duration,
        _: UnixMillis,
    ) -> SharedResult<()> {
        down()
    }

    async fn written(&self, _: AccountId, _: UnixMillis) -> SharedResult<Option<WalPosition>> {
        down()
    }

    async fn purge(&self, _: UnixMillis, _: u16) -> SharedResult<u64> {
        down()
    }

    async fn ping(&self) -> SharedResult<()> {
        if self.shows_life { Ok(()) } else { down() }
    }

    async fn can_write(&self) -> SharedResult<()> {
        down()
    }

    async fn close(&self) {}
}
