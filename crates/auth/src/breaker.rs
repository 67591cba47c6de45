//! Stops asking a dependency that only fails, so that requests fail or take their other way at once. Never decides what
//! that other way is, and never hides whether the dependency was asked.
//!
//! [`Breaker`] is the pure part, on a clock that is an argument; [`Guard`] puts one around calls. After so many
//! failures in a row it is *open* and rejects; when its time is over one call probes (*half-open*), and how that ends
//! decides. A call made beside it, as health checks are, ends the wait for that probe when it is answered. In monitor
//! mode everything is counted and nothing rejected: to see what would happen before it does.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When a breaker opens, for how long, and whether it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it.
    pub failures: NonZeroU32,
    /// How long it then rejects before it lets one call try.
    pub open_for: Duration,
    /// What it does about it.
    pub mode: BreakerMode,
}

/// What a breaker does beside counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerMode {
    /// Rejects while open.
    Enforce,
    /// Only shows what it would do.
    Monitor,
    /// Nothing, not even counting.
    Off,
}

impl BreakerMode {
    /// The word in settings and health answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Monitor => "monitor",
            Self::Off => "off",
        }
    }
}

/// Where a breaker stands, in the electrician's sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerState {
    /// Admits.
    Closed,
    /// Admits one call that decides.
    HalfOpen,
    /// Rejects.
    Open,
}

impl BreakerState {
    /// The word in health answers.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::HalfOpen => "HALF_OPEN",
            Self::Open => "OPEN",
        }
    }

    /// The value of the metric.
    pub(crate) fn level(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

/// A breaker as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BreakerView {
    pub(crate) dependency: &'static str,
    pub(crate) state: BreakerState,
    pub(crate) mode: BreakerMode,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// How often it opened.
    pub(crate) opened_total: u64,
    /// Calls it rejected; in monitor mode, would have rejected.
    pub(crate) rejected_total: u64,
}

/// What may be done about one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    /// Go on; the outcome counts.
    Counted,
    /// Go on; the outcome decides.
    Probe,
    /// Go on; the outcome says nothing new.
    Unheeded,
    Rejected,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Succeeded,
    Failed,
    /// Nobody waited for it.
    Abandoned,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open {
        until: Instant,
    },
    /// One call is out.
    Probing,
}

/// The pure part.
#[derive(Debug)]
struct Breaker {
    settings: BreakerSettings,
    phase: Phase,
    failures: u32,
    opened_total: u64,
    rejected_total: u64,
}

impl Breaker {
    fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            phase: Phase::Closed,
            failures: 0,
            opened_total: 0,
            rejected_total: 0,
        }
    }

    fn admit(&mut self, now: Instant) -> Admission {
        match (self.settings.mode, self.phase) {
            (BreakerMode::Off, _) => Admission::Unheeded,
            (_, Phase::Closed) => Admission::Counted,
            (_, Phase::Open { until }) if until <= now => {
                self.phase = Phase::Probing;
                Admission::Probe
            }
            (mode, Phase::Open { .. } | Phase::Probing) => {
                self.rejected_total += 1;
                match mode {
                    BreakerMode::Enforce => Admission::Rejected,
                    BreakerMode::Monitor | BreakerMode::Off => Admission::Unheeded,
                }
            }
        }
    }

    /// Takes in how an admitted call ended; the state it led to, if that is another.
    fn ended(
        &mut self,
        admission: Admission,
        ending: Ending,
        now: Instant,
    ) -> Option<BreakerState> {
        match (admission, self.phase, ending) {
            (Admission::Counted, Phase::Closed, Ending::Succeeded) => self.failures = 0,
            (Admission::Counted, Phase::Closed, Ending::Failed) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= self.settings.failures.get() {
                    return Some(self.open(now));
                }
            }
            (Admission::Probe, Phase::Probing, Ending::Succeeded) => {
                self.failures = 0;
                self.phase = Phase::Closed;
                return Some(BreakerState::Closed);
            }
            (Admission::Probe, Phase::Probing, Ending::Failed) => {
                self.failures = self.failures.saturating_add(1);
                return Some(self.open(now));
            }
            // Nothing was learnt: the next call probes.
            (Admission::Probe, Phase::Probing, Ending::Abandoned) => {
                self.phase = Phase::Open { until: now };
            }
            // Calls that began under another state say nothing about this one.
            _ => {}
        }
        None
    }

    /// A call that is made whatever the state was answered: the time until the next probe is over.
    fn answered(&mut self, now: Instant) {
        if let Phase::Open { until } = &mut self.phase {
            *until = now.min(*until);
        }
    }

    fn open(&mut self, now: Instant) -> BreakerState {
        let until = now + self.settings.open_for;
        self.phase = Phase::Open { until };
        self.opened_total += 1;
        BreakerState::Open
    }

    fn state(&self, now: Instant) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { until } if until > now => BreakerState::Open,
            Phase::Open { .. } | Phase::Probing => BreakerState::HalfOpen,
        }
    }
}

