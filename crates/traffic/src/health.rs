//! What probes say about one endpoint: rise and fall counting. Never probes, and never looks at real traffic.

use std::num::NonZeroU32;

/// How many probes in a row change the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Passes in a row that bring an unhealthy endpoint back.
    pub rise: NonZeroU32,
    /// Failures in a row that take an endpoint out.
    pub fall: NonZeroU32,
}

/// The verdict on an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// Nothing passed yet since it was added. Takes no traffic: a new endpoint must show once that
    /// it works before a request depends on it.
    Unproven,
    /// Takes traffic.
    Healthy,
    /// Takes no traffic until `rise` probes in a row pass.
    Unhealthy,
}

/// The result of one probe, or a notice that arrived with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Observation {
    /// The probe got what it expects.
    Pass,
    /// It did not, in whatever way.
    Fail,
    /// The endpoint itself says that it is about to leave.
    Draining,
}

/// A change of verdict, for the log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: Health,
    /// After; never the same.
    pub to: Health,
}

/// The verdict on one endpoint and the streak that may change it.
///
/// ```
/// use std::num::NonZeroU32;
/// use portcullis_traffic::health::{Health, HealthState, Observation, Thresholds};
///
/// let thresholds = Thresholds { rise: NonZeroU32::new(2).unwrap(), fall: NonZeroU32::MIN };
/// let mut state = HealthState::new();
/// let transition = state.record(Observation::Pass, &thresholds).unwrap();
/// assert_eq!((transition.from, transition.to), (Health::Unproven, Health::Healthy));
/// ```
#[derive(Clone, Debug)]
pub struct HealthState {
    health: Health,
    /// Observations in a row that speak against the present verdict.
    contrary: u32,
}

impl HealthState {
    /// A new endpoint: unproven.
    pub fn new() -> Self {
        Self {
            health: Health::Unproven,
            contrary: 0,
        }
    }

    /// An endpoint of a cluster without probes: healthy, since nothing can ever prove it.
    pub fn assumed_healthy() -> Self {
        Self {
            health: Health::Healthy,
            contrary: 0,
        }
    }

    /// The present verdict.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Whether probes let the endpoint take traffic.
    pub fn is_healthy(&self) -> bool {
        self.health == Health::Healthy
    }

    /// Takes one observation into account; `Some` if the verdict changed.
    ///
    /// [`Observation::Draining`] acts at once, whatever `fall` says: it is no sign of trouble that
    /// might pass but an announcement, and its sender waits only so long before it leaves.
    pub fn record(
        &mut self,
        observation: Observation,
        thresholds: &Thresholds,
    ) -> Option<Transition> {
        let next = match (self.health, observation) {
            (Health::Unproven, Observation::Pass) => Health::Healthy,
            (_, Observation::Draining) => Health::Unhealthy,
            (Health::Healthy, Observation::Pass) | (Health::Unhealthy, Observation::Fail) => {
                self.health
            }
            (Health::Unproven | Health::Healthy, Observation::Fail) => {
                return self.count_against(thresholds.fall, Health::Unhealthy);
            }
            (Health::Unhealthy, Observation::Pass) => {
                return self.count_against(thresholds.rise, Health::Healthy);
            }
        };
        self.turn(next)
    }

    /// One more observation against the verdict; at `threshold` of them it turns into `opposite`.
    fn count_against(&mut self, threshold: NonZeroU32, opposite: Health) -> Option<Transition> {
        self.contrary = self.contrary.saturating_add(1);
        if self.contrary < threshold.get() {
            return None;
        }
        self.turn(opposite)
    }

    fn turn(&mut self, next: Health) -> Option<Transition> {
        let from = std::mem::replace(&mut self.health, next);
        self.contrary = 0;
        (from != next).then_some(Transition { from, to: next })
    }
}

impl Default for HealthState {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Observation::{Draining, Fail, Pass};
    use super::*;

