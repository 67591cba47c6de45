//! What the configuration says of a cluster, in the words of `traffic`. Never decides anything.

use std::time::Duration;

use portcullis_traffic::breaker;
use portcullis_traffic::containment::{CheckPolicy, Policy, eject};
use portcullis_traffic::queue::Limits;
use portcullis_traffic::select::{self, Member, Settings, SlowStart, Zone};
use portcullis_traffic::share::ErrorShare;

use super::Endpoint;
use crate::config::{self, Balance, BreakerMode};

/// How long a latency counts for `peak_ewma`: finagle's practice.
const EWMA_DECAY: Duration = Duration::from_secs(10);
/// Over what time `ejection.error_percent` is taken.
const EJECTION_SHARE_WINDOW: Duration = Duration::from_secs(10);

/// How an edge in this zone chooses among the endpoints of a cluster.
pub(super) fn settings(config: &config::Cluster, zone: Option<&str>) -> Settings {
    let balance = match &config.balance {
        Balance::RoundRobin => select::Balance::RoundRobin,
        Balance::LeastConn => select::Balance::LeastConn,
        Balance::P2c => select::Balance::P2c,
        Balance::PeakEwma => select::Balance::PeakEwma { decay: EWMA_DECAY },
        Balance::Hash {
            bounded_load_percent,
            ..
        } => select::Balance::Hash {
            bounded_load_percent: *bounded_load_percent,
        },
    };
    Settings {
        slow_start: config.slow_start.map(|window| SlowStart { window }),
        zone: zone.map(Zone::new),
        ..Settings::new(balance)
    }
}

/// One endpoint of a cluster.
pub(super) fn member(config: &config::Endpoint, endpoint: &Endpoint) -> Member {
    Member {
        weight: config.weight,
        priority: config.priority,
        zone: config.zone.as_deref().map(Zone::new),
        max_in_flight: config.max_requests.get(),
        ..Member::new(endpoint.id(), config.address)
    }
}

/// What a cluster does about trouble.
pub(super) fn containment(config: &config::Cluster) -> Policy {
    let check = |check: &config::HealthCheck| CheckPolicy {
        rise: check.rise,
        fall: check.fall,
        role: check.role,
    };
    Policy {
        checks: config.health.iter().map(check).collect(),
        ejection: config.ejection.as_ref().map(ejection),
        breaker: config.breaker.as_ref().map(breaker),
    }
}

fn ejection(config: &config::Ejection) -> eject::Policy {
    eject::Policy {
        failures: config.failures,
        window: config.window,
        duration: config.duration,
        max_duration: config.max_duration,
        gateway_errors: config.gateway_errors,
        error_share: config.error_percent.map(|percent| ErrorShare {
            percent: percent.get(),
            requests: config.error_requests,
            window: EJECTION_SHARE_WINDOW,
        }),
        max_percent: config.max_percent,
    }
}

fn breaker(config: &config::Breaker) -> breaker::Policy {
    breaker::Policy {
        failures: config.failures,
        error_share: config.error_percent.map(|percent| ErrorShare {
            percent: percent.get(),
            requests: config.error_requests,
            window: config.window,
        }),
        duration: config.duration,
        successes: config.successes,
        mode: match config.mode {
            BreakerMode::Enforce => breaker::Mode::Enforce,
            BreakerMode::Monitor => breaker::Mode::Monitor,
        },
    }
}

/// Who may wait. Without a queue nobody.
pub(super) fn queue(config: Option<&config::Queue>) -> Limits {
    config.map_or(
        Limits {
            length: 0,
            timeout: Duration::ZERO,
        },
        |queue| Limits {
            length: queue.length.get() as usize,
            timeout: queue.timeout,
        },
    )
}
