//! A circuit breaker: closed admits, open rejects, half-open tries. Never counts for more than one endpoint.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::share::{Ask, ErrorShare, Window};

/// When a breaker opens and how it closes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failures in a row that open it.
    pub failures: NonZeroU32,
    /// Share of failures that opens it; `None`: never.
    pub error_share: Option<ErrorShare>,
    /// How long it stays open.
    pub duration: Duration,
    /// Successes, half-open, that close it; also how many trial requests it admits at once.
    pub successes: NonZeroU32,
    /// Whether it acts.
    pub mode: Mode,
}

/// Whether a breaker acts or only watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Open, it rejects.
    Enforce,
    /// It says when it would have opened, and rejects nothing.
    Monitor,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Admits.
    Closed,
    /// Rejects.
    Open,
    /// Admits a few trial requests.
    HalfOpen,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            failures: NonZeroU32::new(5).expect("five is not zero"),
            error_share: Some(ErrorShare::default()),
            duration: Duration::from_secs(60),
            successes: NonZeroU32::new(5).expect("five is not zero"),
            mode: Mode::Enforce,
        }
    }
}

/// One breaker. Its moves: closed to open, open to half-open, half-open to closed or open.
///
/// Opening takes two steps, since whether it may depends on more than one endpoint:
///
/// ```
/// use std::time::Instant;
/// use portcullis_traffic::breaker::{Breaker, Policy, State};
/// use portcullis_traffic::share::Ask;
///
/// let (policy, now) = (Policy::default(), Instant::now());
/// let mut breaker = Breaker::new(&policy, now);
/// for _ in 0..4 {
///     assert_eq!(breaker.failed(&policy, now), Ask::Nothing);
/// }
/// assert_eq!(breaker.failed(&policy, now), Ask::ForRow);
/// breaker.open(&policy, now);
/// assert!(!breaker.admits(&policy));
/// assert!(breaker.tick(&policy, now + policy.duration));
/// assert_eq!(breaker.state(), State::HalfOpen);
/// ```
#[derive(Clone, Debug)]
pub struct Breaker {
    phase: Phase,
    since: Instant,
    window: Option<Window>,
    openings: u64,
    would_have_rejected: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        trials: u32,
        successes: u32,
        /// Trials that have not ended by then, streams perhaps, give their places to others. Counts
        /// from the last that began.
        renewal: Instant,
    },
}

impl Breaker {
    /// A closed breaker.
    pub fn new(policy: &Policy, now: Instant) -> Self {
        Self {
            phase: Phase::Closed { failures: 0 },
            since: now,
            window: policy
                .error_share
                .map(|share| Window::new(share.window, now)),
            openings: 0,
            would_have_rejected: 0,
        }
    }

    /// The policy is another: closed, with all that was counted towards opening forgotten.
    pub fn restart(&mut self, policy: &Policy, now: Instant) {
        let (openings, would_have_rejected) = (self.openings, self.would_have_rejected);
        *self = Self {
            openings,
            would_have_rejected,
            ..Self::new(policy, now)
        };
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// Since when.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// How often it opened.
    pub fn openings(&self) -> u64 {
        self.openings
    }

    /// Attempts that began although it would have rejected them.
    pub fn would_have_rejected(&self) -> u64 {
        self.would_have_rejected
    }

    /// Whether an attempt may begin, mode aside.
    pub fn admits(&self, policy: &Policy) -> bool {
        match self.phase {
            Phase::Closed { .. } => true,
            Phase::Open { .. } => false,
            Phase::HalfOpen { trials, .. } => trials < policy.successes.get(),
        }
    }

    /// An attempt begins.
    pub fn began(&mut self, policy: &Policy, now: Instant) {
        if !self.admits(policy) {
            self.would_have_rejected += 1;
        } else if let Phase::HalfOpen {
            trials, renewal, ..
        } = &mut self.phase
        {
            *trials += 1;
            *renewal = after(now, policy.duration);
        }
    }

    /// An attempt ended without a verdict.
    pub fn abandoned(&mut self) {
        if let Phase::HalfOpen { trials, .. } = &mut self.phase {
            *trials = trials.saturating_sub(1);
        }
    }

    /// An attempt succeeded. True if that closed the breaker.
    ///
    /// An attempt from before it opened that ends now is taken for a trial: the two cannot be told
    /// apart, and after so long few are left.
    pub fn succeeded(&mut self, policy: &Policy, now: Instant) -> bool {
        self.abandoned();
        match &mut self.phase {
            Phase::Closed { failures } => *failures = 0,
            Phase::Open { .. } => return false,
            Phase::HalfOpen { successes, .. } => {
                *successes += 1;
                if *successes < policy.successes.get() {
                    return false;
                }
                self.turn(Phase::Closed { failures: 0 }, now);
                return true;
            }
        }
        if let Some(window) = &mut self.window {
            window.succeeded(now);
        }
        false
    }

    /// An attempt failed. What it asks for may be refused; then the next failure asks again.
    pub fn failed(&mut self, policy: &Policy, now: Instant) -> Ask {
        self.abandoned();
        let failures = match &mut self.phase {
            Phase::Closed { failures } => failures,
            Phase::Open { .. } => return Ask::Nothing,
            Phase::HalfOpen { .. } => return Ask::ForRow,
        };
        *failures = failures.saturating_add(1);
        let is_row = *failures >= policy.failures.get();
        let share = self.window.as_mut().map(|window| {
            window.failed(now);
            window.totals(now)
        });
        let exceeds = |(share, totals): (ErrorShare, _)| share.is_exceeded_by(totals);
        if is_row {
            Ask::ForRow
        } else if policy.error_share.zip(share).is_some_and(exceeds) {
            Ask::ForShare
        } else {
            Ask::Nothing
        }
    }

    /// Opens it, unless it is open already.
    pub fn open(&mut self, policy: &Policy, now: Instant) {
        if self.state() == State::Open {
            return;
        }
        let until = after(now, policy.duration);
        self.turn(Phase::Open { until }, now);
        self.openings += 1;
    }

    /// Time passed. True if the breaker is half-open from now on, or has room for other trials.
    pub fn tick(&mut self, policy: &Policy, now: Instant) -> bool {
        if self.next_change(policy).is_none_or(|next| now < next) {
            return false;
        }
        let renewal = after(now, policy.duration);
        match &mut self.phase {
            Phase::HalfOpen {
                trials, renewal: r, ..
            } => (*trials, *r) = (0, renewal),
            Phase::Closed { .. } | Phase::Open { .. } => {
                let half_open = Phase::HalfOpen {
                    trials: 0,
                    successes: 0,
                    renewal,
                };
                self.turn(half_open, now);
            }
        }
        true
    }

    /// When time changes something.
    pub fn next_change(&self, policy: &Policy) -> Option<Instant> {
        match self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { until } => Some(until),
            Phase::HalfOpen { renewal, .. } => (!self.admits(policy)).then_some(renewal),
        }
    }

    fn turn(&mut self, phase: Phase, now: Instant) {
        (self.phase, self.since) = (phase, now);
        if let Some(window) = &mut self.window {
            window.clear();
        }
    }
}

/// A duration beyond the clock's range would mean for ever; a day is as long as a guess about the
/// near future can mean anything.
fn after(now: Instant, duration: Duration) -> Instant {
    const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
    now + duration.min(A_DAY)
}

#[cfg(test)]
mod tests;
