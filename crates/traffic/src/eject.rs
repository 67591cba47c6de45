//! Passive ejection: failures of real traffic put an endpoint aside for a while. Never probes, and never empties a cluster.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// When to eject and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failures in a row, all within `window`, that ask for ejection.
    pub failures: NonZeroU32,
    /// How far apart the first and the last of them may be.
    pub window: Duration,
    /// How long an ejected endpoint stays out.
    pub duration: Duration,
    /// Largest share of a cluster that may be out at once, in percent.
    pub max_percent: u8,
}

/// Recent failures of one endpoint, and until when it is out.
///
/// Asking and ejecting are two steps, because the answer needs the whole cluster ([`may_eject`]):
///
/// ```
/// use std::num::NonZeroU32;
/// use std::time::{Duration, Instant};
/// use portcullis_traffic::eject::{EjectionState, Policy, may_eject};
///
/// let policy = Policy {
///     failures: NonZeroU32::MIN,
///     window: Duration::from_secs(30),
///     duration: Duration::from_secs(30),
///     max_percent: 50,
/// };
/// let (now, mut endpoint) = (Instant::now(), EjectionState::default());
/// if endpoint.failure(now, &policy) && may_eject(3, 0, &policy) {
///     endpoint.eject(now, &policy);
/// }
/// assert!(endpoint.is_ejected(now));
/// ```
#[derive(Clone, Debug, Default)]
pub struct EjectionState {
    /// Failures since the last success, oldest first; at most `Policy::failures`, since only that
    /// many can matter.
    failures: VecDeque<Instant>,
    out_until: Option<Instant>,
}

impl EjectionState {
    /// An endpoint that has not failed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a failure. True if the endpoint should be ejected now, which the cap may forbid;
    /// then every further failure asks again.
    ///
    /// While the endpoint is out, failures of attempts that began earlier count for nothing: they
    /// say what is known already, and must not lengthen the ejection.
    pub fn failure(&mut self, now: Instant, policy: &Policy) -> bool {
        if self.is_ejected(now) {
            return false;
        }
        let needed = usize::try_from(policy.failures.get()).unwrap_or(usize::MAX);
        self.failures.push_back(now);
        while self.failures.len() > needed || self.oldest_is_stale(now, policy) {
            self.failures.pop_front();
        }
        self.failures.len() == needed
    }

    /// Records a success: failures no longer stand in a row. An ejection runs its time all the
    /// same, for the success may be of an attempt that began before it.
    pub fn success(&mut self) {
        self.failures.clear();
    }

    /// Puts the endpoint aside for `policy.duration`, with a clean slate afterwards.
    pub fn eject(&mut self, now: Instant, policy: &Policy) {
        self.failures.clear();
        // A duration beyond the clock's range would mean for ever; a day is as long as ejection,
        // which is a guess about the near future, can mean anything.
        self.out_until = now.checked_add(policy.duration).or(now.checked_add(A_DAY));
    }

    /// Whether the endpoint is put aside at `now`.
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.out_until.is_some_and(|until| now < until)
    }

    fn oldest_is_stale(&self, now: Instant, policy: &Policy) -> bool {
        self.failures
            .front()
            .is_some_and(|oldest| now.saturating_duration_since(*oldest) > policy.window)
    }
}

