//! How quick each endpoint has been of late: peak EWMA. Never reads a clock.
//!
//! An endpoint's latency is an average in which an observation counts 1/e after `decay`; but a
//! latency above it replaces it at once, so that trouble is believed at the first sight and
//! recovery only with time. Without observations it fades, so that whoever was slow once is tried
//! again. (The cost function of Finagle and Linkerd.)
//!
//! All latencies fade at the same pace. So they are kept as they would have to be at one common
//! instant in the past to be what they are now: comparing two of them then needs no time and no
//! exponential, and nothing has to be brought up to date before a pick.

use std::time::{Duration, Instant};

/// What counts as no latency at all, in seconds: latencies fade to this and no further.
const LEAST_SECONDS: f64 = 1e-6;

/// For all endpoints while nothing is known of any; only the comparison matters.
const UNKNOWN_SECONDS: f64 = 0.03;

/// After so many times `decay` the common instant moves: e^16 is far from the limits of numbers.
const MAX_AGE: f64 = 16.0;

/// Latencies by position.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    decay_seconds: f64,
    /// The common instant.
    origin: Option<Instant>,
    entries: Vec<Latency>,
}

/// What is known of one endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    /// Seconds as of the common instant.
    seconds: f64,
    /// When it was last observed, in times of `decay` after the common instant; `None`: never.
    observed: Option<f64>,
}

impl Latencies {
    /// Over so many endpoints of which nothing is known.
    pub(crate) fn new(decay: Duration, endpoints: usize) -> Self {
        let unknown = Latency {
            seconds: UNKNOWN_SECONDS,
            observed: None,
        };
        Self {
            decay_seconds: decay.as_secs_f64().max(1e-3),
            origin: None,
            entries: vec![unknown; endpoints],
        }
    }

    /// Takes over what was known of endpoints, from their positions there to those here.
    pub(crate) fn inherit(&mut self, from: &Self, positions: impl Iterator<Item = (usize, usize)>) {
        self.origin = from.origin;
        for (there, here) in positions {
            self.entries[here] = from.entries[there];
        }
        self.suppose();
    }

    /// One more latency. Whether more than this endpoint's changed.
    pub(crate) fn observe(&mut self, position: usize, latency: Duration, now: Instant) -> bool {
        let (now, has_moved) = self.age(now);
        let latency = latency.as_secs_f64().max(LEAST_SECONDS);
        let grown = now.exp();
        let entry = &mut self.entries[position];
        let is_first = entry.observed.is_none();
        let seconds = match entry.observed {
            Some(observed) => {
                let kept = (observed - now).min(0.0).exp();
                let faded = entry.seconds / grown;
                let is_peak = latency * kept >= faded;
                if is_peak {
                    latency
                } else {
                    faded + latency * (1.0 - kept)
                }
            }
            None => latency,
        };
        entry.seconds = seconds * grown;
        entry.observed = Some(entry.observed.unwrap_or(now).max(now));
        if is_first {
            self.suppose();
        }
        is_first || has_moved
    }

    /// What a further request would cost there: latency times requests with it, per weight.
    pub(crate) fn cost(&self, position: usize, in_flight: u32, weight: i32) -> f64 {
        self.entries[position].seconds * (f64::from(in_flight) + 1.0) / f64::from(weight)
    }

    /// The latency of an endpoint at an instant; `None` while nothing was observed.
    pub(crate) fn seconds(&self, position: usize, now: Instant) -> Option<f64> {
        let entry = self.entries[position];
        entry.observed?;
        let age = now.saturating_duration_since(self.origin?).as_secs_f64() / self.decay_seconds;
        Some((entry.seconds / age.exp()).max(LEAST_SECONDS))
    }

    /// Supposes of those that were never observed that they are as quick as the quickest: they are
    /// tried soon, and one observation tells.
    fn suppose(&mut self) {
        let known = self.entries.iter().filter(|entry| entry.observed.is_some());
        let least = known
            .map(|entry| entry.seconds)
            .fold(f64::INFINITY, f64::min);
        let supposed = if least.is_finite() {
            least
        } else {
            UNKNOWN_SECONDS
        };
        for entry in self
            .entries
            .iter_mut()
            .filter(|entry| entry.observed.is_none())
        {
            entry.seconds = supposed;
        }
    }

