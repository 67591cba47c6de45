//! Says that this instance lives, and looks whether the others run with the same
//! settings. Never acts on what it sees: people do.
//!
//! Instances that share a Redis and those that share a database find each other: whoever names another of one is seen
//! through the other.

mod fingerprint;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::app::Cause;
use crate::config::Config;
use crate::domain::{InstanceRecord, InstanceState, UnixMillis};
use crate::lifecycle::PhaseWatch;
use crate::metrics::Metrics;
use crate::shared::Shared;
use crate::store::{Store, StoreResult};

pub(crate) use fingerprint::Fingerprint;

/// An instance is gone after missing so many heartbeats.
const MISSED_MAX: u32 = 3;

/// How long the database may take over any of it: between two heartbeats there are two questions.
const PATIENCE: Duration = Duration::from_secs(2);

const REPORTED_MAX: usize = 1000;

/// What an instance says of itself.
pub(crate) struct Own {
    record: InstanceRecord,
    fingerprint: Fingerprint,
    heartbeat: Duration,
}

impl Own {
    /// `address` is where it listens.
    pub(crate) fn new(
        config: &Config,
        address: SocketAddr,
        started_at: UnixMillis,
        given_key: Option<&str>,
    ) -> Self {
        let fingerprint = Fingerprint::of(config, given_key);
        let record = InstanceRecord {
            id: config.instance.id.clone(),
            address: config.instance.advertised.unwrap_or(address).to_string(),
            version: config.instance.version.clone(),
            fingerprint: fingerprint.to_text(),
            state: InstanceState::Ready,
            started_at,
        };
        Self {
            record,
            fingerprint,
            heartbeat: config.instance.heartbeat,
        }
    }
}

/// This instance's entry, in the shared state and in the store.
pub(crate) struct Registry {
    store: Arc<dyn Store>,
    shared: Arc<dyn Shared>,
    own: Own,
    phase: PhaseWatch,
    metrics: Arc<Metrics>,
    /// Differences that were reported already: instance and fingerprint.
    reported: Mutex<BTreeSet<(String, String)>>,
}

impl Registry {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        shared: Arc<dyn Shared>,
        own: Own,
        phase: PhaseWatch,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            store,
            shared,
            own,
            phase,
            metrics,
            reported: Mutex::default(),
        }
    }

    /// How often an instance says that it lives.
    pub(crate) fn interval(&self) -> Duration {
        self.own.heartbeat
    }

    /// One heartbeat, in the state the process is in. Where the database does not take it, the next one tries again.
    pub(crate) async fn beat(&self, now: UnixMillis) -> Result<(), Cause> {
        let is_draining = self.phase.is_draining();
        let state = if is_draining {
            InstanceState::Draining
        } else {
            InstanceState::Ready
        };
        let record = InstanceRecord {
            state,
            ..self.own.record.clone()
        };
        let ttl = self.own.heartbeat * MISSED_MAX;
        // Side by side: one that hangs must not make this instance seem dead in the other.
        let reporting = within(self.store.report_instance(&record, ttl, now));
        let telling = self.shared.heartbeat(&record, ttl, now);
        let (reported, told) = tokio::join!(reporting, telling);
        if let Err(error) = reported {
            tracing::debug!(%error, "the database does not know that this instance lives");
        }
        self.compare(&living(self.store.as_ref(), self.shared.as_ref(), now).await?);
        Ok(told?)
    }

    pub(crate) async fn leave(&self) -> Result<(), Cause> {
        let id = &self.own.record.id;
        let forgetting = within(self.store.forget_instance(id));
        let (forgotten, left) = tokio::join!(forgetting, self.shared.leave(id));
        left?;
        forgotten
    }

    fn compare(&self, instances: &[InstanceRecord]) {
        let mut differing: BTreeMap<String, i64> = BTreeMap::new();
        for other in instances {
            let differs = self
                .own
                .fingerprint
                .differences(&Fingerprint::parse(&other.fingerprint));
            if differs.is_empty() {
                continue;
            }
            for setting in &differs {
                *differing.entry(setting.clone()).or_default() += 1;
            }
            let difference = (other.id.clone(), other.fingerprint.clone());
            let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
            // Bounded like the registry itself; instances that come and go would fill it in the end.
            if reported.len() >= REPORTED_MAX {
                reported.clear();
            }
            if reported.insert(difference) {
                tracing::warn!(
                    instance = other.id,
                    settings = differs.join(", "),
                    "another instance runs with settings that must be the same on all"
                );
            }
        }
        for (setting, _) in self.own.fingerprint.parts() {
            let count = differing.get(setting).copied().unwrap_or_default();
            self.metrics.instances_that_differ(setting, count);
        }
    }
}

/// What the store answers in time.
async fn within<T>(answer: impl Future<Output = StoreResult<T>>) -> Result<T, Cause> {
    Ok(tokio::time::timeout(PATIENCE, answer).await??)
}

/// The living instances by id, of the shared state and of the store together; of one alone when the other cannot be
/// asked.
pub(crate) async fn living(
    store: &dyn Store,
    shared: &dyn Shared,
    now: UnixMillis,
) -> Result<Vec<InstanceRecord>, Cause> {
    let (stored, found) = tokio::join!(within(store.instances(now)), shared.instances(now));
    let found = match (stored, found) {
        (Ok(stored), Ok(found)) => [stored, found].concat(),
        (Ok(only), Err(_)) | (Err(_), Ok(only)) => only,
        (Err(_), Err(error)) => return Err(error.into()),
    };
    // Of two entries, that of the shared state, which is told of a drain as soon as it begins.
    let by_id: BTreeMap<_, _> = found.into_iter().map(|of| (of.id.clone(), of)).collect();
    Ok(by_id.into_values().collect())
}
