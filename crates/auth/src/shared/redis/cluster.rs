//! Shared state in a Redis Cluster. Never takes what one node says for what another holds: each part is believed, doubted
//! and copied to by itself.
//!
//! Eight parts (`redis/parts.rs`), each a [`RedisShared`] on the node that has its slot at the moment
//! (`redis/topology.rs`). Revocations and the version of the permissions are written to all of them, so that a token is
//! looked up with one question to one node; where that node is away or not to be believed, the store answers for the
//! tokens of its parts alone.
//!
//! The driver's own connection to a cluster is not used: it sends commands again, asks one node who has what, and does not
//! tell which process answered, which is what belief hangs on. A slot that is on the move is not followed to both its
//! nodes (`ASK`): a lookup of entries that mostly do not exist cannot be answered then by either, so its part counts as
//! away until the slot has arrived.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::{join_all, select_all};
use tokio::sync::watch;

use super::entries::Keys;
use super::lane::Lanes;
use super::parts::{self, PARTS, part_of};
use super::sentinel::{Place, Source};
use super::topology::Topology;
use super::{RedisOptions, RedisShared, unavailable};
use crate::domain::{
    AccountId, InstanceRecord, PermissionVersion, Revocation, TokenFacts, UnixMillis,
};
use crate::shared::{
    Allowance, Copying, Counter, CounterKey, Shared, SharedError, SharedResult, Taken, Usage,
};
use crate::store::Standing;
use crate::store::topology::WalPosition;

/// The registry is small and read whole, so it lies in one part.
const REGISTRY: usize = 0;

/// [`Shared`] on a cluster.
pub struct ClusterShared {
    parts: Vec<RedisShared>,
    /// Dropped or set at the end, which ends the asking.
    is_closed: watch::Sender<bool>,
}

impl ClusterShared {
    /// Connects. Nodes that are not there now are no error: they are tried again until they are.
    pub async fn connect(options: &RedisOptions, nodes: &[Place]) -> Self {
        let topology = Arc::new(Topology::new(options, nodes));
        let (is_closed, mut closed) = watch::channel(false);
        let asking = topology.clone();
        // Owned by `is_closed`.
        tokio::spawn(async move {
            tokio::select! {
                () = asking.keep_asking() => {}
                _ = closed.wait_for(|is_closed| *is_closed) => {}
            }
        });
        let most = options.pool_size.get() / PARTS;
        let part = |part: usize| {
            let lanes = Lanes::new(Arc::new(Source::Part(topology.clone(), part)), most);
            let shared = RedisShared::over(lanes, Keys::new(parts::prefix(part)));
            // What a marker says from before this instance watched is not believed.
            shared.trust.fall_behind();
            shared
        };
        let parts: Vec<RedisShared> = (0..PARTS).map(part).collect();
        let settled = join_all(parts.iter().map(|part| part.lanes.settle())).await;
        if settled.contains(&false) {
            tracing::warn!(
                redis = options.place(),
                "starting without all of the cluster"
            );
        }
        Self { parts, is_closed }
    }

    fn of(&self, name: &[u8]) -> &RedisShared {
        &self.parts[part_of(name)]
    }

    /// What came of asking one part: other parts may be there all the same.
    fn heard<T>(&self, outcome: SharedResult<T>) -> SharedResult<T> {
        match outcome {
            Err(SharedError::Unavailable { attempted, source }) if self.is_anybody_there() => {
                Err(SharedError::PartUnavailable { attempted, source })
            }
            outcome => outcome,
        }
    }

    fn is_anybody_there(&self) -> bool {
        self.parts.iter().any(|part| part.lanes.is_connected())
    }

