//! Checks every decision against what the world really did. Never asks the code under test.

use std::time::Duration;

use portcullis_traffic::balance::{Balancer, Candidate};
use portcullis_traffic::health::Observation;
use portcullis_traffic::retry::Failure;

use crate::settings::Settings;

/// What has been seen of one endpoint, kept apart from the state the crate keeps.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Since it was added, newest last.
    observations: Vec<Observation>,
    is_taken_out: bool,
    pub(crate) ejected_until: Option<Duration>,
    pub(crate) is_drained_by_operator: bool,
}

impl Seen {
    pub(crate) fn observe(&mut self, observation: Observation, settings: &Settings) {
        self.observations.push(observation);
        let thresholds = settings.thresholds;
        if self.last_are(thresholds.fall.get(), Observation::Fail)
            || self.last_are(1, Observation::Draining)
        {
            self.is_taken_out = true;
        } else if self.last_are(thresholds.rise.get(), Observation::Pass) {
            self.is_taken_out = false;
        }
    }

    /// Whether a pick of it is right, and the lack of one wrong.
    pub(crate) fn may_be_picked(&self, now: Duration, settings: &Settings) -> bool {
        let is_proven = self.observations.contains(&Observation::Pass);
        let is_ejected = self.ejected_until.is_some_and(|until| now < until);
        (settings.probe_interval.is_none() || is_proven)
            && !self.is_taken_out
            && !is_ejected
            && !self.is_drained_by_operator
    }

    fn last_are(&self, count: u32, observation: Observation) -> bool {
        let count = count as usize;
        self.observations.len() >= count
            && self
                .observations
                .iter()
                .rev()
                .take(count)
                .all(|o| *o == observation)
    }
}

/// Picks since the candidates last changed.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    candidates: Vec<(u32, bool)>,
    picks: Vec<u32>,
}

impl Stretch {
    /// Checks one pick of the balancer.
    pub(crate) fn check_pick(
        &mut self,
        balancer: &Balancer,
        candidates: &[Candidate],
        picked: Option<usize>,
    ) {
        let Some(picked) = picked else {
            assert!(
                candidates.iter().all(|c| !c.is_eligible),
                "no pick from {candidates:?}"
            );
            return;
        };
        assert!(
            candidates[picked].is_eligible,
            "picked {picked} of {candidates:?}"
        );
        match balancer {
            Balancer::RoundRobin(_) => self.check_turns(candidates, picked),
            Balancer::LeastConn(_) => check_least_busy(candidates, picked),
        }
    }

    fn check_turns(&mut self, candidates: &[Candidate], picked: usize) {
        let now: Vec<_> = candidates
            .iter()
            .map(|c| (c.weight, c.is_eligible))
            .collect();
        if now != self.candidates {
            self.picks = vec![0; now.len()];
            self.candidates = now;
        }
        self.picks[picked] += 1;
        let eligible = || {
            self.candidates
                .iter()
                .zip(&self.picks)
                .filter(|((_, e), _)| *e)
        };
        if eligible().all(|((weight, _), _)| *weight == candidates[picked].weight) {
            let counts = || eligible().map(|(_, picks)| *picks);
            let spread = counts()
                .max()
                .zip(counts().min())
                .map(|(most, least)| most - least);
            assert!(spread <= Some(1), "uneven turns {:?}", self.picks);
        }
    }
}

fn check_least_busy(candidates: &[Candidate], picked: usize) {
    let load = |c: &Candidate| match c.in_flight {
        0 => 0.0,
        busy => (f64::from(busy) + 1.0) / f64::from(c.weight),
    };
    let least = candidates
        .iter()
        .filter(|c| c.is_eligible)
        .map(load)
        .fold(f64::MAX, f64::min);
    // Weights and counts of the simulation are small: equal fractions are equal floats.
    assert!(
        load(&candidates[picked]) <= least,
        "picked {picked} of {candidates:?}"
    );
}

/// Checks that an ejection left enough endpoints: `eligible` and `out` are counts after it.
pub(crate) fn check_ejection(eligible: usize, out: usize, settings: &Settings) {
    let cap = settings.ejection.max_percent;
    assert!(eligible > 0, "the last endpoint was ejected");
    assert!(
        out * 100 <= (eligible + out) * usize::from(cap),
        "{out} out, cap {cap} %"
    );
}

/// Checks that one more attempt cannot repeat an effect, and that attempts have an end.
pub(crate) fn check_retry(
    failure: Failure,
    is_idempotent: bool,
    attempts: u32,
    settings: &Settings,
) {
    let nothing_was_sent = failure == Failure::Connect;
    assert!(
        is_idempotent || nothing_was_sent,
        "{failure:?} of a POST was retried"
    );
    assert!(
        attempts <= settings.max_retries,
        "{attempts} attempts made, another allowed"
    );
}
