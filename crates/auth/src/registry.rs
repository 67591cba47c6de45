//! Says that this instance lives, and looks whether the others run with the same
//! settings. Never acts on what it sees: people do.

mod fingerprint;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::Config;
use crate::domain::UnixMillis;
use crate::lifecycle::PhaseWatch;
use crate::shared::{InstanceRecord, InstanceState, Shared, SharedResult};

pub(crate) use fingerprint::Fingerprint;

/// How often an instance says that it lives.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);
/// It is gone after missing three.
const TTL: Duration = Duration::from_secs(15);

const REPORTED_MAX: usize = 1000;

/// This instance's entry.
pub(crate) struct Registry {
    shared: Arc<dyn Shared>,
    record: InstanceRecord,
    fingerprint: Fingerprint,
    phase: PhaseWatch,
    /// Differences that were reported already: instance and fingerprint.
    reported: Mutex<BTreeSet<(String, String)>>,
}

impl Registry {
    pub(crate) fn new(
        shared: Arc<dyn Shared>,
        config: &Config,
        address: String,
        phase: PhaseWatch,
        started_at: UnixMillis,
        given_key: Option<&str>,
    ) -> Self {
        let fingerprint = Fingerprint::of(config, given_key);
        let record = InstanceRecord {
            id: config.instance.id.clone(),
            address,
            version: config.instance.version.clone(),
            fingerprint: fingerprint.to_text(),
            state: InstanceState::Ready,
            started_at,
        };
        Self {
            shared,
            record,
            phase,
            fingerprint,
            reported: Mutex::default(),
        }
    }

    /// One heartbeat, in the state the process is in.
    pub(crate) async fn beat(&self, now: UnixMillis) -> SharedResult<()> {
        let is_draining = self.phase.is_draining();
        let state = if is_draining {
            InstanceState::Draining
        } else {
            InstanceState::Ready
        };
        let record = InstanceRecord {
            state,
            ..self.record.clone()
        };
        self.shared.heartbeat(&record, TTL, now).await?;
        self.compare(&self.shared.instances(now).await?);
        Ok(())
    }

    pub(crate) async fn leave(&self) -> SharedResult<()> {
        self.shared.leave(&self.record.id).await
    }

    fn compare(&self, instances: &[InstanceRecord]) {
        for other in instances {
            let differs = self
                .fingerprint
                .differences(&Fingerprint::parse(&other.fingerprint));
            if differs.is_empty() {
                continue;
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
    }
}