    /// Times of `decay` since the common instant, which moves to `now` when it is too long ago.
    fn age(&mut self, now: Instant) -> (f64, bool) {
        let origin = *self.origin.get_or_insert(now);
        let age = now.saturating_duration_since(origin).as_secs_f64() / self.decay_seconds;
        if age <= MAX_AGE {
            return (age, false);
        }
        self.origin = Some(now);
        let faded = (-age).exp();
        for entry in &mut self.entries {
            entry.seconds = (entry.seconds * faded).max(LEAST_SECONDS);
            entry.observed = entry.observed.map(|observed| observed - age);
        }
        (0.0, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn observed(latencies: &[u64]) -> (Latencies, Instant) {
        let (mut known, now) = (Latencies::new(DECAY, latencies.len()), Instant::now());
        for (position, latency) in latencies.iter().enumerate() {
            known.observe(position, millis(*latency), now);
        }
        (known, now)
    }

    fn is_about(known: &Latencies, now: Instant, expected: f64) -> bool {
        let seconds = known.seconds(0, now).unwrap();
        (seconds / expected - 1.0).abs() < 0.01
    }

    #[test]
    fn a_peak_is_believed_at_once_and_forgotten_by_decay() {
        let (mut known, now) = observed(&[10]);
        known.observe(0, millis(1_000), now);
        assert!(is_about(&known, now, 1.0));
        // Quick answers weigh what time gives them.
        known.observe(0, millis(10), now);
        assert!(is_about(&known, now, 1.0));
        let later = now + DECAY;
        known.observe(0, millis(10), later);
        let expected = 1.0 / std::f64::consts::E + 0.01 * (1.0 - 1.0 / std::f64::consts::E);
        assert!(is_about(&known, later, expected));
    }

    #[test]
    fn what_is_not_observed_fades() {
        let (known, now) = observed(&[1_000]);
        assert!(is_about(&known, now + DECAY, 1.0 / std::f64::consts::E));
        let far = now + Duration::from_secs(86_400);
        assert_eq!(known.seconds(0, far), Some(LEAST_SECONDS));
    }

    #[test]
    fn cost_counts_requests_and_weight() {
        let (known, _) = observed(&[10, 10, 20]);
        assert!(known.cost(0, 0, 1) < known.cost(0, 1, 1));
        assert!(known.cost(1, 3, 4) < known.cost(0, 1, 1));
        assert!(known.cost(0, 0, 1) < known.cost(2, 0, 1));
        assert_eq!(known.cost(0, 1, 2), known.cost(1, 0, 1));
        assert!(known.cost(0, u32::MAX, 1).is_finite());
    }

    #[test]
    fn an_unknown_endpoint_counts_as_quick_as_the_quickest() {
        let mut known = Latencies::new(DECAY, 3);
        let now = Instant::now();
        assert_eq!(known.cost(0, 0, 1), known.cost(2, 0, 1));
        assert!(known.observe(1, millis(200), now), "the others follow");
        assert_eq!(known.cost(0, 0, 1), known.cost(1, 0, 1));
        assert!(known.observe(0, millis(5), now));
        assert_eq!(known.cost(2, 0, 1), known.cost(0, 0, 1));
        assert!(!known.observe(0, millis(6), now));
        assert_eq!(known.seconds(2, now), None);
    }

    #[test]
    fn years_and_moving_the_common_instant_change_no_comparison() {
        let (mut known, mut now) = observed(&[10, 40]);
        for _ in 0..1_000 {
            now += millis(1_700);
            known.observe(0, millis(10), now);
            known.observe(1, millis(40), now);
            let ratio = known.cost(1, 0, 1) / known.cost(0, 0, 1);
            assert!((ratio - 4.0).abs() < 0.01, "{ratio}");
        }
        now += Duration::from_secs(10 * 365 * 86_400);
        known.observe(0, millis(10), now);
        assert!(is_about(&known, now, 0.01));
        assert!(
            known.cost(1, 0, 1) < known.cost(0, 0, 1),
            "worth a try again"
        );
    }

    #[test]
    fn nonsense_stays_in_bounds() {
        let (mut known, now) = observed(&[10, 10]);
        let earlier = now.checked_sub(millis(1)).unwrap();
        known.observe(0, Duration::ZERO, earlier);
        known.observe(0, Duration::MAX, now);
        assert!(known.cost(0, u32::MAX, 1).is_finite());
        let mut rash = Latencies::new(Duration::ZERO, 1);
        rash.observe(0, millis(1), now);
        rash.observe(0, millis(1), now + Duration::from_secs(1_000));
        assert!(rash.cost(0, 0, 1) > 0.0);
    }

    #[test]
    fn what_was_known_moves_along() {
        let (old, now) = observed(&[10, 40]);
        let mut new = Latencies::new(DECAY, 3);
        new.inherit(&old, [(1, 0)].into_iter());
        assert!(is_about(&new, now, 0.04));
        assert_eq!(new.cost(1, 0, 1), new.cost(0, 0, 1));
    }
}
