//! What is known of a cluster and its endpoints at one instant, for operators. Never changes anything.

use std::sync::Arc;
use std::time::Instant;

use portcullis_traffic::containment::{ObstacleKind, Report, Trouble};
use portcullis_traffic::endpoint::Standing;

use super::Endpoint;
use super::core::State;

/// A cluster at one instant.
#[derive(Clone, Debug)]
pub struct ClusterStatus {
    /// Its endpoints in file order.
    pub endpoints: Vec<EndpointStatus>,
    /// Requests that wait for a place.
    pub queued: usize,
    /// Whether nobody is eligible and endpoints of last resort are used.
    pub is_panicking: bool,
    /// What all endpoints that can be reached fail for.
    pub shared_cause: Option<Trouble>,
}

/// An endpoint at one instant.
#[derive(Clone, Debug)]
pub struct EndpointStatus {
    /// Which.
    pub endpoint: Arc<Endpoint>,
    /// Attempts running.
    pub in_flight: u32,
    /// Its weight, as configured or changed since.
    pub weight: u16,
    /// How much of its weight slow start lets it have.
    pub slow_start_percent: u8,
    /// Why it is out, or all about it if it is not.
    pub report: Report,
}

impl EndpointStatus {
    /// All words of [`EndpointStatus::state`].
    pub const STATES: [&'static str; 5] = ["in", "degraded", "draining", "last_resort", "out"];

    /// Its standing as a word: `in`, `degraded`, `draining`, `last_resort` or `out`.
    pub fn state(&self) -> &'static str {
        match self.report.standing {
            Standing::In { share_percent: 100 } => "in",
            Standing::In { .. } => "degraded",
            Standing::Draining => "draining",
            Standing::Out {
                is_last_resort: true,
            } => "last_resort",
            Standing::Out { .. } => "out",
        }
    }

    /// Whether active checks hold it healthy.
    pub fn is_healthy(&self) -> bool {
        !self.has(|kind| {
            matches!(
                kind,
                ObstacleKind::Unproven { .. } | ObstacleKind::Unhealthy { .. }
            )
        })
    }

    /// Whether it is put aside for failures seen on traffic.
    pub fn is_ejected(&self) -> bool {
        self.has(|kind| matches!(kind, ObstacleKind::Ejected { .. }))
    }

    fn has(&self, is_one: impl Fn(ObstacleKind) -> bool) -> bool {
        let mut kinds = self.report.obstacles.iter().map(|obstacle| obstacle.kind);
        kinds.any(is_one)
    }
}

/// What stands between an endpoint and traffic, in words.
pub(crate) fn obstacle_name(kind: ObstacleKind) -> &'static str {
    match kind {
        ObstacleKind::Unproven { .. } => "unproven",
        ObstacleKind::Unhealthy { .. } => "unhealthy",
        ObstacleKind::Degraded { .. } => "degraded",
        ObstacleKind::Ejected { .. } => "ejected",
        ObstacleKind::BreakerOpen => "breaker open",
        ObstacleKind::BreakerHalfOpen => "breaker half-open",
        ObstacleKind::Drained => "drained by the operator",
        ObstacleKind::AnnouncedDraining => "announced draining",
    }
}

impl State {
    pub(super) fn status(&self, endpoints: &[Arc<Endpoint>], now: Instant) -> ClusterStatus {
        let status = |endpoint| self.endpoint_status(endpoint, now);
        ClusterStatus {
            endpoints: endpoints.iter().filter_map(status).collect(),
            queued: self.queue.len(),
            is_panicking: self.containment.is_panicking(),
            shared_cause: self.containment.shared_cause().cloned(),
        }
    }

    /// `None` if it was removed since.
    pub(super) fn endpoint_status(
        &self,
        endpoint: &Arc<Endpoint>,
        now: Instant,
    ) -> Option<EndpointStatus> {
        let id = endpoint.id();
        Some(EndpointStatus {
            endpoint: Arc::clone(endpoint),
            in_flight: self.selector.in_flight(id),
            weight: self.selector.weight(id)?,
            slow_start_percent: self.selector.slow_start_percent(id, now)?,
            report: self.containment.report(id, now)?,
        })
    }
}