    /// The same of every part. The first failure counts, after all have answered.
    async fn all<'a, T, F>(&'a self, ask: impl Fn(&'a RedisShared) -> F) -> SharedResult<Vec<T>>
    where
        F: Future<Output = SharedResult<T>>,
    {
        let answers = join_all(self.parts.iter().map(ask)).await;
        self.heard(answers.into_iter().collect())
    }

    /// The same of every part, for a copy: one that could not be told waits for a copy of everything.
    async fn each<'a, F>(&'a self, tell: impl Fn(&'a RedisShared) -> F) -> SharedResult<()>
    where
        F: Future<Output = SharedResult<()>>,
    {
        let mut last = None;
        let answers = join_all(self.parts.iter().map(tell)).await;
        let all = answers.len();
        let mut failures = 0;
        for (part, answer) in self.parts.iter().zip(answers) {
            if let Err(error) = answer {
                part.trust.fall_behind();
                failures += 1;
                last = Some(error);
            }
        }
        match last {
            Some(error) if failures == all => Err(error),
            _ => Ok(()),
        }
    }

    /// Positions of `keys` by the part they lie in. Fails, before anything is done, where one of the parts is away.
    fn by_part<'a>(
        &self,
        attempted: &'static str,
        keys: impl Iterator<Item = &'a CounterKey>,
    ) -> SharedResult<BTreeMap<usize, Vec<usize>>> {
        let mut by_part: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (position, key) in keys.enumerate() {
            let part = part_of(key.as_bytes());
            by_part.entry(part).or_default().push(position);
        }
        let is_away = |part: &usize| !self.parts[*part].lanes.is_connected();
        if by_part.keys().any(is_away) {
            return self.heard(Err(unavailable(attempted, "not connected at the moment")));
        }
        Ok(by_part)
    }
}

/// `all` at these positions.
fn at<T: Copy>(all: &[T], positions: &[usize]) -> Vec<T> {
    positions.iter().map(|&position| all[position]).collect()
}

#[async_trait]
impl Shared for ClusterShared {
    async fn revoke(&self, revocations: &[Revocation]) -> SharedResult<()> {
        self.all(|part| part.revoke(revocations)).await.map(drop)
    }

    async fn copy_revocations(&self, revocations: &[Revocation]) -> SharedResult<()> {
        self.each(|part| part.revoke(revocations)).await
    }

    async fn is_revoked(&self, token: &TokenFacts<'_>, now: UnixMillis) -> SharedResult<bool> {
        let part = self.of(token.jti.as_bytes());
        self.heard(part.is_revoked(token, now).await)
    }

    async fn standing(&self, token: &TokenFacts<'_>, now: UnixMillis) -> SharedResult<Standing> {
        let part = self.of(token.jti.as_bytes());
        self.heard(part.standing(token, now).await)
    }

    async fn raise_permissions(&self, version: PermissionVersion) -> SharedResult<()> {
        self.all(|part| part.raise_permissions(version))
            .await
            .map(drop)
    }

    async fn copy_permissions(&self, version: PermissionVersion) -> SharedResult<()> {
        self.each(|part| part.raise_permissions(version)).await
    }

    async fn remembered(&self, key: &str, now: UnixMillis) -> SharedResult<Option<String>> {
        self.heard(self.of(key.as_bytes()).remembered(key, now).await)
    }

    async fn remember(
        &self,
        key: &str,
        value: &str,
        ttl: Duration,
        now: UnixMillis,
    ) -> SharedResult<()> {
        let part = self.of(key.as_bytes());
        self.heard(part.remember(key, value, ttl, now).await)
    }

    async fn count(
        &self,
        keys: &[CounterKey],
        window: Duration,
        now: UnixMillis,
    ) -> SharedResult<Vec<Counter>> {
        let mut counters = vec![Counter::default(); keys.len()];
        for (part, positions) in self.by_part("counting", keys.iter())? {
            let keys = at(keys, &positions);
            let counting = self.parts[part].count(&keys, window, now);
            let counted = self.heard(counting.await)?;
            for (position, counter) in positions.into_iter().zip(counted) {
                counters[position] = counter;
            }
        }
        Ok(counters)
    }

    async fn counters(&self, keys: &[CounterKey], now: UnixMillis) -> SharedResult<Vec<Counter>> {
        let mut counters = vec![Counter::default(); keys.len()];
        for (part, positions) in self.by_part("reading counters", keys.iter())? {
            let keys = at(keys, &positions);
            let reading = self.parts[part].counters(&keys, now);
            let read = self.heard(reading.await)?;
            for (position, counter) in positions.into_iter().zip(read) {
                counters[position] = counter;
            }
        }
        Ok(counters)
    }

    async fn add(&self, counted: &[(CounterKey, Counter)], now: UnixMillis) -> SharedResult<()> {
        let keys = counted.iter().map(|(key, _)| key);
        for (part, positions) in self.by_part("adding to counters", keys)? {
            let counted = at(counted, &positions);
            let adding = self.parts[part].add(&counted, now);
            self.heard(adding.await)?;
        }
        Ok(())
    }

    async fn reset(&self, key: &CounterKey) -> SharedResult<()> {
        self.heard(self.of(key.as_bytes()).reset(key).await)
    }

