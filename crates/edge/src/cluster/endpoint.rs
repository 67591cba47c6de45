//! One address in a cluster, with what is known of it. Never decides for the cluster as a whole.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use aws_lc_rs::{digest, hmac};
use http::HeaderValue;
use portcullis_traffic::eject::{self, EjectionState};
use portcullis_traffic::eligible::Eligibility;
use portcullis_traffic::health::{Health, HealthState, Observation, Thresholds};

use crate::metrics::{EndpointMetrics, Metrics};

/// One address in a cluster. Shared by generations of the configuration: counts and verdicts
/// outlive a reload.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    label: String,
    cluster: String,
    affinity_id: u64,
    served_by_plain: HeaderValue,
    served_by_opaque: HeaderValue,
    metrics: EndpointMetrics,
    in_flight: AtomicU32,
    verdicts: Mutex<Verdicts>,
    /// Hint, written under the lock of `verdicts`: false means eligible without looking.
    is_suspect: AtomicBool,
    /// Hint, written under the lock of `verdicts`: false means a success changes nothing.
    has_failures: AtomicBool,
}

#[derive(Debug)]
struct Verdicts {
    health: HealthState,
    ejection: EjectionState,
    /// Its return has yet to be told.
    is_told_ejected: bool,
}

impl Endpoint {
    /// An endpoint without history: unproven if probes can prove it, else taken for healthy.
    pub(super) fn new(
        cluster: &str,
        address: SocketAddr,
        is_probed: bool,
        ids: &OpaqueIds,
        metrics: &Metrics,
    ) -> Self {
        let label = address.to_string();
        let digest = digest::digest(&digest::SHA256, label.as_bytes());
        let first = digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        let health = if is_probed {
            HealthState::new()
        } else {
            HealthState::assumed_healthy()
        };
        Self {
            address,
            affinity_id: u64::from_be_bytes(*first),
            served_by_plain: visible(&label),
            served_by_opaque: ids.of(&label),
            metrics: metrics.endpoint(cluster, &label),
            label,
            cluster: cluster.to_owned(),
            in_flight: AtomicU32::new(0),
            is_suspect: AtomicBool::new(!health.is_healthy()),
            has_failures: AtomicBool::new(false),
            verdicts: Mutex::new(Verdicts {
                health,
                ejection: EjectionState::new(),
                is_told_ejected: false,
            }),
        }
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `endpoint` label: the address as text.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Names the endpoint inside affinity cookies; the same on every edge.
    pub(crate) fn affinity_id(&self) -> u64 {
        self.affinity_id
    }

    /// `X-Served-By` for operators on this machine: the address.
    pub(crate) fn served_by_plain(&self) -> &HeaderValue {
        &self.served_by_plain
    }

    /// `X-Served-By` for everybody else: tells endpoints apart and nothing more.
    pub(crate) fn served_by_opaque(&self) -> &HeaderValue {
        &self.served_by_opaque
    }

    /// Metric handles.
    pub fn metrics(&self) -> &EndpointMetrics {
        &self.metrics
    }

    /// Attempts running now.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The verdict of active checks.
    pub fn health(&self) -> Health {
        self.lock().health.health()
    }

    /// Whether active checks hold it healthy.
    pub fn is_healthy(&self) -> bool {
        self.lock().health.is_healthy()
    }

    /// Whether it is put aside for failures seen on traffic.
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.lock().ejection.is_ejected(now)
    }

    /// Whether it may be picked now.
    pub fn is_eligible(&self, now: Instant) -> bool {
        if !self.is_suspect.load(Ordering::Acquire) {
            return true;
        }
        let mut verdicts = self.lock();
        // An ejection runs out by the clock; the first to look notices.
        if verdicts.is_told_ejected && !verdicts.ejection.is_ejected(now) {
            verdicts.is_told_ejected = false;
            self.metrics.changes.inc();
            let (cluster, endpoint) = (self.cluster.as_str(), self.label.as_str());
            tracing::info!(cluster, endpoint, "endpoint is back: its ejection is over");
        }
        let is_eligible = verdicts.is_eligible(now);
        self.is_suspect.store(!is_eligible, Ordering::Release);
        is_eligible
    }