    fn thresholds(rise: u32, fall: u32) -> Thresholds {
        Thresholds {
            rise: NonZeroU32::new(rise).unwrap(),
            fall: NonZeroU32::new(fall).unwrap(),
        }
    }

    /// The verdicts after each observation.
    fn play(state: &mut HealthState, observations: &[Observation]) -> Vec<Health> {
        let thresholds = thresholds(2, 3);
        let verdict = |o: &Observation| {
            let before = state.health();
            let transition = state.record(*o, &thresholds);
            let after = state.health();
            assert_eq!(transition.is_some(), before != after);
            assert_eq!(
                transition
                    .map(|t| (t.from, t.to))
                    .unwrap_or((before, before))
                    .1,
                after
            );
            after
        };
        observations.iter().map(verdict).collect()
    }

    #[test]
    fn a_new_endpoint_is_unproven_and_not_healthy() {
        assert_eq!(HealthState::new().health(), Health::Unproven);
        assert!(!HealthState::default().is_healthy());
    }

    #[test]
    fn the_first_pass_proves_an_endpoint_even_after_failures() {
        assert_eq!(play(&mut HealthState::new(), &[Pass]), [Health::Healthy]);
        assert_eq!(
            play(&mut HealthState::new(), &[Fail, Fail, Pass]),
            [Health::Unproven, Health::Unproven, Health::Healthy]
        );
    }

    #[test]
    fn an_unproven_endpoint_that_keeps_failing_becomes_unhealthy() {
        assert_eq!(
            play(&mut HealthState::new(), &[Fail, Fail, Fail]).last(),
            Some(&Health::Unhealthy)
        );
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let mut state = HealthState::assumed_healthy();
        let verdicts = play(&mut state, &[Fail, Fail, Pass, Fail, Fail]);
        assert!(verdicts.iter().all(|v| *v == Health::Healthy));
        assert_eq!(play(&mut state, &[Fail]), [Health::Unhealthy]);
    }

    #[test]
    fn recovery_needs_passes_in_a_row() {
        let mut state = HealthState::assumed_healthy();
        play(&mut state, &[Fail, Fail, Fail]);
        assert_eq!(
            play(&mut state, &[Pass, Fail, Pass, Pass]),
            [
                Health::Unhealthy,
                Health::Unhealthy,
                Health::Unhealthy,
                Health::Healthy
            ]
        );
    }

    #[test]
    fn draining_acts_at_once_from_every_state() {
        for mut state in [HealthState::new(), HealthState::assumed_healthy()] {
            assert_eq!(play(&mut state, &[Draining]), [Health::Unhealthy]);
        }
    }

    #[test]
    fn draining_starts_the_recovery_count_again() {
        let mut state = HealthState::assumed_healthy();
        assert_eq!(
            play(&mut state, &[Draining, Pass, Draining, Pass, Pass]),
            [
                Health::Unhealthy,
                Health::Unhealthy,
                Health::Unhealthy,
                Health::Unhealthy,
                Health::Healthy
            ]
        );
    }

    #[test]
    fn a_fresh_verdict_starts_with_a_clean_streak() {
        let mut state = HealthState::assumed_healthy();
        play(&mut state, &[Fail, Fail, Fail, Pass, Pass]);
        assert_eq!(
            play(&mut state, &[Fail, Fail]).last(),
            Some(&Health::Healthy)
        );
    }

    #[test]
    fn thresholds_of_one_react_to_every_observation() {
        let one = thresholds(1, 1);
        let mut state = HealthState::assumed_healthy();
        assert!(state.record(Fail, &one).is_some());
        assert!(state.record(Pass, &one).is_some());
        assert!(state.is_healthy());
    }

    #[test]
    fn the_largest_threshold_is_never_reached_by_accident() {
        let never = thresholds(u32::MAX, u32::MAX);
        let mut state = HealthState {
            health: Health::Healthy,
            contrary: u32::MAX - 2,
        };
        assert!(state.record(Fail, &never).is_none());
        assert!(state.record(Fail, &never).is_some());
    }
}
