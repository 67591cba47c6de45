//! Shared state in a Redis that all instances reach. Never waits for it beyond a bound, and never takes silence or an
//! empty answer of a Redis that may have lost something for "not revoked".
//!
//! One multiplexed connection carries everything, more are opened only under load (`redis/lane.rs`). What must happen
//! in one piece is a script (`redis/scripts.rs`).
//!
//! Whether a token is revoked is one `MGET`. It also fetches the marker `rev:loaded`, which names the Redis process that
//! was given every revocation of the store: a process that was restarted has another name, an emptied one has no
//! marker, and both are answered with [`SharedError::Incomplete`] until a copy has been made (`redis/trust.rs`).

mod cluster;
mod copying;
mod entries;
mod facts;
mod lane;
mod options;
mod parts;
mod scripts;
mod sentinel;
#[cfg(test)]
mod tests;
mod topology;
mod trust;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{Client, FromRedisValue, RedisError, RedisResult, Script, TlsCertificates};

use super::allowance::{self, Allowance, Taken};
use super::types::{Copying, Usage};
use super::{Counter, CounterKey, Shared, SharedError, SharedResult};
use crate::domain::{
    AccountId, InstanceRecord, PermissionVersion, Revocation, TokenFacts, UnixMillis,
};
use crate::store::Standing;
use crate::store::topology::WalPosition;
pub use cluster::ClusterShared;
use entries::Keys;
use facts::Facts;
use lane::Lanes;
pub use options::{BadAddress, RedisOptions, RedisTrust, SentinelOptions};
use scripts::Scripts;
use sentinel::Source;
use trust::Trust;

/// Revocations that one script writes: a bite that Redis is not held up by.
const BATCH: usize = 500;
/// No cluster of ours has more instances; a registry that does is not ours.
const MAX_INSTANCES: usize = 1000;

/// How long Redis says of an instance that it left: longer than an edge goes without looking.
const LEFT: Duration = Duration::from_secs(60);

/// Where the settings say: one Redis, or a cluster.
///
/// # Errors
/// As [`RedisShared::connect`].
pub async fn open(options: &RedisOptions) -> Result<Arc<dyn Shared>, RedisSetupError> {
    match &options.cluster {
        Some(nodes) => {
            let connecting = ClusterShared::connect(options, nodes);
            Ok(Arc::new(connecting.await))
        }
        None => Ok(Arc::new(RedisShared::connect(options).await?)),
    }
}

/// [`Shared`] on one Redis, or on what lies in one slot of a cluster.
pub struct RedisShared {
    keys: Keys,
    lanes: Lanes,
    scripts: Scripts,
    trust: Trust,
}