    /// Whether it may not be picked, so that waiting for it has become pointless.
    pub(crate) fn is_out(&self, now: Instant) -> bool {
        !self.is_eligible(now)
    }

    /// Takes a probe's result, or a response's announcement, into account.
    pub(super) fn observe(&self, observation: Observation, thresholds: &Thresholds, reason: &str) {
        let mut verdicts = self.lock();
        let Some(transition) = verdicts.health.record(observation, thresholds) else {
            return;
        };
        self.is_suspect.store(true, Ordering::Release);
        drop(verdicts);
        self.metrics.changes.inc();
        let (cluster, endpoint) = (self.cluster.as_str(), self.label.as_str());
        match transition.to {
            Health::Healthy => tracing::info!(cluster, endpoint, reason, "endpoint is healthy"),
            Health::Unhealthy | Health::Unproven => {
                tracing::warn!(cluster, endpoint, reason, "endpoint is unhealthy");
            }
        }
    }

    /// Forgets what probes said, because nobody probes it any more.
    pub(super) fn assume_healthy(&self) {
        self.lock().health = HealthState::assumed_healthy();
    }

    /// Records a failure of real traffic; true asks for ejection.
    pub(super) fn fail(&self, now: Instant, policy: &eject::Policy) -> bool {
        let mut verdicts = self.lock();
        self.has_failures.store(true, Ordering::Release);
        verdicts.ejection.failure(now, policy)
    }

    /// Records a success of real traffic.
    pub(super) fn succeed(&self) {
        if self.has_failures.load(Ordering::Acquire) {
            let mut verdicts = self.lock();
            verdicts.ejection.success();
            self.has_failures.store(false, Ordering::Release);
        }
    }

    /// Puts it aside. `reason` is its last failure.
    pub(super) fn eject(&self, now: Instant, policy: &eject::Policy, reason: &str) {
        let mut verdicts = self.lock();
        verdicts.ejection.eject(now, policy);
        verdicts.is_told_ejected = true;
        self.is_suspect.store(true, Ordering::Release);
        drop(verdicts);
        self.metrics.changes.inc();
        let (cluster, endpoint) = (self.cluster.as_str(), self.label.as_str());
        let (failures, seconds) = (policy.failures, policy.duration.as_secs());
        tracing::warn!(
            cluster,
            endpoint,
            failures,
            seconds,
            reason,
            "endpoint is ejected"
        );
    }

    fn lock(&self) -> MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdicts {
    fn is_eligible(&self, now: Instant) -> bool {
        Eligibility {
            healthy: self.health.is_healthy(),
            not_ejected: !self.ejection.is_ejected(now),
            not_draining: true,
        }
        .is_eligible()
    }
}

/// A place in an endpoint's in-flight count; given back on drop, so exactly once.
#[derive(Debug)]
pub struct Slot {
    endpoint: Arc<Endpoint>,
}

impl Slot {
    pub(super) fn take(endpoint: &Arc<Endpoint>) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        endpoint.metrics.requests.inc();
        Self {
            endpoint: Arc::clone(endpoint),
        }
    }

    /// Whose place it is.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Names endpoints for strangers: without the key nobody learns the address, or finds it by trying.
#[derive(Debug)]
pub struct OpaqueIds {
    key: hmac::Key,
}

impl OpaqueIds {
    /// Ids are stable as long as the key is.
    pub fn new(key: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    fn of(&self, label: &str) -> HeaderValue {
        let tag = hmac::sign(&self.key, label.as_bytes());
        let mut text = String::with_capacity(16);
        for byte in tag.as_ref().iter().take(8) {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        visible(&text)
    }
}

fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("addresses and hexadecimal digits are visible ASCII")
}
