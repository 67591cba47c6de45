//! One endpoint as its changes alone tell it: every change must move something, and what it may be given follows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use portcullis_traffic::containment::{
    Change, Containment, ObstacleKind, Policy, Reason, Role, Trouble, What,
};
use portcullis_traffic::endpoint::{EndpointId, Standing};

use crate::probes::History;

/// What is known of one endpoint by its changes alone.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) is_healthy: bool,
    pub(crate) was_unhealthy: bool,
    pub(crate) ejected_until: Option<Instant>,
    /// The how-manieth it was, and when it ended.
    pub(crate) last_ejection: (u32, Option<Instant>),
    pub(crate) breaker: Breaker,
    pub(crate) would_reject: bool,
    pub(crate) share_percent: u8,
    pub(crate) is_drained: bool,
    pub(crate) is_announced: bool,
    pub(crate) is_refused: bool,
    pub(crate) checks: Vec<History>,
    /// Results of traffic, oldest first.
    pub(crate) traffic: VecDeque<(Instant, Result<(), Trouble>)>,
    pub(crate) standing: Standing,
    /// The same, but already as the changes of this call say.
    pub(crate) told: Standing,
    pub(crate) added: Instant,
    pub(crate) accounted: Instant,
    pub(crate) available: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breaker {
    Closed,
    Open,
    HalfOpen,
}

impl Account {
    pub(crate) fn new(policy: &Policy, standing: Standing, now: Instant) -> Self {
        Self {
            is_healthy: !is_checked(policy),
            was_unhealthy: false,
            ejected_until: None,
            last_ejection: (0, None),
            breaker: Breaker::Closed,
            would_reject: false,
            share_percent: 100,
            is_drained: false,
            is_announced: false,
            is_refused: false,
            checks: vec![History::default(); policy.checks.len()],
            traffic: VecDeque::new(),
            standing,
            told: standing,
            added: now,
            accounted: now,
            available: Duration::ZERO,
        }
    }

    pub(crate) fn account(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.accounted);
        if !matches!(self.standing, Standing::Out { .. }) {
            self.available += passed;
        }
        self.accounted += passed;
    }

    /// Takes a change into account; panics if there was nothing to change.
    pub(crate) fn follow(&mut self, change: &Change, now: Instant) {
        let flip = |flag: &mut bool, to: bool| {
            assert_ne!(
                std::mem::replace(flag, to),
                to,
                "{change:?} changes nothing"
            );
        };
        match change.what {
            What::Healthy => flip(&mut self.is_healthy, true),
            // The first verdict on a new endpoint may be this one.
            What::Unhealthy => (self.is_healthy, self.was_unhealthy) = (false, true),
            What::Degraded { share_percent } => {
                assert_ne!(share_percent, self.share_percent);
                self.share_percent = share_percent;
            }
            What::Restored => {
                assert_ne!(self.share_percent, 100);
                self.share_percent = 100;
            }
            What::Ejected { duration, times } => {
                assert_eq!(self.ejected_until, None);
                self.last_ejection.0 = times;
                self.ejected_until = Some(now + duration);
            }
            What::EjectionOver => {
                let until = self.ejected_until.take().expect("it was ejected");
                self.last_ejection.1 = Some(now);
                assert!(change.reason != Reason::Elapsed || until <= now);
            }
            What::BreakerOpened => {
                assert_ne!(self.breaker, Breaker::Open);
                self.breaker = Breaker::Open;
            }
            What::BreakerHalfOpen => {
                assert_eq!(self.breaker, Breaker::Open);
                self.breaker = Breaker::HalfOpen;
            }
            What::BreakerClosed => {
                let ends = change.reason == Reason::Configured;
                assert!(self.breaker == Breaker::HalfOpen || ends, "{change:?}");
                self.breaker = Breaker::Closed;
            }
            What::BreakerWouldOpen => flip(&mut self.would_reject, true),
            What::BreakerWouldClose => flip(&mut self.would_reject, false),
            What::Draining | What::Undrained => {
                let flag = match change.reason {
                    Reason::Operator => &mut self.is_drained,
                    _ => &mut self.is_announced,
                };
                flip(flag, change.what == What::Draining);
            }
            What::Shifted => {}
            What::PanicBegan | What::PanicEnded | What::SharedCause | What::SharedCauseOver => {
                panic!("{change:?} is the cluster's")
            }
        }
    }

    /// What follows from the account. Whether a half-open breaker has room is not in it.
    pub(crate) fn allows(&self, standing: Standing) -> bool {
        let is_out = !self.is_healthy || self.ejected_until.is_some();
        match standing {
            Standing::Out { is_last_resort } => {
                let is_left = !self.is_refused
                    && !self.is_drained
                    && !self.is_announced
                    && self.breaker != Breaker::Open;
                (is_out || self.breaker != Breaker::Closed) && (is_left || !is_last_resort)
            }
            _ if is_out || self.breaker == Breaker::Open => false,
            Standing::Draining => self.is_drained || self.is_announced,
            Standing::In { share_percent } => {
                share_percent == self.share_percent && !self.is_drained && !self.is_announced
            }
        }
    }
}

impl Account {
    /// Whether all it did of late was to fail for this, and it did something.
    pub(crate) fn only_fails_for(&self, cause: &Trouble, now: Instant) -> bool {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < Duration::from_secs(9);
        self.traffic.back().is_some_and(|(at, _)| is_recent(*at))
            && self
                .traffic
                .iter()
                .all(|(_, r)| r.as_ref().err() == Some(cause))
    }
}

/// Whoever is not fully in has a reason, and availability is what it was over time.
pub(crate) fn check_report(account: &Account, id: EndpointId, cluster: &Containment, now: Instant) {
    let report = cluster.report(id, now).expect("a member");
    assert_eq!(report.standing, account.standing);
    let trial = |kind| kind == ObstacleKind::BreakerHalfOpen;
    let obstacles = report.obstacles.iter().filter(|o| !trial(o.kind)).count();
    let is_full = account.standing == Standing::In { share_percent: 100 };
    assert_eq!(
        is_full,
        obstacles == 0 && !matches!(account.standing, Standing::Out { .. })
    );
    assert!(is_full || !report.obstacles.is_empty(), "{report:?}");
    let since = now.saturating_duration_since(account.accounted);
    let known_for = account.accounted.saturating_duration_since(account.added) + since;
    if !known_for.is_zero() {
        let is_available = !matches!(account.standing, Standing::Out { .. });
        let available = account.available + if is_available { since } else { Duration::ZERO };
        let percent = 100.0 * available.as_secs_f64() / known_for.as_secs_f64();
        let told = report.availability.overall_percent;
        // Calls that come late see up to this much twice.
        let slack = 100.0 * 0.1 / known_for.as_secs_f64();
        assert!(
            (told - percent).abs() <= slack,
            "{told} instead of {percent}"
        );
    }
    let last_hour = report.availability.last_hour_percent;
    assert!((0.0..=100.0).contains(&last_hour));
}

pub(crate) fn is_checked(policy: &Policy) -> bool {
    policy.checks.iter().any(|check| check.role == Role::Eject)
}