/// Why a Redis cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum RedisSetupError {
    /// The file of authorities.
    #[error("the certificates of the authorities cannot be read")]
    Authorities(#[source] std::io::Error),
    /// The driver refuses the settings.
    #[error("the settings cannot be used")]
    Settings(#[source] RedisError),
}

impl RedisShared {
    /// Connects. A Redis that is not there now is no error: it is tried again until it is.
    ///
    /// # Errors
    /// When the settings themselves cannot be used.
    pub async fn connect(options: &RedisOptions) -> Result<Self, RedisSetupError> {
        let settings = RedisSetupError::Settings;
        let authorities = match options.authorities() {
            None => None,
            Some(file) => {
                let pem = tokio::fs::read(file).await;
                Some(pem.map_err(RedisSetupError::Authorities)?)
            }
        };
        let fixed = || {
            let connection = options.connection()?;
            match authorities {
                None => Client::open(connection),
                Some(pem) => {
                    let certificates = TlsCertificates {
                        client_tls: None,
                        root_cert: Some(pem),
                    };
                    Client::build_with_tls(connection, certificates)
                }
            }
        };
        let source = Source::new(options, fixed).map_err(settings)?;
        let lanes = Lanes::new(source, options.pool_size.get());
        if !lanes.settle().await {
            tracing::warn!(redis = options.place(), "starting without Redis");
        }
        Ok(Self::over(lanes, Keys::new(String::new())))
    }

    fn over(lanes: Lanes, keys: Keys) -> Self {
        Self {
            keys,
            lanes,
            scripts: Scripts::new(),
            trust: Trust::default(),
        }
    }

    /// Runs `command`; every failure is a reason to doubt that Redis knows everything.
    async fn run<T, F>(
        &self,
        attempted: &'static str,
        command: impl FnOnce(MultiplexedConnection) -> F,
    ) -> SharedResult<(T, Arc<Facts>)>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let answer = self.lanes.run(command).await;
        answer.map_err(|error| {
            self.trust.doubt();
            unavailable(attempted, error)
        })
    }

    async fn invoke<T: FromRedisValue>(
        &self,
        attempted: &'static str,
        script: &Script,
        keys: &[String],
        arguments: &[&str],
    ) -> SharedResult<T> {
        let mut invocation = script.prepare_invoke();
        for key in keys {
            invocation.key(key);
        }
        for argument in arguments {
            invocation.arg(argument);
        }
        let command = async |mut connection: MultiplexedConnection| {
            invocation.invoke_async(&mut connection).await
        };
        Ok(self.run(attempted, command).await?.0)
    }

    async fn query<T: FromRedisValue>(
        &self,
        attempted: &'static str,
        command: &redis::Cmd,
    ) -> SharedResult<(T, Arc<Facts>)> {
        let command = async |mut connection: MultiplexedConnection| -> RedisResult<T> {
            command.query_async(&mut connection).await
        };
        self.run(attempted, command).await
    }

    /// Whether a token is revoked, and the version that lies under a key, if one is named: one `MGET`.
    async fn look(
        &self,
        attempted: &'static str,
        token: &TokenFacts<'_>,
        version_key: Option<&str>,
        now: UnixMillis,
    ) -> SharedResult<Standing> {
        let incomplete = SharedError::Incomplete { attempted };
        if !self.is_current() {
            return Err(incomplete);
        }
        let mut question = self.keys.question(token);
        if let Some(key) = version_key {
            question.arg(key);
        }
        let (mut found, facts) = self
            .query::<Vec<Option<String>>>(attempted, &question)
            .await?;
        let version = version_key.and_then(|_| found.pop().flatten());
        let Some((marker, found)) = found.split_first() else {
            return Err(bad(attempted, "answer"));
        };
        if marker.as_deref() != Some(facts.name.as_str()) {
            self.trust.doubt();
            return Err(incomplete);
        }
        let mut standing = Standing {
            is_revoked: false,
            // What is no number is not known.
            permissions: version.and_then(|text| text.parse().ok().map(PermissionVersion)),
        };
        for entry in found.iter().flatten() {
            let covers = entries::covers(entry, token.issued_at, now);
            standing.is_revoked |= covers.ok_or_else(|| bad(attempted, "revocation"))?;
        }
        Ok(standing)
    }

    /// Puts back what was taken out of allowances, of a request that was refused elsewhere.
    async fn give_back(&self, allowances: &[Allowance], now: UnixMillis) -> SharedResult<()> {
        let key = |allowance: &Allowance| self.keys.allowance(&allowance.key);
        let keys: Vec<String> = allowances.iter().map(key).collect();
        let mut arguments = vec![allowance::micros(now).to_string()];
        arguments.extend(allowances.iter().map(|of| of.cost().to_string()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let script = &self.scripts.give;
        self.invoke("giving back to an allowance", script, &keys, &arguments)
            .await
    }

    /// What Redis says of itself now.
    async fn facts(&self, attempted: &'static str) -> SharedResult<Facts> {
        let ask = async |mut connection: MultiplexedConnection| Facts::ask(&mut connection).await;
        Ok(self.run(attempted, ask).await?.0)
    }
}

#[async_trait]
impl Shared for RedisShared {
    async fn revoke(&self, revocations: &[Revocation]) -> SharedResult<()> {
        let now = UnixMillis::from_system(SystemTime::now());
        let written = self.write(revocations, now).await;
        if written.is_err() {
            // A Redis without room still takes this, and then no instance believes it until it was copied to again.
            let mut forget = redis::cmd("DEL");
            forget.arg(&self.keys.loaded);
            let _ = self.query::<()>("taking the marker away", &forget).await;
        }
        written
    }

    async fn is_revoked(&self, token: &TokenFacts<'_>, now: UnixMillis) -> SharedResult<bool> {
        let answer = self
            .look("looking for revocations", token, None, now)
            .await?;
        Ok(answer.is_revoked)
    }

    async fn standing(&self, token: &TokenFacts<'_>, now: UnixMillis) -> SharedResult<Standing> {
        const DOING: &str = "looking for revocations and the version of the permissions";
        self.look(DOING, token, Some(&self.keys.permissions), now)
            .await
    }

    async fn raise_permissions(&self, version: PermissionVersion) -> SharedResult<()> {
        let (keys, version) = ([self.keys.permissions.clone()], version.0.to_string());
        let script = &self.scripts.raise;
        self.invoke(
            "raising the version of the permissions",
            script,
            &keys,
            &[&version],
        )
        .await
    }

    async fn remembered(&self, key: &str, _: UnixMillis) -> SharedResult<Option<String>> {
        let mut command = redis::cmd("GET");
        command.arg(self.keys.remembered(key));
        let found = self
            .query("looking for what is remembered", &command)
            .await?;
        Ok(found.0)
    }

    async fn remember(
        &self,
        key: &str,
        value: &str,
        ttl: Duration,
        _: UnixMillis,
    ) -> SharedResult<()> {
        let mut command = redis::cmd("SET");
        command.arg(self.keys.remembered(key)).arg(value);
        command.arg("PX").arg(ttl.as_millis().max(1) as u64);
        self.query::<()>("remembering", &command).await?;
        Ok(())
    }

    async fn count(
        &self,
        keys: &[CounterKey],
        window: Duration,
        now: UnixMillis,
    ) -> SharedResult<Vec<Counter>> {
        const DOING: &str = "counting";
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = keys.iter().map(|key| self.keys.counter(key)).collect();
        let arguments = [now.0.to_string(), window.as_millis().to_string()];
        let arguments = [arguments[0].as_str(), arguments[1].as_str()];
        let script = &self.scripts.count;
        let found: Vec<i64> = self.invoke(DOING, script, &names, &arguments).await?;
        let counters = found.chunks_exact(2).map(|pair| Counter {
            count: u32::try_from(pair[0]).unwrap_or(u32::MAX),
            resets_at: UnixMillis(pair[1]),
        });
        Ok(counters.collect())
    }

    async fn counters(&self, keys: &[CounterKey], now: UnixMillis) -> SharedResult<Vec<Counter>> {
        const DOING: &str = "reading counters";
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        let names = keys.iter().map(|key| self.keys.counter(key));
        command.arg(names.collect::<Vec<_>>());
        let (found, _) = self.query::<Vec<Option<String>>>(DOING, &command).await?;
        let read = |entry: &Option<String>| entries::counter(entry.as_deref(), now);
        let counters = found.iter().map(read).collect::<Option<Vec<_>>>();
        counters.ok_or_else(|| bad(DOING, "counter"))
    }

    async fn add(&self, counted: &[(CounterKey, Counter)], now: UnixMillis) -> SharedResult<()> {
        for batch in counted.chunks(BATCH) {
            let keys = batch.iter().map(|(key, _)| self.keys.counter(key));
            let keys: Vec<String> = keys.collect();
            let mut arguments = vec![now.0.to_string()];
            for (_, counter) in batch {
                arguments.extend([counter.count.to_string(), counter.resets_at.0.to_string()]);
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let script = &self.scripts.add;
            self.invoke::<()>("adding to counters", script, &keys, &arguments)
                .await?;
        }
        Ok(())
    }

    async fn reset(&self, key: &CounterKey) -> SharedResult<()> {
        let mut command = redis::cmd("DEL");
        command.arg(self.keys.counter(key));
        self.query::<()>("resetting a counter", &command).await?;
        Ok(())
    }

    async fn take(&self, allowances: &[Allowance], now: UnixMillis) -> SharedResult<Option<Taken>> {
        const DOING: &str = "taking from an allowance";
        if allowances.is_empty() {
            return Ok(None);
        }
        let key = |allowance: &Allowance| self.keys.allowance(&allowance.key);
        let keys: Vec<String> = allowances.iter().map(key).collect();
        let mut arguments = vec![allowance::micros(now).to_string()];
        for allowance in allowances {
            arguments.extend([allowance.cost(), allowance.period_micros()].map(|n| n.to_string()));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let script = &self.scripts.take;
        let found: Vec<i64> = self.invoke(DOING, script, &keys, &arguments).await?;
        // What was decided there is worked out again here, from the same instants, for its figures.
        let instants = found.iter().skip(1).copied();
        let takings = allowances.iter().zip(instants);
        let takings = takings.map(|(allowance, full_at)| allowance.take(Some(full_at), now).0);
        Ok(takings.reduce(Taken::tighter))
    }

    async fn heartbeat(
        &self,
        instance: &InstanceRecord,
        ttl: Duration,
        now: UnixMillis,
    ) -> SharedResult<()> {
        let keys = [
            format!("{}{}", self.keys.instance, instance.id),
            self.keys.instances.clone(),
        ];
        let entry = entries::write_instance(instance);
        let (end, ttl) = (
            now.plus(ttl).0.to_string(),
            ttl.as_millis().max(1).to_string(),
        );
        let now = now.0.to_string();
        let arguments = [instance.id.as_str(), &entry, &end, &ttl, &now];
        let script = &self.scripts.heartbeat;
        self.invoke("reporting an instance", script, &keys, &arguments)
            .await
    }

    async fn leave(&self, id: &str) -> SharedResult<()> {
        // Edges take an entry that is missing for one that Redis has lost, so that it says what became of it.
        let end = UnixMillis::from_system(SystemTime::now()).plus(LEFT);
        let mut both = redis::pipe();
        both.atomic();
        both.cmd("SET").arg(format!("{}{id}", self.keys.instance));
        both.arg(entries::write_left(id)).arg("PX");
        both.arg(LEFT.as_millis() as u64).ignore();
        both.cmd("ZADD").arg(&self.keys.instances);
        both.arg(end.0).arg(id).ignore();
        let command = async |mut connection: MultiplexedConnection| -> RedisResult<()> {
            both.query_async(&mut connection).await
        };
        self.run("taking an instance out of the registry", command)
            .await?;
        Ok(())
    }

    async fn instances(&self, now: UnixMillis) -> SharedResult<Vec<InstanceRecord>> {
        const DOING: &str = "listing instances";
        let (now, most) = (now.0.to_string(), MAX_INSTANCES.to_string());
        let keys = [self.keys.instances.clone()];
        let arguments = [now.as_str(), &most, &self.keys.instance];
        let script = &self.scripts.instances;
        let found: Vec<String> = self.invoke(DOING, script, &keys, &arguments).await?;
        // One that another release wrote must not hide the others.
        let read = |entry: &String| entries::read_instance(entry);
        let mut instances: Vec<_> = found.iter().filter_map(read).collect();
        instances.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(instances)
    }

    async fn note_written(
        &self,
        accounts: &[AccountId],
        position: WalPosition,
        ttl: Duration,
        _: UnixMillis,
    ) -> SharedResult<()> {
        let keys: Vec<String> = accounts.iter().map(|of| self.keys.written(of)).collect();
        let arguments = [position.timeline, position.position].map(|n| n.to_string());
        let ttl = ttl.as_millis().max(1).to_string();
        let arguments = [arguments[0].as_str(), &arguments[1], &ttl];
        let script = &self.scripts.note;
        self.invoke("noting a write", script, &keys, &arguments)
            .await
    }

    async fn written(
        &self,
        account: AccountId,
        _: UnixMillis,
    ) -> SharedResult<Option<WalPosition>> {
        const DOING: &str = "looking for a write";
        // What was noted in a Redis that lost it is not known to be missing.
        if !self.trust.is_whole() {
            return Err(SharedError::Incomplete { attempted: DOING });
        }
        let mut command = redis::cmd("MGET");
        command.arg(&self.keys.loaded);
        command.arg(self.keys.written(&account));
        let (found, facts) = self
            .query::<(Option<String>, Option<String>)>(DOING, &command)
            .await?;
        let (marker, found) = found;
        if marker.as_deref() != Some(facts.name.as_str()) {
            self.trust.doubt();
            return Err(SharedError::Incomplete { attempted: DOING });
        }
        let read = |entry: String| WalPosition::parse(&entry).ok_or_else(|| bad(DOING, "position"));
        found.map(read).transpose()
    }

    /// Redis forgets by itself what has ended.
    async fn purge(&self, _: UnixMillis, _: u16) -> SharedResult<u64> {
        Ok(0)
    }

    async fn ping(&self) -> SharedResult<()> {
        const DOING: &str = "asking the shared state for a sign of life";
        self.query::<()>(DOING, &redis::cmd("PING")).await?;
        Ok(())
    }

    async fn can_write(&self) -> SharedResult<()> {
        const DOING: &str = "looking for room to write to the shared state";
        match self.facts(DOING).await?.refuses_writes() {
            None => Ok(()),
            Some(reason) => Err(unavailable(DOING, reason)),
        }
    }

    fn kind(&self) -> &'static str {
        "redis"
    }

    async fn usage(&self) -> SharedResult<Option<Usage>> {
        let facts = self.facts("asking the shared state for its size").await?;
        Ok(Some(Usage {
            bytes: facts.used_bytes(),
            entries: facts.keys,
        }))
    }

    fn is_whole(&self) -> bool {
        self.trust.is_whole()
    }

    fn is_current(&self) -> bool {
        self.trust.is_whole() && self.trust.has_lease(Instant::now())
    }

    fn looked_through(&self, began: Instant) {
        self.trust.renew(began);
    }

    async fn doubted(&self) {
        self.trust.doubted().await;
    }

    async fn begin_copy(&self) -> SharedResult<Copying> {
        self.begin().await
    }

    async fn finish_copy(&self, copying: Copying) -> SharedResult<bool> {
        self.finish(copying).await
    }

    async fn close(&self) {
        self.trust.doubt();
        self.lanes.close();
    }
}

fn unavailable(
    attempted: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> SharedError {
    SharedError::Unavailable {
        attempted,
        source: source.into(),
    }
}

fn bad(attempted: &'static str, what: &'static str) -> SharedError {
    SharedError::BadEntry { attempted, what }
}
