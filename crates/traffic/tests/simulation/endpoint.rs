//! A simulated endpoint: how it behaves, and what the edge holds about it. Never decides anything.

use std::time::{Duration, Instant};

use portcullis_traffic::eject::EjectionState;
use portcullis_traffic::eligible::Eligibility;
use portcullis_traffic::health::{HealthState, Observation};
use portcullis_traffic::retry::Failure;

use crate::settings::Settings;
use crate::witness::Seen;

const RESPONSE_TIME: Duration = Duration::from_millis(20);
const CONNECT_TIME: Duration = Duration::from_millis(1);
const TIMEOUT: Duration = Duration::from_millis(500);

/// The mood of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Up,
    /// Ten times slower.
    Slow,
    /// Accepts and never answers.
    Hanging,
    /// No process behind the port.
    Refusing,
    /// Answers 503.
    Erring,
    /// Serves, but says that it is about to leave.
    Leaving,
}

pub(crate) const CONDITIONS: [Condition; 6] = [
    Condition::Up,
    Condition::Slow,
    Condition::Hanging,
    Condition::Refusing,
    Condition::Erring,
    Condition::Leaving,
];

pub(crate) struct Endpoint {
    pub(crate) weight: u32,
    pub(crate) condition: Condition,
    pub(crate) in_flight: u32,
    pub(crate) served: u64,
    pub(crate) health: HealthState,
    pub(crate) ejection: EjectionState,
    pub(crate) is_draining: bool,
    pub(crate) seen: Seen,
}

impl Endpoint {
    pub(crate) fn new(weight: u32, settings: &Settings) -> Self {
        let health = match settings.probe_interval {
            Some(_) => HealthState::new(),
            None => HealthState::assumed_healthy(),
        };
        Self {
            weight,
            condition: Condition::Up,
            in_flight: 0,
            served: 0,
            health,
            ejection: EjectionState::new(),
            is_draining: false,
            seen: Seen::default(),
        }
    }

    pub(crate) fn is_eligible(&self, now: Instant) -> bool {
        let eligibility = Eligibility {
            healthy: self.health.is_healthy(),
            not_ejected: !self.ejection.is_ejected(now),
            not_draining: !self.is_draining,
        };
        eligibility.is_eligible()
    }

    /// What an attempt that begins now will come to, and after how long.
    pub(crate) fn respond(&self, rng: &mut fastrand::Rng) -> (Duration, Option<Failure>) {
        let time = RESPONSE_TIME.mul_f64(0.5 + rng.f64());
        match self.condition {
            Condition::Up | Condition::Leaving => (time, None),
            Condition::Slow => (time * 10, None),
            Condition::Hanging => (TIMEOUT, Some(Failure::Timeout)),
            Condition::Refusing => (CONNECT_TIME, Some(Failure::Connect)),
            Condition::Erring => (time, Some(Failure::Status(503))),
        }
    }

    /// What a probe that ends now gets.
    pub(crate) fn answer_probe(&self) -> Observation {
        match self.condition {
            Condition::Up | Condition::Slow => Observation::Pass,
            Condition::Leaving => Observation::Draining,
            Condition::Hanging | Condition::Refusing | Condition::Erring => Observation::Fail,
        }
    }
}
