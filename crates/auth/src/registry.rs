//! Says that this instance lives, and looks whether the others run with the same
//! settings. Never acts on what it sees: people do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};

use crate::config::Config;
use crate::domain::UnixMillis;
use crate::lifecycle::PhaseWatch;
use crate::shared::{InstanceRecord, InstanceState, Shared, SharedResult};

/// How often an instance says that it lives.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);
/// It is gone after missing three.
const TTL: Duration = Duration::from_secs(15);

/// This instance's entry.
pub(crate) struct Registry {
    shared: Arc<dyn Shared>,
    record: InstanceRecord,
    phase: PhaseWatch,
    /// Instances whose different settings were reported already.
    reported: Mutex<BTreeSet<String>>,
}

impl Registry {
    pub(crate) fn new(
        shared: Arc<dyn Shared>,
        config: &Config,
        address: String,
        phase: PhaseWatch,
        started_at: UnixMillis,
    ) -> Self {
        let record = InstanceRecord {
            id: config.instance.id.clone(),
            address,
            version: config.instance.version.clone(),
            fingerprint: fingerprint(config),
            state: InstanceState::Ready,
            started_at,
        };
        Self {
            shared,
            record,
            phase,
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
            if other.fingerprint == self.record.fingerprint {
                continue;
            }
            let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
            // Bounded by the registry itself, which holds at most a thousand.
            if reported.len() < 1000 && reported.insert(other.id.clone()) {
                tracing::warn!(
                    instance = other.id,
                    "another instance runs with a different issuer, audience or SECURITY_SALT"
                );
            }
        }
    }
}

/// Settings that must agree, as eight digits: enough to see a difference, too few
/// to find a secret by trying.
fn fingerprint(config: &Config) -> String {
    let mut context = Context::new(&SHA256);
    let pepper = config
        .passwords
        .pepper
        .as_ref()
        .map_or("", |pepper| pepper.expose().as_str());
    for part in [
        config.tokens.issuer.as_str(),
        config.tokens.audience.as_str(),
        pepper,
    ] {
        context.update(&part.len().to_le_bytes());
        context.update(part.as_bytes());
    }
    context
        .finish()
        .as_ref()
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