/// Whether one more endpoint of a cluster may be ejected: the share that is out then stays within
/// `max_percent`, and one that takes traffic is left.
///
/// `already_out` counts the endpoints that take no traffic for whatever reason, ejection, probes
/// or drain: the cap protects what is left, and what is left does not care why the others are out.
pub fn may_eject(total: usize, already_out: usize, policy: &Policy) -> bool {
    let out_then = already_out.saturating_add(1);
    let share_is_kept = out_then.saturating_mul(100)
        <= total.saturating_mul(usize::from(policy.max_percent.min(100)));
    out_then < total && share_is_kept
}

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(failures: u32) -> Policy {
        Policy {
            failures: NonZeroU32::new(failures).unwrap(),
            window: seconds(30),
            duration: seconds(10),
            max_percent: 50,
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Answers of `failure` at these seconds.
    fn fail_at(
        state: &mut EjectionState,
        start: Instant,
        at: &[u64],
        policy: &Policy,
    ) -> Vec<bool> {
        at.iter()
            .map(|s| state.failure(start + seconds(*s), policy))
            .collect()
    }

    #[test]
    fn asks_at_the_configured_number_of_failures() {
        let mut state = EjectionState::new();
        let answers = fail_at(&mut state, Instant::now(), &[0, 1, 2], &policy(3));
        assert_eq!(answers, [false, false, true]);
    }

    #[test]
    fn a_success_between_failures_breaks_the_row() {
        let (start, policy, mut state) = (Instant::now(), policy(3), EjectionState::new());
        fail_at(&mut state, start, &[0, 1], &policy);
        state.success();
        assert_eq!(
            fail_at(&mut state, start, &[2, 3, 4], &policy),
            [false, false, true]
        );
    }

    #[test]
    fn the_window_slides_with_the_failures() {
        let mut state = EjectionState::new();
        let answers = fail_at(&mut state, Instant::now(), &[0, 29, 31, 32], &policy(3));
        assert_eq!(answers, [false, false, false, true]);
    }

    #[test]
    fn failures_exactly_a_window_apart_still_count() {
        let mut state = EjectionState::new();
        assert_eq!(
            fail_at(&mut state, Instant::now(), &[0, 30], &policy(2)),
            [false, true]
        );
        let mut state = EjectionState::new();
        assert_eq!(
            fail_at(&mut state, Instant::now(), &[0, 31], &policy(2)),
            [false, false]
        );
    }

    #[test]
    fn a_refused_ejection_is_asked_for_again_at_the_next_failure() {
        let mut state = EjectionState::new();
        let answers = fail_at(&mut state, Instant::now(), &[0, 1, 2, 3, 4], &policy(3));
        assert_eq!(answers, [false, false, true, true, true]);
        assert_eq!(
            state.failures.len(),
            3,
            "never keeps more failures than can matter"
        );
    }

    #[test]
    fn an_ejection_ends_by_itself_and_leaves_a_clean_slate() {
        let (start, policy, mut state) = (Instant::now(), policy(2), EjectionState::new());
        fail_at(&mut state, start, &[0, 0], &policy);
        state.eject(start, &policy);
        assert!(state.is_ejected(start) && state.is_ejected(start + seconds(9)));
        assert!(!state.is_ejected(start + seconds(10)));
        assert_eq!(
            fail_at(&mut state, start, &[10, 11], &policy),
            [false, true]
        );
    }

    #[test]
    fn late_results_of_older_attempts_neither_lengthen_nor_end_an_ejection() {
        let (start, policy, mut state) = (Instant::now(), policy(1), EjectionState::new());
        state.eject(start, &policy);
        assert_eq!(
            fail_at(&mut state, start, &[1, 2, 3], &policy),
            [false, false, false]
        );
        state.success();
        assert!(state.is_ejected(start + seconds(9)));
        assert!(!state.is_ejected(start + seconds(10)));
    }

    #[test]
    fn a_clock_that_seems_to_step_back_does_no_harm() {
        let (start, policy, mut state) = (Instant::now(), policy(2), EjectionState::new());
        assert!(!state.failure(start + seconds(5), &policy));
        assert!(state.failure(start, &policy));
    }

    #[test]
    fn an_endless_duration_is_cut_instead_of_overflowing() {
        let (start, mut state) = (Instant::now(), EjectionState::new());
        state.eject(
            start,
            &Policy {
                duration: Duration::MAX,
                ..policy(1)
            },
        );
        assert!(state.is_ejected(start));
    }

    #[test]
    fn half_of_a_cluster_may_be_out_but_no_more() {
        let allowed: Vec<usize> = (1..=6)
            .map(|n| {
                (0..n)
                    .take_while(|out| may_eject(n, *out, &policy(1)))
                    .count()
            })
            .collect();
        assert_eq!(allowed, [0, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn the_last_endpoint_is_never_ejected() {
        let everything = Policy {
            max_percent: 100,
            ..policy(1)
        };
        assert!(!may_eject(1, 0, &everything));
        assert!(may_eject(3, 1, &everything));
        assert!(!may_eject(3, 2, &everything));
    }

    #[test]
    fn a_cap_of_zero_switches_ejection_off() {
        assert!(!may_eject(
            1_000,
            0,
            &Policy {
                max_percent: 0,
                ..policy(1)
            }
        ));
    }

    #[test]
    fn impossible_counts_are_refused() {
        let wild = Policy {
            max_percent: 255,
            ..policy(1)
        };
        assert!(!may_eject(0, 0, &wild));
        assert!(!may_eject(3, 3, &wild));
        assert!(!may_eject(3, usize::MAX, &wild));
    }
}
