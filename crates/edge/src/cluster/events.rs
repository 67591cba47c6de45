//! What changes in clusters, told in one place: log, metrics, and the latest for whoever asks. Never
//! decides anything.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use portcullis_traffic::containment::{Change, Reason, Trouble, What};
use portcullis_traffic::endpoint::Standing;

use super::Endpoint;

/// So many are kept.
const EVENTS_MAX: usize = 256;

/// The latest changes of all clusters of one edge.
#[derive(Debug, Default)]
pub struct Events(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    latest: VecDeque<Event>,
    told: u64,
}

/// One change, as told.
#[derive(Clone, Debug)]
pub struct Event {
    /// Counts up from 1 without gaps; older ones than those kept are forgotten.
    pub number: u64,
    /// When.
    pub time: SystemTime,
    /// Name of the cluster.
    pub cluster: String,
    /// Address of the endpoint; `None` if the change is the whole cluster's.
    pub endpoint: Option<String>,
    /// What the endpoint may be given since.
    pub standing: Option<Standing>,
    /// What changed.
    pub what: What,
    /// Why.
    pub reason: Reason,
}

impl Event {
    /// What happened, as a sentence.
    pub fn sentence(&self) -> &'static str {
        sentence(self.what)
    }
}

impl Events {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The latest, oldest first.
    pub fn latest(&self) -> Vec<Event> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.latest.iter().cloned().collect()
    }

    /// Tells of a change. What concerns the choice of endpoints alone is passed over.
    pub(super) fn publish(&self, cluster: &str, endpoint: Option<&Endpoint>, change: &Change) {
        if !change.what.is_event() {
            return;
        }
        if let Some(endpoint) = endpoint {
            count(endpoint, change);
        }
        let label = endpoint.map(Endpoint::label);
        log(cluster, label, change);
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.told += 1;
        if ring.latest.len() == EVENTS_MAX {
            ring.latest.pop_front();
        }
        let event = Event {
            number: ring.told,
            time: SystemTime::now(),
            cluster: cluster.to_owned(),
            endpoint: label.map(str::to_owned),
            standing: change.endpoint.map(|(_, standing)| standing),
            what: change.what,
            reason: change.reason.clone(),
        };
        ring.latest.push_back(event);
    }
}

fn count(endpoint: &Endpoint, change: &Change) {
    let metrics = endpoint.metrics();
    metrics.changes.inc();
    match change.what {
        What::Ejected { .. } => metrics.count_ejection(reason_name(&change.reason)),
        What::BreakerOpened => metrics.count_breaker("open"),
        What::BreakerWouldOpen => metrics.count_breaker("would_open"),
        _ => {}
    }
}

/// Reasons as a label: a closed set.
fn reason_name(reason: &Reason) -> &'static str {
    match reason {
        Reason::Trouble(trouble) => match trouble {
            Trouble::Refused => "refused",
            Trouble::ConnectTimeout => "connect_timeout",
            Trouble::ConnectFailed => "connect",
            Trouble::Tls => "tls",
            Trouble::Reset => "reset",
            Trouble::Timeout => "timeout",
            Trouble::Malformed => "malformed",
            Trouble::Truncated => "truncated",
            Trouble::Status(_) => "status",
            Trouble::Mismatch | Trouble::HeaderMismatch | Trouble::BodyMismatch => "mismatch",
            Trouble::Dependency(_) => "dependency",
        },
        Reason::Passed | Reason::Elapsed => "recovered",
        Reason::Operator | Reason::Configured => "operator",
        Reason::Announced => "announced",
    }
}

/// One line, with the sentence for people and the fields for machines.
fn log(cluster: &str, endpoint: Option<&str>, change: &Change) {
    let (what, reason) = (sentence(change.what), change.reason.to_string());
    let event = change.what.name();
    let (duration, times) = match change.what {
        What::Ejected { duration, times } => (Some(duration.as_secs_f64()), Some(times)),
        _ => (None, None),
    };
    if is_bad(change.what) {
        tracing::warn!(
            cluster,
            endpoint,
            event,
            reason,
            seconds = duration,
            times,
            "{what}"
        );
    } else {
        tracing::info!(cluster, endpoint, event, reason, "{what}");
    }
}

/// Whether somebody may have to do something about it.
fn is_bad(what: What) -> bool {
    matches!(
        what,
        What::Unhealthy
            | What::Degraded { .. }
            | What::Ejected { .. }
            | What::BreakerOpened
            | What::BreakerWouldOpen
            | What::PanicBegan
            | What::SharedCause
    )
}

fn sentence(what: What) -> &'static str {
    match what {
        What::Healthy => "endpoint is healthy",
        What::Unhealthy => "endpoint is unhealthy",
        What::Degraded { .. } => "endpoint is degraded and gets less",
        What::Restored => "endpoint is no longer degraded",
        What::Ejected { .. } => "endpoint is ejected",
        What::EjectionOver => "endpoint is back: its ejection is over",
        What::BreakerOpened => "breaker is open: the endpoint gets nothing",
        What::BreakerHalfOpen => "breaker is half open: the endpoint is tried",
        What::BreakerClosed => "breaker is closed: the endpoint is back",
        What::BreakerWouldOpen => "breaker would open if it did more than watch",
        What::BreakerWouldClose => "breaker would close again",
        What::Draining => "endpoint is draining",
        What::Undrained => "endpoint drains no longer",
        What::Shifted => "endpoint may be given something else",
        What::PanicBegan => "no endpoint is eligible: those that accept connections are used",
        What::PanicEnded => "endpoints of last resort are used no longer",
        What::SharedCause => "all endpoints fail for the same cause: nobody is put aside for it",
        What::SharedCauseOver => "the shared cause is over",
    }
}