    /// No script spans parts: where a later one refuses, what was taken from earlier ones goes back. Meanwhile a request
    /// beside this one may find one fewer.
    async fn take(&self, allowances: &[Allowance], now: UnixMillis) -> SharedResult<Option<Taken>> {
        let keys = allowances.iter().map(|of| &of.key);
        let by_part = self.by_part("taking from an allowance", keys)?;
        let mut taken: Vec<Taken> = Vec::new();
        let mut given: Vec<(usize, Vec<Allowance>)> = Vec::new();
        for (part, positions) in by_part {
            let wanted = at(allowances, &positions);
            let outcome = self.heard(self.parts[part].take(&wanted, now).await);
            let is_allowed = matches!(&outcome, Ok(Some(taken)) if taken.is_allowed);
            if !is_allowed {
                for (part, allowances) in &given {
                    // What cannot go back was taken once too often, which errs on the safe side.
                    let _ = self.parts[*part].give_back(allowances, now).await;
                }
            }
            taken.extend(outcome?);
            if !is_allowed {
                break;
            }
            given.push((part, wanted));
        }
        Ok(taken.into_iter().reduce(Taken::tighter))
    }

    async fn heartbeat(
        &self,
        instance: &InstanceRecord,
        ttl: Duration,
        now: UnixMillis,
    ) -> SharedResult<()> {
        let part = &self.parts[REGISTRY];
        self.heard(part.heartbeat(instance, ttl, now).await)
    }

    async fn leave(&self, id: &str) -> SharedResult<()> {
        self.heard(self.parts[REGISTRY].leave(id).await)
    }

    async fn instances(&self, now: UnixMillis) -> SharedResult<Vec<InstanceRecord>> {
        self.heard(self.parts[REGISTRY].instances(now).await)
    }

    async fn note_written(
        &self,
        accounts: &[AccountId],
        position: WalPosition,
        ttl: Duration,
        now: UnixMillis,
    ) -> SharedResult<()> {
        for account in accounts {
            let part = self.of(account.to_string().as_bytes());
            let noting = part.note_written(std::slice::from_ref(account), position, ttl, now);
            self.heard(noting.await)?;
        }
        Ok(())
    }

    async fn written(
        &self,
        account: AccountId,
        now: UnixMillis,
    ) -> SharedResult<Option<WalPosition>> {
        let part = self.of(account.to_string().as_bytes());
        self.heard(part.written(account, now).await)
    }

    /// Redis forgets by itself what has ended.
    async fn purge(&self, _: UnixMillis, _: u16) -> SharedResult<u64> {
        Ok(0)
    }

    async fn ping(&self) -> SharedResult<()> {
        self.all(RedisShared::ping).await.map(drop)
    }

    async fn can_write(&self) -> SharedResult<()> {
        self.all(RedisShared::can_write).await.map(drop)
    }

    fn kind(&self) -> &'static str {
        "redis"
    }

    /// Of the nodes that have parts, each once.
    async fn usage(&self) -> SharedResult<Option<Usage>> {
        const DOING: &str = "asking the shared state for its size";
        let mut usage = Usage {
            bytes: 0,
            entries: 0,
        };
        let mut seen = BTreeSet::new();
        for facts in self.all(|part| part.facts(DOING)).await? {
            if seen.insert(facts.run_id.clone()) {
                usage.bytes += facts.used_bytes();
                usage.entries += facts.keys;
            }
        }
        Ok(Some(usage))
    }

    fn is_whole(&self) -> bool {
        self.parts.iter().all(Shared::is_whole)
    }

    /// Whether any part may be believed; each says for itself whether it may.
    fn is_current(&self) -> bool {
        self.parts.iter().any(Shared::is_current)
    }

    fn looked_through(&self, began: Instant) {
        for part in &self.parts {
            part.looked_through(began);
        }
    }

    async fn doubted(&self) {
        select_all(self.parts.iter().map(Shared::doubted)).await;
    }

    /// Of the parts in doubt those that answer; the others stay in doubt.
    async fn begin_copy(&self) -> SharedResult<Copying> {
        let begin = async |(number, part): (usize, &RedisShared)| {
            (!part.is_whole()).then_some(())?;
            Some((number, part.begin().await))
        };
        let begun = join_all(self.parts.iter().enumerate().map(begin)).await;
        let mut copying = Copying::default();
        for (number, begun) in begun.into_iter().flatten() {
            match begun {
                Ok(part) => copying.parts.push((number, part)),
                Err(error) if !self.is_anybody_there() => return Err(error),
                Err(error) => {
                    tracing::debug!(part = number, %error, "a part of the shared state stays in doubt");
                }
            }
        }
        Ok(copying)
    }

    async fn finish_copy(&self, copying: Copying) -> SharedResult<bool> {
        let finish = |(number, copying): (usize, Copying)| self.parts[number].finish(copying);
        for finished in join_all(copying.parts.into_iter().map(finish)).await {
            if let Err(error) = finished {
                tracing::debug!(%error, "a part of the shared state stays in doubt");
            }
        }
        Ok(self.is_whole())
    }

    async fn close(&self) {
        self.is_closed.send_replace(true);
        for part in &self.parts {
            part.close().await;
        }
    }
}