/// A breaker around the calls to one dependency.
#[derive(Debug)]
pub(crate) struct Guard {
    dependency: &'static str,
    breaker: Mutex<Breaker>,
}

/// The breaker is open: the dependency was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the circuit breaker is open after failures in a row")]
pub(crate) struct Rejected;

impl Guard {
    pub(crate) fn new(dependency: &'static str, settings: BreakerSettings) -> Self {
        Self {
            dependency,
            breaker: Mutex::new(Breaker::new(settings)),
        }
    }

    /// Makes the call, if that is worth it. `is_failure` tells errors that speak against the dependency from answers
    /// that are errors. A call that is dropped before its end counts neither way.
    pub(crate) async fn call<T, E>(
        &self,
        is_failure: impl Fn(&E) -> bool,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<Result<T, E>, Rejected> {
        let admission = self.lock().admit(Instant::now());
        if admission == Admission::Rejected {
            return Err(Rejected);
        }
        let mut call_out = CallOut {
            guard: self,
            admission,
            ending: Ending::Abandoned,
        };
        let outcome = call.await;
        call_out.ending = match &outcome {
            Err(error) if is_failure(error) => Ending::Failed,
            _ => Ending::Succeeded,
        };
        Ok(outcome)
    }

    /// Tells of a call beside the breaker that was answered: the dependency is back, so the next call probes.
    pub(crate) fn answered(&self) {
        self.lock().answered(Instant::now());
    }

    /// What people and metrics are shown.
    pub(crate) fn view(&self) -> BreakerView {
        let breaker = self.lock();
        BreakerView {
            dependency: self.dependency,
            state: breaker.state(Instant::now()),
            mode: breaker.settings.mode,
            failures: breaker.failures,
            opened_total: breaker.opened_total,
            rejected_total: breaker.rejected_total,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One breaker for each dependency.
#[derive(Clone, Debug)]
pub(crate) struct Breakers {
    pub(crate) database: Arc<Guard>,
    pub(crate) shared_state: Arc<Guard>,
}

impl Breakers {
    pub(crate) fn new(settings: BreakerSettings) -> Self {
        Self {
            database: Arc::new(Guard::new("database", settings)),
            shared_state: Arc::new(Guard::new("shared_state", settings)),
        }
    }

    pub(crate) fn views(&self) -> [BreakerView; 2] {
        [self.database.view(), self.shared_state.view()]
    }
}

/// Reports how a call ended, also when nobody polls it any more.
struct CallOut<'a> {
    guard: &'a Guard,
    admission: Admission,
    ending: Ending,
}

impl Drop for CallOut<'_> {
    fn drop(&mut self) {
        let mut breaker = self.guard.lock();
        let changed = breaker.ended(self.admission, self.ending, Instant::now());
        let (failures, mode) = (breaker.failures, breaker.settings.mode.as_str());
        drop(breaker);
        let dependency = self.guard.dependency;
        match changed {
            Some(BreakerState::Open) => {
                tracing::warn!(dependency, failures, mode, "the circuit breaker opens");
            }
            Some(_) => tracing::info!(dependency, mode, "the circuit breaker closes"),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
